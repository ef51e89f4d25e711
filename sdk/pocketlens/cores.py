"""How many cores there are for this process."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import os
import sys


def usable_cores() -> int:
    """Cores that this process may use: in a container fewer than there are."""
    if sys.platform == "linux":
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1

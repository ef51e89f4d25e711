"""What a run was measured on, as its figures say it."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import os
import platform
from pathlib import Path
from typing import Any


def described() -> dict[str, Any]:
    """Cores, processor, Python, and the load of the minute before."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    model = next((each.split(":")[1].strip() for each in lines if "model name" in each), "")
    return {
        "cores": os.cpu_count(),
        "processor": model,
        "load_before": os.getloadavg()[0],
        "python": platform.python_version(),
    }

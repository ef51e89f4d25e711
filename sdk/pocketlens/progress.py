"""How long work tells how far it is: the one shape of every `progress` argument.

def told(stage: str, done: int, total: int) -> None: ...
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from collections.abc import Callable

Progress = Callable[[str, int, int], None]
"""Called with a stage, what is done of it, and what there is to do; 0 where that is unknown."""

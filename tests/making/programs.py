"""Programs of this folder in processes of their own, told what to do and asked what it came to.

with running("tests.making.load", order) as process:
    ...
    found = told(process)
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

_LONGEST_SECONDS = 4 * 3600


@contextmanager
def running(module: str, order: object) -> Iterator[subprocess.Popen[str]]:
    """Runs a module meanwhile; its order is its argument, as JSON."""
    command = [sys.executable, "-m", module, json.dumps(order)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def told(process: subprocess.Popen[str]) -> Any:
    """What a program wrote as JSON, once it has ended; its input is closed."""
    written, _ = process.communicate(timeout=_LONGEST_SECONDS)
    assert process.returncode == 0
    return json.loads(written)

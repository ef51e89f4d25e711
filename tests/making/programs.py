"""Programs of this folder in processes of their own, told what to do and asked what it came to.

with running("tests.making.load", order) as process:
    ...
    found = told(process)

Such a program reads its order with `order`, and may go on until it is `asked`. Where times are
measured, those that load a server stand back: they would take its cores from it, which callers on
machines of their own do not. Where others want the cores too it is for those as well that they
stand back, and they come to little: not in tests that run beside others.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

_LONGEST_SECONDS = 4 * 3600
# Of a core that another wants too, a thirtieth. In the same session as the server: a system that
# groups processes by their sessions compares no others.
_NICE = 15


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
    """What a program wrote as JSON, once it has ended; that it is asked is the end of its input."""
    written, _ = process.communicate(timeout=_LONGEST_SECONDS)
    assert process.returncode == 0
    return json.loads(written)


def order() -> dict[str, Any]:
    """Of the program that this is."""
    found: dict[str, Any] = json.loads(sys.argv[1])
    return found


def tell(found: object) -> None:
    """Says what it came to."""
    sys.stdout.write(json.dumps(found))


def stand_back() -> None:
    """Leaves the cores to others, as who has a machine of its own does."""
    os.nice(_NICE)


def asked() -> asyncio.Event:
    """Set once this program is asked what it came to."""
    event = asyncio.Event()
    asyncio.get_running_loop().add_reader(sys.stdin, _ended, event)
    return event


def _ended(event: asyncio.Event) -> None:
    asyncio.get_running_loop().remove_reader(sys.stdin)  # which would be told again and again
    event.set()

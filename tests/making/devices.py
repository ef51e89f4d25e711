"""Devices whose disks fail on demand, a process each, forked from one that has everything loaded.

with Device.started(fault_shim.built(tmp_path)) as device:
    ending = device.carry_out(order_of(step, store, fault=Fault(KILL, at=17)))
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from tests.making import fault_shim
from tests.making.courses import Step
from tests.making.device_program import Ending, Order, Visit

ROOT = Path(__file__).resolve().parents[2]


class Device:
    """Carries out orders, each in a child of its own; one at a time."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        """Takes a process that runs `device_program`."""
        assert process.stdin is not None
        assert process.stdout is not None
        self._orders = Connection(os.dup(process.stdin.fileno()), readable=False)
        self._endings = Connection(os.dup(process.stdout.fileno()), writable=False)
        process.stdin.close()  # so that the end of the orders is one

    @classmethod
    @contextmanager
    def started(cls, library: Path, *, sdk: Path | None = None) -> Iterator[Device]:
        """Starts the process with the shim; `sdk` is a folder with another SDK to run."""
        environment = fault_shim.preloaded(library)
        folders = [str(ROOT), environment.get("PYTHONPATH", "")]
        environment["OPENBLAS_NUM_THREADS"] = "1"  # a child would start its threads anew
        environment["PYTHONPATH"] = ":".join([str(sdk), *folders] if sdk else folders)
        program = "from tests.making import device_program as p; p.main()"
        with (
            subprocess.Popen(
                [sys.executable, "-c", program],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                env=environment,
                cwd=ROOT,
            ) as process,
            closing(cls(process)) as device,
        ):
            yield device

    def carry_out(self, order: Order) -> Ending:
        """Waits for the end of the child."""
        self._orders.send(order)
        ending: Ending = self._endings.recv()
        return ending

    def close(self) -> None:
        """Ends the process."""
        self._orders.close()
        self._endings.close()


def order_of(*steps: Step, store: Path, **choices: Any) -> Order:
    """An order to go some steps, one after the other."""
    visits = tuple(Visit(step.public, step.root, step.now) for step in steps)
    given: Mapping[str, Any] = {"queries": steps[0].queries, **choices}
    return Order(store, visits, **given)

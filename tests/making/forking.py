"""A program of this folder that has everything loaded, and forks a child for each order.

class Devices(Forking):
    program = "device_program"

with Devices.started(fault_shim.built(tmp_path)) as devices:
    devices.ask(order)
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, ClassVar, Self

from tests.making import fault_shim

ROOT = Path(__file__).resolve().parents[2]


class Forking:
    """The process that forks; its children's disks fail on demand."""

    program: ClassVar[str]

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        """Takes a process that runs the program."""
        assert process.stdin is not None
        assert process.stdout is not None
        self._orders = Connection(os.dup(process.stdin.fileno()), readable=False)
        self._answers = Connection(os.dup(process.stdout.fileno()), writable=False)
        process.stdin.close()  # so that the end of the orders is one

    @classmethod
    @contextmanager
    def started(cls, library: Path, *, source: Path | None = None) -> Iterator[Self]:
        """Starts it with the shim; `source` is a folder to import another PocketLens from."""
        environment = fault_shim.preloaded(library)
        folders = [str(ROOT), environment.get("PYTHONPATH", "")]
        environment["OPENBLAS_NUM_THREADS"] = "1"  # a child would start its threads anew
        environment["PYTHONPATH"] = ":".join([str(source), *folders] if source else folders)
        program = f"from tests.making import {cls.program} as p; p.main()"
        with (
            subprocess.Popen(
                [sys.executable, "-c", program],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                env=environment,
                cwd=ROOT,
            ) as process,
            closing(cls(process)) as made,
        ):
            yield made

    def ask(self, order: object) -> Any:
        """What a child answers."""
        self._orders.send(order)
        return self._answers.recv()

    def close(self) -> None:
        """Ends the process."""
        self._orders.close()
        self._answers.close()

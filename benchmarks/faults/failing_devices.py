"""A device whose disk fails on demand, for the programs that need one."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.making import fault_shim
from tests.making.devices import Device
from tests.making.fault_rounds import Round, scratch_folder


@contextmanager
def failing_device() -> Iterator[tuple[Device, Path]]:
    """A device whose disk fails on demand, and a folder for its rounds."""
    if reason := fault_shim.missing():
        sys.exit(f"This cannot run here: {reason}.")
    with scratch_folder() as scratch, Device.started(fault_shim.built(scratch)) as device:
        yield device, scratch


def complaints(done: Sequence[Round]) -> int:
    """How many rounds were not as they should be; each is told on stderr."""
    wrong = [each for each in done if each.complaints]
    for each in wrong:
        print(f"{each.step.kind}, call {each.fault.at}: {each.complaints}", file=sys.stderr)
    return len(wrong)

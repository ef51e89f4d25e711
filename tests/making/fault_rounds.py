"""Rounds: a store goes a step on a disk that fails at one call; what became of it is judged.

for round_ in rounds(device, step, scratch, fault=Fault(KILL), every=10):
    assert round_.complaints == []
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import errno
import random
import shutil
import signal
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from time import perf_counter

from pocketlens import errors
from tests.making import golden
from tests.making.courses import Step, unfinished
from tests.making.crash_images import Disk
from tests.making.device_program import Ending
from tests.making.devices import Device, order_of
from tests.making.fault_shim import KILL, Fault, Kind, read_log

REOPENED_IN_SECONDS = 1.0

OF_POCKETLENS = {
    name
    for name, each in vars(errors).items()
    if isinstance(each, type) and issubclass(each, errors.PocketLensError)
}


@contextmanager
def scratch_folder() -> Iterator[Path]:
    """A folder in memory, where the system has one: rounds flush thousands of times."""
    memory = Path("/dev/shm")  # noqa: S108 # the folder below has a name of its own
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as name:
        yield Path(name)


@dataclass(frozen=True)
class Round:
    """One store, one fault.

    Attributes:
        outcome: Of `Step.outcome`, after the fault.
        healed: Of `Step.healed`, afterwards.
        complaints: What should not be; none if all is well.
        reopened_seconds: Until the store answered again, where that was asked for.
    """

    step: Step
    fault: Fault
    ending: Ending
    outcome: str
    healed: str
    complaints: list[str]
    reopened_seconds: float = 0.0


def rounds(
    device: Device, step: Step, scratch: Path, *, fault: Fault, every: int = 1, first: int = 1
) -> Iterator[Round]:
    """Lets every so many calls of a step be the one that fails, from call `first` on."""
    for at in range(first, calls_of(device, step, scratch, fault.kinds) + 1, every):
        yield faulty_round(device, step, scratch, replace(fault, at=at))


def calls_of(device: Device, step: Step, scratch: Path, kinds: int) -> int:
    """Calls of some kinds that a step takes when nothing fails.

    Raises:
        RuntimeError: None was counted: the disk does not stand between, and nothing would be shown.
    """
    store = prepared(step, scratch)
    calls = device.carry_out(order_of(step, store=store, fault=Fault(kinds=kinds))).calls
    if calls == 0 or step.outcome(store) != "new":
        raise RuntimeError(f"The step {step.kind} does not go through the shim.")
    return calls


def prepared(step: Step, scratch: Path) -> Path:
    """A store as it was before a step, in the place of the last one."""
    store = scratch / "store"
    shutil.rmtree(store, ignore_errors=True)
    if step.before.exists():
        shutil.copytree(step.before, store)
    return store


def killed_at_random(
    device: Device, step: Step, scratch: Path, rng: random.Random, *, count: int
) -> Iterator[Round]:
    """Kills a process that syncs and searches from outside, at any time until it would be done."""
    order = order_of(step, store=prepared(step, scratch), searchers=2)
    done = device.carry_out(order)
    if done.error or done.signal:
        raise RuntimeError(f"A device that nobody killed did not arrive: {done}.")
    for _ in range(count):
        store = prepared(step, scratch)
        after = rng.uniform(0, done.seconds)
        ending = device.carry_out(replace(order, kill_after_seconds=after))
        complaints = [f"{ending.error}: {ending.message}"] if ending.error else []
        began = perf_counter()
        with suppress(errors.StoreNotFound):
            golden.answers(store, step.queries[:1])
        reopened = perf_counter() - began
        if reopened > REOPENED_IN_SECONDS:
            complaints.append(f"answered {reopened:.2f} s after it was opened again")
        outcome = step.outcome(store)
        complaints += [] if outcome in ("old", "new") else [outcome]
        healed = step.healed(store)
        complaints += [] if healed == "healed" else [f"not healed: {healed}"]
        yield Round(step, Fault(KILL), ending, outcome, healed, complaints, reopened)


def failed_flushes(device: Device, step: Step, scratch: Path, *, every: int = 1) -> Iterator[Round]:
    """Lets every flush fail in turn, and cuts the power afterwards, too.

    What was reported as done must outlast that without what the failed flush was to save: the
    system may have dropped it, so that a second flush of the file would succeed, and save nothing.
    """
    calls = calls_of(device, step, scratch, Kind.SYNC)
    for at in range(1, calls + 1, every):
        log = scratch / "log"
        round_ = faulty_round(device, step, scratch, Fault(errno.EIO, at, Kind.SYNC), log=log)
        disk, lost = Disk(scratch / "store", step.before), set[str]()
        for call in read_log(log):
            disk.take(call)
            if call.kind is not Kind.SYNC:
                lost -= {call.path, str(Path(call.path).parent)}
            elif call.path in lost:
                round_.complaints.append(f"flushed again, without a change: {call.path}")
            elif call.error:
                lost.add(call.path)
        image = scratch / "image"
        shutil.rmtree(image, ignore_errors=True)
        disk.worst().write_to(image)
        left = step.outcome(image)
        if left not in (("new",) if round_.ending.versions else ("old", "new")):
            round_.complaints.append(f"after a power cut: {left}")
        yield round_


def faulty_round(
    device: Device, step: Step, scratch: Path, fault: Fault, *, log: Path | None = None
) -> Round:
    """One round, judged."""
    store = prepared(step, scratch)
    ending = device.carry_out(order_of(step, store=store, fault=fault, log=log))
    left = [str(path.relative_to(store)) for path in unfinished(store)]
    outcome = step.outcome(store)
    try:
        healed = step.healed(store)
    except errors.PocketLensError as exc:
        healed = f"{type(exc).__name__}: {exc}"
    complaints = [] if outcome in ("old", "new") else [outcome]
    if healed != "healed":
        complaints.append(f"not healed: {healed}")
    if fault.what == KILL:
        if ending.signal not in (0, signal.SIGKILL):
            complaints.append(f"signal {ending.signal}")
        if ending.error:
            complaints.append(f"{ending.error}: {ending.message}")
    else:
        complaints += _failed(step, fault, ending, outcome)
        if left and fault.what == errno.ENOSPC:
            complaints.append(f"left over while the disk was full: {left}")
    return Round(step, fault, ending, outcome, healed, complaints)


def _failed(step: Step, fault: Fault, ending: Ending, outcome: str) -> list[str]:
    """What is wrong with how a process took a call that failed."""
    found = []
    if ending.signal:
        found.append(f"signal {ending.signal}")
    if ending.error and ending.error not in OF_POCKETLENS:
        found.append(f"{ending.error} escaped: {ending.message}")
    if fault.what == errno.ENOSPC and ending.error not in ("", "StoreFull"):
        found.append(f"a full disk was reported as {ending.error}: {ending.message}")
    if ending.versions and outcome != "new":
        found.append("success was reported, and is not there")
    known = (step.old_answers if step.old else None, step.new_answers)
    if ending.search_error:
        found.append(f"searches on the faulty disk failed: {ending.search_error}")
    elif not ending.signal and ending.answers not in known:
        found.append("searches on the faulty disk gave other answers")
    return found

"""A device in a process of its own, whose disk fails on demand: the other end of `devices`.

    LD_PRELOAD=fault_shim.so python -c "from tests.making import device_program as p; p.main()"

`main` receives orders on standard input, forks a child for each, and sends its `Ending` to standard
output. It goes the way of the first order once by itself, so that everything is loaded and its
children begin at once.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import os
import signal
import tempfile
import threading
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
import numpy.typing as npt

import pocketlens
from pocketlens import Lens
from pocketlens.errors import PocketLensError, StoreNotFound
from pocketlens.store import installs
from tests.making import fault_shim, golden
from tests.making.fault_shim import Fault

LARGEST_TO_FILL_BYTES = 64 << 20


@dataclass(frozen=True)
class Visit:
    """A catalogue's public files at one time, followed with or without its thumbnails."""

    public: Path
    root: bytes
    now: datetime
    thumbnails: bool = False


@dataclass(frozen=True)
class Order:
    """What a child is to do with a store.

    Attributes:
        visits: To sync with, one after the other; the first error ends it.
        fault: That its disk has all the while; without one the disk is left alone.
        log: File to write every call down in.
        queries: To search with, afterwards and still on the faulty disk.
        searchers: Threads that search all the while.
        keeps_open: Whether a Lens of what each sync led to stays open, as in an app that is used.
        kill_after_seconds: When it is killed from outside; None for never.
        room_bytes: To what the store's file system is filled up as soon as rows are written.
    """

    store: Path
    visits: tuple[Visit, ...]
    queries: npt.NDArray[np.float32]
    fault: Fault | None = None
    log: Path | None = None
    searchers: int = 0
    keeps_open: bool = False
    kill_after_seconds: float | None = None
    room_bytes: int | None = None


@dataclass
class Ending:
    """How a child ended.

    Attributes:
        signal: That ended it; 0 if it came to its end.
        versions: What it reported as done, in order.
        error: What ended it early, by the name of its class; "" if nothing did.
        message: What the error said, or the traceback of one that is not of PocketLens.
        answers: Of the searches afterwards; None where there was no store, or they failed.
        search_error: Why they failed; "" if they did not.
        calls: That the fault counted.
        seconds: From fork to end.
    """

    signal: int = 0
    versions: list[int] = field(default_factory=list)
    error: str = ""
    message: str = ""
    answers: list[golden.Answer] | None = None
    search_error: str = ""
    calls: int = 0
    seconds: float = 0.0


def main() -> None:
    """Carries out orders until there are no more."""
    orders, endings = Connection(0, writable=False), Connection(1, readable=False)
    is_loaded = False
    while True:
        try:
            order: Order = orders.recv()
        except EOFError:
            return
        if not is_loaded:
            with tempfile.TemporaryDirectory() as folder:
                ended(Order(Path(folder) / "store", order.visits[:1], order.queries))
            is_loaded = True
        endings.send(carried_out(order))


def carried_out(order: Order) -> Ending:
    """Forks, and waits for the end."""
    began = time.perf_counter()
    receiver, sender = Pipe(duplex=False)
    child = os.fork()
    if child == 0:
        try:
            sender.send(ended(order))
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    sender.close()
    if order.kill_after_seconds is not None:
        time.sleep(order.kill_after_seconds)
        os.kill(child, signal.SIGKILL)
    ending = Ending()
    with receiver, suppress(EOFError):
        ending = receiver.recv()
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        ending = Ending(signal=os.WTERMSIG(status))
    elif os.WEXITSTATUS(status):
        ending = Ending(error="the child failed")
    ending.seconds = time.perf_counter() - began
    return ending


def ended(order: Order) -> Ending:
    """What the child does."""
    ending, opened = Ending(), list[Lens]()
    for _ in range(order.searchers):
        threading.Thread(target=searching, args=(order,), daemon=True).start()
    log = -1
    if order.log is not None:
        log = os.open(order.log, os.O_CREAT | os.O_WRONLY | os.O_TRUNC)
    if order.fault is not None:
        fault_shim.arm(order.store, order.fault, log)
    try:
        for visit in order.visits:
            ending.versions.append(followed(order, visit))
            if order.fault is not None:
                fault_shim.mark(len(ending.versions))
            if order.keeps_open:
                opened.append(Lens.open(order.store))
                golden.search(opened[-1], order.queries, 0)
    except Exception as exc:
        ending.error, ending.message = type(exc).__name__, str(exc)
        if not isinstance(exc, PocketLensError):
            ending.message = traceback.format_exc()
    try:
        ending.answers = list(golden.answers(order.store, order.queries))
    except StoreNotFound:
        pass
    except Exception:
        ending.search_error = traceback.format_exc()
    if order.fault is not None:
        ending.calls = fault_shim.disarm()
    return ending


def followed(order: Order, visit: Visit) -> int:
    """One sync; the version that it reports."""
    progress: Callable[[str, int, int], None] = lambda *_: None  # noqa: E731
    if order.room_bytes is not None:
        progress = filling(order.store, order.room_bytes)
    report = pocketlens.install(
        order.store,
        server=str(visit.public),
        root=visit.root,
        clock=lambda: visit.now,
        progress=progress,
        thumbnails=visit.thumbnails,
    )
    return report.version


def filling(store: Path, room_bytes: int) -> Callable[[str, int, int], None]:
    """Fills the file system of a store when a sync begins to write.

    Raises:
        RuntimeError: It is larger than one that was made to be filled.
    """
    filler = store.parent / "filler"

    def fill(stage: str, *_: int) -> None:
        if stage != "writing" or filler.exists():
            return
        found = os.statvfs(store)
        if found.f_blocks * found.f_frsize > LARGEST_TO_FILL_BYTES:
            raise RuntimeError(f"{store} is on a file system that others use.")
        with filler.open("wb") as file:
            size = found.f_bavail * found.f_frsize - room_bytes
            os.posix_fallocate(file.fileno(), 0, size)

    return fill


def searching(order: Order) -> None:
    """Opens the store and searches it, again and again, until the process ends.

    It begins when there is a store. A search that fails ends the process.
    """
    while not (order.store / installs.CURRENT).exists():
        time.sleep(0.001)
    while True:
        try:
            golden.answers(order.store, order.queries)
        except BaseException:
            traceback.print_exc()
            os._exit(1)

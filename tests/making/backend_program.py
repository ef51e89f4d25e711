"""A server's side of ingest in processes of their own, whose disk fails on demand.

    LD_PRELOAD=fault_shim.so python -c "from tests.making import backend_program as p; p.main()"

`main` receives orders on standard input and forks a child for each, with everything loaded: one
that goes some steps of a session and says how it ended, or one that runs `pocketlens-server serve`
until it is ended. `backend_processes` is the other end.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import hashlib
import os
import traceback
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import Enum
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np

from pocketlens.errors import PocketLensError
from pocketlens_server import cli, server  # noqa: F401 # the second so that it is loaded
from pocketlens_server.catalogue.batches import Arrived, Request
from pocketlens_server.catalogue.ingest import Ingest
from pocketlens_server.catalogue.operations import PutImage
from pocketlens_server.catalogue.pictures import Arriving, keep
from pocketlens_server.catalogue.settling import settle
from pocketlens_server.folders import MAIN, CatalogueFolder, ServerFolder
from pocketlens_server.publishing import releasing
from pocketlens_server.publishing.gate_limits import Gate
from pocketlens_server.publishing.releasing import Terms
from pocketlens_server.storage.jobs import Job
from tests.making import fault_shim
from tests.making.backend_operations import Sending
from tests.making.fault_shim import Fault

ALLOWED = [gate for gate in Gate if gate is not Gate.VECTORS]  # what changes is of no shop
PART = 1000  # bytes of a picture that comes in parts


class Work(Enum):
    """Steps that are no operations."""

    SETTLE = "settle"
    PUBLISH = "publish"
    COLLECT = "collect"


@dataclass(frozen=True)
class Named:
    """A picture that a process has named, and was killed before it flushed the name."""

    picture: bytes


Step = Sequence[Sending] | Work | Named


@dataclass(frozen=True)
class Session:
    """Steps to go, one after the other; the first error ends it.

    Attributes:
        server: Folder of the server.
        steps: Makes them; a function of a module, or a partial of one.
        job: To go on with; 0 for a new one.
        now: The clock, which goes on by an hour with each step.
        fault: That the disk has all the while, below the server's folder.
        log: File to write every call down in.
        is_kept: Whether one connection writes all of it, as in a server that runs, and another
            reads all the while, so that nothing leaves the log.
    """

    server: Path
    steps: Callable[[], Iterable[Step]]
    now: datetime
    job: int = 0
    fault: Fault | None = None
    log: Path | None = None
    is_kept: bool = False


@dataclass(frozen=True)
class Serving:
    """A server to run until it ends.

    Attributes:
        server: Its folder.
        port: Of gRPC.
        said: File for what it says.
        fault: That the disk has, below `below`.
        below: A folder.
    """

    server: Path
    port: int
    said: Path
    fault: Fault | None = None
    below: Path | None = None


@dataclass(frozen=True)
class Reaping:
    """Waits for a server to end."""

    pid: int


@dataclass
class Ending:
    """How a session ended.

    Attributes:
        signal: That ended it; 0 if it came to its end.
        results: Of the steps that were acknowledged: for each the result of every operation, and
            whether it was repeated.
        error: What ended it early, by the name of its class; "" if nothing did.
        message: What the error said, or the traceback of one that is not of PocketLens.
        calls: That the fault counted.
    """

    signal: int = 0
    results: list[list[tuple[str, bool]]] = field(default_factory=list)
    error: str = ""
    message: str = ""
    calls: int = 0


def main() -> None:
    """Carries out orders until there are no more."""
    orders, endings = Connection(0, writable=False), Connection(1, readable=False)
    while True:
        try:
            order: Session | Serving | Reaping = orders.recv()
        except EOFError:
            return
        match order:
            case Session():
                endings.send(_carried_out(order))
            case Serving():
                endings.send(_begun(order))
            case Reaping(pid):
                _, status = os.waitpid(pid, 0)
                endings.send(os.waitstatus_to_exitcode(status))


def _begun(order: Serving) -> int:
    """The process id of a server that begins."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            said = os.open(order.said, os.O_CREAT | os.O_WRONLY | os.O_APPEND)
            os.dup2(said, 1)
            os.dup2(said, 2)
            if order.fault is not None and order.below is not None:
                fault_shim.arm(order.below, order.fault)
            command = ["serve", "--insecure", "--data", str(order.server)]
            code = cli.main([*command, "--port", str(order.port)])
        finally:
            os._exit(code)
    return child


def _carried_out(order: Session) -> Ending:
    """Forks, and waits for the end."""
    receiver, sender = Pipe(duplex=False)
    child = os.fork()
    if child == 0:
        os.dup2(2, 1)  # standard output is for endings
        try:
            sender.send(_ended(order))
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    sender.close()
    ending = Ending()
    with receiver, suppress(EOFError):
        ending = receiver.recv()
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        ending = Ending(signal=os.WTERMSIG(status))
    elif os.WEXITSTATUS(status):
        ending = Ending(error="the child failed")
    return ending


def _ended(order: Session) -> Ending:
    """What the child does."""
    ending, log = Ending(), -1
    if order.log is not None:
        log = os.open(order.log, os.O_CREAT | os.O_WRONLY | os.O_TRUNC)
    with ExitStack() as stack:
        folder = ServerFolder(order.server).catalogue(MAIN)
        if order.fault is not None:
            fault_shim.arm(order.server, order.fault, log)
        try:
            if order.is_kept:
                stack.enter_context(folder.reading())
                folder = folder.keeping(busy_seconds=10)
            _go(folder, order, ending)
        except Exception as exc:
            ending.error, ending.message = type(exc).__name__, str(exc)
            if not isinstance(exc, PocketLensError):
                ending.message = traceback.format_exc()
        if order.fault is not None:
            ending.calls = fault_shim.disarm()
    return ending


def _go(folder: CatalogueFolder, order: Session, ending: Ending) -> None:
    now = order.now
    ingest = Ingest(folder, clock=lambda: now)
    job = ingest.resume(order.job, caller="shop") if order.job else ingest.open(caller="shop")
    for step in order.steps():
        ending.results.append(_taken(folder, ingest, job, step, now))
        if order.fault is not None:
            fault_shim.mark(len(ending.results))
        now += timedelta(hours=1)


def _taken(
    folder: CatalogueFolder, ingest: Ingest, job: Job, step: Step, now: datetime
) -> list[tuple[str, bool]]:
    match step:
        case Work.SETTLE:
            settle(folder, clock=lambda: now)
        case Work.PUBLISH:
            terms = Terms(allowed=ALLOWED)
            releasing.publish(folder, now=now, rng=np.random.default_rng(0), terms=terms)
        case Work.COLLECT:
            releasing.collect(folder, now=now)
        case Named(picture):
            _name(folder, picture)
        case _:
            outcomes = ingest.submit([arrived(folder, job.number, each) for each in step])
            return [(each.result.value, each.is_repeated) for each in outcomes]
    return []


def _name(folder: CatalogueFolder, picture: bytes) -> None:
    place = folder.picture(hashlib.sha256(picture).digest())
    place.parent.mkdir(exist_ok=True)
    with place.open("wb") as file:
        file.write(picture)
        file.flush()
        os.fsync(file.fileno())


def arrived(folder: CatalogueFolder, job: int, sending: Sending) -> Arrived:
    """An operation that came, its picture kept: whole, or in parts, as in a stream."""
    request = Request(sending.id, sending.body)
    operation, picture = sending.shown, sending.picture
    if picture is None or not isinstance(operation, PutImage):
        return Arrived(job, operation, sending.revision, request)
    if sending.hash_first:
        keep(folder, picture)
    else:
        arriving = Arriving(folder, size_bytes=len(picture))
        for start in range(0, len(picture), PART):
            arriving.write(picture[start : start + PART])
        arriving.keep()
    return Arrived(job, operation, sending.revision, request, has_picture=True)

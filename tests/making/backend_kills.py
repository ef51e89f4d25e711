"""A server that is killed again and again while backends send and versions are published.

    with KilledServer(processes, scratch) as killed:
        for number in range(5):
            killed.kill(number)
        killed.finish()
    killed.wrong, killed.counts

Clients write down what they were told, and go on across every restart with the objects that they
have. Between two servers the folder is looked at: by the tables, by what clients were told, by a
device.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import os
import random
import shutil
import signal
import socket
import sqlite3
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import closing, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from time import monotonic, sleep
from typing import Self

from pocketlens.errors import InvalidOperation
from pocketlens.store.verification import verify
from pocketlens_server.catalogue.results import Outcome
from pocketlens_server.client import CatalogueClient
from pocketlens_server.client.connections import Patience
from pocketlens_server.publishing.images import picture_of
from pocketlens_server.storage.history import IMAGE
from tests.making.backend_contents import contents_of
from tests.making.backend_operations import (
    ALLOWED,
    TWICE,
    Answer,
    Judgement,
    Sending,
    drawn,
    judged,
)
from tests.making.backend_power_cuts import is_there
from tests.making.backend_processes import BackendProcesses
from tests.making.backend_program import Serving
from tests.making.fault_shim import KILL, Fault, Kind
from tests.making.tiles import TileShop

CLIENTS, AHEAD = 3, 64  # operations of a client that are not answered, at most
PICTURES = 80  # so many that some are shown by nothing, and collected
PATIENCE = Patience(seconds=120, first_seconds=0.05, longest_seconds=0.3)
ANSWERS = 20  # that come before a server is killed from outside


@dataclass(frozen=True)
class Moment:
    """When a server is killed: at a call below a folder, or so many seconds after it answered.

    Attributes:
        name: Of what it is doing then.
        below: Folder of the server's, for `kinds` of calls; "" for a random time.
        most: Calls, or milliseconds, until then.
    """

    name: str
    below: str = ""
    kinds: int = 0
    most: int = 400


MOMENTS = (
    Moment("any time"),
    Moment("ingest", "catalogues/main", Kind.WRITE | Kind.SYNC, 400),
    Moment("publish", "public/main/blobs", Kind.MARK - 1, 12),
    Moment("sign", "public/main/metadata", Kind.MARK - 1, 16),
    Moment("collect", "catalogues/main/pictures", Kind.UNLINK, 30),
    Moment("embed"),
    Moment("pictures", "catalogues/main/pictures", Kind.WRITE | Kind.SYNC | Kind.RENAME, 40),
)


class KilledServer:
    """A shop whose server is killed.

    Attributes:
        answers: That clients were told.
        versions: That a publisher was told.
        counts: Kills by their moment, and what was found.
        wrong: What should not be; the first few texts.
    """

    def __init__(self, processes: BackendProcesses, scratch: Path, *, seed: int = 23) -> None:
        self._processes, self._rng = processes, random.Random(seed)
        self._shop = TileShop(scratch / "killed shop", {1: 1}, now=datetime.now(UTC))
        self._shop.publish()
        settings = self._shop.catalogue.folder / "settings.toml"
        settings.write_text("[keeping]\nversions = 3\n")
        self._shop.sync("device")
        self._said, self._port = scratch / "said", _free_port()
        self._begun_with = contents_of(self._shop.catalogue)
        self._sent = list[Sending]()
        self.answers = list[Answer]()
        self.versions = [1]
        self.counts = Counter[str]()
        self.wrong = list[str]()
        self._pid: int | None = None
        self._has_ended = threading.Event()
        self._errors = list[BaseException]()
        self._threads = [
            threading.Thread(target=self._run, args=(work, number), daemon=True)
            for number, work in enumerate([self._send] * CLIENTS + [self._publish])
        ]

    def __enter__(self) -> Self:
        self._start(None)
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._has_ended.set()
        if self._pid is not None:
            os.kill(self._pid, signal.SIGKILL)

    def kill(self, number: int) -> None:
        """Ends the server that runs, looks at what it left, and starts the next one."""
        self._end()
        self._look()
        moment = MOMENTS[number % len(MOMENTS)]
        if moment.name == "collect":
            self._age_pictures()
        self._start(moment)
        self._wait(moment)
        self.counts[f"killed in {moment.name}"] += 1
        self.counts["killed at a call"] += self._is_gone

    def finish(self) -> None:
        """Lets all be answered, publishes, and looks at the end of it."""
        self._end()
        self._look()
        self._start(None)
        self._has_ended.set()
        for thread in self._threads:
            thread.join(60)
            if thread.is_alive():
                self.wrong.append("a client did not come to its end")
        self.wrong += [f"a client failed: {each!r}" for each in self._errors]
        with CatalogueClient(f"127.0.0.1:{self._port}", patience=PATIENCE) as client:
            client.publish(allowed_gates=ALLOWED)
        self._end(signal.SIGTERM)
        self._look()
        found = self._judged(self.answers, is_settled=True)
        self.wrong += found.differences
        self.counts["answers"] = found.operations
        self.counts["repeated"] = found.results["repeated"]
        self.counts["lost"] += found.lost
        self.counts["doubled"] += found.doubled
        self.counts["versions"] = self.versions[-1]

    # --- what clients do --------------------------------------------------------------------------

    def _run(self, work: Callable[[int], None], number: int) -> None:
        try:
            work(number)
        except BaseException as exc:
            self._errors.append(exc)

    def _send(self, number: int) -> None:
        """Sends in one stream until all ends, and writes down what it is told."""
        room = threading.Semaphore(AHEAD)
        with (
            CatalogueClient(f"127.0.0.1:{self._port}", patience=PATIENCE) as client,
            client.stream() as stream,
        ):
            for each in self._sendings(number):
                room.acquire()
                self._sent.append(each)
                future = stream.send(
                    each.operation,
                    picture=each.picture,
                    revision=each.revision,
                    request_id=each.id,
                    hash_first=each.hash_first and each.revision > 0,
                )
                future.add_done_callback(partial(self._told, each, room))
                if self._has_ended.wait(0.002):
                    break
            number_of_job = stream.job.number
            stream.close()
            client.wait(number_of_job)

    def _told(self, sending: Sending, room: threading.Semaphore, future: Future[Outcome]) -> None:
        room.release()
        if future.exception() is None:
            self.answers.append(Answer(sending, future.result()))

    def _sendings(self, number: int) -> Iterator[Sending]:
        """Without an end."""
        rng, part = random.Random(number), 0
        while True:
            (some,) = drawn(rng, clients=1, each=200, pictures=PICTURES)
            for each in some:
                yield Sending(
                    f"{number} {part} {each.id}",
                    each.operation,
                    each.revision and each.revision + 200 * part,
                    each.picture,
                    each.hash_first,
                )
            part += 1

    def _publish(self, number: int) -> None:
        with CatalogueClient(f"127.0.0.1:{self._port}", patience=PATIENCE) as client:
            while not self._has_ended.wait(0.05):
                with suppress(InvalidOperation):  # no image is there now
                    self.versions.append(client.publish(allowed_gates=ALLOWED).version)

    # --- the server -------------------------------------------------------------------------------

    def _start(self, moment: Moment | None) -> None:
        fault, below = None, None
        if moment is not None and moment.below:
            at = self._rng.randint(1, moment.most)
            fault, below = Fault(KILL, at, moment.kinds), self._server / moment.below
        order = Serving(self._server, self._port, self._said, fault, below)
        self._pid = self._processes.serve(order)

    @property
    def _server(self) -> Path:
        return self._shop.folder / "server"

    def _wait(self, moment: Moment) -> None:
        """Until it is time to kill it; one that is killed at a call may be before."""
        answered, until = len(self.answers), monotonic() + 20
        while len(self.answers) < answered + ANSWERS and not self._is_gone:
            if monotonic() > until:
                self.wrong.append(f"nothing was answered for 20 s: {moment}")
                break
            sleep(0.005)
        if moment.name == "embed":
            until = monotonic() + 2
            while not self._has_waiting() and monotonic() < until:
                sleep(0.002)
            sleep(self._rng.uniform(0, 0.05))
        elif not moment.below:
            sleep(self._rng.uniform(0, moment.most / 1000))
        else:
            until = monotonic() + 2
            while not self._is_gone and monotonic() < until:
                sleep(0.005)

    def _end(self, kind: signal.Signals = signal.SIGKILL) -> None:
        """Ends the server; one that has ended waits to be asked for its end."""
        assert self._pid is not None
        os.kill(self._pid, kind)
        code, self._pid = self._processes.reap(self._pid), None
        if code != (-kind if kind == signal.SIGKILL else 0):
            self.wrong.append(f"a server ended with {code}: {self._said.read_text()[-2000:]}")

    @property
    def _is_gone(self) -> bool:
        """Whether the server has ended, although nobody has asked for its end yet."""
        state = Path(f"/proc/{self._pid}/stat").read_text().rpartition(")")[2].split()[0]
        return state == "Z"

    def _has_waiting(self) -> bool:
        with self._shop.catalogue.reading() as tables:
            return tables.waiting.count() > 0

    def _age_pictures(self) -> None:
        """Lets pictures be old enough to be collected, if nothing shows them."""
        long_ago = (datetime.now(UTC) - timedelta(days=3)).timestamp()
        for place in (self._shop.catalogue.folder / "pictures").glob("*/*"):
            os.utime(place, (long_ago, long_ago))
        (self._shop.catalogue.folder / "pictures-collected").unlink(missing_ok=True)

    # --- what is looked at ------------------------------------------------------------------------

    def _look(self) -> None:
        """At what a server that was killed has left."""
        answers, published = list(self.answers), self.versions[-1]
        complaints = [*self._of_tables(answers), *self._of_devices(published)]
        self.wrong += complaints[: max(0, 10 - len(self.wrong))]

    def _of_tables(self, answers: list[Answer]) -> Iterator[str]:
        folder = self._shop.catalogue
        found = self._judged(answers, is_settled=False)
        self.counts["lost"] += found.lost
        self.counts["doubled"] += found.doubled
        yield from found.differences
        with folder.reading() as tables:
            named = {picture_of(value) for _, value in tables.history.values(IMAGE)}
            named |= tables.waiting.kept_pictures()
            embedded = tables.vectors.pictures()
        gone = sum(not folder.picture(each).exists() for each in embedded - named)
        self.counts["collected half"] += gone > 0
        for picture in named:
            if not is_there(folder, picture):
                self.counts["lost"] += 1
                yield f"the picture {picture.hex()} is not there whole"
        with closing(sqlite3.connect(folder.database)) as connection:
            for kind, key, count in connection.execute(TWICE):
                self.counts["doubled"] += 1
                yield f"a value of {kind} {key} stands {count + 1} times one after the other"

    def _judged(self, answers: list[Answer], *, is_settled: bool) -> Judgement:
        return judged(
            self._shop.catalogue,
            answers,
            list(self._sent),
            begun=self._begun_with,
            is_settled=is_settled,
        )

    def _of_devices(self, published: int) -> Iterator[str]:
        """A device follows to a version that is whole, and no older than what was told."""
        self._shop.now = datetime.now(UTC)
        store = "device" if self._rng.random() < 0.7 else "new device"
        if store != "device":
            shutil.rmtree(self._shop.folder / store, ignore_errors=True)
        version = self._shop.sync(store).version
        if findings := verify(self._shop.folder / store).findings:
            self.counts["half-published"] += 1
            yield f"version {version} is not whole: {findings}"
        if version < published:
            self.counts["half-published"] += 1
            yield f"version {version} is seen after {published} was told"


def _free_port() -> int:
    with closing(socket.create_server(("127.0.0.1", 0))) as listening:
        return int(listening.getsockname()[1])

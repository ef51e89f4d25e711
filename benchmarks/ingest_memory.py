"""Megabytes of a server, and of its decoders: beside floods, and against what waits in it.

    figures = measured(folder, floods=(4, 16), queues=(0, 10_000), seconds=6, products=100_000)

Each point has a server of its own: what one left behind is not taken for what the next begins with.

- floods: streams that send without a pause and read no answer.
- operations: prices that were received and wait, since a command beside the server holds the
  tables, as `pocketlens-server push` does; on as many streams whether few wait or many.
- waiting pictures: of a server that is started while so many wait to be embedded, and embeds them
  beside a stream of prices.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import itertools
import sqlite3
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import ingest_catalogue
from ingest_clients import QUEUING, Client
from ingest_server import IngestServer, Memory

from pocketlens_server.catalogue.settling import AT_ONCE
from pocketlens_server.folders import ServerFolder

MOST_MB_A_STREAM = 4  # a message of 1 MiB, what gRPC reads ahead, and a window of operations
MOST_KB_AN_OPERATION = 8  # that waits: a price as objects of Python, and its answer
MOST_MB_OF_PICTURES = 16  # however many wait to be embedded: they wait on disk
LOOK_SECONDS = 0.1

Figures = dict[str, Any]


def measured(
    folder: Path, *, floods: Sequence[int], queues: Sequence[int], seconds: float, products: int
) -> Figures:
    """Figures of all points.

    Args:
        folder: Of a server that does not run; its catalogue changes.
        floods: Streams at once, few and many.
        queues: What waits, from none on, each more than the one before.
        seconds: That each point is looked at.
        products: Of the catalogue.
    """
    meter = _Meter(folder, seconds, products)
    found: Figures = {}
    for what in ("prices", "pictures"):
        for streams in floods:
            found |= meter.flooded(what, streams)
        # What a server needs that takes pictures at all is there with few streams as with many.
        few, many = floods[0], floods[-1]
        grown = found[f"{what}_{many}_server_mb"] - found[f"{what}_{few}_server_mb"]
        found[f"{what}_mb_a_stream"] = grown / (many - few)
    for count in queues:
        found |= meter.of_operations(count)
    for count in queues:
        found |= meter.of_pictures(count)
    return found


def goals_of(memory: Figures, queues: Sequence[int]) -> Iterator[Figures]:
    """An entry for each goal."""
    bounds: dict[str, float] = {
        "prices_mb_a_stream": MOST_MB_A_STREAM,
        "pictures_mb_a_stream": MOST_MB_A_STREAM,
        f"operations_{queues[-1]}_kb_each": MOST_KB_AN_OPERATION,
        f"waiting_pictures_{queues[-1]}_mb_more": MOST_MB_OF_PICTURES,
    }
    for name, bound in bounds.items():
        if name in memory:
            met = memory[name] <= bound
            yield {"name": f"memory_{name}", "value": memory[name], "goal": bound, "met": met}


class _Meter:
    """Looks at servers of a folder, one after the other."""

    def __init__(self, folder: Path, seconds: float, products: int) -> None:
        self._folder, self._seconds, self._products = folder, seconds, products
        self._catalogue = ServerFolder(folder).catalogue("main")
        self._empty: dict[str, float] = {}
        self._words = itertools.count()

    def flooded(self, what: str, streams: int) -> Figures:
        with self._warm() as server:
            before = server.memory()
            client = Client("flooding", server.address, what, streams, self._products)
            client.begin()
            most = self._most(server)
            told = client.stop()
        name = f"{what}_{streams}"
        _talk(f"{what}, {streams} streams", most)
        return {
            f"{name}_before_mb": before.server_mb,
            **_prefixed(name, most),
            f"{name}_received": told["received"],
        }

    def of_operations(self, count: int) -> Figures:
        """So many that wait, on as many streams each time."""
        with self._warm() as server:
            client = Client("queuing", server.address, count, self._products)
            with self._tables_held():
                client.begin()
                most = self._most(server)
            told = client.stop()
        if told["answered"] != count:
            raise SystemExit(f"{told['answered']} of {count} operations were answered")
        name, more = f"operations_{count}", self._more("operations", most)
        _talk(f"{count} operations wait, on {QUEUING} streams", most)
        each = {f"{name}_kb_each": more * 1e3 / count} if count else {}
        return {**_prefixed(name, most), **each}

    def of_pictures(self, count: int) -> Figures:
        """So many that wait when a server starts, and are embedded while it is looked at."""
        missing = count - self._waiting()
        if missing > 0:
            ingest_catalogue.leave_waiting(self._catalogue, f"queue-{count}", missing)
        with IngestServer(self._folder) as server:
            clients = [Client("patching", server.address, 0, self._products)]
            if not count:  # no more than are embedded together
                clients.append(Client("putting_on", server.address, "new", "empty", AT_ONCE))
            for each in clients:
                each.begin()
            most, left = self._most(server), self._waiting()
            for each in clients:
                each.stop()
        name, more = f"waiting_pictures_{count}", self._more("pictures", most)
        _talk(f"{count} pictures wait, {left} in the end", most)
        return {**_prefixed(name, most), f"{name}_mb_more": more, f"{name}_left": left}

    def _more(self, what: str, most: Memory) -> float:
        """Megabytes beyond those of the server in which none waited, the first that was seen."""
        return most.server_mb - self._empty.setdefault(what, most.server_mb)

    @contextmanager
    def _warm(self) -> Iterator[IngestServer]:
        """A server whose tables, decoders and model are as those of one that has run for long."""
        with IngestServer(self._folder) as server:
            word = f"warm-{next(self._words)}"  # what was embedded before would wake no decoder
            Client("putting", server.address, "bytes", word, word, AT_ONCE).run()
            client = Client("patching", server.address, 0, self._products)
            client.begin()
            time.sleep(self._seconds / 2)  # what SQLite keeps in memory is there
            client.stop()
            yield server

    def _most(self, server: IngestServer) -> Memory:
        """While a client works."""
        most, until = Memory(), time.monotonic() + self._seconds
        while time.monotonic() < until:
            most = most.or_more(server.memory())
            time.sleep(LOOK_SECONDS)
        return most

    def _waiting(self) -> int:
        with self._catalogue.reading() as tables:
            return tables.waiting.count()

    @contextmanager
    def _tables_held(self) -> Iterator[None]:
        """As a command beside the server does while it writes."""
        database = self._catalogue.database
        with closing(sqlite3.connect(database, isolation_level=None, timeout=30)) as connection:
            connection.execute("BEGIN IMMEDIATE")
            yield
            connection.rollback()


def _prefixed(name: str, memory: Memory) -> Figures:
    return {f"{name}_server_mb": memory.server_mb, f"{name}_decoders_mb": memory.decoders_mb}


def _talk(what: str, most: Memory) -> None:
    line = f"  {what}: {most.server_mb:.0f} MB, decoders {most.decoders_mb:.0f}"
    print(line, file=sys.stderr, flush=True)

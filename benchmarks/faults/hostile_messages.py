"""Feeds messages that lie to every decoder and to a server, until something escapes.

    python benchmarks/faults/hostile_messages.py [--quick] [--json FILE] [--count N] [--seed N]

The long form of tests/faults/test_hostile_messages.py: 100,000 mutants of each message that a
device reads, as bytes and as a server on the loopback answers them, refused by the errors that are
written down or read, within 2 s and 400 MB; as many requests of devices to a server, over gRPC and
over HTTP, and a tenth as many of backends to each method, which may be answered by a handful of
statuses only.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import random
import resource
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from itertools import chain
from pathlib import Path
from time import perf_counter

import goals
from tests.making import hostile_tokens
from tests.making.hostile_answers import answering
from tests.making.hostile_messages import (
    ANSWERS,
    MOST_SECONDS,
    READERS,
    Caller,
    Reader,
    make_server,
    mutants,
    outcome,
    piece_requests,
    poll_requests,
)
from tests.making.hostile_requests import Backend, asked, encoded, extremes, may_be
from tests.making.hostile_tokens import STATUSES, http_answers
from tests.making.serving import serving

MOST_MB = 400.0
KEPT = 20  # mutants that escaped, in the current folder


def main() -> int:
    parser = goals.options(__doc__, quick="5,000 mutants of each message")
    parser.add_argument("--count", type=int, help="mutants of each message; 100,000 by default")
    parser.add_argument("--seed", type=int, default=33)
    arguments = parser.parse_args()
    count = arguments.count or (5_000 if arguments.quick else 100_000)
    if arguments.quick:
        print("quick: few mutants, not the full measurement")
    measured = _Measured()
    for name, reader in (READERS | hostile_tokens.READERS).items():
        measured.read(name, reader, count, arguments.seed)
    with tempfile.TemporaryDirectory() as folder, answering(Path(folder) / "pieces") as readers:
        for name, reader in readers.items():
            measured.read(name, reader, count, arguments.seed)
    with tempfile.TemporaryDirectory() as folder:
        blob = make_server(Path(folder))
        with serving(Path(folder) / "server") as address:
            caller = Caller(address.grpc)
            rng = random.Random(arguments.seed)  # noqa: S311 # no secret
            measured.run("PollRequest", mutants(poll_requests(), count, rng), _told(caller.poll))
            feed = mutants(piece_requests(blob), count, rng)
            measured.run("GetPiecesRequest", feed, _told(caller.pieces))
            caller.close()
            feed = hostile_tokens.READERS["request over HTTP"].mutants(count, rng)
            measured.run("request to a server over HTTP", feed, _answered(address.http_port))
    with tempfile.TemporaryDirectory() as folder, asked(Path(folder)) as backend:
        for name, seeds in backend.requests.items():
            feed = mutants(encoded(seeds), count // 10, random.Random(arguments.seed))  # noqa: S311 # no secret
            measured.run(f"{name}Request", chain(extremes(seeds), feed), _backend(backend, name))
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    figures = {
        "mutants_of_each": count,
        "outcomes": measured.outcomes,
        "escapes": measured.escapes,
        "longest_s": round(measured.longest_s, 3),
        "largest_resident_mb": round(peak_mb, 1),
        "seconds": round(measured.seconds, 1),
    }
    limits = {"escapes": 0, "longest_s": MOST_SECONDS, "largest_resident_mb": MOST_MB}
    return goals.told(arguments, figures, zero=(), at_most=limits)


class _Measured:
    """Outcomes of every message, and the costliest."""

    def __init__(self) -> None:
        self.outcomes: dict[str, dict[str, int]] = {}
        self.escapes = 0
        self.longest_s = self.seconds = 0.0

    def read(self, name: str, reader: Reader, count: int, seed: int) -> None:
        feed = reader.mutants(count, random.Random(seed))  # noqa: S311 # no secret
        self.run(name, feed, lambda data: outcome(reader, data))

    def run(self, name: str, feed: Iterator[bytes], tell: Callable[[bytes], str]) -> None:
        found: Counter[str] = Counter()
        began = perf_counter()
        for number, mutant in enumerate(feed):
            started = perf_counter()
            told = tell(mutant)
            self.longest_s = max(self.longest_s, perf_counter() - started)
            if told.startswith("escaped"):
                self.escapes += 1
                if self.escapes <= KEPT:
                    print(f"{name} mutant {number}: {told}", file=sys.stderr)
                    Path(f"escaped-{name.replace(' ', '-')}-{number}.bin").write_bytes(mutant)
                told = "escaped"
            found[told] += 1
        self.outcomes[name] = dict(found)
        self.seconds += perf_counter() - began


def _told(call: Callable[[bytes], str]) -> Callable[[bytes], str]:
    def tell(data: bytes) -> str:
        status = call(data)
        return status if status in ANSWERS else f"escaped: {status}"

    return tell


def _backend(backend: Backend, name: str) -> Callable[[bytes], str]:
    def tell(data: bytes) -> str:
        status = backend.told(name, data)
        return status if may_be(name, status) else f"escaped: {status}"

    return tell


def _answered(port: int) -> Callable[[bytes], str]:
    def tell(data: bytes) -> str:
        statuses = http_answers(port, data)
        told = " ".join(dict.fromkeys(statuses)) or "closed"
        return told if set(statuses) <= STATUSES else f"escaped: {told}"

    return tell


if __name__ == "__main__":
    sys.exit(main())

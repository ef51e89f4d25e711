"""A server that is asked for two hours by all kinds of callers holds no more at the end.

    python benchmarks/faults/soak.py [--minutes 120] [--quick] [--json FILE]

A backend that changes products and pictures and publishes, good devices, some that ask too often,
some strangers that mean no good, all at once, in rounds of a minute, each of which counts as a day
for what is kept for days (tests/making/soaks.py). Memory of the server (resident, and allocated by
C and not freed) and of the processes that decode for it, files that are open and what lies on the
disk are looked at after each; what they grow by an hour is the slope of a line through those after
the first quarter. Then requests as large as they may be, 32 at once, to a server that had none, and
what is left of that. Figures are written after each round: a run that is cut off leaves them. The
long form of tests/faults/test_bounded_resources.py.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import sys
import tempfile
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter

import goals
import numpy as np
from tests.making.busy_servers import OPEN, BusyServer, busy_server, waited
from tests.making.load import Load, Report
from tests.making.soaks import BROKEN, LARGE_REQUEST_COST, Backend, Round, all_at_once

from pocketlens_server.server import GIVE_BACK_SECONDS

MIB = 1 << 20
LARGE = 32  # requests of a mebibyte at once
ROUND_SECONDS, LARGE_SECONDS = 60, 10
CLOSED_SECONDS = 10  # that connections have to be gone after a round
LEFT_MIB = 4  # of large requests, once the server gave back what it could


def main() -> int:
    parser = goals.options(__doc__, quick="a minute, in rounds of five seconds")
    parser.add_argument("--minutes", type=int, default=120)
    arguments = parser.parse_args()
    seconds, rounds = ROUND_SECONDS, arguments.minutes
    if arguments.quick:
        seconds, rounds = 5, 12
    with tempfile.TemporaryDirectory() as folder:
        with (
            busy_server(Path(folder), unary_seconds=10) as server,
            Backend(server) as backend,
        ):
            backend.change()  # what is loaded at first use
            soaked = Soaked(server, backend)
            for _ in range(rounds):
                soaked.add(all_at_once(server, backend, seconds, stand_back=True))
                goals.keep(arguments, soaked.figures())
        figures = soaked.figures() | large_requests(Path(folder))
    return goals.told(
        arguments,
        figures,
        zero=(
            "operations_refused",
            "dead_letters_missing",
            "rounds_with_connections_left",
            "temporary_files_an_hour",
            "large_requests_lost",
        ),
        at_least={"minutes": 120},
        # A system that writes to its disk for a second lets calls pile up.
        at_most={
            "good_calls_lost_share": 0.001,
            "memory_mib_a_large_request": LARGE_REQUEST_COST,
            "memory_mib_left_by_large_requests": LEFT_MIB,
        }
        | (
            {}
            if arguments.quick
            else {
                "memory_mib_an_hour": 1,
                "decoder_mib_an_hour": 1,
                "open_files_an_hour": 0.1,
                "files_on_disk_an_hour": 1,
                "disk_mib_an_hour": 1,
            }
        ),
    )


@dataclass
class Soaked:
    """What was found after each round.

    Attributes:
        server, backend: That are soaked.
    """

    server: BusyServer
    backend: Backend
    samples: list[tuple[float, ...]] = field(default_factory=list)
    good: list[Report] = field(default_factory=list)
    too_often: list[Report] = field(default_factory=list)
    attacks: Counter[str] = field(default_factory=Counter)
    results: Counter[str] = field(default_factory=Counter)
    left: int = 0
    letters_missing: int = 0
    version: int = 0
    began: float = field(default_factory=perf_counter)

    def add(self, found: Round) -> None:
        """Looks at the server after a round, and lets a day pass."""
        server, backend = self.server, self.backend
        # That of the backend stays.
        self.left += waited(lambda: server.connections <= 1, CLOSED_SECONDS) is None
        self.good.append(found.good)
        self.too_often.append(found.too_often)
        self.attacks.update({kind: attack.sent for kind, attack in found.attacks.items()})
        self.results += found.changes.results
        self.letters_missing += abs(BROKEN - found.changes.letters)
        self.version = found.changes.version
        backend.let_a_day_pass()
        files = backend.files
        self.samples.append(
            (
                perf_counter(),
                server.memory_bytes,
                server.allocated_bytes,
                server.decoder_memory_bytes,
                server.open_files,
                len(list(server.temporary.iterdir())),
                len(files),
                sum(files.values()),
            )
        )
        server.log.open("wb").close()  # a line a call would fill the disk

    def figures(self) -> dict[str, object]:
        """So far."""
        times, memory, allocated, decoders, files, temporary, on_disk, disk_bytes = zip(
            *self.samples, strict=True
        )
        good, too_often = (
            sum(each.sent for each in reports) for reports in (self.good, self.too_often)
        )
        an_hour = _slopes(times)
        return {
            "minutes": round((times[-1] - self.began) / 60, 1),
            "good_calls": good,
            "good_calls_lost_share": round(sum(each.lost for each in self.good) / good, 5),
            "good_calls_dropped_share": round(sum(each.dropped for each in self.good) / good, 5),
            "good_longest_ms": round(max(each.ok.longest_ms for each in self.good)),
            "calls_too_often": too_often,
            "calls_too_often_refused": sum(each.refused.count for each in self.too_often),
            **{kind.replace(" ", "_"): sent for kind, sent in self.attacks.items()},
            "operations": self.results.total(),
            "operations_refused": self.results["refused"],
            "dead_letters_missing": self.letters_missing,
            "versions": self.version,
            "rounds_with_connections_left": self.left,
            "memory_at_first_mib": round(memory[0] / MIB, 1),
            "memory_at_last_mib": round(memory[-1] / MIB, 1),
            "memory_mib_an_hour": round(an_hour(memory) / MIB, 2),
            "allocated_mib_an_hour": round(an_hour(allocated) / MIB, 2),
            "decoder_most_mib": round(max(decoders) / MIB, 1),
            "decoder_mib_an_hour": round(an_hour(decoders) / MIB, 2),
            "open_files_an_hour": round(an_hour(files), 2),
            "temporary_files_an_hour": round(an_hour(temporary), 2),
            "files_on_disk": on_disk[-1],
            "files_on_disk_an_hour": round(an_hour(on_disk), 2),
            "disk_mib": round(disk_bytes[-1] / MIB, 1),
            "disk_mib_an_hour": round(an_hour(disk_bytes) / MIB, 2),
        }


def _slopes(times: tuple[float, ...]) -> Callable[[tuple[float, ...]], float]:
    """What says of values how they grow in an hour, after the first quarter of them."""
    first = len(times) // 4
    hours = np.array(times[first:]) / 3600

    def an_hour(values: tuple[float, ...]) -> float:
        if len(hours) < 2:
            return 0.0
        return float(np.polyfit(hours - hours[0], values[first:], 1)[0])

    return an_hour


def large_requests(folder: Path) -> dict[str, object]:
    """What requests cost that are as large as they may be: of one host, more than it may ask."""
    with busy_server(folder, **OPEN) as server:
        Load(server.port, seconds=1, callers=LARGE, connections=LARGE).run()
        server.forget_most_memory()
        before = server.memory_bytes
        found = Load(
            server.port, LARGE_SECONDS, callers=LARGE, connections=LARGE, request_bytes=MIB
        ).run()
        cost = (server.most_memory_bytes - before) / LARGE
        waited(lambda: server.memory_bytes - before < LEFT_MIB * MIB, GIVE_BACK_SECONDS + 15)
        left = server.memory_bytes - before
    return {
        "large_requests": found.sent,
        "large_requests_lost": found.lost,
        "memory_mib_a_large_request": round(cost / MIB, 1),
        "memory_mib_left_by_large_requests": round(left / MIB, 1),
    }


if __name__ == "__main__":
    sys.exit(main())

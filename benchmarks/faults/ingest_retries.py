"""Sends the same requests again after every possible failure, 10,000 and more (RELIABILITY row 24).

    python benchmarks/faults/ingest_retries.py [--cuts N] [--quick] [--json FILE]

A process that takes requests is killed before each call that changes its folder, has no room at
each, once and for good, and has each flush fail, which must not be called success; streams are cut
after any byte of what is sent or answered. Then the same requests come again, what is newer, and
the same once more. A retry counts that was answered as one: the server knew the request. The long
form of tests/faults/test_ingest_retries.py.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import errno
import random
import sys
from dataclasses import replace
from pathlib import Path
from time import perf_counter

import goals
from tests.making import fault_shim
from tests.making.backend_operations import Judgement
from tests.making.backend_processes import BackendProcesses
from tests.making.backend_retries import Round, cut_streams, disk_rounds
from tests.making.fault_rounds import scratch_folder
from tests.making.fault_shim import KILL, TAKES_ROOM, Fault, Kind
from tests.making.serving import serving
from tests.making.tiles import TileShop

CUTS, EACH = 500, 10  # streams, and operations of each
RETRIES = 10_000
FULL = Fault(errno.ENOSPC, kinds=TAKES_ROOM)
FAULTS = {
    "killed": Fault(KILL),
    "full_once": FULL,
    "full_for_good": replace(FULL, lasting=True),
    "flush_failed": Fault(errno.EIO, kinds=Kind.SYNC),
}


def main() -> int:
    parser = goals.options(__doc__, quick="every 40th call, 20 cuts")
    parser.add_argument("--cuts", type=int, default=CUTS)
    arguments = parser.parse_args()
    every, cuts = (40, 20) if arguments.quick else (1, arguments.cuts)
    if reason := fault_shim.missing():
        sys.exit(f"This cannot run here: {reason}.")
    began = perf_counter()
    with scratch_folder() as scratch:
        with BackendProcesses.started(fault_shim.built(scratch)) as processes:
            done = {
                name: [
                    each
                    for is_kept in (False, True)
                    for each in disk_rounds(processes, scratch, fault, is_kept=is_kept, every=every)
                ]
                for name, fault in FAULTS.items()
            }
        found = streams(scratch / "shop", cuts)
    rounds = [each for its in done.values() for each in its]
    known = sum(each.retried for each in rounds)
    figures = {
        "retries": known + found.results["repeated"],
        "retries_after_faults_of_the_disk": known,
        "retries_after_cuts": found.results["repeated"],
        **{f"{name}_rounds": len(its) for name, its in done.items()},
        "cut_streams": found.results["cut"],
        "cut_operations": found.operations,
        "doubled": sum(each.doubled for each in rounds) + found.doubled,
        "lost": found.lost,
        "wrong": told(rounds) + len(found.differences),
        "seconds": round(perf_counter() - began, 1),
    }
    print("\n".join(found.differences), file=sys.stderr)
    return goals.told(
        arguments, figures, zero=("doubled", "lost", "wrong"), at_least={"retries": RETRIES}
    )


def streams(folder: Path, cuts: int) -> Judgement:
    """Streams that are cut, to a server of their own."""
    shop = TileShop(folder, {})
    rng = random.Random(24)  # noqa: S311 # operations and bytes, no secrets
    with serving(shop.folder / "server") as address:
        return cut_streams(shop.catalogue, address.port, rng, cuts=cuts, each=EACH)


def told(rounds: list[Round]) -> int:
    """How many rounds were not as they should be; each is told on stderr."""
    wrong = [each for each in rounds if each.complaints]
    for each in wrong:
        print(f"{each.fault}: {each.complaints}", file=sys.stderr)
    return len(wrong)


if __name__ == "__main__":
    sys.exit(main())

"""Alters signed metadata on its way to a device: nothing that was altered may be believed.

    python benchmarks/faults/signed_metadata.py [--quick] [--json FILE]

The long form of tests/faults/test_signed_metadata.py: every byte of every file that a device
fetches has a bit changed; every combination of six versions of four files is offered, to a device
at each of them; every file has no end.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from time import perf_counter

import goals
from tests.making.altered_metadata import (
    FRAME,
    MOST_BYTES,
    Shelves,
    flips,
    read_of_endless,
    with_everything_new,
)
from tests.making.repositories import Repository


def main() -> int:
    arguments = goals.options(__doc__, quick="every 16th byte, three versions").parse_args()
    if arguments.quick:
        print("quick: few bytes and versions, not the full measurement")
    began = perf_counter()
    with tempfile.TemporaryDirectory() as name:
        repository, trusted = with_everything_new(Path(name) / "new")
        flipped = flips(repository, trusted, step=16 if arguments.quick else 1)
        shelves = Shelves(Repository.make(Path(name) / "mixed"), 3 if arguments.quick else 6)
        mixes = wrong_mixes = 0
        for at in range(len(shelves.files)):
            accepted, consistent = shelves.accepted(at), shelves.consistent(at)
            mixes += len(shelves.files) ** 4
            wrong_mixes += len(accepted.items() ^ consistent.items())
        beyond = 0
        for kind, most in MOST_BYTES.items():
            for frame in (bytes(FRAME), b'{"signed":'.ljust(FRAME), b"{"):
                taken = read_of_endless(repository, trusted, kind, frame)
                beyond += not 0 < taken <= most + len(frame)
    figures = {
        "flips": flipped.refused + flipped.equal + len(flipped.wrong),
        "flips_refused": flipped.refused,
        "flips_of_equal_meaning": flipped.equal,
        "flips_believed": len(flipped.wrong),
        "mixes": mixes,
        "mixes_wrong": wrong_mixes,
        "endless_files": 3 * len(MOST_BYTES),
        "endless_read_beyond_limit": beyond,
        "seconds": round(perf_counter() - began, 1),
    }
    for each in flipped.wrong:
        print("believed:", *each, file=sys.stderr)
    return goals.told(
        arguments, figures, zero=("flips_believed", "mixes_wrong", "endless_read_beyond_limit")
    )


if __name__ == "__main__":
    sys.exit(main())

"""Alters signed metadata on its way to a device: nothing that was altered may be believed.

    python benchmarks/faults/signed_metadata.py [--quick] [--json FILE]

The long form of tests/faults/test_signed_metadata.py: every byte of every file that a device
fetches has a bit changed; every combination of six versions of four files is offered, to a device
at each of them; every file has no end.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path
from time import perf_counter

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

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
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="every 16th byte, three versions")
    parser.add_argument("--json", type=Path, help="write figures and goals there")
    arguments = parser.parse_args()
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
    goals = [
        {"name": name, "value": figures[name], "goal": 0, "met": figures[name] == 0}
        for name in ("flips_believed", "mixes_wrong", "endless_read_beyond_limit")
    ]
    print(json.dumps(figures, indent=1))
    for each in flipped.wrong:
        print("believed:", *each)
    if arguments.json:
        arguments.json.write_text(json.dumps({"figures": figures, "goals": goals}, indent=2))
    return 0 if all(goal["met"] for goal in goals) else 1


if __name__ == "__main__":
    sys.exit(main())

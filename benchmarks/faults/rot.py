"""Flips bits in all that a device keeps, and searches, or syncs, after each.

    python benchmarks/faults/rot.py [--quick] [--json FILE]

Every flip must be noticed or change no answer, and end no process: of the database, its write-ahead
log, the codebook in it, the bundle, each byte of what is trusted, and each of a fetched piece. The
long form of tests/faults/test_rot.py.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import sys

import goals
import numpy as np
from tests.making.courses import DELTA, INSTALL, Course
from tests.making.fault_rounds import scratch_folder
from tests.making.rot import Found, Rot

FLIPS = 5_000


def main() -> int:
    arguments = goals.options(__doc__, quick="40 flips a file").parse_args()
    flips, every = (40, 64) if arguments.quick else (FLIPS, 1)
    rng, found = np.random.default_rng(9), dict[str, Found]()
    with scratch_folder() as scratch:
        rot = Rot(Course.make(scratch / "course", (INSTALL, DELTA)), scratch)
        for name, path, places in (
            ("database", rot.database, None),
            ("wal", rot.wal, None),
            ("codebook", rot.database, rot.codebook()),
            ("bundle", rot.bundle, None),
        ):
            found[name] = rot.of_file(path, rng, flips=flips, places=places)
        found["metadata"] = rot.of_metadata(every=every, synced_every=16)
        found["piece"] = rot.of_pieces(every=every)
    for name, each in found.items():
        print("\n".join(f"{name}: {text}" for text in each.wrong[:3]), file=sys.stderr)
    figures = {
        **{f"{name}_flips": each.flips for name, each in found.items()},
        **{f"{name}_noticed": each.noticed for name, each in found.items()},
        "wrong": sum(len(each.wrong) for each in found.values()),
        "signals": sum(each.signals for each in found.values()),
    }
    always = {
        f"{name}_unnoticed": found[name].flips - found[name].noticed
        for name in ("codebook", "bundle", "metadata")
    }
    return goals.told(arguments, figures | always, zero=("wrong", "signals", *always))


if __name__ == "__main__":
    sys.exit(main())

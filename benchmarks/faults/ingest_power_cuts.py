"""Cuts the power at any moment of what a server takes: 2,000 images of its database and pictures.

    python benchmarks/faults/ingest_power_cuts.py [--images N] [--quick] [--json FILE]

Operations, pictures whole and in parts, embeddings, publishes; half of the images are of a server
that keeps its connection open. tests/making/crash_images.py says what a cut may leave. Beside them
the same without flushes (synchronous = OFF, and NORMAL): of that something must be lost, or these
cuts show nothing. The long form of tests/faults/test_ingest_power_cuts.py.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import random
import sys
import tempfile
from pathlib import Path
from time import perf_counter

import goals
from tests.making import fault_shim
from tests.making.backend_power_cuts import Cuts, cut, recorded
from tests.making.backend_processes import BackendProcesses, planted_server
from tests.making.fault_rounds import scratch_folder
from tests.making.planting import Defect

IMAGES, ROUNDS = 2000, 6
CARELESS_IMAGES = 100


def main() -> int:
    parser = goals.options(__doc__, quick="100 images")
    parser.add_argument("--images", type=int, default=IMAGES)
    arguments = parser.parse_args()
    images = 100 if arguments.quick else arguments.images
    if reason := fault_shim.missing():
        sys.exit(f"This cannot run here: {reason}.")
    began, rng = perf_counter(), random.Random(5)  # noqa: S311 # moments, no secrets
    with scratch_folder() as scratch, tempfile.TemporaryDirectory() as folder:
        library = fault_shim.built(scratch)

        def cuts_of(source: Path | None, count: int, *, is_kept: bool) -> Cuts:
            with BackendProcesses.started(library, source=source) as processes:
                recording = recorded(processes, scratch, rounds=ROUNDS, is_kept=is_kept)
            return cut(recording, scratch, images=count, rng=rng)

        done = [cuts_of(None, images // 2, is_kept=is_kept) for is_kept in (False, True)]
        noticed = {}
        for instead in ("OFF", "NORMAL"):
            text = "PRAGMA synchronous = "
            defect = Defect("folders.py", f"{text}FULL", f"{text}{instead}")
            source = planted_server(Path(folder) / instead, defect)
            noticed[instead] = cuts_of(source, CARELESS_IMAGES, is_kept=True)
    for each in done:
        print("\n".join(each.wrong), file=sys.stderr)
    figures = {
        "images": sum(each.images for each in done),
        "corrupt": sum(each.corrupt for each in done),
        "half": sum(each.half for each in done),
        "lost_acknowledged": sum(each.lost for each in done),
        "pictures_lost": sum(each.pictures_lost for each in done),
        "synced": sum(each.synced for each in done),
        "not_whole": sum(each.not_whole for each in done),
        "careless_images": sum(each.images for each in noticed.values()),
        **{
            f"careless_{name.lower()}_corrupt_half_or_lost": each.corrupt + each.half + each.lost
            for name, each in noticed.items()
        },
        "seconds": round(perf_counter() - began, 1),
    }
    return goals.told(
        arguments,
        figures,
        zero=("corrupt", "half", "lost_acknowledged", "pictures_lost", "not_whole"),
        at_least={
            "images": IMAGES,
            "careless_off_corrupt_half_or_lost": 1,
            "careless_normal_corrupt_half_or_lost": 1,
        },
    )


if __name__ == "__main__":
    sys.exit(main())

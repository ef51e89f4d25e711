"""Cuts the power at any moment of a device's way, some 20,000 times.

    python benchmarks/faults/power_cuts.py [--images N] [--quick] [--json FILE]

The long form of tests/faults/test_power_cuts.py; tests/making/crash_images.py says what a cut may
leave. Half of the images are of a device that somebody searches all the while, so that nothing
leaves the write-ahead log. Beside them, the same with synchronous=OFF in the SDK: images of that
must be lost or damaged, or these cuts show nothing.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import random
import sys
import tempfile
from pathlib import Path
from time import perf_counter

import goals
from failing_devices import failing_device
from tests.making import fault_shim
from tests.making.courses import DELTA, INSTALL, SIGN, SWAP, Course
from tests.making.devices import Device
from tests.making.planting import Defect, planted_sdk
from tests.making.power_cuts import Cuts, cut, recorded

IMAGES = 20_000
CARELESS = Defect("store/database.py", "synchronous = FULL", "synchronous = OFF")


def main() -> int:
    parser = goals.options(__doc__, quick="400 images")
    parser.add_argument("--images", type=int, default=IMAGES)
    arguments = parser.parse_args()
    images = 400 if arguments.quick else arguments.images
    began = perf_counter()
    with (
        failing_device() as (device, scratch),
        tempfile.TemporaryDirectory() as folder,
    ):
        kinds = (INSTALL, DELTA, SIGN, DELTA, SWAP, DELTA, DELTA, SIGN, SWAP, DELTA)
        course = Course.make(scratch / "course", kinds)
        rng = random.Random(5)  # noqa: S311 # moments, no secrets

        def cuts_of(which: Device, count: int, *, keeps_open: bool) -> Cuts:
            session = recorded(which, course, scratch, keeps_open=keeps_open)
            return cut(session, scratch, images=count, rng=rng)

        done = [cuts_of(device, images // 2, keeps_open=keeps_open) for keeps_open in (False, True)]
        sdk = planted_sdk(Path(folder) / "sdk", CARELESS)
        with Device.started(fault_shim.built(scratch), source=sdk) as careless:
            noticed = cuts_of(careless, 200, keeps_open=True)
    for each in done:
        print("\n".join(each.wrong), file=sys.stderr)
    figures = {
        "images": sum(each.images for each in done),
        "corrupt": sum(each.corrupt for each in done),
        "torn": sum(each.torn for each in done),
        "lost_acknowledged": sum(each.lost for each in done),
        "careless_images": noticed.images,
        "careless_corrupt_torn_or_lost": noticed.corrupt + noticed.torn + noticed.lost,
        "seconds": round(perf_counter() - began, 1),
    }
    return goals.told(
        arguments,
        figures,
        zero=("corrupt", "torn", "lost_acknowledged"),
        at_least={"images": IMAGES, "careless_corrupt_torn_or_lost": 1},
    )


if __name__ == "__main__":
    sys.exit(main())

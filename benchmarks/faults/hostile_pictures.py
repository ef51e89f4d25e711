"""Feeds broken pictures to the decoder until something escapes, or the count is reached.

    python benchmarks/faults/hostile_pictures.py [--quick] [--json FILE] [--count N] [--seed N]

The long form of tests/faults/test_hostile_pictures.py: 100,000 mutants of pictures of every kind
that is read. Only a PictureError may come out, within 2 s of CPU time and 300 MB.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import argparse
import json
import sys
import warnings
from collections import Counter
from pathlib import Path
from time import process_time
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.making import pictures as making

from pocketlens.errors import PictureError
from pocketlens.formats.bundle import Spec
from pocketlens.query.pictures import tensor

SPEC = Spec("hostile", 64, 64, 8)
MOST_SECONDS, MOST_MB = 2.0, 300.0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="5,000 mutants")
    parser.add_argument("--json", type=Path, help="write figures and goals there")
    parser.add_argument("--count", type=int, help="mutants; 100,000 by default")
    parser.add_argument("--seed", type=int, default=32)
    arguments = parser.parse_args()
    warnings.simplefilter("error")  # a warning that leaves the SDK counts as an escape
    count = arguments.count or (5_000 if arguments.quick else 100_000)
    if arguments.quick:
        print("quick: few mutants, not the full measurement")
    figures = measure(count, arguments.seed)
    limits = {"escapes": 0, "longest_cpu_s": MOST_SECONDS, "largest_resident_mb": MOST_MB}
    goals = [
        {"name": name, "value": figures[name], "goal": goal, "met": figures[name] <= goal}
        for name, goal in limits.items()
    ]
    print(json.dumps(figures, indent=1))
    for goal in goals:
        met = "met" if goal["met"] else "MISSED"
        print(f"goal: {goal['name']} {goal['value']} <= {goal['goal']}: {met}")
    if arguments.json:
        arguments.json.write_text(json.dumps({"figures": figures, "goals": goals}, indent=2))
    return 0 if all(goal["met"] for goal in goals) else 1


def measure(count: int, seed: int) -> dict[str, Any]:
    """Outcomes by name, and the costliest; a mutant that escapes is kept in the current folder."""
    outcomes: Counter[str] = Counter()
    longest, escapes = 0.0, 0
    for number, mutant in enumerate(making.mutants(_seeds(), count, np.random.default_rng(seed))):
        started = process_time()
        try:
            tensor(mutant, SPEC)
            outcomes["read"] += 1
        except PictureError as exc:
            outcomes[type(exc).__name__] += 1
        except Exception as exc:
            escapes += 1
            Path(f"escaped-{seed}-{number}.bin").write_bytes(mutant)
            print(f"mutant {number}: {type(exc).__name__}: {exc}", file=sys.stderr)
        longest = max(longest, process_time() - started)
    return {
        "mutants": count,
        "outcomes": dict(outcomes),
        "escapes": escapes,
        "longest_cpu_s": round(longest, 3),
        "largest_resident_mb": round(_largest_resident_mb(), 1),
    }


def _seeds() -> list[bytes]:
    small = making.drawn(48, 36)
    palette, rgba = small.convert("P"), small.convert("RGBA")
    return [
        making.encoded(small, exif=making.exif(6)),
        making.encoded(small.convert("CMYK")),
        making.encoded(small.convert("L"), restart_marker_blocks=2),
        making.encoded(small, progressive=True, icc_profile=bytes(300)),
        making.encoded(small, progressive=True, subsampling=0),
        making.encoded(small, "PNG", exif=making.exif(3)),
        making.encoded(palette, "PNG", transparency=bytes(range(256))),
        making.encoded(small.convert("1"), "PNG"),
        *(making.png_16_bit(30, 20, colour=colour) for colour in (0, 2, 4)),
        making.animated("PNG"),
        making.encoded(rgba, "WEBP", lossless=True, exif=making.exif(8)),
        making.encoded(small, "WEBP", quality=50),
        making.animated("WEBP"),
    ]


def _largest_resident_mb() -> float:
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return float("nan")
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM"))


if __name__ == "__main__":
    sys.exit(main())

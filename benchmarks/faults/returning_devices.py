"""Devices that were away come back: RELIABILITY row 22.

    python benchmarks/faults/returning_devices.py [--quick] [--json FILE]

The long form of tests/faults/test_returning_devices.py: up to 1,000 versions behind after days of
ten changes and of a tenth of the catalogue, past what the server keeps, over models that changed
once and twice, over rollbacks. Each must be whole and at head after one sync, for no more bytes
than the deltas of all the versions that it missed, or a new install, whichever is cheaper.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import sys
import tempfile
from dataclasses import asdict
from pathlib import Path
from time import perf_counter

import goals
from tests.making.returning import returns

DEARER = 1.05  # than the cheaper of the other two ways, at most


def main() -> int:
    arguments = goals.options(__doc__, quick="up to 10 versions, 100 products").parse_args()
    behind, large, products = (1, 2, 3, 5, 10, 33, 100, 300, 1000), (1, 3, 5, 10, 33), 1000
    if arguments.quick:
        behind, large, products = (1, 10), (1,), 100
    began = perf_counter()
    cases = []
    with tempfile.TemporaryDirectory() as name:
        for case in returns(Path(name), products=products, behind=behind, large=large):
            print(f"  {case.name}: {case.action}, {case.fetched_bytes:,} bytes, {case.ratio:.3f}")
            cases.append(case)
    figures = {
        "cases": len(cases),
        "not_at_head_or_not_whole": sum(not case.is_right for case in cases),
        "dearer_than_promised": sum(case.ratio > DEARER for case in cases),
        "largest_ratio": round(max(case.ratio for case in cases), 3),
        "seconds": round(perf_counter() - began, 1),
        "details": [asdict(case) | {"ratio": round(case.ratio, 3)} for case in cases],
    }
    return goals.told(
        arguments,
        figures,
        zero=("not_at_head_or_not_whole", "dearer_than_promised"),
        at_least={"cases": 20},
    )


if __name__ == "__main__":
    sys.exit(main())

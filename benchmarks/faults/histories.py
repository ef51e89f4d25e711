"""Random histories, every delta tried on a store of every version: RELIABILITY row 3.

    python benchmarks/faults/histories.py [--histories 1000] [--quick] [--json FILE]

The long form of tests/sync_server/publishing/test_published_histories.py: products and images are
created, patched, deleted and restored under their old ids, pictures are shared and orphaned,
versions rolled back, models added, codebooks replaced, old versions forgotten. At each version
every delta of every kept base is applied to the store of every version in between, and must lead to
the state hash of head.
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

from tests.making.published_histories import DIM, SINGLE_LIST_IMAGES, PublishedHistory
from tests.making.shops import make_shop

from pocketlens.query import clustering

VERSIONS = 8  # of one history, after the first


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--histories", type=int, default=1_000)
    parser.add_argument("--quick", action="store_true", help="10 histories")
    parser.add_argument("--json", type=Path, help="write figures and goals there")
    parser.add_argument("--seed", type=int, default=3, help="of the first history")
    arguments = parser.parse_args()
    if arguments.quick:
        print("QUICK: few histories show that it runs, not that it holds", file=sys.stderr)
        arguments.histories = 10
    clustering.SINGLE_LIST_IMAGES = SINGLE_LIST_IMAGES
    began = perf_counter()
    checked = relisted = 0
    wrong: dict[int, list[tuple[int, int, int, int]]] = {}
    for seed in range(arguments.seed, arguments.seed + arguments.histories):
        with tempfile.TemporaryDirectory() as folder:
            shop = make_shop(Path(folder) / "shop", products=2, dim=DIM)
            history = PublishedHistory(shop, Path(folder), seed)
            for _ in range(VERSIONS):
                history.go_on()
        checked, relisted = checked + history.checked, relisted + history.relisted
        if history.wrong:
            wrong[seed] = history.wrong
    count = sum(map(len, wrong.values()))
    figures = {
        "histories": arguments.histories,
        "deltas_applied": checked,
        "of_them_with_another_codebook": relisted,
        "deltas_that_led_elsewhere": count,
        "seconds": round(perf_counter() - began, 1),
    }
    goals = [{"name": "deltas_that_led_elsewhere", "value": count, "goal": 0, "met": count == 0}]
    print(json.dumps(figures | {"wrong": wrong}, indent=1))
    if arguments.json:
        arguments.json.write_text(json.dumps({"figures": figures, "goals": goals}, indent=1) + "\n")
    return 0 if count == 0 else 1


if __name__ == "__main__":
    sys.exit(main())

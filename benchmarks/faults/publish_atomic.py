"""Readers of the public folder while versions are published: RELIABILITY row 25.

    python benchmarks/faults/publish_atomic.py [--publishes 1000] [--quick] [--json FILE]

The long form of tests/faults/test_publish_atomic.py: 8 processes follow every name from the
timestamp to a file, asking the server on the loopback, six of them over HTTP and two over gRPC,
until the last version is published. Files that nothing names any more are collected all the while,
as every publish does; time goes by an hour a version, so that they really go.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
from time import perf_counter

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.making.public_readers import read_while
from tests.making.tiles import TileShop

OVER_HTTP, OVER_GRPC, TILES = 6, 2, 4


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--publishes", type=int, default=1_000)
    parser.add_argument("--quick", action="store_true", help="20 publishes")
    parser.add_argument("--json", type=Path, help="write figures and goals there")
    arguments = parser.parse_args()
    if arguments.quick:
        print("QUICK: few publishes show that it runs, not that it holds", file=sys.stderr)
        arguments.publishes = 20
    with tempfile.TemporaryDirectory() as folder:
        stock = dict.fromkeys(range(TILES), 0)
        shop = TileShop(Path(folder) / "shop", stock, now=datetime.now(UTC))
        shop.publish()

        def publish() -> None:
            for number in range(arguments.publishes):
                shop.stock[number % TILES] += 1
                shop.now += timedelta(hours=1)
                shop.publish()

        began = perf_counter()
        outcomes = read_while(
            shop.folder / "server", publish, over_http=OVER_HTTP, over_grpc=OVER_GRPC
        )
        seconds = perf_counter() - began
        files = sum(path.is_file() for path in shop.public.rglob("*"))
    figures = {
        "publishes": arguments.publishes,
        "reads": outcomes.reads,
        "reads_over_grpc": outcomes.reads_over_grpc,
        "versions_seen": len(outcomes.versions),
        "missing_or_other_content": len(outcomes.wrong),
        "public_files_at_the_end": files,
        "seconds": round(seconds, 1),
    }
    count = len(outcomes.wrong)
    goals = [{"name": "missing_or_other_content", "value": count, "goal": 0, "met": count == 0}]
    print(json.dumps(figures | {"wrong": outcomes.wrong[:10]}, indent=1))
    if arguments.json:
        arguments.json.write_text(json.dumps({"figures": figures, "goals": goals}, indent=1) + "\n")
    return 0 if count == 0 else 1


if __name__ == "__main__":
    sys.exit(main())

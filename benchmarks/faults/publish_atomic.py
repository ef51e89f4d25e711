"""Readers of the public folder while versions are published: RELIABILITY row 25.

    python benchmarks/faults/publish_atomic.py [--publishes 1000] [--quick] [--json FILE]

The long form of tests/faults/test_publish_atomic.py: 8 processes follow every name from the
timestamp to a file, asking the server on the loopback, six of them over HTTP and two over gRPC,
until the last version is published. Files that nothing names any more are collected all the while,
as every publish does; time goes by an hour a version, so that they really go.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import sys
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
from time import perf_counter

import goals
from tests.making.public_readers import read_while
from tests.making.tiles import TileShop

PUBLISHES, OVER_HTTP, OVER_GRPC, TILES = 1_000, 6, 2, 4


def main() -> int:
    parser = goals.options(__doc__, quick="20 publishes")
    parser.add_argument("--publishes", type=int, default=PUBLISHES)
    arguments = parser.parse_args()
    wanted, published = 20 if arguments.quick else arguments.publishes, 0
    with tempfile.TemporaryDirectory() as folder:
        stock = dict.fromkeys(range(TILES), 0)
        shop = TileShop(Path(folder) / "shop", stock, now=datetime.now(UTC))
        shop.publish()

        def publish() -> None:
            nonlocal published
            for number in range(wanted):
                shop.stock[number % TILES] += 1
                shop.now += timedelta(hours=1)
                published += shop.publish() is not None

        began = perf_counter()
        outcomes = read_while(
            shop.folder / "server", publish, over_http=OVER_HTTP, over_grpc=OVER_GRPC
        )
        seconds = perf_counter() - began
        files = sum(path.is_file() for path in shop.public.rglob("*"))
    figures = {
        "publishes": published,
        "reads": outcomes.reads,
        "reads_over_grpc": outcomes.reads_over_grpc,
        "versions_seen": len(outcomes.versions),
        "missing_or_other_content": len(outcomes.wrong),
        "public_files_at_the_end": files,
        "seconds": round(seconds, 1),
    }
    print("\n".join(outcomes.wrong[:10]), file=sys.stderr)
    return goals.told(
        arguments,
        figures,
        zero=("missing_or_other_content",),
        at_least={"publishes": PUBLISHES},
    )


if __name__ == "__main__":
    sys.exit(main())

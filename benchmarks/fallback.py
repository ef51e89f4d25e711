"""What it costs the device's answer that a server may be asked: nothing, whatever the server is.

    python benchmarks/fallback.py [--quick] [--json FILE] [--store DIR]

A search without a fallback and the first step of one with it by turns, in one process; the second
steps go on beside, in threads, as in an app. Servers: dead, silent, slow, of another protocol, and
sending what cannot be. Each has a Lens of its own now and then, so that the breaker, which spares a
server that fails, does not spare the measurement. --store names a store to search; without it one
of 1,000 coloured tiles is made.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from time import perf_counter

sys.path.insert(0, str(Path(__file__).resolve().parent))
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
from faults import goals
from tests.making.bad_servers import BAD_SERVERS
from tests.making.canaries import canary_photo
from tests.making.shop_servers import ShopServer

from pocketlens import Fallback, Lens, SearchResult, install

KINDS = ("dead", "silent", "slow", "of another protocol", "sending what cannot be")
COUNT, QUICK = 3_000, 60
FRESH = 30  # searches, after which a Lens forgets what it knows of the server
PHOTOS = 50


def main() -> int:
    parser = goals.options(__doc__, quick=f"{QUICK} searches a server")
    parser.add_argument("--store", type=Path, help="a store to search")
    arguments = parser.parse_args()
    count = QUICK if arguments.quick else COUNT
    figures: dict[str, object] = {"searches_a_server": count}
    with tempfile.TemporaryDirectory() as folder:
        store = arguments.store or made(Path(folder))
        for kind in KINDS:
            with BAD_SERVERS[kind]() as address:
                plain, first = timed(store, address, count, Path(folder) / f"{kind}.sqlite")
            name = kind.replace(" ", "_")
            for part in (50, 99):
                figures[f"{name}_p{part}_ratio"] = round(
                    float(np.percentile(first, part) / np.percentile(plain, part)), 3
                )
            figures[f"{name}_p99_ms"] = round(float(np.percentile(first, 99)) * 1e3, 2)
            figures[f"{name}_plain_p99_ms"] = round(float(np.percentile(plain, 99)) * 1e3, 2)
            goals.keep(arguments, figures)
    names = [f"{kind.replace(' ', '_')}_p99_ratio" for kind in KINDS]
    bound = {} if arguments.quick else dict.fromkeys(names, 1.1)
    return goals.told(arguments, figures, zero=(), at_most=bound)


def made(folder: Path) -> Path:
    """A store of coloured tiles, of a server that is not asked again."""
    shop = ShopServer(folder / "shop", products=1_000)
    install(folder / "store", server=str(shop.data / "public" / "main"), root=shop.root)
    return folder / "store"


def timed(store: Path, address: str, count: int, ledger: Path) -> tuple[list[float], list[float]]:
    """Seconds of searches without a fallback, and of first steps with one, by turns."""
    photos = [canary_photo(seed) for seed in range(PHOTOS)]
    fallback = Fallback(
        address, when="always", deadline_seconds=0.3, daily_bytes=None, ledger=ledger
    )
    plain, first = [], []
    for start in range(0, count, FRESH):
        with Lens.open(store) as lens, ThreadPoolExecutor(4) as threads:
            lens.search(photos[0])  # the model is loaded
            for number in range(start, min(start + FRESH, count)):
                photo = photos[number % PHOTOS]
                for is_first in (True, False) if number % 2 else (False, True):
                    began = perf_counter()
                    if is_first:
                        steps = lens.search_in_steps(photo, 5, fallback=fallback)
                        next(steps)
                        first.append(perf_counter() - began)
                        threads.submit(finished, steps)
                    else:
                        lens.search(photo, 5)
                        plain.append(perf_counter() - began)
    return plain, first


def finished(steps: Iterator[SearchResult]) -> None:
    """Asks the server, as an app does in a thread of its own."""
    for _ in steps:
        pass


if __name__ == "__main__":
    sys.exit(main())

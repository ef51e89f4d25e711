"""Searches a network of nobody, and syncs that say nothing of what was searched.

    python benchmarks/faults/privacy.py [--quick] [--json FILE]

The long form of tests/faults/test_privacy.py: 1,000 searches in a process whose network calls are
counted, then 1,000 searches with a sync after each, over gRPC and over HTTP by turns, whose every
byte is searched for the photo, its pixels, its EXIF, its vector and the device's id; then as many
that ask a server, with embeddings and with photos, beside what the ledger lists.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from time import perf_counter

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.making.canaries import canary_photo, found_in, traces_of
from tests.making.fault_proxy import FaultProxy
from tests.making.leaving import asked
from tests.making.serving import serving
from tests.making.shop_servers import ShopServer

from pocketlens import Embedder, Lens, install

ROOT = Path(__file__).resolve().parents[2]
CHANGED_EVERY = 20  # syncs that find something


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="50 searches and 50 syncs")
    parser.add_argument("--json", type=Path, help="write figures and goals there")
    arguments = parser.parse_args()
    count = 1_000
    if arguments.quick:
        print("quick: few searches, not the full measurement")
        count = 50
    began = perf_counter()
    with tempfile.TemporaryDirectory() as work:
        shop = ShopServer(Path(work) / "shop", products=12)
        figures = syncs(shop, Path(work), count) | searches(Path(work) / "http", count)
        figures |= fallbacks(shop, Path(work) / "grpc", count)
    figures["seconds"] = round(perf_counter() - began, 1)
    goals = [
        {"name": name, "value": figures[name], "goal": goal, "met": figures[name] == goal}
        for name, goal in (
            ("answered", count),
            ("connects", 0),
            ("traces", 0),
            *(
                (f"{kind}_{name}", goal)
                for kind in ("embedding", "photo")
                for name, goal in (
                    ("answered", count),
                    ("listed", count),
                    ("traces", 0),
                    ("unlisted_bytes", 0),
                )
            ),
        )
    ]
    print(json.dumps(figures, indent=1))
    if arguments.json:
        arguments.json.write_text(json.dumps({"figures": figures, "goals": goals}, indent=2))
    return 0 if all(goal["met"] for goal in goals) else 1


def searches(store: Path, count: int) -> dict[str, int | float]:
    """Searches in a process of their own."""
    command = [sys.executable, "-m", "tests.making.offline_searches", str(store), str(count)]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True)
    found = json.loads(done.stdout)
    return {
        "answered": found["answered"],
        "connects": len(found["events"]) + len(found["loaded"]),
    }


def syncs(shop: ShopServer, work: Path, count: int) -> dict[str, int | float]:
    """Searches and syncs by turns, over both ways."""
    traces_found, sent, most = 0, 0, 0
    with ExitStack() as stack:
        address = stack.enter_context(serving(shop.data))
        lenses = []
        for kind, port in (("grpc", address.port), ("http", address.http_port)):
            proxy = stack.enter_context(FaultProxy(port))
            at = f"127.0.0.1:{proxy.port}"
            server = at if kind == "grpc" else f"http://{at}/main"
            install(work / kind, server=server, root=shop.root)
            device = json.loads((work / kind / "sync.json").read_text())["device"]
            lenses.append((proxy, stack.enter_context(Lens.open(work / kind)), device))
        (bundle,) = (work / "grpc").glob("files/*.tflite")
        embedder = stack.enter_context(Embedder.open(bundle))
        for seed in range(count):
            proxy, lens, device = lenses[seed % 2]
            photo = canary_photo(seed)
            lens.search(photo)
            if seed % CHANGED_EVERY == 0:
                shop.stock[3] += 1
                shop.publish()
            proxy.asked.clear()
            lens.sync()
            traces = traces_of(photo, embedder.embed(photo), seed=seed, secrets={"id": device})
            traces_found += len(found_in(bytes(proxy.asked), traces))
            sent += len(proxy.asked)
            most = max(most, len(proxy.asked))
    return {
        "syncs": count,
        "traces": traces_found,
        "bytes_sent_a_sync": round(sent / count),
        "most_bytes_sent_in_a_sync": most,
    }


def fallbacks(shop: ShopServer, store: Path, count: int) -> dict[str, int | float]:
    """Searches that ask a server afterwards, with what may leave."""
    figures: dict[str, int | float] = {}
    with serving(shop.data) as address:
        for kind in ("embedding", "photo"):
            left = asked(store, address.port, send=kind, count=count)
            figures |= {
                f"{kind}_answered": left.answered,
                f"{kind}_listed": left.listed,
                f"{kind}_traces": len(left.traces),
                f"{kind}_unlisted_bytes": left.unlisted_bytes,
                f"{kind}_bytes_sent_a_search": round(left.sent_bytes / count),
            }
    return figures


if __name__ == "__main__":
    sys.exit(main())

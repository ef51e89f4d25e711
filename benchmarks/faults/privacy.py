"""Searches that tell nobody, syncs that say nothing of them, and fallbacks that say what they may.

    python benchmarks/faults/privacy.py [--quick] [--json FILE]

The long form of tests/faults/test_privacy.py: 1,000 searches in a process whose network calls are
counted, then 1,000 searches with a sync after each, over gRPC and over HTTP by turns, whose every
byte is searched for the photo, its pixels, its EXIF, its vector and the device's id. Then 1,000
searches each that may ask a server: where none is needed, nothing may leave; where an embedding
may, its question and nothing else, to the byte; where a photo may, a small copy without EXIF; and
the ledger lists what left.
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
from tests.making.fallback_privacy import Kind, searched
from tests.making.fault_proxy import FaultProxy
from tests.making.serving import serving
from tests.making.shop_servers import ShopServer

from pocketlens import Embedder, Fallback, Lens, install
from pocketlens.errors import QueryError

ROOT = Path(__file__).resolve().parents[2]
CHANGED_EVERY = 20  # syncs that find something


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="50 searches and 50 syncs of a kind")
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
        figures |= fallbacks(Path(work) / "http", Path(work), count)
    figures["seconds"] = round(perf_counter() - began, 1)
    goals = [
        {"name": name, "value": figures[name], "goal": goal, "met": figures[name] == goal}
        for name, goal in _goals(count).items()
    ]
    print(json.dumps(figures, indent=1))
    if arguments.json:
        arguments.json.write_text(json.dumps({"figures": figures, "goals": goals}, indent=2))
    return 0 if all(goal["met"] for goal in goals) else 1


def _goals(count: int) -> dict[str, int]:
    """What each figure has to be."""
    names = list(_FALLBACKS.values())
    goals = {"answered": count, "connects": 0, "traces": 0, "without_consent": 0}
    goals |= {f"{name}_{what}": 0 for name in names for what in _NOTHING}
    asked = {f"{name}_answered": count for name in names if name != "unneeded"}
    return goals | asked | {"unneeded_answered": 0, "unneeded_wire_bytes": 0}


_FALLBACKS: dict[Kind, str] = {
    "not needed": "unneeded",
    "embedding": "embedding",
    "photo": "photo",
}
_NOTHING = ("traces", "logged", "unexpected", "unlisted")


def fallbacks(store: Path, work: Path, count: int) -> dict[str, int | float]:
    """Searches that may ask a server."""
    figures: dict[str, int | float] = {}
    for kind, name in _FALLBACKS.items():
        told = searched(store, work, kind, count=count)
        figures |= {f"{name}_{what}": _count(getattr(told, what)) for what in _NOTHING}
        figures[f"{name}_answered"] = told.answered
        figures[f"{name}_wire_bytes"] = told.wire_bytes
        figures[f"{name}_bytes_a_question"] = round(told.sent_bytes / count)
    try:
        Fallback("127.0.0.1:9", send="photo")
    except QueryError:
        figures["without_consent"] = 0
    else:
        figures["without_consent"] = 1
    return figures


def _count(found: object) -> int:
    return len(found) if isinstance(found, list) else int(str(found))


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


if __name__ == "__main__":
    sys.exit(main())

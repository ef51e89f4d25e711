"""What it costs that phones follow a catalogue: bytes, seconds, memory, beside two other ways.

    python benchmarks/sync.py [--quick] [--sizes 10k,100k,1m] [--parts kinds,wire,...] [--json FILE]
        [--model SHOP.tflite] [--embeddings FILE.npz]

A server with a catalogue of spread embeddings (see vectors.py), real publishes, real gRPC on the
loopback. Without --embeddings the picture sets are embedded by --model; with neither, vectors are
synthetic and the model is a small one. With --json the figures of other sizes and parts in FILE
stay.

- kinds: a delta of 1,000 changes of each kind, in bytes a change; how long a store takes to apply
  it, flushes and hash included, and what it hands to the system to write.
- install: bytes, seconds and memory of a first sync.
- wire: a sync that finds nothing, and one that finds one price; messages, and TCP with and without
  TLS.
- behind: bytes and seconds of a device that missed 1 to 1,000 versions.
- relist: a codebook that is replaced since images came, by a twentieth at a time; in bytes an image
  and seconds, beside the sync and the publish before.
- meanwhile: searches beside syncs.
- rivals: an Annoy file, and a partial snapshot of Qdrant Edge.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from time import perf_counter
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
sys.path.insert(0, str(Path(__file__).resolve().parent))

import numpy as np
import sync_rivals
import vectors
from sync_catalogue import ShopServer
from sync_device import Searching, applied, in_child, synced
from sync_wire import Server, Wire, counted
from vectors import Embeddings

SIZES = {"10k": 10_000, "100k": 100_000, "1m": 1_000_000}
CHANGES, QUICK_CHANGES = 1000, 100
RUNS = 7  # of applying a delta; the median counts
GROWN, SHRUNK = 10_000, 22_000  # rows of a large delta at 100 k
BEHIND = (1, 10, 100, 1000)
A_DAY = 10  # changes of a version where devices are behind
PARTS = ("kinds", "wire", "meanwhile", "relist", "behind", "large", "rivals")
SYNCS, MEANWHILE_CHANGES = 20, 250  # beside which is searched; changes of each kind in one
QUIET_SECONDS = 5

Figures = dict[str, float]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="1,000 rows, few changes, no rivals")
    parser.add_argument("--json", type=Path, help="write figures and goals there")
    parser.add_argument("--sizes", default="10k,100k,1m", help="of 10k,100k,1m; all by default")
    parser.add_argument("--parts", default=",".join(PARTS), help="those above; all by default")
    parser.add_argument("--model", type=Path, help="the bundle that devices get")
    parser.add_argument("--embeddings", type=Path, help="what vectors.py wrote with that bundle")
    arguments = parser.parse_args()
    figures = _earlier(arguments.json) if arguments.json and not arguments.quick else {}
    figures["quick"] = arguments.quick
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        model, embeddings = _catalogue(arguments, work)
        figures["vectors"] = embeddings.source
        if arguments.quick:
            talk("QUICK: 1,000 rows show that it runs, not what it costs")
            figures["1k"] = measured(work, model, embeddings, 1000, PARTS, quick=True)
        else:
            for size in arguments.sizes.split(","):
                talk(f"{size} rows")
                parts = arguments.parts.split(",")
                found = measured(work, model, embeddings, SIZES[size], parts, quick=False)
                figures[size] = figures.get(size, {}) | found
                if arguments.json:
                    arguments.json.write_text(_as_json(figures))
    for goal in goals_of(figures):
        talk(f"{'reached' if goal['met'] else 'MISSED '} {goal['name']}: {goal['value']:.4g}")
    if arguments.json:
        arguments.json.write_text(_as_json(figures))
    else:
        sys.stdout.write(_as_json(figures))
    return 0


def _earlier(path: Path) -> dict[str, Any]:
    """Figures of other sizes, of a run before."""
    if not path.exists():
        return {}
    found: dict[str, Any] = json.loads(path.read_text())["figures"]
    return {} if found["quick"] else found


def _as_json(figures: Mapping[str, Any]) -> str:
    return json.dumps({"figures": figures, "goals": goals_of(figures)}, indent=1) + "\n"


def measured(
    work: Path,
    model: Path,
    embeddings: Embeddings,
    rows: int,
    parts: Collection[str],
    *,
    quick: bool,
) -> dict[str, Figures]:
    """Figures of a catalogue of so many rows."""
    place = work / str(rows)
    place.mkdir()
    shop = ShopServer.make(place / "server", model, embeddings, rows)
    found: dict[str, Figures] = {"publish": {"first_s": shop.seconds[0]}}
    found["install"] = _install(shop, place, rows)
    talk(f"  install: {found['install']}")
    ways: dict[str, Callable[[], Figures]] = {}
    if rows <= SIZES["100k"]:
        ways["kinds"] = lambda: _kinds(shop, place, QUICK_CHANGES if quick else CHANGES)
        ways["wire"] = lambda: _wire(shop, place)
        ways["meanwhile"] = lambda: _meanwhile(shop, place, 3 if quick else SYNCS)
    if SIZES["10k"] <= rows <= SIZES["100k"]:  # fewer have one list
        ways["relist"] = lambda: _relist(model, embeddings, place, rows)
    if rows <= SIZES["10k"]:
        ways["behind"] = lambda: _behind(shop, place, BEHIND[:2] if quick else BEHIND)
    if rows == SIZES["100k"]:
        ways["large"] = lambda: _large(shop, place)
        ways["rivals"] = lambda: _rivals(embeddings, rows, place)
    for name, way in ways.items():
        if name in parts:
            found[name] = way()
            talk(f"  {name}: {found[name]}")
    shutil.rmtree(place)
    return found


# --- parts ---------------------------------------------------------------------------------------


def _install(shop: ShopServer, place: Path, rows: int) -> Figures:
    manifest = shop.manifest
    took = in_child("installed", place / "device", shop.folder.public)
    size = manifest.snapshot.blob.size
    return {
        "snapshot_bytes": size,
        "codebook_bytes": manifest.codebook.size,
        "bundle_bytes": manifest.bundle.size,
        "bytes_a_row": size / rows,
        "s": took["s"],
        "peak_mb": took["peak_mb"],
        "peak_before_mb": took["peak_before_mb"],
    }


def _kinds(shop: ShopServer, place: Path, count: int) -> Figures:
    """Bytes a change beyond those of a delta that says nothing but one change of the kind."""
    found: Figures = {}
    device = place / "device"
    for name, change in shop.changes():
        change(1)
        least = shop.publish().deltas[0].blob.size
        synced(device, shop.folder.public, shop.root)
        change(count)
        delta = shop.publish().deltas[0]
        took = applied(device, shop.folder.public, delta, place, RUNS)
        synced(device, shop.folder.public, shop.root)
        found |= {
            f"{name}_bytes": (delta.blob.size - least) / (count - 1),
            f"{name}_delta_bytes": delta.blob.size,
            f"{name}_publish_s": shop.seconds[-1],
            f"{name}_apply_ms": took.seconds * 1e3,
            f"{name}_apply_and_fold_ms": took.folded_seconds * 1e3,
            f"{name}_written_bytes": took.written_bytes,
        }
    return found


def _wire(shop: ShopServer, place: Path) -> Figures:
    """Bytes of both directions together."""
    found: Figures = {}
    device = place / "device"
    for name, tls in (("plain", False), ("tls", True)):
        with Server(shop.path, place, tls=tls) as server:
            for what in ("nothing", "one_price"):
                if what == "one_price":
                    shop.new_prices(1)
                    shop.publish()
                with Wire(server.port) as wire, counted() as messages:
                    transport = server.transport(wire.port)
                    synced(device, shop.folder.public, shop.root, transport)
                    transport.close()
                    found[f"{what}_{name}_bytes"] = wire.sent + wire.received
                    if not tls:
                        found[f"{what}_message_bytes"] = messages.sent + messages.received
    return found


def _behind(shop: ShopServer, place: Path, behind: tuple[int, ...]) -> Figures:
    """Devices that stood still for so many versions, each of ten changes."""
    found: Figures = {}
    most = max(behind)
    for left in range(most, 0, -1):
        if left in behind:
            synced(place / "device", shop.folder.public, shop.root)
            shutil.copytree(place / "device", place / f"behind-{left}")
        shop.new_prices(A_DAY - 2)
        shop.delete(1)
        shop.new_images(1)
        shop.publish()
    for left in behind:
        began = perf_counter()
        report = synced(place / f"behind-{left}", shop.folder.public, shop.root)
        found[f"{left}_s"] = perf_counter() - began
        found[f"{left}_bytes"] = report.fetched_bytes
    found["snapshot_bytes"] = shop.manifest.snapshot.blob.size
    return found


def _meanwhile(shop: ShopServer, place: Path, syncs: int) -> Figures:
    """Searches of another process while nothing else runs, and those that begin within a sync."""
    queries, device = shop.embeddings.queries[:200], place / "device"
    searching = Searching(device, queries, place)
    time.sleep(QUIET_SECONDS)
    quiet = searching.stop()[:, 1] * 1e3
    searching = Searching(device, queries, place)
    spans = []
    for _ in range(syncs):
        for _, change in shop.changes():
            change(min(MEANWHILE_CHANGES, len(shop.alive) // 40))
        shop.publish()
        began = perf_counter()
        synced(device, shop.folder.public, shop.root)
        spans.append((began, perf_counter()))
    taken = searching.stop()
    within = np.zeros(len(taken), np.bool_)
    for began, ended in spans:
        within |= (taken[:, 0] >= began) & (taken[:, 0] < ended)
    beside = taken[within, 1] * 1e3
    return {
        "quiet_p50_ms": float(np.median(quiet)),
        "quiet_p99_ms": float(np.quantile(quiet, 0.99)),
        "syncing_p50_ms": float(np.median(beside)),
        "syncing_p99_ms": float(np.quantile(beside, 0.99)),
        "p99_ratio": float(np.quantile(beside, 0.99) / np.quantile(quiet, 0.99)),
        "sync_s": float(np.mean([ended - began for began, ended in spans])),
        "searches_within": len(beside),
    }


def _relist(model: Path, embeddings: Embeddings, place: Path, rows: int) -> Figures:
    """A catalogue that grows until its codebook is replaced, and a device that follows."""
    shop = ShopServer.make(place / "growing", model, embeddings, rows // 2)
    device, seconds = place / "growing-device", list[float]()
    while True:
        began = perf_counter()
        synced(device, shop.folder.public, shop.root)
        seconds.append(perf_counter() - began)
        manifest = shop.manifest
        if manifest.relist is not None:
            break
        shop.new_images(rows // 20)
        shop.publish()
    return {
        "images": manifest.images,
        "bytes_an_image": manifest.relist.blob.size / manifest.images,
        "sync_s": seconds[-1],
        "without_s": seconds[-2],
        "publish_s": shop.seconds[-1],
        "publish_without_s": shop.seconds[-2],
    }


def _large(shop: ShopServer, place: Path) -> Figures:
    """A season: many rows come, and then more go."""
    found: Figures = {}
    device = place / "device"
    shop.add(vectors.spread(shop.embeddings.gallery, GROWN + 1))
    for name, count in (("grown", GROWN + 1), ("shrunk", SHRUNK)):
        if name == "shrunk":
            shop.delete(count)
        delta = shop.publish().deltas[0]
        took = applied(device, shop.folder.public, delta, place, 3)
        synced(device, shop.folder.public, shop.root)
        found[f"{name}_bytes"] = delta.blob.size / count
        found[f"{name}_apply_s"] = took.seconds
        found[f"{name}_publish_s"] = shop.seconds[-1]
    return found


def _rivals(embeddings: Embeddings, rows: int, place: Path) -> Figures:
    spread = vectors.spread(embeddings.gallery, rows)
    annoy = sync_rivals.annoy_bytes(spread, place)
    qdrant = sync_rivals.qdrant_bytes(spread, CHANGES, place)
    return {
        **{f"annoy_{name}_bytes": size for name, size in annoy.items()},
        **{f"qdrant_{name}_bytes": size for name, size in qdrant.items()},
    }


# --- what it is for ------------------------------------------------------------------------------

GOALS = (
    ("kinds", "image_bytes", 150),
    ("kinds", "price_bytes", 12),
    ("kinds", "stock_bytes", 12),
    ("kinds", "deletion_bytes", 4),
    ("wire", "one_price_message_bytes", 4096),
    ("wire", "nothing_message_bytes", 600),
    ("relist", "bytes_an_image", 3),
    ("meanwhile", "p99_ratio", 1.5),
)
GOALS_AT_100K = (
    ("install", "snapshot_bytes", 15e6),
    ("kinds", "price_apply_ms", 20),
    ("kinds", "image_apply_ms", 60),
    ("large", "shrunk_apply_s", 3),
)
GOALS_AT_1M = (("install", "peak_mb", 512),)  # whatever the rows: a tenth of them takes 140 MB


def goals_of(figures: Mapping[str, Any]) -> list[dict[str, Any]]:
    """An entry for each goal whose figure is there."""
    found = []
    for size, parts in figures.items():
        if not isinstance(parts, dict):
            continue
        for part, name, goal in GOALS + {"100k": GOALS_AT_100K, "1m": GOALS_AT_1M}.get(size, ()):
            if part in parts:
                value = parts[part][name]
                found.append(
                    {
                        "name": f"{size}_{part}_{name}",
                        "value": value,
                        "goal": goal,
                        "met": value <= goal,
                    }
                )
    return found


def _catalogue(arguments: argparse.Namespace, work: Path) -> tuple[Path, Embeddings]:
    if arguments.model:
        if arguments.embeddings:
            return arguments.model, vectors.load(arguments.embeddings)
        return arguments.model, vectors.embed(arguments.model, every=20 if arguments.quick else 1)
    from tests.making.colour_bundle import DIM, colour_bundle

    model = work / "colours.tflite"
    model.write_bytes(colour_bundle())
    return model, vectors.synthetic(DIM)


def talk(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    raise SystemExit(main())

"""Golden files of many cases, answered by the Python SDK."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import functools
import hashlib
import json
import shutil
import struct
import tempfile
from collections.abc import Callable, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pocketlens.answering import searcher_of
from pocketlens.errors import PocketLensError, UpdateRequired
from pocketlens.formats import bundle as bundles
from pocketlens.formats import manifest as manifests
from pocketlens.formats.bundle import Calibration
from pocketlens.formats.delta import DeltaReader
from pocketlens.options import SearchOptions
from pocketlens.query.filters import Filter
from pocketlens.query.verdict import judge
from pocketlens.store import database, installs, snapshots
from pocketlens.store.applying import relisting
from pocketlens.store.applying.applier import Applier
from pocketlens.store.applying.relisting import NewCodebook
from pocketlens.store.facts import Origin, StoreFacts
from pocketlens.store.reader import Reader

TINY_BUNDLE = Path(__file__).parents[1] / "vectors" / "tiny_bundle.tflite"

Json = Mapping[str, Any]


def apply(path: str) -> str:
    """The states that streams lead to."""
    with tempfile.TemporaryDirectory(prefix="pocketlens-") as folder:
        return _answered(path, functools.partial(_apply, Path(folder)))


def relist(path: str) -> str:
    """The states that another codebook and a delta lead to."""
    with tempfile.TemporaryDirectory(prefix="pocketlens-") as folder:
        return _answered(path, functools.partial(_apply, Path(folder)))


def search(path: str) -> str:
    """The matches and verdicts of queries."""
    with tempfile.TemporaryDirectory(prefix="pocketlens-") as folder:
        return _answered(path, functools.partial(_search, Path(folder)))


def manifest(path: str) -> str:
    """The fields of manifests."""
    return _answered(path, _manifest)


def _answered(path: str, answer: Callable[[Json, Json], Json]) -> str:
    golden = json.loads(Path(path).read_text())
    found: dict[str, Json] = {}
    for name, asked in golden["cases"].items():
        try:
            found[name] = answer(golden, asked)
        except UpdateRequired:
            found[name] = {"refused": "newer"}
        except PocketLensError:
            found[name] = {"refused": "refused"}
    return json.dumps(found)


def _apply(folder: Path, golden: Json, asked: Json) -> Json:
    """One case; `folder` keeps the stores of snapshots for others."""
    first, *later = asked["streams"]
    store, whole = golden["store"], folder / first
    centroids, scale = np.zeros((store["lists"], store["dim"])), np.ones(store["dim"])
    if not (whole / "CURRENT").exists():
        _install(whole, store, golden["streams"][first], centroids, scale)
    with tempfile.TemporaryDirectory(dir=folder) as changed:
        shutil.copytree(whole, changed, dirs_exist_ok=True)
        path = installs.current(Path(changed)) / database.FILE_NAME
        for name in later:
            delta = _delta(golden["streams"][name])
            with database.changing(path) as connection:
                applier = Applier(connection, path)
                applier.apply(delta.header, delta.blocks())
                _check(applier.facts, golden["streams"][name])
        if "relist" in asked:
            _relist(Path(changed), golden, asked)
        with Reader.open(Path(changed)) as reader:
            facts = reader.facts
            lists = [reader.read_list(number)[0].tolist() for number in range(facts.lists)]
    return {
        "version": facts.version,
        "images": facts.images,
        "products": facts.products,
        "lists": lists,
        "state_hash": facts.state_hash.hex(),
    }


def _relist(folder: Path, golden: Json, asked: Json) -> None:
    """Gives the store another codebook, and applies a delta to it."""
    install, delta = installs.current(folder), _delta(golden["streams"][asked["delta"]])
    data = bytes.fromhex(golden["codebooks"][asked["codebook"]])
    lists, dim = struct.unpack_from("<II", data)
    centroids = np.frombuffer(data, "<f2", offset=8).reshape(lists, dim)
    path = install / database.FILE_NAME
    with database.changing(path) as connection:
        stream = _delta(golden["relists"][asked["relist"]])
        codebook = NewCodebook(centroids, probes=1, probes_estimated=True)
        applier = Applier(connection, path, relisting.relist(connection, install, stream, codebook))
        applier.apply(delta.header, delta.blocks())
        _check(applier.facts, golden["streams"][asked["delta"]])


def _search(folder: Path, golden: Json, asked: Json) -> Json:
    data = bytes.fromhex(golden["codebook"])
    centroids = np.frombuffer(data, "<f2", offset=8).reshape(np.frombuffer(data, "<u4", 2))
    scale = np.frombuffer(bytes.fromhex(golden["scale"]), "<f4").astype(np.float32)
    query = np.frombuffer(bytes.fromhex(asked["query"]), "<f4").astype(np.float32)
    calibration = Calibration("device", **golden["calibration"]) if asked["calibrated"] else None
    wanted = None if asked["filter"] is None else _filter(asked["filter"])
    if not (folder / "CURRENT").exists():
        _install(folder, golden["store"], golden["snapshot"], centroids, scale)
    with Reader.open(folder) as reader:
        options = SearchOptions(probes=asked["probes"])
        bundle = bundles.decode(TINY_BUNDLE.read_bytes())
        found = searcher_of(reader, bundle, options=options).search(query, asked["k"], wanted)
        judged = judge(found.similarity, found.margin, reader.facts.products, calibration)
    return {
        "matches": [
            {
                "product": group.product_keys[0],
                "alternatives": group.product_keys[1:],
                "image": group.image_key,
                "similarity": group.similarity,
            }
            for group in found.groups
        ],
        "matches_in_filter": found.matching_products,
        "verdict": judged.verdict.name.lower(),
        "confidence": judged.confidence,
    }


def _manifest(_golden: Json, asked: Json) -> Json:
    found = manifests.decode(bytes.fromhex(asked["bytes"]))
    return {
        "catalogue": found.catalogue,
        "generation": found.generation.hex(),
        "version": found.version,
        "state_hash": found.state_hash.hex(),
        "images": found.images,
        "products": found.products,
        "scale": found.scale.tolist(),
        "bundle": found.bundle.sha256.hex(),
        "codebook": found.codebook.sha256.hex(),
        "probes": found.probes,
        "snapshot": found.snapshot.head,
        "deltas": [each.base for each in found.deltas],
    }


def _install(
    folder: Path,
    store: Json,
    snapshot: Json,
    centroids: npt.NDArray[np.floating],
    scale: npt.NDArray[np.floating],
) -> None:
    """Makes a store of a snapshot."""
    delta = _delta(snapshot)
    header = delta.header
    of_store = bytes.fromhex(store["generation"]), bytes.fromhex(store["codebook_sha256"])
    if (header.base, header.generation, header.codebook_sha256) != (0, *of_store):
        raise PocketLensError("Expected a snapshot of this store.")
    data = TINY_BUNDLE.read_bytes()
    origin = Origin(
        generation=store["generation"],
        bundle_sha256=hashlib.sha256(data).digest(),
        catalogue=store["catalogue"],
        version=header.head,
        as_of=header.as_of,
        scale=scale.astype(np.float32),
        probes=1,
        probes_estimated=True,
        codebook_sha256=header.codebook_sha256,
        saturated_share=0.0,
    )
    with installs.writing(folder), installs.new_install(folder, data) as new:
        new.generation = store["generation"]
        path = new.folder / database.FILE_NAME
        facts = snapshots.write(path, delta, centroids.astype(np.float16), origin)
        _check(facts, snapshot)


def _delta(stream: Json) -> DeltaReader:
    return DeltaReader([bytes.fromhex(stream["bytes"])], stream["inflated_size"])


def _check(facts: StoreFacts, stream: Json) -> None:
    if facts.state_hash.hex() != stream["state_hash"]:
        raise PocketLensError("Expected the state that was signed. Received another.")


def _filter(given: Json) -> Filter:
    prices = {name: Decimal(given[name]) for name in ("min_price", "max_price") if name in given}
    return Filter(**{**given, **prices})

"""Installs that cannot answer are told from those that can (RELIABILITY row 36, on the device)."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import hashlib
import struct
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from tests.making.colour_bundle import colour_bundle, described_as
from tests.making.embeddings import clustered
from tests.making.shops import Shop, bare_description, make_shop, sealed_bundle

from pocketlens import indexing
from pocketlens.answering import searcher_of
from pocketlens.errors import GoldenProbeFailed, StoreCorrupt
from pocketlens.formats import bundle as bundles
from pocketlens.formats.bundle import GoldenExample
from pocketlens.golden_probe import found_share, probe, probe_rows
from pocketlens.store import database, installs, rows
from pocketlens.store.facts import StoreFacts, from_rows, to_rows
from pocketlens.store.reader import Reader

PRODUCTS, LARGE = 60, 21_000  # above 20,000 images there is more than one list


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Shop:
    return make_shop(tmp_path_factory.mktemp("shop"), products=PRODUCTS)


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("large")
    made = make_shop(folder / "shop", products=LARGE)
    indexing.index(made.list, vectors=made.vectors, model=made.bundle, out=folder / "store")
    return folder / "store"


def built(shop: Shop, out: Path, bundle: bytes | None = None) -> Path:
    model = shop.bundle
    if bundle is not None:
        model = out.with_suffix(".tflite")
        model.write_bytes(bundle)
    indexing.index(shop.list, vectors=shop.vectors, model=model, out=out)
    return out


def probed(store: Path) -> None:
    probe(store, installs.current(store))


def test_good_installs_pass(shop: Shop, large: Path, tmp_path: Path) -> None:
    probed(built(shop, tmp_path / "small"))
    probed(large)
    with Reader.open(large) as reader:
        assert reader.facts.lists > 100
        bundle = bundles.decode(reader.bundle_path.read_bytes())
        share, images = found_share(reader, searcher_of(reader, bundle))
    assert share > 0.95
    assert images == 64


def test_two_hundred_good_catalogues_pass(tmp_path: Path) -> None:
    """Searches only: nothing in them may fail by chance."""
    description = bare_description(16)
    store = tmp_path / "store"
    shop = make_shop(tmp_path / "shop", products=PRODUCTS)
    built(shop, store)
    install, keys = installs.current(store), np.arange(1, PRODUCTS + 1, dtype=np.uint32)
    with Reader.open(store) as reader:
        scale = reader.facts.scale
    with database.changing(install / database.FILE_NAME) as connection:
        for seed in range(200):
            rng = np.random.default_rng(seed)
            embeddings = clustered(rng, PRODUCTS, 16, clusters=int(rng.integers(1, 30)))
            codes = np.clip(np.round(embeddings / scale), -127, 127).astype(np.int8)
            database.put_rows(connection, "list_chunks", [rows.chunk_row(0, keys, codes)])
            with Reader(store, install, connection) as reader:
                probe_rows(reader, description)


def other_golden(bound: float) -> bytes:
    description = bare_description(16)
    (example,) = description.golden_examples
    other = np.eye(16, dtype=np.float32)[0]
    golden = (GoldenExample(example.jpeg, example.tensor, other),)
    return sealed_bundle(replace(description, golden_examples=golden, golden_bound=bound))


def test_a_model_that_computes_otherwise_fails(shop: Shop, tmp_path: Path) -> None:
    store = built(shop, tmp_path / "store", other_golden(0.01))

    with pytest.raises(GoldenProbeFailed, match=r"litert .* drifts .* bound 1\.00e-02"):
        probed(store)


def test_a_model_that_does_not_run_fails(shop: Shop, tmp_path: Path) -> None:
    model = described_as(colour_bundle(), bare_description(16))  # which makes 48 numbers
    store = built(shop, tmp_path / "store", model)

    with pytest.raises(GoldenProbeFailed, match="its model has"):
        probed(store)


def test_a_bundle_that_was_written_badly_is_damage(shop: Shop, tmp_path: Path) -> None:
    store = built(shop, tmp_path / "store")
    next((store / "files").iterdir()).write_bytes(colour_bundle())

    with pytest.raises(StoreCorrupt, match="is not the one of this store"):
        probed(store)


def infinite_codebook(connection: database.Connection) -> None:
    facts = from_rows(connection.execute("SELECT * FROM facts").fetchall())
    centroids = np.full((facts.lists, facts.dim), np.inf, np.float16)
    _put_codebook(connection, facts, centroids)


def zero_codes(connection: database.Connection) -> None:
    for place, keys, codes, *_ in connection.execute("SELECT * FROM list_chunks").fetchall():
        zeros = np.zeros((len(keys) // 4, len(codes) * 4 // len(keys)), np.int8)
        row = rows.chunk_row(place, np.frombuffer(keys, "<u4"), zeros)
        database.put_rows(connection, "list_chunks", [row])


def other_codebook(connection: database.Connection) -> None:
    """Centroids that are in another order than the lists: whole, hashed, and wrong."""
    facts = from_rows(connection.execute("SELECT * FROM facts").fetchall())
    ((data,),) = connection.execute("SELECT centroids FROM codebook").fetchall()
    centroids = np.frombuffer(data, "<f2").reshape(facts.lists, facts.dim)
    _put_codebook(connection, facts, np.roll(centroids, facts.lists // 2, axis=0))


def _put_codebook(
    connection: database.Connection, facts: StoreFacts, centroids: npt.NDArray[np.float16]
) -> None:
    connection.execute("UPDATE codebook SET centroids = ?", [centroids.tobytes()])
    head = struct.pack("<II", *centroids.shape)
    digest = hashlib.sha256(head + centroids.tobytes()).digest()
    database.put_rows(
        connection, "facts", to_rows(replace(facts, codebook_sha256=digest, probes=2))
    )


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (zero_codes, "code of an image is zero"),
        (other_codebook, "found by their own codes"),
        (infinite_codebook, "not finite"),
    ],
    ids=["zero codes", "another codebook", "infinite codebook"],
)
def test_changes_that_cannot_be_found_fail_before_they_are_committed(
    large: Path, spoil: Callable[[database.Connection], None], says: str
) -> None:
    install = installs.current(large)
    with Reader.open(large) as reader:
        bundle = bundles.decode(reader.bundle_path.read_bytes())

    def change() -> None:
        with database.changing(install / database.FILE_NAME) as connection:
            spoil(connection)
            with Reader(large, install, connection) as reader:
                probe_rows(reader, bundle)

    with pytest.raises(GoldenProbeFailed, match=says):
        change()

    with Reader.open(large) as reader:  # undone
        probe_rows(reader, bundle)


def test_rows_that_do_not_add_up_are_damage(shop: Shop, tmp_path: Path) -> None:
    store = built(shop, tmp_path / "store")
    with database.changing(installs.current(store) / database.FILE_NAME) as connection:
        keys = np.arange(1, PRODUCTS + 1, dtype=np.uint32)
        codes = np.ones((PRODUCTS, 16), np.int8)
        database.put_rows(connection, "list_chunks", [rows.chunk_row(0, keys, codes)])

    with pytest.raises(StoreCorrupt, match="do not add up"):
        probed(store)

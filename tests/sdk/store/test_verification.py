"""`verify` finds what is wrong, also what no checksum of a row can show."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from tests.making.shops import make_shop

from pocketlens.errors import StoreNotFound
from pocketlens.indexing import index
from pocketlens.products import Image, Product
from pocketlens.store import database, installs, rows
from pocketlens.store.checksums import checksum
from pocketlens.store.facts import from_rows
from pocketlens.store.verification import verify


@pytest.fixture
def store(tmp_path: Path) -> Path:
    shop = make_shop(tmp_path / "shop", products=60, images_each=2)
    index(shop.list, vectors=shop.vectors, model=shop.bundle, out=tmp_path / "s")
    return tmp_path / "s"


def change(store: Path, statement: str, values: tuple[object, ...] = ()) -> None:
    path = installs.current(store) / database.FILE_NAME
    with closing(sqlite3.connect(path)) as connection, connection:
        assert connection.execute(statement, values).rowcount > 0


def put(store: Path, table: str, row: tuple[object, ...]) -> None:
    marks = ",".join("?" * len(row))
    change(store, f"INSERT OR REPLACE INTO {table} VALUES ({marks})", row)  # noqa: S608


def test_a_whole_store_has_no_findings(store: Path) -> None:
    found = verify(store)

    assert found.is_whole
    assert found.facts is not None
    assert found.facts.images == 120


def test_no_store_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(StoreNotFound):
        verify(tmp_path)


def with_good_checksum_image(store: Path) -> None:
    put(store, "images", rows.image_row(5, Image("another", "")))


def with_good_checksum_product(store: Path) -> None:
    part = rows.product_part(5, Product("sku-4", "Stolen title", "category 4"))
    put(store, "products", rows.product_row(part, 4))


def with_good_checksum_offer(store: Path) -> None:
    put(store, "offers", rows.offer_row(rows.offer_part(5, Product("p", stock=4))))


def with_good_checksum_code(store: Path) -> None:
    keys = np.arange(1, 121, dtype=np.uint32)
    put(store, "list_chunks", rows.chunk_row(0, keys, np.ones((120, 16), np.int8)))


def with_good_checksum_links(store: Path) -> None:
    counts, keys = np.full(120, 1, "<u4").tobytes(), np.full(120, 1, "<u4").tobytes()
    put(store, "image_products", rows.map_row(0, counts, keys))


def with_good_checksum_lists(store: Path) -> None:
    put(store, "image_lists", rows.map_row(0, np.full(120, 3, "<u2").tobytes()))


def with_good_checksum_categories(store: Path) -> None:
    put(store, "product_categories", rows.map_row(0, np.zeros(60, "<u4").tobytes()))


def with_good_checksum_attribute(store: Path) -> None:
    put(store, "attributes", rows.attribute_row("colour", "red", 0, np.array([1], "<u4").tobytes()))


def without_a_product(store: Path) -> None:
    change(store, "DELETE FROM products WHERE key = 7")
    change(store, "DELETE FROM offers WHERE product_key = 7")


def with_good_checksum_sizes(store: Path) -> None:
    put(store, "list_sizes", rows.map_row(0, np.full(1, 119, "<u4").tobytes()))


def without_a_chunk(store: Path) -> None:
    change(store, "DELETE FROM list_chunks")


def with_another_codebook(store: Path) -> None:
    change(store, "UPDATE codebook SET centroids = zeroblob(length(centroids))")


def without_bundle(store: Path) -> None:
    next((store / "files").iterdir()).unlink()


def with_a_cut_bundle(store: Path) -> None:
    path = next((store / "files").iterdir())
    path.write_bytes(path.read_bytes()[:-1])


PLANTED = {
    with_good_checksum_image: "state hash",
    with_good_checksum_product: "state hash",
    with_good_checksum_offer: "state hash",
    with_good_checksum_code: "state hash",
    with_good_checksum_sizes: "list 0",
    with_good_checksum_links: "state hash",
    with_good_checksum_lists: "belongs to another",
    with_good_checksum_categories: "filters read of product",
    with_good_checksum_attribute: "filters read of attributes",
    without_a_product: "missing",
    without_a_chunk: "list 0",
    with_another_codebook: "codebook",
    without_bundle: "bundle",
    with_a_cut_bundle: "bundle",
}


@pytest.mark.parametrize("plant", PLANTED, ids=lambda plant: plant.__name__)
def test_a_planted_fault_is_found(store: Path, plant: object) -> None:
    plant(store)  # type: ignore[operator]

    found = verify(store)

    assert not found.is_whole
    assert PLANTED[plant] in " ".join(found.findings)  # type: ignore[index]


def test_facts_survive_their_rows(store: Path) -> None:
    facts = verify(store).facts
    assert facts is not None
    path = installs.current(store) / database.FILE_NAME
    with closing(sqlite3.connect(path)) as connection:
        found = connection.execute("SELECT * FROM facts").fetchall()

    again = from_rows([*found, ("a newer fact", b"x", checksum(b"a newer fact\0x"))])

    assert again.state_hash == facts.state_hash
    assert np.array_equal(again.scale, facts.scale)

"""Views say what the rows say, to any SQLite; other tools change no state, or are found out."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import sqlite3
from contextlib import closing
from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest
from tests.making.colour_bundle import colour_bundle, fields
from tests.making.embeddings import clustered
from tests.making.shops import bare_bundle, write_csv

from pocketlens import Lens, Price, Product, install
from pocketlens.errors import StoreCorrupt
from pocketlens.indexing import index
from pocketlens.products import MINOR_DIGITS
from pocketlens.store import database, installs
from pocketlens.store.reader import Reader
from pocketlens.store.verification import verify
from pocketlens.testing import MemoryServer

PRODUCTS = 1300  # two chunks of a map, and more products than a chunk of an attribute's value holds
CURRENCIES = "EUR", "JPY", "KWD", "CLF"
VIEWS = "products_view attributes_view images_view image_products_view facts_view".split()


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store whose every third product shares the picture of the first of them."""
    folder = tmp_path_factory.mktemp("views")
    pictures = sorted({number - number % 3 for number in range(PRODUCTS)} | {1, 2})
    lines = [
        {
            "image": f"{number - number % 3 if number > 2 else number}.jpg",
            "product_id": f"sku-{number}",
            "title": f"Thing '{number}'",
            "category": f"category {number % 5}" if number % 4 else "",
            "price": "" if number % 7 == 0 else str(number),
            "currency": "" if number % 7 == 0 else CURRENCIES[number % 4],
            "stock": "" if number % 9 == 0 else str(number % 3),
            "attr.colour": "red",
            "attr.size": str(number) if number % 2 else "",
        }
        for number in range(PRODUCTS)
    ]
    vectors = clustered(np.random.default_rng(3), len(pictures), 16, clusters=9)
    place = {f"{number}.jpg": row for row, number in enumerate(pictures)}
    np.save(folder / "vectors.npy", vectors[[place[line["image"]] for line in lines]])
    (folder / "shop.tflite").write_bytes(bare_bundle(16))
    index(
        write_csv(folder / "list.csv", lines),
        vectors=folder / "vectors.npy",
        model=folder / "shop.tflite",
        out=folder / "store",
    )
    return folder / "store"


@pytest.fixture
def store(made: Path, tmp_path: Path) -> Path:
    installs.copy(made, tmp_path / "store")
    database.settle(database_of(tmp_path / "store"))
    return tmp_path / "store"


def database_of(store: Path) -> Path:
    return installs.current(store) / database.FILE_NAME


def asked(store: Path, statement: str) -> list[tuple[object, ...]]:
    """What a tool that knows nothing of PocketLens is told."""
    with closing(sqlite3.connect(f"file:{database_of(store)}?mode=ro", uri=True)) as connection:
        return connection.execute(statement).fetchall()


def told(store: Path, statement: str) -> None:
    with closing(sqlite3.connect(database_of(store))) as connection, connection:
        connection.execute(statement)


def test_products_have_prices_in_decimals(made: Path) -> None:
    found = asked(made, "SELECT * FROM products_view ORDER BY key")

    with Reader.open(made) as reader:
        products = reader.products(range(1, PRODUCTS + 1))
    assert len(found) == PRODUCTS
    for key, id_, title, category, url, price, currency, stock in found:
        product = products[int(str(key))]
        amount = None if price is None else Decimal(str(price))
        assert (id_, title, category, url) == (
            product.id,
            product.title,
            product.category,
            product.url,
        )
        assert amount == (product.price and product.price.amount)
        assert currency == (product.price and product.price.currency)
        assert stock == product.stock


def test_prices_are_in_the_minor_unit_of_each_currency(store: Path) -> None:
    currencies = [int.from_bytes(each.encode(), "big") for each in (*MINOR_DIGITS, "EUR")]
    with closing(sqlite3.connect(database_of(store))) as connection, connection:
        connection.executemany(
            "UPDATE offers SET price = 12, currency = ? WHERE product_key = ?",
            [(currency, key) for key, currency in enumerate(currencies, 1)],
        )

    found = asked(store, "SELECT price, currency FROM products_view ORDER BY key")[
        : len(currencies)
    ]

    assert [(Decimal(str(price)), currency) for price, currency in found] == [
        (Decimal(12).scaleb(-MINOR_DIGITS.get(currency, 2)), currency)
        for currency in [*MINOR_DIGITS, "EUR"]
    ]


def test_attributes_and_links_are_taken_out_of_their_blobs(made: Path) -> None:
    attributes = asked(made, "SELECT * FROM attributes_view ORDER BY product_key, name")
    links = asked(made, "SELECT * FROM image_products_view ORDER BY image_key, product_key")

    with Reader.open(made) as reader:
        products = reader.products(range(1, PRODUCTS + 1))
        pairs = list(zip(*(each.tolist() for each in reader.links()), strict=True))
        images = reader.images_only([image for image, _ in pairs])
    assert attributes == [
        (key, name, value)
        for key, product in products.items()
        for name, value in product.attributes.items()
    ]
    assert len(pairs) == PRODUCTS > len(images)
    assert links == [
        (image, images[image].id, images[image].url, key, products[key].id) for image, key in pairs
    ]


def test_images_and_facts_are_readable(made: Path) -> None:
    images = asked(made, "SELECT key, id, url FROM images_view ORDER BY key")
    facts = dict(asked(made, "SELECT name, value FROM facts_view"))

    with Reader.open(made) as reader:
        said = reader.facts
        assert images == [
            (key, image.id, image.url)
            for key, image in reader.images_only(range(1, said.images + 1)).items()
        ]
    assert facts["products"] == PRODUCTS
    assert facts["as_of"] == f"{said.as_of:%Y-%m-%dT%H:%M:%S.%fZ}"
    assert facts["state_hash"] == said.state_hash.hex()
    assert (facts["catalogue"], facts["version"]) == (said.catalogue, said.version)


@pytest.mark.parametrize("view", VIEWS)
def test_nothing_is_written_through_a_view(view: str, store: Path) -> None:
    for statement in (
        f"DELETE FROM {view}",  # noqa: S608 # our names
        f"UPDATE {view} SET rowid = 1",  # noqa: S608
        f"INSERT INTO {view} DEFAULT VALUES",
    ):
        with pytest.raises(sqlite3.OperationalError, match="because it is a view"):
            told(store, statement)

    assert verify(store).is_whole


def test_a_store_of_before_gets_its_views_when_it_is_next_written_to(store: Path) -> None:
    told(store, "DROP VIEW products_view")
    told(store, "DROP VIEW facts_view")
    told(store, "CREATE VIEW facts_view AS SELECT 1 AS older")
    with Reader.open(store) as reader:
        before = reader.facts.state_hash

    with database.changing(database_of(store)):
        pass

    assert len(asked(store, "SELECT * FROM products_view")) == PRODUCTS
    assert dict(asked(store, "SELECT * FROM facts_view"))["state_hash"] == before.hex()
    assert verify(store).is_whole


def test_a_store_that_has_its_views_is_not_written_to(store: Path) -> None:
    with database.changing(database_of(store)) as connection:
        changes = connection.total_changes
        (cookie,) = connection.execute("PRAGMA schema_version").fetchone()
    with database.changing(database_of(store)) as connection:
        assert (cookie,) == connection.execute("PRAGMA schema_version").fetchone()
        assert connection.total_changes == 0 == changes


@pytest.mark.parametrize(
    "statement",
    [
        "PRAGMA journal_mode = WAL",
        "VACUUM",
        "ANALYZE",
        "CREATE VIEW dear AS SELECT * FROM products_view",
    ],
)
def test_what_other_tools_may_do_leaves_a_store_whole(statement: str, store: Path) -> None:
    with closing(sqlite3.connect(database_of(store))) as connection:
        connection.execute(statement)

    found = verify(store)

    assert found.is_whole, found.findings
    with database.changing(database_of(store)):  # and it can be changed by its next sync
        pass
    assert verify(store).is_whole


@pytest.mark.parametrize(
    "statement",
    [
        "CREATE INDEX by_id ON products (id)",
        "CREATE TABLE notes (text)",
        "CREATE TRIGGER on_write INSTEAD OF DELETE ON images_view BEGIN SELECT 1; END",
    ],
    ids=["by_id", "notes", "on_write"],
)
def test_what_was_put_beside_the_tables_is_named(statement: str, store: Path) -> None:
    told(store, statement)

    (finding,) = verify(store).findings

    assert statement.split()[2] in finding
    with pytest.raises(StoreCorrupt, match="Another program"):
        Reader.open(store)


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE products SET title = 'Other' WHERE key = 7",
        "UPDATE offers SET price = price + 1 WHERE product_key = 8",
        "DELETE FROM images WHERE key = 9",
        "DELETE FROM attributes WHERE value = '11'",
    ],
    ids=["title", "price", "image", "attribute"],
)
def test_a_row_that_a_tool_changed_is_found(statement: str, store: Path) -> None:
    told(store, statement)

    assert not verify(store).is_whole


@pytest.mark.parametrize(
    "statement",
    [
        "CREATE TABLE notes (text)",
        "DROP VIEW products_view; CREATE TABLE products_view (price)",
        "CREATE TRIGGER worse AFTER UPDATE ON offers BEGIN DELETE FROM products; END",
        "UPDATE offers SET price = price + 1",
        "DROP TABLE offers",
    ],
    ids=["table", "table for a view", "trigger", "row", "no table"],
)
def test_the_next_sync_makes_anew_what_a_tool_broke(statement: str, tmp_path: Path) -> None:
    server, store = MemoryServer(colour_bundle()), tmp_path / "store"
    picture = fields(np.random.default_rng(1), side=64)
    for cents in (500, 600):
        server.put(Product("mug", "Mug", price=Price(cents, "EUR")), picture)
        server.publish()
        if cents == 500:
            install(store, server="memory", root=server.root, transport=server)
            with closing(sqlite3.connect(database_of(store))) as tool:
                tool.executescript(statement)

    install(store, server="memory", root=server.root, transport=server)

    assert asked(store, "SELECT price FROM products_view") == [(6.0,)]
    assert verify(store).is_whole


def test_a_tool_may_read_while_a_store_follows_its_server(tmp_path: Path) -> None:
    server, store = MemoryServer(colour_bundle()), tmp_path / "store"
    picture = fields(np.random.default_rng(1), side=64)

    def publish(cents: int) -> None:
        server.put(Product("mug", "Mug", price=Price(cents, "EUR")), picture)
        server.publish()

    publish(500)
    install(store, server="memory", root=server.root, transport=server)
    publish(600)
    price = "SELECT price FROM products_view"
    with Lens.open(store) as lens:
        lens.sync(transport=server)
        with closing(sqlite3.connect(database_of(store))) as tool:
            tool.execute("BEGIN")
            assert tool.execute(price).fetchall() == [(6.0,)]
            publish(700)
            lens.sync(transport=server)
            assert tool.execute(price).fetchall() == [(6.0,)]
    assert asked(store, price) == [(7.0,)]  # and whoever is the last to close it takes its log away

    publish(800)
    with Lens.open(store) as lens:
        lens.sync(transport=server)
        found = lens.search(picture).best
        assert found is not None
        assert str(found.product.price) == "8.00 EUR"
    assert asked(store, price) == [(8.0,)]
    assert verify(store).is_whole

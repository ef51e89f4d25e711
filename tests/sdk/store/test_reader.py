"""A store that was written is read back, whatever its size; checked against the shop itself."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import os
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from tests.making.shops import COLOURS, Shop, make_shop

from pocketlens.errors import StoreCorrupt, StoreError, StoreNotFound
from pocketlens.image_lists import read as read_list
from pocketlens.indexing import index
from pocketlens.query import codes
from pocketlens.store.reader import Reader

AS_OF = datetime(2026, 11, 20, 12, 0, 0, 123456, tzinfo=UTC)
PRODUCTS, EACH = 700, 3  # 2,100 images: three chunks of a map, seventeen of the list


@dataclass
class Opened:
    shop: Shop
    directory: Path
    reader: Reader


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Opened]:
    folder = tmp_path_factory.mktemp("reader")
    shop = make_shop(folder / "shop", products=PRODUCTS, images_each=EACH)
    index(shop.list, vectors=shop.vectors, model=shop.bundle, out=folder / "s", clock=lambda: AS_OF)
    with Reader.open(folder / "s") as reader:
        yield Opened(shop, folder / "s", reader)


def test_facts_say_what_the_store_is(opened: Opened) -> None:
    facts = opened.reader.facts

    assert (facts.images, facts.products, facts.lists) == (PRODUCTS * EACH, PRODUCTS, 1)
    assert (facts.catalogue, facts.version, facts.as_of) == ("", 1, AS_OF)
    assert (facts.dim, facts.probes, facts.probes_estimated) == (16, 1, False)
    assert facts.generation == codes.generation_id(facts.bundle_sha256, facts.scale).hex()
    assert opened.reader.bundle_path.read_bytes() == opened.shop.bundle.read_bytes()


def test_lists_hold_every_code_once(opened: Opened) -> None:
    keys, found = opened.reader.read_list(0)

    assert keys.tolist() == list(range(1, PRODUCTS * EACH + 1))
    decoded = codes.decode(found, opened.reader.facts.scale)
    assert np.abs(decoded - opened.shop.embeddings).max() <= opened.reader.facts.scale.max() / 64


def test_codes_are_found_by_image_in_the_order_asked(opened: Opened) -> None:
    _, every = opened.reader.read_list(0)
    keys = np.array([2100, 1, 1001, 1000, 1], np.uint32)

    assert np.array_equal(opened.reader.codes_of(keys), every[keys - 1])


def test_products_and_images_come_back_as_listed(opened: Opened) -> None:
    listed = read_list(opened.shop.list, need_files=False)

    images = opened.reader.images(range(1, PRODUCTS * EACH + 1))
    products = opened.reader.products(range(1, PRODUCTS + 1))

    assert [image for image, _ in images.values()] == [entry.image for entry in listed.entries]
    assert [keys for _, keys in images.values()] == [
        (n // EACH + 1,) for n in range(PRODUCTS * EACH)
    ]
    assert list(products.values()) == list(listed.products.values())


def test_links_that_were_read_give_the_same_products(opened: Opened) -> None:
    keys = [2100, 1, 1000, 1001, 7]
    with Reader.open(opened.directory) as reader:
        before = reader.images(keys)
        reader.links()

        assert reader.images(keys) == before


def test_columns_say_what_the_products_say(opened: Opened) -> None:
    columns = opened.reader.columns()
    products = opened.reader.products(columns.keys.tolist())

    for place, product in enumerate(products.values()):
        assert columns.category_names[columns.categories[place]] == product.category
        assert columns.stock[place] == (-1 if product.stock is None else product.stock)
        price, currency = -1, b""
        if product.price is not None:
            price, currency = product.price.minor_units, product.price.currency.encode()
        assert (columns.prices[place], columns.currencies[place]) == (
            price,
            int.from_bytes(currency, "big"),
        )
    assert columns.link_image_keys.tolist() == list(range(1, PRODUCTS * EACH + 1))
    assert columns.link_product_keys.tolist() == [n // EACH + 1 for n in range(PRODUCTS * EACH)]


def test_products_are_found_by_their_ids(opened: Opened) -> None:
    ids = [f"sku-{number}" for number in range(699, -1, -1)]  # more than one query takes

    assert opened.reader.product_keys(ids) == {f"sku-{n}": n + 1 for n in range(PRODUCTS)}
    assert opened.reader.product_keys(["sku-700", "sku-3", ""]) == {"sku-3": 4}
    assert opened.reader.product_keys([]) == {}


def test_keys_of_images_are_found_by_their_ids(opened: Opened) -> None:
    (first, second) = (opened.reader.images_only([key])[key].id for key in (1, 2))

    assert opened.reader.image_keys([second, first, "absent"]) == {first: 1, second: 2}


def test_attributes_lead_to_their_products(opened: Opened) -> None:
    red = opened.reader.products_with("colour", "red")

    assert red.tolist() == [n + 1 for n in range(PRODUCTS) if COLOURS[n % 3] == "red"]
    assert opened.reader.products_with("colour", "pink").tolist() == []
    assert opened.reader.products_with("size", "").tolist() == []


def test_a_key_that_is_not_there_is_an_error(opened: Opened) -> None:
    with pytest.raises(StoreCorrupt, match="row 9999 of images is missing"):
        opened.reader.images([1, 9999])
    with pytest.raises(StoreCorrupt, match="row 9999 of products is missing"):
        opened.reader.products([9999])
    with pytest.raises(StoreCorrupt, match="list 1"):
        opened.reader.read_list(1)


def test_threads_share_a_reader(opened: Opened) -> None:
    with Reader.open(opened.directory) as reader:
        expected = reader.products([5, 6]), reader.images([7]), reader.read_list(0)[1].tobytes()
        answers: list[object] = []

        def ask() -> None:
            for _ in range(20):
                answers.append(
                    (reader.products([5, 6]), reader.images([7]), reader.read_list(0)[1].tobytes())
                )

        threads = [threading.Thread(target=ask) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    assert len(answers) == 80
    assert all(answer == expected for answer in answers)


def test_a_closed_reader_says_so(opened: Opened) -> None:
    reader = Reader.open(opened.directory)
    reader.close()
    reader.close()

    with pytest.raises(StoreError, match="was closed"):
        reader.read_list(0)


def test_there_is_no_store_where_none_was_made(tmp_path: Path) -> None:
    for directory in (tmp_path, tmp_path / "none"):
        with pytest.raises(StoreNotFound, match="pocketlens index"):
            Reader.open(directory)


def test_an_open_reader_outlives_its_install(tmp_path: Path) -> None:
    shop = make_shop(tmp_path / "shop", products=60)
    kept = {"vectors": shop.vectors, "model": shop.bundle, "out": tmp_path / "s"}
    index(shop.list, **kept)
    with Reader.open(tmp_path / "s") as old:
        facts = old.facts
        shop.list.write_text(shop.list.read_text().replace("Thing", "Other"))
        index(shop.list, **kept)

        assert old.products([1])[1].title.startswith("Thing")
        assert old.read_list(0)[0].size == facts.images
        with Reader.open(tmp_path / "s") as new:
            assert new.products([1])[1].title.startswith("Other")


READ_AS_NOBODY = """
import os, sys
from pathlib import Path
from pocketlens.store.reader import Reader
from pocketlens.store.verification import verify

def read(directory):
    with Reader.open(directory) as reader:
        reader.read_list(0), reader.columns(), reader.products([1]), reader.images([1])
        return reader.facts.images, verify(directory).findings, reader.codebook_cache

directory = Path(sys.argv[1])
read(directory)  # loads every module, which another user may not be allowed to read
if os.getuid() == 0:
    os.setgroups([]), os.setgid(65534), os.setuid(65534)
try:
    (directory / "x").touch()
    sys.exit("the folder can be written to")
except OSError:
    print(*read(directory))
"""


def test_a_read_only_folder_opens_as_an_ordinary_user(tmp_path: Path) -> None:
    shop = make_shop(tmp_path / "shop", products=60)
    directory = tmp_path / "s"
    index(shop.list, vectors=shop.vectors, model=shop.bundle, out=directory)
    everything = [directory, *directory.rglob("*")]
    reachable = [each for each in directory.parents if each.stat().st_uid == os.getuid()]
    before = {each: each.stat().st_mode for each in [*everything, *reachable]}
    for each in reachable:
        if each != Path("/"):
            each.chmod(stat.S_IMODE(before[each]) | 0o055)
    for each in everything:
        each.chmod(0o555 if each.is_dir() else 0o444)

    done = subprocess.run(
        [sys.executable, "-c", READ_AS_NOBODY, str(directory)], capture_output=True, text=True
    )
    for each, mode in before.items():
        each.chmod(stat.S_IMODE(mode))

    assert done.returncode == 0, done.stderr
    assert done.stdout == "60 () None\n"
    assert set(directory.rglob("*")) | {directory} == set(everything)

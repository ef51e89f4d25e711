"""A look at a catalogue, and its page."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import re
from dataclasses import replace
from html import escape
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFilter
from tests.making.colour_bundle import colour_bundle
from tests.making.copies import CopyShop, jpeg, picture, write_shop
from tests.making.shops import make_shop

from pocketlens import Lens, Product, index, install
from pocketlens.report import catalogue_page
from pocketlens.report.survey import Category, Survey
from pocketlens.report.surveying import HUB_TIMES, look_over
from pocketlens.testing import MemoryServer

LIST = """image,product_id,title,category,price,currency,stock,image_id
sharp.jpg,p1,<b>One</b>,mugs,2.50,EUR,3,sharp
blurred.jpg,p2,Two,mugs,,,0,blurred
tiny.jpg,p3,Three,lamps,4,EUR,,tiny
copy.jpg,p4,Four,,1,EUR,1,copy
"""


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> CopyShop:
    folder = tmp_path_factory.mktemp("catalogue")
    cells = np.random.default_rng(2).integers(0, 256, (16, 16, 3), dtype=np.uint8)
    sharp = Image.fromarray(cells).resize((128, 128), Image.Resampling.NEAREST)
    shop = write_shop(
        folder,
        {
            "sharp": jpeg(sharp),
            "blurred": jpeg(sharp.filter(ImageFilter.GaussianBlur(16))),
            "tiny": jpeg(sharp.crop((0, 0, 64, 64)).resize((24, 30))),
            "copy": jpeg(sharp),
        },
    )
    shop.list.write_text(LIST)
    index(shop.list, model=folder / "colours.tflite", out=shop.store)
    return shop


@pytest.fixture(scope="module")
def survey(shop: CopyShop) -> Survey:
    return look_over(shop.store, shop.list)


def test_products_are_counted(survey: Survey) -> None:
    assert (survey.facts.images, survey.facts.products) == (4, 4)
    assert survey.categories == (
        Category("mugs", 2, 2),
        Category("", 1, 1),
        Category("lamps", 1, 1),
    )
    assert [product.id for product in survey.alone] == ["p3"]
    assert (survey.without_price, survey.out_of_stock) == (1, 1)
    assert (survey.without_image, survey.without_product) == (0, 0)


def test_image_of_two_products_is_one_image_of_their_category(tmp_path: Path) -> None:
    shop = write_shop(tmp_path, {"both": jpeg(picture(1)), "other": jpeg(picture(2))})
    shop.list.write_text(
        "image,product_id,category\nboth.jpg,p1,mugs\nboth.jpg,p2,mugs\nboth.jpg,p3,cups\n"
        "other.jpg,p3,cups\n"
    )
    index(shop.list, model=tmp_path / "colours.tflite", out=shop.store)

    assert look_over(shop.store).categories == (Category("mugs", 2, 1), Category("cups", 1, 2))


def test_poor_pictures_are_named(survey: Survey) -> None:
    assert survey.input_size == (32, 32)
    (small,) = survey.small
    assert (small.copy.image.id, small.width, small.height) == ("tiny", 24, 30)
    assert [poor.copy.image.id for poor in survey.blurred] == ["blurred"]
    assert [copy.image.id for copy in survey.duplicates.exact[0].copies] == ["sharp", "copy"]


def test_without_pictures_only_codes_and_rows_tell(shop: CopyShop) -> None:
    survey = look_over(shop.store)

    assert (survey.small, survey.blurred, survey.duplicates.pictures) == ((), (), 0)
    assert survey.facts.images == 4
    assert "Without a list of its pictures" in catalogue_page.html(survey)


@pytest.mark.parametrize("text", ["<script>alert(1)</script>", '" onerror="alert(1)', "W" * 4000])
def test_texts_of_a_catalogue_are_nothing_but_text(survey: Survey, text: str) -> None:
    (lamp,) = survey.alone
    hostile = replace(lamp, id=text[:200], title=text, category=text)

    page = catalogue_page.html(replace(survey, alone=(hostile,)))

    assert text not in page
    assert escape(text[:120]) in page


def test_page_needs_no_network(survey: Survey) -> None:
    page = catalogue_page.html(survey)

    assert re.findall(r"https?://|<script|<link|@import", page) == []
    assert set(re.findall(r'src="([^;]+);', page)) == {"data:image/jpeg"}
    assert "Three" in page
    for title in ("What is in it", "Categories", "Size of the tables", "Blurred pictures"):
        assert f"<h2>{title}</h2>" in page


def test_store_that_is_made_anew_meanwhile_is_seen_as_it_was(tmp_path: Path) -> None:
    shop = write_shop(tmp_path / "first", {name: jpeg(picture(1)) for name in "abc"})
    other = write_shop(tmp_path / "second", {"d": jpeg(picture(2))})
    done = []

    def replace(stage: str, at: int, total: int) -> None:
        if stage == "looking at pictures" and not done:
            done.append(index(other.list, model=tmp_path / "second/colours.tflite", out=shop.store))

    survey = look_over(shop.store, shop.list, progress=replace)

    assert done[0].images == 1
    assert survey.facts.images == survey.categories[0].images == 3
    assert survey.table_bytes["images"] > 0


def test_store_that_is_synced_meanwhile_is_seen_at_one_version(tmp_path: Path) -> None:
    server = MemoryServer(colour_bundle())
    for number in range(4):
        server.put(Product(f"sku-{number}"), jpeg(picture(number // 2)))
    server.publish()
    install(tmp_path / "store", server="memory", root=server.root, transport=server)
    with Lens.open(tmp_path / "store") as lens:

        def sell_out(stage: str, at: int, total: int) -> None:
            if stage == "comparing codes" and lens.facts.version == 1:
                for number in range(4):
                    server.delete(f"sku-{number}")
                server.publish()
                lens.sync(transport=server)

        before = look_over(tmp_path / "store", progress=sell_out)
        after = look_over(tmp_path / "store")

    assert (before.facts.version, before.facts.images) == (1, 4)
    assert [len(group.copies) for group in before.duplicates.same] == [2, 2]
    assert (after.facts.version, after.facts.images, after.duplicates.same) == (2, 0, ())
    assert "<td>products</td><td>0</td>" in catalogue_page.html(after)


def test_image_that_all_are_near_is_a_hub(tmp_path: Path) -> None:
    shop = make_shop(tmp_path / "shop", products=200, dim=64)
    rng = np.random.default_rng(3)
    rows = rng.standard_normal((200, 64)).astype(np.float32)
    rows[:, 0] += 6
    rows[17] = np.eye(64)[0]  # in the middle of all
    np.save(shop.vectors, rows)
    index(shop.list, vectors=shop.vectors, model=shop.bundle, out=tmp_path / "store")

    survey = look_over(tmp_path / "store")

    assert survey.hubs[0].copy.image.id == "pictures/00017-0.jpg"
    assert survey.hubs[0].times > HUB_TIMES
    assert 0 <= survey.never < 0.5


def test_tables_add_up(survey: Survey, shop: CopyShop) -> None:
    (database,) = shop.store.glob("installs/*/store.sqlite")

    assert 0 < sum(survey.table_bytes.values()) <= database.stat().st_size + len(survey.table_bytes)
    assert {"list_chunks", "products", "images"} <= set(survey.table_bytes)


def test_catalogue_of_one_image_has_a_page(tmp_path: Path) -> None:
    shop = make_shop(tmp_path / "shop", products=1)
    index(shop.list, vectors=shop.vectors, model=shop.bundle, out=tmp_path / "store")

    survey = look_over(tmp_path / "store")

    assert (survey.hubs, survey.never) == ((), 0.0)
    assert "<h1>Catalogue, version 1</h1>" in catalogue_page.html(survey)

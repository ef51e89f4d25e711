"""Words beside photos and alone, as an app asks them of a Lens."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import shutil
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.making.colour_bundle import colour_bundle, fields

from pocketlens import Filter, Lens, Price, Product, index, install
from pocketlens.errors import QueryError, StoreError
from pocketlens.store.words import FILE_NAME
from pocketlens.testing import MemoryServer

COLOURS = "red", "blue", "green", "black"
SHAPES = 6


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six mugs in four colours that a grey picture cannot tell apart; one without a picture of
    its own."""
    folder = tmp_path_factory.mktemp("word_search")
    lines = ["image,product_id,title,category,price,currency,stock,attr.colour"]
    for shape in range(SHAPES):
        rng = np.random.default_rng(shape)
        pixels = fields(rng, side=64).astype(np.int16)
        for place, colour in enumerate(COLOURS):
            noise = rng.integers(-3, 4, pixels.shape)
            picture = np.clip(pixels + noise, 0, 255).astype(np.uint8)
            Image.fromarray(picture).save(folder / f"{shape}-{colour}.png")
            name = "Tasse für Café" if shape == 5 else f"Mug number {shape}"
            lines.append(
                f"{shape}-{colour}.png,mug-{shape}-{colour},{name},mugs,"
                f"{shape + place}.50,EUR,{place % 2},{colour}"
            )
    (folder / "list.csv").write_text("\n".join(lines), "utf-8")
    (folder / "shop.tflite").write_bytes(colour_bundle())
    index(folder / "list.csv", model=folder / "shop.tflite", out=folder / "store")
    return folder


@pytest.fixture(scope="module")
def lens(shop: Path) -> Iterator[Lens]:
    with Lens.open(shop / "store") as opened:
        yield opened


def photo(shape: int) -> np.ndarray:
    return fields(np.random.default_rng(shape), side=64)


@pytest.mark.parametrize("colour", COLOURS)
def test_words_settle_what_a_photo_leaves_open(colour: str, lens: Lens) -> None:
    for shape in range(SHAPES):
        plain = lens.search(photo(shape))
        found = lens.search(photo(shape), text=colour)

        assert found.matches[0].product.id == f"mug-{shape}-{colour}"
        assert (found.verdict, found.confidence, found.best) == (
            plain.verdict,
            plain.confidence,
            plain.best,
        )
        assert found.words is not None
        assert (found.words.asked, found.words.matching) == ((colour,), SHAPES)
        assert plain.words is None


def test_words_that_no_product_has_are_told_and_the_photo_answers(lens: Lens) -> None:
    plain = lens.search(photo(1))

    found = lens.search(photo(1), text="chartreuse zebra")

    assert found.matches == plain.matches
    assert found.words is not None
    assert (found.words.unknown, found.words.matching) == (("chartreuse", "zebra"), 0)


@pytest.mark.parametrize("text", [" ", "\0", "🎉", '"', "- -"])
def test_a_text_without_words_leaves_the_answer_to_the_photo(text: str, lens: Lens) -> None:
    found = lens.search(photo(2), text=text)

    assert found.matches == lens.search(photo(2)).matches
    assert found.words is not None
    assert found.words.asked == ()


def test_filters_hold_with_words_too(lens: Lens) -> None:
    cheap = Filter(max_price=Decimal(3), in_stock=True)

    found = lens.search(photo(4), k=50, text="blue", filter=cheap)
    alone = lens.search_text("blue", k=50, filter=cheap)

    prices = [match.product for match in found.matches]
    assert prices
    assert all(each.stock and each.price and each.price.amount <= 3 for each in prices)
    assert [match.product.id for match in alone.matches] == ["mug-0-blue", "mug-1-blue"]
    assert alone.words.matching == 2
    assert (
        found.matches_in_filter
        == alone.matches_in_filter
        == len(prices) + sum(len(match.alternatives) for match in found.matches)
    )


def test_words_alone_find_those_that_have_most_of_them(lens: Lens) -> None:
    found = lens.search_text("blue cafe mug", k=8)

    assert found.matches[0].product.id == "mug-5-blue"
    assert [match.share for match in found.matches] == sorted(
        (match.share for match in found.matches), reverse=True
    )
    assert found.matches[0].image is not None
    assert found.matches[0].image.id == "5-blue.png"
    assert len(found.matches) == 8
    assert found.words.matching == len(COLOURS) * SHAPES
    assert (found.gallery_size, found.version) == (24, 1)


def test_the_beginning_of_the_last_word_is_enough(lens: Lens) -> None:
    assert {each.product.id for each in lens.search_text("tas").matches} == {
        f"mug-5-{colour}" for colour in COLOURS
    }
    assert lens.search_text("tas mugs", k=1).words.unknown == ("tas",)


def test_whatever_is_searched_with_takes_words(lens: Lens) -> None:
    photos = [photo(1), photo(1)]

    together = lens.search_together(photos, text="green")
    likely = lens.search(photo(1), text="green", category="auto")

    for found in (together, likely):
        assert found.matches[0].product.id == "mug-1-green"
        assert found.words is not None
        assert found.words.matching == SHAPES
    assert len(together.agreement) == 2
    assert likely.searched == ("mugs",)


def test_questions_that_cannot_be(lens: Lens) -> None:
    with pytest.raises(QueryError, match="k of 1 or more"):
        lens.search_text("blue", k=0)
    with pytest.raises(QueryError, match="k of 1 or more"):
        lens.search(photo(1), k=0, text="blue")
    assert lens.search_text("zebra").matches == ()


def test_a_damaged_index_ends_no_search(shop: Path, tmp_path: Path) -> None:
    store = shutil.copytree(shop / "store", tmp_path / "store")
    with Lens.open(store) as lens:
        expected = lens.search(photo(3), text="green")
    file = store / "cache" / FILE_NAME
    file.write_bytes(bytes(len(file.read_bytes())))

    with Lens.open(store) as lens:
        found = lens.search(photo(3), text="green")

    assert found.matches == expected.matches


def test_a_lens_that_moves_on_has_the_words_of_the_new_version(tmp_path: Path) -> None:
    server = MemoryServer(colour_bundle())
    for shape in range(SHAPES):
        product = Product(f"mug-{shape}", "Mug", price=Price(500, "EUR"))
        server.put(product, photo(shape))
    server.publish()
    install(tmp_path / "store", server="memory", root=server.root, transport=server)
    with Lens.open(tmp_path / "store") as lens:
        assert lens.search_text("violet").matches == ()
        server.put(Product("mug-2", "Violet mug"))
        server.publish()
        lens.sync(transport=server)

        assert [each.product.id for each in lens.search_text("violet").matches] == ["mug-2"]
        assert lens.search(photo(2), text="violet").matches[0].product.id == "mug-2"

    with pytest.raises(StoreError, match="closed"):
        lens.search_text("violet")

"""Explanations by a model whose evidence can be told by hand: sixteen fields of mean colour."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.making.colour_bundle import SIZE, colour_bundle, fields
from tests.making.shops import write_csv

from pocketlens import Filter, index
from pocketlens.errors import PictureError, QueryError
from pocketlens.explaining import captions
from pocketlens.explaining.explanation import PHOTO_SIDE, explain
from pocketlens.open_install import OpenInstall, Settings
from pocketlens.options import PictureLimits, SearchOptions
from pocketlens.products import Image as CatalogueImage

SETTINGS = Settings(SearchOptions(), "cpu", PictureLimits())


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six products of random fields, and `spot`: white but for two squares."""
    folder = tmp_path_factory.mktemp("explained")
    rng = np.random.default_rng(3)
    rows = []
    for number in range(6):
        Image.fromarray(fields(rng, side=64)).save(folder / f"{number}.png")
        rows.append({"image": f"{number}.png", "product_id": f"sku-{number}", "category": "things"})
    Image.fromarray(spot(64)).save(folder / "spot.png")
    rows.append({"image": "spot.png", "product_id": "spot", "category": "spots"})
    (folder / "shop.tflite").write_bytes(colour_bundle())
    write_csv(folder / "list.csv", rows)
    index(folder / "list.csv", model=folder / "shop.tflite", out=folder / "store")
    return folder


def spot(side: int) -> np.ndarray:
    """White, with a red and a blue square in the upper left."""
    pixels = np.full((side, side, 3), 255, np.uint8)
    pixels[: side // 4, : side // 4] = (255, 0, 0)
    pixels[: side // 4, side // 4 : side // 2] = (0, 0, 255)
    return pixels


@pytest.fixture
def install(shop: Path) -> Iterator[OpenInstall]:
    with closing(OpenInstall.opened(shop / "store", SETTINGS)) as opened:
        yield opened


def test_the_evidence_lies_where_the_picture_shows_something(install: OpenInstall) -> None:
    why = explain(install, spot(160))

    assert why.match.product.id == "spot"
    assert why.heat.shape == (8, 8)
    assert why.heat[:2, :4].min() > 5 * np.abs(why.heat[4:]).max()
    assert not why.is_faint
    assert not why.result.is_blank


def test_it_explains_what_a_search_finds(install: OpenInstall, shop: Path) -> None:
    why = explain(install, shop / "2.png")

    assert why.result.best == why.match
    assert why.match.product.id == "sku-2"
    assert why.match.similarity == pytest.approx(1, abs=0.01)
    assert why.result.confidence is not None
    assert why.mirrored_similarity < why.match.similarity
    assert why.seconds > 0


def test_a_mirrored_photo_says_so(install: OpenInstall, shop: Path) -> None:
    pixels = np.asarray(Image.open(shop / "2.png"))

    why = explain(install, pixels[:, ::-1].copy(), match=explain(install, pixels).match)

    assert why.mirrored_similarity == pytest.approx(1, abs=0.01)
    assert any(line.startswith("Mirrored") for line in captions.of_explanation(why))


def test_a_photo_of_one_colour_says_so(install: OpenInstall) -> None:
    why = explain(install, np.full((90, 90, 3), (40, 90, 200), np.uint8))

    assert why.result.is_blank
    assert why.is_faint
    assert "of one colour" in " ".join(captions.of_explanation(why))
    assert size_of(why.png()) > (900, 300)


def test_a_photo_with_no_match_names_the_nearest(install: OpenInstall) -> None:
    why = explain(install, fields(np.random.default_rng(99), side=128))

    assert why.result.verdict.value == "no_match"
    assert captions.of_explanation(why)[0].startswith("No match. The nearest is")


def test_another_match_than_the_best_can_be_explained(install: OpenInstall, shop: Path) -> None:
    (best,) = explain(install, shop / "1.png").result.matches
    other = explain(install, shop / "4.png").match

    why = explain(install, shop / "1.png", match=other)

    assert why.match.product.id == "sku-4"
    assert why.match.similarity < best.similarity
    assert why.result.best == best
    assert captions.of_explanation(why)[0] == "Also like it is sku-4"


def test_a_filter_explains_the_first_that_it_leaves(install: OpenInstall, shop: Path) -> None:
    why = explain(install, shop / "1.png", filter=Filter(category="spots"))

    assert why.match.product.id == "spot"


def test_nothing_to_explain_is_an_error(install: OpenInstall, shop: Path) -> None:
    with pytest.raises(QueryError, match="no product satisfies the filter"):
        explain(install, shop / "1.png", filter=Filter(category="boats"))
    stranger = replace(explain(install, shop / "1.png").match, image=CatalogueImage("elsewhere"))
    with pytest.raises(QueryError, match="Expected a match of this store"):
        explain(install, shop / "1.png", match=stranger)
    with pytest.raises(PictureError):
        explain(install, b"no picture")


def test_cells_are_of_the_box_and_of_the_picture_without_margins(install: OpenInstall) -> None:
    pixels = np.zeros((400, 300, 3), np.uint8)
    pixels[100:300, 50:150] = np.random.default_rng(0).integers(0, 255, (200, 100, 3))

    why = explain(install, pixels, box=(50, 100, 150, 300))

    assert why.part == (50, 100, 150, 300)
    assert why.heat.shape == (8, 4)
    assert why.photo.shape == (PHOTO_SIDE, PHOTO_SIDE // 2, 3)
    assert (why.photo.mean(axis=(0, 1)) > 50).all()


def test_a_file_that_is_read_once_will_do(install: OpenInstall, shop: Path) -> None:
    with (shop / "3.png").open("rb") as file:
        why = explain(install, file)

    assert why.match.product.id == "sku-3"


def test_what_hides_the_evidence_loses_what_the_heat_says(install: OpenInstall) -> None:
    photo = spot(SIZE)
    why = explain(install, photo)
    hidden = photo.copy()
    hidden[:8, :8] = photo.mean(axis=(0, 1)).round()

    left = explain(install, hidden, match=why.match)

    embedder = install.embedder()
    lost = 1 - float(embedder.embed(photo) @ embedder.embed(hidden))
    assert left.match.similarity == pytest.approx(1 - lost, abs=0.01)
    assert 0.3 * lost < why.heat[:2, :2].max() <= lost + 0.01
    assert left.heat[:2, :2].max() < 0.1 * lost


def test_the_drawing_shows_photo_heat_and_catalogue(install: OpenInstall, shop: Path) -> None:
    why = explain(install, spot(160))

    without, with_picture = why.png(), why.png(shop / "spot.png")

    assert size_of(without) == size_of(with_picture)
    pixels = np.asarray(Image.open(io.BytesIO(with_picture)).convert("RGB")).astype(int)
    panels = [pixels[60:370, 16 + 336 * n : 336 + 336 * n] for n in range(3)]
    assert (panels[0][10:60, 10:60] == (255, 0, 0)).mean() > 0.9  # the photo as it is
    assert (panels[1][10:60, 10:60] != (255, 0, 0)).any(axis=-1).mean() > 0.9
    assert (panels[1][200:, 200:].std(axis=-1) < 12).all()  # pale where nothing is
    assert (panels[2][10:60, 10:60] == (255, 0, 0)).mean() > 0.9
    assert without != with_picture


@pytest.mark.parametrize("title", ["two\nlines", "long " * 60, "\N{CJK UNIFIED IDEOGRAPH-4E2D}"])
def test_any_title_and_address_can_be_drawn(install: OpenInstall, title: str) -> None:
    why = explain(install, spot(64))
    named = replace(
        why.match,
        product=replace(why.match.product, title=title),
        image=replace(why.match.image, url=f"https://shop.example/{title}"),
    )

    assert size_of(replace(why, match=named).png()) == size_of(why.png())


def size_of(png: bytes) -> tuple[int, int]:
    with Image.open(io.BytesIO(png)) as image:
        assert image.format == "PNG"
        return image.size

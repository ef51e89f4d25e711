"""A photo of one colour is no match, whatever the shop has of that colour."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image
from tests.making.colour_bundle import colour_bundle, fields

from pocketlens import Embedder, Fallback, FallbackOutcome, Lens, SearchResult, Verdict, indexing
from pocketlens.cli import main
from pocketlens.explaining import captions

BLUE = (40, 90, 200)


def plain(side: int = 80) -> npt.NDArray[np.uint8]:
    return np.full((side, side, 3), BLUE, np.uint8)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A shop with a cloth in blue among others that show more."""
    folder = tmp_path_factory.mktemp("shop")
    lines = ["image,product_id"]
    for number in range(6):
        picture = fields(np.random.default_rng(number), side=64) if number else plain()
        Image.fromarray(picture).save(folder / f"{number}.png")
        lines.append(f"{number}.png,sku-{number}")
    (folder / "list.csv").write_text("\n".join(lines))
    (folder / "shop.tflite").write_bytes(colour_bundle())
    indexing.index(folder / "list.csv", model=folder / "shop.tflite", out=folder / "store")
    return folder


def check(found: SearchResult) -> None:
    """The nearest is told; that it is the one is not."""
    assert found.best is not None
    assert found.best.product.id == "sku-0"
    assert found.best.similarity > 0.99
    assert found.is_blank
    assert (found.verdict, found.confidence, found.threshold) == (Verdict.UNSURE, None, None)


def test_a_photo_of_one_colour_is_no_match(folder: Path) -> None:
    with Lens.open(folder / "store") as lens, Embedder.open(folder / "shop.tflite") as embedder:
        check(lens.search(plain()))
        photographed = lens.search(fields(np.random.default_rng(3), side=64))
        given = lens.search_vector(embedder.embed(plain()))

    assert (photographed.verdict, photographed.is_blank) == (Verdict.MATCH, False)
    assert (given.verdict, given.is_blank) == (Verdict.MATCH, False)  # nobody saw the photo


def test_the_part_that_is_searched_is_what_counts(folder: Path) -> None:
    photo = fields(np.random.default_rng(3), side=96)
    photo[:48, :48] = BLUE
    with Lens.open(folder / "store") as lens:
        whole, part = lens.search(photo), lens.search(photo, box=(0, 0, 48, 48))

    assert not whole.is_blank
    check(part)


def test_of_several_photos_all_have_to_show_nothing(folder: Path) -> None:
    something = fields(np.random.default_rng(3), side=64)
    with Lens.open(folder / "store") as lens:
        check(lens.search_together([plain(), plain(120)]))
        some = lens.search_together([something, plain(), something])

    assert not some.is_blank
    assert some.confidence is not None


def test_no_server_is_asked_about_it(folder: Path) -> None:
    fallback = Fallback("127.0.0.1:1", when="always")
    with Lens.open(folder / "store") as lens:
        found = lens.search(plain(), fallback=fallback)

    check(found)
    assert found.fallback is not None
    assert found.fallback.outcome is FallbackOutcome.NOT_NEEDED
    assert found.fallback.reason == "The photo is of one colour."


def test_explanation_and_comparison_judge_it_as_a_search_does(folder: Path) -> None:
    with Lens.open(folder / "store") as lens:
        why = lens.explain(plain())
        compared = lens.compare(plain(), plain())

    check(why.result)
    assert captions.of_explanation(why)[0] == "This may be sku-0"
    assert (compared.verdict, compared.confidence) == (Verdict.UNSURE, None)
    assert len(captions.of_comparison(compared)) == 2  # and no word of a calibration


def test_people_and_programs_are_told(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["search", str(folder / "store"), str(folder / "0.png")]

    assert main(arguments) == 0
    said = capsys.readouterr().out
    assert main([*arguments, "--json"]) == 0
    (answer,) = json.loads(capsys.readouterr().out)

    reason = "the photo is of one colour: what it is like means nothing"
    assert said.splitlines()[0].endswith(f"UNSURE: sku-0 ({reason})")
    assert (answer["verdict"], answer["is_blank"]) == ("unsure", True)

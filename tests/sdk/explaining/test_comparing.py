"""Two pictures compared: the same, mirrored, different, of one colour, none at all."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.making.colour_bundle import SIZE, colour_bundle, described_as, fields

from pocketlens import Comparison, Embedder, Lens, Verdict, index
from pocketlens.errors import PictureError
from pocketlens.explaining import captions
from pocketlens.explaining.comparing import compare


@pytest.fixture
def embedder() -> Iterator[Embedder]:
    with Embedder.open(colour_bundle(), accelerator="cpu") as opened:
        yield opened


def picture(seed: int) -> np.ndarray:
    return fields(np.random.default_rng(seed), side=64)


def test_a_picture_is_like_itself(embedder: Embedder) -> None:
    compared = compare(picture(1), picture(1), embedder)

    assert compared.similarity == pytest.approx(1)
    assert compared.verdict is Verdict.MATCH
    assert compared.threshold == pytest.approx(0.8)
    assert captions.of_comparison(compared) == ("MATCH 1.00: similarity 1.000",)


def test_it_does_not_matter_which_comes_first(embedder: Embedder) -> None:
    left, right = picture(1), picture(2)
    left[:, 32:], right[:, :32] = 255, 255  # white counts for nothing

    one, other = (compare(*pair, embedder) for pair in ((left, right), (right, left)))

    assert one.similarity == other.similarity == pytest.approx(0, abs=0.05)
    assert one.verdict is other.verdict is Verdict.NO_MATCH


def test_the_cosine_is_that_of_the_embeddings(embedder: Embedder) -> None:
    compared = compare(picture(1), picture(2), embedder)

    one, other = embedder.embed(picture(1)), embedder.embed(picture(2))
    assert compared.similarity == pytest.approx(float(one @ other))


def test_a_lens_compares_by_the_model_of_its_store(embedder: Embedder, tmp_path: Path) -> None:
    (tmp_path / "shop.tflite").write_bytes(colour_bundle())
    Image.fromarray(picture(3)).save(tmp_path / "a.png")
    (tmp_path / "list.csv").write_text("image,product_id\na.png,sku\n")
    index(tmp_path / "list.csv", model=tmp_path / "shop.tflite", out=tmp_path / "store")

    with Lens.open(tmp_path / "store", accelerator="cpu") as lens:
        compared = lens.compare(picture(1), picture(2))

    by_bundle = compare(picture(1), picture(2), embedder)
    assert isinstance(compared, Comparison)
    assert (compared.similarity, compared.verdict) == (by_bundle.similarity, by_bundle.verdict)


def test_a_mirrored_picture_is_told(embedder: Embedder) -> None:
    compared = compare(picture(1), picture(1)[:, ::-1].copy(), embedder)

    assert compared.similarity < 0.9
    assert compared.mirrored_similarity == pytest.approx(1)
    assert captions.of_comparison(compared)[1] == "With one of them mirrored 1.000"


@pytest.mark.parametrize(
    ("pair", "line"),
    [
        ((0, 1), "The first is of one colour: what it is like means nothing"),
        ((1, 0), "The second is of one colour: what it is like means nothing"),
        ((0, 0), "Both are of one colour: what they are like means nothing"),
    ],
)
def test_a_picture_of_one_colour_is_told(
    embedder: Embedder, pair: tuple[int, int], line: str
) -> None:
    noise = np.random.default_rng(0).integers(-1, 2, (80, 40, 3))
    blank = (np.array((200, 60, 90)) + noise).astype(np.uint8)  # tall: margins do not count

    compared = compare(*(picture(1) if shows else blank for shows in pair), embedder)

    assert captions.of_comparison(compared)[-1] == line


def test_without_a_calibration_there_is_no_verdict() -> None:
    data = colour_bundle()
    with Embedder.open(data) as embedder:
        bare = described_as(data, replace(embedder.bundle, calibrations=()))
    with Embedder.open(bare) as embedder:
        compared = compare(picture(1), picture(1), embedder)

    assert (compared.verdict, compared.confidence) == (Verdict.UNSURE, None)
    assert "no calibration" in captions.of_comparison(compared)[1]


def test_what_is_no_picture_is_refused(embedder: Embedder) -> None:
    with pytest.raises(PictureError):
        compare(picture(1), b"no picture", embedder)


def test_both_are_drawn_as_the_model_sees_them(embedder: Embedder) -> None:
    compared = compare(picture(1), picture(2), embedder)

    assert compared.first.tensor.shape == (SIZE, SIZE, 3)
    assert compared.first.timings.decode_ms > 0
    assert compared.second.timings.embed_ms > 0
    with Image.open(io.BytesIO(compared.png())) as image:
        pixels = np.asarray(image.convert("RGB")).astype(int)
    corner = pixels[60:120, 20:80].mean(axis=(0, 1))
    assert corner == pytest.approx(picture(1)[:16, :16].mean(axis=(0, 1)), abs=6)

"""Products cut out of their white ground."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image, ImageDraw

from pocketlens_converter.synthesis.cutouts import cut_out, rectangularity


def picture_of(draw_on: str, *, level: int = 255) -> Image.Image:
    """A shape on white with a little JPEG-like noise."""
    picture = Image.new("RGB", (200, 160), (level,) * 3)
    draw = ImageDraw.Draw(picture)
    if draw_on == "disc":
        draw.ellipse([60, 40, 140, 120], fill=(200, 40, 30))
    elif draw_on == "ring":
        draw.ellipse([60, 40, 140, 120], fill=(200, 40, 30))
        draw.ellipse([80, 60, 120, 100], fill=(255, 255, 255))
    elif draw_on == "box":
        draw.polygon([(60, 30), (120, 20), (140, 125), (80, 135)], fill=(200, 40, 30))
    elif draw_on == "corner":
        draw.polygon(
            [(50, 30), (70, 30), (70, 110), (150, 110), (150, 130), (50, 130)], fill=(9,) * 3
        )
    noise = np.random.default_rng(0).integers(-2, 3, (160, 200, 3))
    return Image.fromarray((np.asarray(picture) + noise).clip(0, 255).astype(np.uint8))


def test_a_disc_is_cut_out_to_its_border() -> None:
    cutout = cut_out(picture_of("disc"))

    alpha = np.asarray(cutout.picture)[:, :, 3]
    assert cutout.ground == "white"
    assert abs(cutout.picture.width - 81) <= 6
    assert abs((alpha > 127).sum() / (np.pi * 40**2) - 1) < 0.08
    assert alpha[0, 0] == 0
    opaque = np.asarray(cutout.picture)[alpha > 250]
    assert (np.abs(opaque[:, :3].astype(int) - (200, 40, 30)).max(axis=1) < 12).mean() > 0.98


@pytest.mark.parametrize(
    ("shape", "is_box"), [("box", True), ("disc", False), ("ring", False), ("corner", False)]
)
def test_boxes_are_told_from_other_shapes_however_they_are_turned(shape: str, is_box: bool) -> None:
    assert cut_out(picture_of(shape)).is_box == is_box
    turned = picture_of(shape).rotate(33, Image.Resampling.BILINEAR, fillcolor=(255, 255, 255))
    assert cut_out(turned).is_box == is_box


@pytest.mark.parametrize("degrees", [0, 20, 45, 77])
def test_rectangularity_is_one_of_a_rectangle_and_a_quarter_of_pi_of_a_disc(degrees: int) -> None:
    squares = Image.new("L", (200, 200))
    ImageDraw.Draw(squares).rectangle([40, 70, 159, 129], fill=255)
    disc = Image.new("L", (200, 200))
    ImageDraw.Draw(disc).ellipse([30, 30, 169, 169], fill=255)

    of_rectangle, of_disc = (
        rectangularity(np.asarray(each.rotate(degrees, Image.Resampling.BILINEAR)) > 127)
        for each in (squares, disc)
    )

    assert of_rectangle == pytest.approx(1, abs=0.08)  # edges are stairs of pixels
    assert of_disc == pytest.approx(np.pi / 4, abs=0.02)


def test_white_inside_a_product_stays_part_of_it() -> None:
    cutout = cut_out(picture_of("ring"))

    alpha = np.asarray(cutout.picture)[:, :, 3]
    assert alpha[alpha.shape[0] // 2, alpha.shape[1] // 2] == 255


def test_a_grey_studio_ground_counts_as_white() -> None:
    cutout = cut_out(picture_of("disc", level=240))

    assert cutout.ground == "white"
    assert cutout.picture.width < 100


def test_a_lifestyle_picture_is_kept_whole() -> None:
    noise = np.random.default_rng(0).integers(0, 200, (80, 120, 3), dtype=np.uint8)

    cutout = cut_out(Image.fromarray(noise))

    assert cutout.ground == "lifestyle"
    assert cutout.picture.size == (120, 80)
    assert np.asarray(cutout.picture)[:, :, 3].min() == 255


def test_a_blank_picture_has_nothing_to_cut_out() -> None:
    assert cut_out(picture_of("nothing")).ground == "lifestyle"

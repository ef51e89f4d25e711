"""How far small pictures differ, and where one is a part of another."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image
from tests.making.copies import ALTERATIONS, LOOK_ALIKES, picture

from pocketlens.duplicates import alignment

Pictures = npt.NDArray[np.float32]


def small(*images: Image.Image, side: int = alignment.SIDE) -> Pictures:
    rows = [np.asarray(each.resize((side, side), Image.Resampling.BILINEAR)) for each in images]
    return np.stack(rows).astype(np.float32)


@pytest.mark.parametrize("kind", ["saved_anew", "halved", "doubled", "darker"])
def test_whole_copies_differ_little(kind: str) -> None:
    wholes = [picture(seed) for seed in range(8)]

    levels = alignment.differences(small(*wholes), small(*map(ALTERATIONS[kind], wholes)))

    assert levels.max() < 7


@pytest.mark.parametrize("kind", sorted(LOOK_ALIKES))
def test_look_alikes_differ_in_a_field(kind: str) -> None:
    wholes = [picture(seed) for seed in range(8)]

    levels = alignment.differences(small(*wholes), small(*map(LOOK_ALIKES[kind], wholes)))

    assert levels.min() > 15


def test_colours_apart_are_no_tint() -> None:
    plain = small(*(Image.new("RGB", (64, 64), colour) for colour in ("red", "#cc2222", "blue")))

    levels = alignment.differences(plain[[0, 0, 0]], plain)

    assert levels[0] == 0
    assert levels[1] > 7
    assert levels[2] > 100


def test_cut_is_the_part_as_large_as_the_whole() -> None:
    whole = picture(3).resize((48, 48), Image.Resampling.BOX)
    parts = np.array([[0, 0, 1, 1], [0.25, 0.5, 0.75, 1]], np.float32)
    pixels = np.asarray(whole, np.float32)[None].repeat(2, axis=0)

    found = alignment.cut(pixels, parts)

    np.testing.assert_allclose(found[0], pixels[0], atol=0.01)
    twice = pixels[1, 24:48, 12:36].repeat(2, axis=0).repeat(2, axis=1)
    np.testing.assert_allclose(found[1], twice, atol=0.01)


@pytest.mark.parametrize("box", [(8, 8, 152, 152), (0, 16, 144, 160), (0, 0, 160, 144)])
def test_part_is_found_where_it_was_cut_out(box: tuple[int, int, int, int]) -> None:
    wholes = [picture(seed) for seed in range(6)]
    parts = [whole.crop(box) for whole in wholes]

    scores, places = alignment.placed(small(*wholes), small(*parts))

    assert scores.min() > 0.9
    assert np.abs(places - np.array(box) / 160).max() < 0.06


def test_other_pictures_are_no_parts() -> None:
    scores, _ = alignment.placed(
        small(*(picture(seed) for seed in range(6))), small(*(picture(9 + n) for n in range(6)))
    )

    assert scores.max() < 0.9

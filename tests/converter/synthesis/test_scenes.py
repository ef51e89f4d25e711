"""Synthesised queries: sized, seeded, varied, and of the product they are made of."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw

from pocketlens.errors import TrainingError
from pocketlens_converter.synthesis import backgrounds
from pocketlens_converter.synthesis.camera import taken
from pocketlens_converter.synthesis.cutouts import Cutout, cut_out
from pocketlens_converter.synthesis.placing import homography, pile
from pocketlens_converter.synthesis.scenes import Scenes, several


def product(colour: tuple[int, int, int], size: tuple[int, int] = (120, 160)) -> Cutout:
    picture = Image.new("RGB", (200, 200), (255, 255, 255))
    left, top = (200 - size[0]) // 2, (200 - size[1]) // 2
    box = [left, top, left + size[0], top + size[1]]
    ImageDraw.Draw(picture).rectangle(box, fill=colour)
    return cut_out(picture)


GREEN = product((20, 180, 30))
OTHERS = [product((30, 30, 200)), product((200, 30, 160), (170, 60))]
GREY = [Image.new("RGB", (64, 64), (120, 120, 120))]


@pytest.mark.parametrize("places", [[], GREY])
def test_queries_are_sized_and_decided_by_the_seed(places: list[Image.Image]) -> None:
    scenes = Scenes(places)
    first, again, other = (
        np.asarray(scenes.query(GREEN, OTHERS, np.random.default_rng(seed), 72))
        for seed in (4, 4, 5)
    )

    assert first.shape == (72, 72, 3)
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


@pytest.mark.parametrize("thing", [GREEN, replace(GREEN, is_box=False)], ids=["box", "other"])
def test_queries_show_the_product(thing: Cutout) -> None:
    scenes = Scenes(GREY)
    greener = []
    for seed in range(60):
        picture = np.asarray(scenes.query(thing, [], np.random.default_rng(seed), 64), int)
        is_green = picture[:, :, 1] > picture[:, :, [0, 2]].max(axis=2) + 15
        greener.append(is_green.mean())

    assert np.mean(np.array(greener) > 0.03) > 0.93
    assert np.std(greener) > 0.1  # near and far, alone and in heaps


def test_tiny_and_long_cutouts_make_scenes_too() -> None:
    long = product((200, 30, 30), (190, 8))
    for seed in range(20):
        picture = Scenes(GREY).query(long, [GREEN], np.random.default_rng(seed), 48)
        assert picture.size == (48, 48)


@pytest.mark.parametrize("count", [1, 2, 7, 19])
def test_a_pile_shows_so_many_copies(count: int) -> None:
    dot = Image.new("RGBA", (20, 20), (200, 30, 30, 255))
    scene = Image.new("RGB", (256, 256), (255, 255, 255))

    pile(scene, dot, count, np.random.default_rng(1), reach=0.9, crowding=0.3)

    red = np.asarray(scene)[:, :, 1] < 128
    side = 0.3 * 0.9 * 256 / np.sqrt(count)
    assert 0.4 * count * side**2 <= np.count_nonzero(red) <= 1.4 * count * side**2
    assert not red[0].any()  # all of it is in the picture


def test_several_on_white_are_more_of_the_same() -> None:
    pictures = [np.asarray(several(GREEN, np.random.default_rng(n), 64), int) for n in range(8)]

    for picture in pictures:
        is_green = picture[:, :, 1] > picture[:, :, [0, 2]].max(axis=2) + 15
        assert is_green.mean() > 0.15
        assert (picture[[0, 0, -1, -1], [0, -1, 0, -1]] == 255).all()
    assert len({picture.tobytes() for picture in pictures}) == 8


def test_a_phone_changes_a_scene_but_not_its_size() -> None:
    scene = Image.new("RGB", (64, 64), (90, 140, 60))

    photos = [np.asarray(taken(scene, np.random.default_rng(seed))) for seed in range(12)]

    assert {photo.shape for photo in photos} == {(64, 64, 3)}
    assert len({photo.tobytes() for photo in photos}) > 9


@settings(max_examples=50)
@given(
    moves=st.lists(st.floats(-0.3, 0.3), min_size=8, max_size=8),
    across=st.floats(0, 1),
    down=st.floats(0, 1),
)
def test_homography_maps_corners_and_straight_lines(
    moves: list[float], across: float, down: float
) -> None:
    corners = np.array([(0.0, 0.0), (1, 0), (1, 1), (0, 1)])
    moved = corners + np.array(moves).reshape(4, 2)
    a, b, c, d, e, f, g, h = homography(moved, corners)

    def image(x: float, y: float) -> tuple[float, float]:
        weight = g * x + h * y + 1
        return (a * x + b * y + c) / weight, (d * x + e * y + f) / weight

    for point, corner in zip(moved, corners, strict=True):
        assert image(*point) == pytest.approx(corner, abs=1e-6)
    between = moved[0] + across * (moved[1] - moved[0])
    assert image(*between)[1] == pytest.approx(0, abs=1e-6)


def test_backgrounds_are_the_pictures_of_a_folder_and_its_folders(tmp_path: Path) -> None:
    (tmp_path / "more").mkdir()
    Image.new("RGB", (90, 60), (10, 200, 10)).save(tmp_path / "a.png")
    Image.new("RGB", (60, 90), (10, 10, 200)).save(tmp_path / "more" / "b.JPG")
    (tmp_path / "c.webp").write_bytes(b"no picture")
    (tmp_path / "notes.txt").write_text("not one either")

    found = backgrounds.read_backgrounds(tmp_path, 48)

    assert [picture.size for picture in found.pictures] == [(48, 48), (48, 48)]
    assert len(found.problems) == 1
    assert "c.webp" in found.problems[0]


def test_a_folder_without_pictures_is_named(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="Received none"):
        backgrounds.read_backgrounds(tmp_path, 48)
    with pytest.raises(TrainingError, match="no folder of backgrounds"):
        backgrounds.read_backgrounds(tmp_path / "nowhere", 48)

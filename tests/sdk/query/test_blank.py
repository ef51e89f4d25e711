"""What shows nothing is told from what shows little, margins or not."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image
from tests.making.colour_bundle import colour_bundle

from pocketlens import Embedder
from pocketlens.formats.bundle import Spec
from pocketlens.query import pictures
from pocketlens.query.blank import is_blank

SIZES = [(64, 64), (90, 40), (40, 90), (400, 32)]


@pytest.fixture(scope="module")
def letterboxed() -> Spec:
    with Embedder.open(colour_bundle(), accelerator="cpu") as embedder:
        return replace(embedder.spec, width=96, height=96, resize_mode="pad", pad_level=255)


def seen(picture: npt.NDArray[np.uint8], spec: Spec) -> bool:
    return is_blank(pictures.tensor(picture, spec), spec)


def plain(size: tuple[int, int], colour: tuple[int, int, int]) -> npt.NDArray[np.uint8]:
    return np.full((size[1], size[0], 3), colour, np.uint8)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("colour", [(255, 255, 255), (0, 0, 0), (200, 30, 40), (254, 254, 252)])
@pytest.mark.parametrize("mode", ["pad", "crop", "squash"])
def test_one_colour_is_blank_in_any_shape(
    letterboxed: Spec, size: tuple[int, int], colour: tuple[int, int, int], mode: str
) -> None:
    assert seen(plain(size, colour), replace(letterboxed, resize_mode=mode))


def test_noise_of_a_camera_shows_nothing(letterboxed: Spec) -> None:
    dark = np.random.default_rng(0).normal((20, 18, 16), 8, (960, 720, 3))

    assert seen(dark.clip(0, 255).astype(np.uint8), letterboxed)


@pytest.mark.parametrize("size", [(64, 64), (90, 40), (40, 90)])
@pytest.mark.parametrize("mode", ["pad", "crop", "squash"])
def test_a_plain_thing_on_a_plain_ground_is_something(
    letterboxed: Spec, size: tuple[int, int], mode: str
) -> None:
    picture = plain(size, (255, 255, 255))
    width, height = size
    picture[height // 3 : height // 2, width // 3 : width // 2] = (200, 30, 40)

    assert not seen(picture, replace(letterboxed, resize_mode=mode))


def test_a_wall_with_light_from_one_side_is_something(letterboxed: Spec) -> None:
    lit = np.linspace(180, 210, 64).astype(np.uint8)

    assert not seen(np.broadcast_to(lit[:, None], (64, 64, 3)).copy(), letterboxed)


def test_a_blurred_photo_is_something(letterboxed: Spec) -> None:
    rng = np.random.default_rng(2)
    blurred = Image.fromarray(rng.integers(0, 255, (6, 6, 3), np.uint8)).resize((320, 240))

    assert not seen(np.asarray(blurred), letterboxed)

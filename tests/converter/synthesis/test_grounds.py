"""White grounds told from rooms by the border."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pocketlens_converter.synthesis.grounds import border_histogram, ground


def test_histogram_counts_the_border_alone() -> None:
    picture = np.full((64, 64, 3), 10, np.uint8)
    picture[8:-8, 8:-8] = 200

    histogram = border_histogram(picture)

    assert histogram[10] == 1.0
    assert histogram.sum() == pytest.approx(1.0)


def test_a_product_that_touches_a_side_keeps_its_white_ground() -> None:
    picture = np.full((60, 60, 3), 250, np.uint8)
    picture[20:, 10:30] = (90, 20, 30)

    assert ground(picture) == "white"


def test_colours_and_darkness_are_no_white_ground() -> None:
    rng = np.random.default_rng(0)

    assert ground(rng.integers(0, 256, (60, 60, 3), dtype=np.uint8)) == "lifestyle"
    assert ground(np.full((60, 60, 3), (255, 255, 180), np.uint8)) == "lifestyle"


@pytest.mark.parametrize(
    ("listed", "least", "most"),
    [("grocery/catalog.csv", 1.0, 1.0), ("wardrobe/wardrobe.csv", 0.0, 0.03)],
)
def test_real_catalogues_are_white_and_real_rooms_are_not(
    shared: Path, listed: str, least: float, most: float
) -> None:
    path = shared / "data" / listed
    with path.open() as file:
        pictures = [path.parent / row["image"] for row in csv.DictReader(file)]
    kinds = [ground(np.asarray(Image.open(each).convert("RGB"))) for each in pictures[:150]]

    assert least <= np.mean([kind == "white" for kind in kinds]) <= most

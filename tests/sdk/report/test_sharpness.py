"""How blurred pictures are."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image, ImageFilter

from pocketlens.report.sharpness import blur


def test_more_blur_is_more() -> None:
    noise = np.random.default_rng(1).integers(0, 256, (96, 128), dtype=np.uint8)
    sharp = Image.fromarray(noise).resize((256, 192), Image.Resampling.NEAREST)

    found = [
        blur(np.asarray(sharp.filter(ImageFilter.GaussianBlur(radius)))) for radius in (0, 1, 2, 4)
    ]

    assert found == sorted(found)
    assert found[0] < 0.35
    assert found[-1] > 0.7


def test_worse_direction_counts() -> None:
    rows = np.zeros((64, 64), np.uint8)
    rows[::8] = 255  # sharp steps down, none across

    assert blur(rows) == 1.0
    assert blur(rows) == blur(rows.T)


@pytest.mark.parametrize("level", [0, 128, 255])
def test_plain_picture_has_nothing_to_lose(level: int) -> None:
    assert blur(np.full((32, 40), level, np.uint8)) == 1.0

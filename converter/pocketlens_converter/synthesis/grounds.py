"""Which pictures show a product on a white ground, by the histogram of their border pixels.

A catalogue mixes two kinds: the product alone on white, which can be cut out, and the product in
a room or on a person ("lifestyle"), which cannot. A white ground reaches the border on most of
its length, whatever the product is; a room hardly ever does.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from typing import Literal

import numpy as np
import numpy.typing as npt

Pixels = npt.NDArray[np.uint8]
Ground = Literal["white", "lifestyle"]

BORDER_SHARE = 1 / 32  # of the side: JPEG noise and a thin frame are averaged out
WHITE_LEVEL = 235  # shadows and grey-white studio grounds are above it
WHITE_SHARE = 0.6  # a product may touch the border on three of its sides


def border_histogram(picture: Pixels) -> npt.NDArray[np.float64]:
    """Shares of the border's pixels by their darkest channel.

    Args:
        picture: uint8 (height, width, 3), as it is in its file: a letterboxed one has a border of
            padding.

    Returns:
        float64 (256,), of sum 1.
    """
    depth = max(1, round(min(picture.shape[:2]) * BORDER_SHARE))
    strips = (picture[:depth], picture[-depth:], picture[:, :depth], picture[:, -depth:])
    darkest = np.concatenate([strip.min(axis=2).ravel() for strip in strips])
    return np.bincount(darkest, minlength=256) / len(darkest)


def ground(picture: Pixels) -> Ground:
    """Whether `picture`, uint8 (height, width, 3), shows its product on white."""
    is_white = border_histogram(picture)[WHITE_LEVEL:].sum() >= WHITE_SHARE
    return "white" if is_white else "lifestyle"

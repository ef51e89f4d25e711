"""How an article is turned, and how flat art becomes something seen at an angle."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image

CACHED_LABELS = 8  # articles whose art is kept; pictures of one come one after the other
HEIGHT = 288  # pixels of a body; photos are drawn at 224, so that nothing is enlarged


@dataclass(frozen=True, slots=True)
class Pose:
    """How an article is turned.

    Attributes:
        yaw: Around its upright axis, radians; 0 shows the front.
        tilt: Of the eye above the horizon, radians, 0 to 0.6.
        light: Where the light comes from, radians; 0 from the eye, positive from the right.
    """

    yaw: float = 0.0
    tilt: float = 0.12
    light: float = -0.5


def quad_coefficients(
    corners: list[tuple[float, float]], size: tuple[int, int]
) -> tuple[float, ...]:
    """Coefficients for Pillow's perspective transform.

    Args:
        corners: Where the picture's corners go, clockwise from the top left.
        size: Width and height of the picture.
    """
    width, height = size
    rows, values = [], []
    for (x, y), (u, v) in zip(
        corners, ((0, 0), (width, 0), (width, height), (0, height)), strict=True
    ):
        rows += [[x, y, 1, 0, 0, 0, -u * x, -u * y], [0, 0, 0, x, y, 1, -v * x, -v * y]]
        values += [u, v]
    return tuple(float(each) for each in np.linalg.solve(np.array(rows), np.array(values)))


def cut_out(colours: npt.NDArray[np.float64], inside: npt.NDArray[np.bool_]) -> Image.Image:
    """Colours of 0..255, (height, width, 3), where `inside`; RGBA, nothing elsewhere."""
    pixels = np.empty((*inside.shape, 4), np.uint8)
    pixels[..., :3] = np.clip(colours, 0, 255)
    pixels[..., 3] = inside * 255
    return Image.fromarray(pixels)

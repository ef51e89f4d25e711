"""Whether a picture shows anything at all (PURE)."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import numpy as np
import numpy.typing as npt

_LEVELS = 3  # standard deviation of a channel: more than the noise of a camera in good light


def is_blank(pixels: npt.NDArray[np.uint8]) -> bool:
    """Whether a picture, uint8 (height, width, 3), is of one colour, noise aside."""
    return bool(pixels.std(axis=(0, 1)).max() < _LEVELS)

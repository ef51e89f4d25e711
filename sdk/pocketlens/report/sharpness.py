"""How blurred a picture is: what it loses when it is blurred once more.

Source: F. Crete et al., "The blur effect: perception and estimation with a new no-reference
perceptual blur metric" (2007): a sharp picture loses most of the differences between neighbouring
pixels, one that is blurred already hardly any. Values in, values out.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import numpy as np
import numpy.typing as npt

_WIDTH = 9  # pixels that are averaged, as in the paper


def blur(grey: npt.NDArray[np.uint8]) -> float:
    """0 for the sharpest, 1 for what has nothing to lose; the worse of the two directions.

    Args:
        grey: uint8 (height, width).
    """
    levels = grey.astype(np.float32)
    return max(_along(levels), _along(levels.T))


def _along(levels: npt.NDArray[np.float32]) -> float:
    padded = np.pad(levels, ((0, 0), (_WIDTH // 2 + 1, _WIDTH // 2)), mode="edge")
    sums = np.cumsum(padded, axis=1, dtype=np.float64)
    averaged = (sums[:, _WIDTH:] - sums[:, :-_WIDTH]) / _WIDTH
    steps, left = (np.abs(np.diff(each, axis=1)) for each in (levels, averaged))
    total = float(steps.sum())
    return 1.0 if total == 0 else 1 - float(np.maximum(steps - left, 0).sum()) / total

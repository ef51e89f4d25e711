"""Whether a picture shows anything at all (PURE).

is_blank(tensor, spec)                     # of a lens that is covered, a wall, the sky
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from pocketlens.formats.bundle import Spec

_LEVELS = 3  # standard deviation of a channel: more than the noise of a camera in good light
_STEP = 4  # pixels a side for one that is looked at: a thing that is smaller is not recognised


def is_blank(tensor: npt.NDArray[np.uint8], spec: Spec) -> bool:
    """Whether what a model is given is of one colour, but for noise and the margins of "pad".

    Args:
        tensor: uint8 (spec.height, spec.width, 3).
        spec: Of the bundle.

    Source: docs/formats.md, "Verdict".
    """
    seen = tensor[::_STEP, ::_STEP]
    if _is_plain(seen):
        return True
    corners = seen[[0, -1], [0, -1]]
    if spec.resize_mode != "pad" or not (corners == spec.pad_level).all(axis=1).any():
        return False
    return any(map(_is_plain, _without_margins(seen, spec.pad_level)))


def _is_plain(seen: npt.NDArray[np.uint8]) -> bool:
    levels = seen.reshape(-1, 3).T.astype(np.float32, order="C")  # a third of the time of rows
    return bool(levels.std(axis=1).max() < _LEVELS)


def _without_margins(
    seen: npt.NDArray[np.uint8], pad_level: int
) -> Iterator[npt.NDArray[np.uint8]]:
    """What is left without margins above and below, and without those at the sides.

    Only one of them can be of "pad". Without both, a plain thing on white would be of one colour.
    """
    differs = seen != pad_level
    for axis, places in enumerate((differs.any(axis=(1, 2)), differs.any(axis=(0, 2)))):
        (kept,) = places.nonzero()
        if len(kept):
            yield seen.take(range(kept[0], kept[-1] + 1), axis=axis)

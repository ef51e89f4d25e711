"""Where in a picture the evidence lies: similarity lost as window after window is covered.

    windows = windows_over(shape)
    losses = [before - similarity(covered(tensor, content, shape, window)) for window in windows]
    heat = heat_of(shape, windows, losses)                  # float32 (rows, columns)

The picture is cut into cells, and every square of `SPAN` x `SPAN` cells is covered once; a cell's
heat is the mean loss of the windows over it, which smooths the coarse grid. Values in, values out.

Source: Zeiler and Fergus, "Visualizing and Understanding Convolutional Networks", 2014, section
4.2, there with a grey square and the probability of a class.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

CELLS = 8  # along the longer side
SPAN = 2  # cells that a window covers, each way

Window = tuple[int, int, int, int]
"""First row, first column, row and column after the last, in cells."""


def shape_of(content: tuple[int, int, int, int]) -> tuple[int, int]:
    """Rows and columns of cells, as square as can be, over a part of the tensor in pixels."""
    width, height = content[2] - content[0], content[3] - content[1]
    longer = max(width, height)
    return max(1, round(CELLS * height / longer)), max(1, round(CELLS * width / longer))


def windows_over(shape: tuple[int, int]) -> tuple[Window, ...]:
    """All windows that hold a cell, those cut by an edge too: each cell lies in SPAN x SPAN."""
    rows, columns = shape
    return tuple(
        (max(top, 0), max(left, 0), min(top + SPAN, rows), min(left + SPAN, columns))
        for top in range(1 - SPAN, rows)
        for left in range(1 - SPAN, columns)
    )


def covered(
    tensor: npt.NDArray[np.uint8],
    cover: npt.NDArray[np.uint8],
    content: tuple[int, int, int, int],
    shape: tuple[int, int],
    window: Window,
) -> npt.NDArray[np.uint8]:
    """A copy of the model's input with one window covered.

    Args:
        tensor: uint8 (height, width, 3).
        cover: What is seen instead, uint8, of the tensor's shape or one colour (3,).
        content: Left, top, right, bottom of the picture in the tensor.
        shape: Rows and columns of cells in it.
        window: What to cover.
    """
    top, bottom = (_edge(content[1], content[3], shape[0], cell) for cell in window[::2])
    left, right = (_edge(content[0], content[2], shape[1], cell) for cell in window[1::2])
    changed = tensor.copy()
    changed[top:bottom, left:right] = np.broadcast_to(cover, tensor.shape)[top:bottom, left:right]
    return changed


def heat_of(
    shape: tuple[int, int], windows: Sequence[Window], losses: npt.ArrayLike
) -> npt.NDArray[np.float32]:
    """Mean loss of the windows over each cell: float32 (rows, columns)."""
    total, count = np.zeros(shape), np.zeros(shape)
    for window, loss in zip(windows, np.asarray(losses, np.float64), strict=True):
        cells = slice(window[0], window[2]), slice(window[1], window[3])
        total[cells] += loss
        count[cells] += 1
    heat: npt.NDArray[np.float32] = (total / count).astype(np.float32)
    return heat


def _edge(start: int, end: int, cells: int, cell: int) -> int:
    """The pixel at which a cell begins."""
    return start + (end - start) * cell // cells

"""Windows over a picture, and the heat that their losses make, against plain loops."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pocketlens.explaining.occlusion import SPAN, covered, heat_of, shape_of, windows_over

shapes = st.tuples(st.integers(1, 9), st.integers(1, 9))


@pytest.mark.parametrize(
    ("content", "rows_are_more"),
    [((0, 0, 96, 96), None), ((24, 0, 72, 96), True), ((0, 40, 96, 56), False)],
    ids="square tall wide".split(),
)
def test_cells_are_as_square_as_can_be(
    content: tuple[int, int, int, int], rows_are_more: bool | None
) -> None:
    rows, columns = shape_of(content)

    height, width = (content[3] - content[1]) / rows, (content[2] - content[0]) / columns
    assert 0.6 < height / width < 1.7
    if rows_are_more is not None:
        assert (rows > columns) is rows_are_more


def test_a_strip_of_a_pixel_still_has_a_cell() -> None:
    assert min(shape_of((0, 0, 500, 1))) == 1


@settings(deadline=None)
@given(shapes)
def test_every_cell_lies_in_as_many_windows_as_any_other(shape: tuple[int, int]) -> None:
    count = np.zeros(shape, int)
    for top, left, bottom, right in windows_over(shape):
        count[top:bottom, left:right] += 1

    assert (count == SPAN * SPAN).all()


@settings(deadline=None)
@given(shapes, st.integers(0, 2**32 - 1))
def test_heat_is_the_mean_loss_of_the_windows_over_a_cell(
    shape: tuple[int, int], seed: int
) -> None:
    windows = windows_over(shape)
    losses = np.random.default_rng(seed).normal(size=len(windows))

    heat = heat_of(shape, windows, losses)

    for row in range(shape[0]):
        for column in range(shape[1]):
            over = [
                loss
                for (top, left, bottom, right), loss in zip(windows, losses, strict=True)
                if top <= row < bottom and left <= column < right
            ]
            assert heat[row, column] == pytest.approx(sum(over) / len(over), abs=1e-6)


@settings(deadline=None)
@given(shapes, st.integers(0, 200))
def test_covering_changes_the_window_and_nothing_else(shape: tuple[int, int], seed: int) -> None:
    rng = np.random.default_rng(seed)
    tensor = rng.integers(0, 200, (40, 48, 3), dtype=np.uint8)
    content = (4, 2, 44, 36)
    windows = windows_over(shape)
    window = windows[seed % len(windows)]
    before = tensor.copy()

    changed = covered(tensor, np.array([255, 254, 253], np.uint8), content, shape, window)

    different = (changed != tensor).any(axis=-1)
    top, left, bottom, right = window
    expected = np.zeros((40, 48), bool)
    expected[
        2 + 34 * top // shape[0] : 2 + 34 * bottom // shape[0],
        4 + 40 * left // shape[1] : 4 + 40 * right // shape[1],
    ] = True
    assert np.array_equal(different, expected)
    assert (changed[different] == (255, 254, 253)).all()
    assert np.array_equal(tensor, before)


@settings(deadline=None)
@given(shapes)
def test_windows_together_cover_all_of_the_picture(shape: tuple[int, int]) -> None:
    tensor, content = np.zeros((40, 48, 3), np.uint8), (4, 2, 44, 36)
    white = np.full(3, 255, np.uint8)

    for window in windows_over(shape):
        tensor = covered(tensor, white, content, shape, window)

    assert (tensor[2:36, 4:44] == 255).all()
    assert tensor.sum() == 34 * 40 * 3 * 255

"""Whether one small picture is another one, or a part of it, whatever light and codecs did to it.

    apart = differences(ones, others)                  # levels, of whole pictures
    scores, parts = placed(ones, others)               # where each other may be a part of its one
    apart = differences(cut(ones, parts), others)

Pictures are squeezed to squares. A difference is that of the field that differs most, of 8 x 8,
after one picture has taken on the tint of the other: so another label on the same package counts,
and a warmer light does not. Of a part, whose edges never quite meet, what a displacement of
less than a pixel explains does not count either. Values in, values out.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import functools
import itertools

import numpy as np
import numpy.typing as npt

Pictures = npt.NDArray[np.float32]
Floats = npt.NDArray[np.float32]

SIDE = 24  # of thumbnails that are kept of every picture
LARGE_SIDE = 64  # of those that are made where a thumbnail says that one may be a part of another
_FIELDS = 8  # a side: fields that are compared, and pixels of a first look
# A tint: what a colour is multiplied with, and what is added to it, in levels.
_GAINS, _MOST_ADDED = (0.85, 1.18), 15.0
_TINT_OFF = 2.0  # levels
_PLAIN = 100.0  # variance, in levels, of what is nearly of one colour: no gain is fitted to it
# Parts that a first look tries: shares of width and height, and places of each along the rest.
_KEPT = ((1.0, 1), (0.95, 2), (0.9, 3), (0.8, 4))
# Shares of the sides by which edges are moved, and the correlation from which they are: 99 in 100
# pictures that lost a tenth of their sides have it; a quarter of all pairs have not, then half.
_MOVES = ((0.05, 0.85), (0.025, 0.88), (0.0125, 0.92))
_FINE_STEPS = (0.0125, 0.006, 0.003)


def differences(ones: Pictures, others: Pictures, *, displaced: float = 0.0) -> Floats:
    """How far pictures differ at most, pair by pair.

    Args:
        ones: float32 (m, side, side, 3), levels of 0 to 255; side is a multiple of 8.
        others: float32 (m, side, side, 3).
        displaced: Pixels by which they may lie beside each other: so much of the steps between
            neighbouring pixels, where both pictures have them, is no difference.

    Returns:
        float32 (m,), mean levels of the field that differs most.
    """
    mean, wanted = (each.mean(axis=(1, 2), keepdims=True) for each in (ones, others))
    spread = ((ones - mean) ** 2).mean(axis=(1, 2), keepdims=True)
    shared = ((ones - mean) * (others - wanted)).mean(axis=(1, 2), keepdims=True)
    gains = np.clip((shared + _PLAIN) / (spread + _PLAIN), *_GAINS)
    added = np.clip(wanted - gains * mean, -_MOST_ADDED, _MOST_ADDED)
    apart = np.abs(ones * gains + added - others)
    fields = _fields(apart)
    if displaced:
        fields -= np.float32(displaced) * np.minimum(_steps(ones), _steps(others))
    return np.asarray(fields.max(axis=(1, 2)), np.float32)


def may_be_one(ones: Pictures, others: Pictures, most: float) -> npt.NDArray[np.bool_]:
    """Whether pictures may differ by `most` levels or fewer, seen in 8 x 8 pixels.

    Args:
        ones: float32 (m, side, side, 3), as of `differences`.
        others: float32 (m, side, side, 3).
        most: Levels of the field that differs most.

    Returns:
        bool (m,): the mean of a field differs by no more than its pixels do, but for the tint,
        which a rough look sees a little off.
    """
    first, second = (_shrunk(each).reshape(-1, _FIELDS, _FIELDS, 3) for each in (ones, others))
    rough = np.minimum(differences(first, second), differences(second, first))
    return np.asarray(rough <= most + _TINT_OFF)


def placed(wholes: Pictures, others: Pictures) -> tuple[Floats, Floats]:
    """The part of each picture that the other is most like.

    Args:
        wholes: float32 (m, side, side, 3); side is a multiple of 8.
        others: float32 (m, side, side, 3).

    Returns:
        Correlation with it, float32 (m,), -1 to 1, of a rougher look where it is below 0.92; and
        its left, top, right and bottom as shares of the sides, float32 (m, 4).
    """
    scores, parts = _first_look(wholes, others)
    for step, least in _MOVES:
        rows = np.flatnonzero(scores >= least)
        scores[rows], parts[rows] = _moved(wholes[rows], others[rows], parts[rows], (step,))
    return scores, parts


def placed_again(wholes: Pictures, others: Pictures, parts: Floats) -> tuple[Floats, Floats]:
    """The same, where the part is nearly known: by larger pictures."""
    return _moved(wholes, others, parts, _FINE_STEPS)


def cut(pictures: Pictures, parts: Floats) -> Pictures:
    """A part of each picture, as large as the whole: float32 (m, side, side, 3).

    Args:
        pictures: float32 (m, side, side, 3).
        parts: float32 (m, 4), as of `placed`.
    """
    return _cut(pictures.transpose(0, 3, 1, 2), parts).transpose(0, 2, 3, 1)


def layout(pictures: Pictures) -> Floats:
    """How colours lie, in 8 x 8 pixels: unit rows, float32 (m, 192); zeros of one colour."""
    return _normal(_shrunk(pictures).reshape(-1, _FIELDS, _FIELDS, 3))


def _fields(levels: Pictures) -> Floats:
    """Means of 8 x 8 fields and all colours: float32 (m, 8, 8)."""
    return np.asarray(_shrunk(levels).mean(axis=2).reshape(-1, _FIELDS, _FIELDS))


def _steps(pictures: Pictures) -> Floats:
    """Levels from a pixel to the next, down and across, field by field: float32 (m, 8, 8)."""
    down, across = (np.abs(np.gradient(pictures, axis=axis)) for axis in (1, 2))
    return _fields(down + across)


def _moved(
    wholes: Pictures, others: Pictures, parts: Floats, steps: tuple[float, ...]
) -> tuple[Floats, Floats]:
    """Moves each edge for as long as the correlation grows."""
    parts = parts.copy()
    planes = _planes(wholes)
    wanted = _planes(others)
    wanted -= wanted.mean(axis=(2, 3), keepdims=True)
    lengths = np.sqrt(np.einsum("mcyx,mcyx->m", wanted, wanted))
    wanted /= np.maximum(lengths, 1e-3)[:, None, None, None]
    scores = _scores(_cut(planes, parts), wanted)
    turned, wanted_turned = (each.transpose(0, 1, 3, 2) for each in (planes, wanted))
    for step in steps:
        # Across, then down: what is cut in the other direction stays the same meanwhile.
        for edge, seen, sought in ((0, planes, wanted_turned), (1, turned, wanted)):
            fixed = _covering(parts[:, 1 - edge], parts[:, 3 - edge], planes.shape[2])[:, None]
            half = np.ascontiguousarray((fixed @ seen).transpose(0, 1, 3, 2))
            for side, sign in itertools.product((edge, edge + 2), (-1, 1)):
                moved = parts.copy()
                moved[:, side] = np.clip(moved[:, side] + np.float32(sign * step), 0, 1)
                along = _covering(moved[:, edge], moved[:, edge + 2], planes.shape[2])[:, None]
                tried = _scores(along @ half, sought)
                better = tried > scores
                scores[better], parts[better] = tried[better], moved[better]
    return scores, parts


def _planes(pictures: Pictures) -> Floats:
    """A plane a colour, white being 0: float32 (m, 3, side, side)."""
    return np.ascontiguousarray(pictures.transpose(0, 3, 1, 2)) - np.float32(255)


def _first_look(wholes: Pictures, others: Pictures) -> tuple[Floats, Floats]:
    """Correlation and the best of a few parts, of 8 x 8 pixels: all of them in one product."""
    small, wanted = (_shrunk(each) for each in (wholes, others))
    pixels = _FIELDS * _FIELDS
    seen = _CUTS @ small.transpose(1, 2, 0).reshape(pixels, -1)
    seen = seen.reshape(len(_PARTS), pixels, 3, -1)
    wanted -= wanted.mean(axis=1, keepdims=True)
    lengths = np.sqrt(np.einsum("picm,picm->pm", seen, seen))
    lengths *= np.linalg.norm(wanted, axis=(1, 2))
    scores = np.einsum("picm,mic->pm", seen, wanted) / np.maximum(lengths, 1e-3)
    return scores.max(axis=0), _PARTS[scores.argmax(axis=0)]


def _shrunk(pictures: Pictures) -> Pictures:
    """Pictures of 8 x 8 pixels in a row: float32 (m, 64, 3)."""
    patch = pictures.shape[1] // _FIELDS
    # Sums of slices: a mean over both inner axes takes numpy four times as long.
    rows = functools.reduce(np.add, (pictures[:, first::patch] for first in range(patch)))
    cells = functools.reduce(np.add, (rows[:, :, first::patch] for first in range(patch)))
    return np.asarray(cells.reshape(-1, _FIELDS * _FIELDS, 3) / np.float32(patch * patch))


def _scores(seen: Floats, wanted: Floats) -> Floats:
    """Correlations with `wanted`, rows of which have mean 0 and length 1.

    Args:
        seen: float32 (m, 3, side, side).
        wanted: float32 (m, 3, side, side).
    """
    squares = np.einsum("mcyx,mcyx->m", seen, seen)
    sums = np.einsum("mcyx->mc", seen)
    squares -= np.einsum("mc,mc->m", sums, sums) / (seen.shape[2] * seen.shape[3])
    found = np.einsum("mcyx,mcyx->m", seen, wanted)
    return np.asarray(found / np.sqrt(np.maximum(squares, 1)), np.float32)


def _cut(planes: Floats, parts: Floats) -> Floats:
    """As `cut`, of float32 (m, 3, side, side)."""
    side = planes.shape[2]
    rows = _covering(parts[:, 1], parts[:, 3], side)[:, None]
    columns = _covering(parts[:, 0], parts[:, 2], side)[:, None]
    return np.asarray(rows @ planes @ columns.transpose(0, 1, 3, 2))


def _normal(pictures: Pictures) -> Floats:
    """Rows of length 1, the mean of each colour taken away; zeros of what is of one colour."""
    shapes = pictures - pictures.mean(axis=(1, 2), keepdims=True)
    rows = shapes.reshape(len(pictures), np.prod(pictures.shape[1:]))
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.asarray(rows / np.maximum(lengths, 1e-3), np.float32)


def _covering(starts: Floats, ends: Floats, side: int) -> Floats:
    """Shares of each of `side` pixels in each of as many of a part: float32 (m, side, side)."""
    steps = np.arange(side + 1, dtype=np.float32)
    edges = side * starts[:, None] + (ends - starts)[:, None] * steps
    shares = np.minimum(edges[:, 1:, None], steps[1:])
    shares -= np.maximum(edges[:, :-1, None], steps[:-1])
    np.maximum(shares, 0, out=shares)
    shares /= shares.sum(axis=2, keepdims=True)
    return shares


def _parts() -> Floats:
    """Parts of a first look: float32 (parts, 4)."""
    spans = {
        share: [(start, start + share) for start in np.linspace(0, 1 - share, places).tolist()]
        for share, places in _KEPT
    }
    found = [
        (left, top, right, bottom)
        for across, down in itertools.product(spans, spans)
        if across == down or 1.0 in (across, down)
        for (left, right), (top, bottom) in itertools.product(spans[across], spans[down])
    ]
    return np.array(found, np.float32)


def _cuts(parts: Floats) -> Floats:
    """What makes every part of a small picture, less its mean, in one product: (64 parts, 64)."""
    rows = _covering(parts[:, 1], parts[:, 3], _FIELDS)
    columns = _covering(parts[:, 0], parts[:, 2], _FIELDS)
    pixels = _FIELDS * _FIELDS
    cuts = np.einsum("pij,pkl->pikjl", rows, columns).reshape(-1, pixels, pixels)
    cuts -= cuts.mean(axis=1, keepdims=True)
    return np.asarray(cuts.reshape(-1, pixels), np.float32)


_PARTS = _parts()
_CUTS = _cuts(_PARTS)

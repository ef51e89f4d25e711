"""Pairs of a catalogue's pictures that may be one, and which of them are.

Pairs come from what is cheap and often wrong, and are settled by laying pictures over each other.
Their number grows with that of the pictures, also where all are alike.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from pocketlens.duplicates import comparing, groups, hashes, layouts
from pocketlens.duplicates.galleries import Gallery
from pocketlens.duplicates.looking import Looks, Thumbnail, thumbnails_of
from pocketlens.duplicates.neighbours import Nearest
from pocketlens.duplicates.options import DuplicateOptions
from pocketlens.errors import PictureError
from pocketlens.options import PictureLimits
from pocketlens.progress import Progress

Numbers = npt.NDArray[np.int64]
Pairs = tuple[Numbers, Numbers, npt.NDArray[np.bool_]]
"""Pictures of a list, and whether the second is mirrored before they are compared."""

_THREADS = 2
_PAIRS_AT_ONCE = 1024


def suspects(
    gallery: Gallery, near: Nearest, looks: Looks, places: Numbers, options: DuplicateOptions
) -> Pairs:
    """Pairs of pictures that may be one, each once, the lower first.

    Hashes, layouts and codes say so: see docs/duplicates.md for what each is there for.
    """
    n = max(len(places), 1)
    ones, others = hashes.alike(
        np.concatenate([looks.hashes, looks.mirrored_hashes]), options.hash_bits
    )
    is_plain = ones < n  # two mirrored ones say no more than the two as they are
    ones, others = ones[is_plain], others[is_plain]
    mirrored = others >= n

    picture_of = np.full(len(gallery.codes), -1, np.int64)  # the first of each row
    rows = gallery.row_of[places]
    picture_of[rows[::-1]] = np.arange(len(places))[::-1]
    by_code = np.stack(
        [picture_of[each] for each in near.pairs(options.suspect_cosine, options.suspects)]
    )
    by_layout = layouts.alike(looks.thumbnails, options.layout_cosine, options.suspects)
    of_one_row = np.stack([np.arange(len(places)), picture_of[rows]])
    plain = np.concatenate([by_code[:, (by_code >= 0).all(axis=0)], by_layout, of_one_row], axis=1)

    low, high = np.sort(np.concatenate([np.stack([ones, others % n]), plain], axis=1), axis=0)
    is_mirrored = np.zeros(len(low), np.bool_)
    is_mirrored[: len(mirrored)] = mirrored
    numbers = np.unique(((low * n + high) * 2 + is_mirrored)[low != high])
    return numbers // 2 // n, numbers // 2 % n, numbers % 2 == 1


@dataclass(frozen=True, slots=True)
class Pictures:
    """Pictures of a list, small in memory, and larger from their files."""

    looks: Looks
    paths: list[Path]
    limits: PictureLimits

    def differences(self, pairs: Pairs, options: DuplicateOptions) -> npt.NDArray[np.float32]:
        """See `comparing`; of pairs of rows."""
        ones, others, is_mirrored = pairs
        first, second = self.looks.thumbnails[ones], self.looks.thumbnails[others]
        second[is_mirrored] = second[is_mirrored][:, :, ::-1]

        def large(row: int) -> Thumbnail | None:
            try:
                one, other = (
                    thumbnails_of(self.paths[each[row]], self.limits)[1] for each in (ones, others)
                )
            except PictureError:  # it was there a moment ago
                return None
            return np.stack([one, other[:, ::-1] if is_mirrored[row] else other])

        return comparing.differences(first, second, options, large)


def compared(
    labels: Numbers,
    pictures: Pictures,
    places: Numbers,
    pairs: Pairs,
    options: DuplicateOptions,
    progress: Progress,
) -> Numbers:
    """Labels after linking the pairs of pictures that are one; those joined meanwhile are passed.

    Pictures that nothing tells apart are linked without a comparison.
    """
    looks, total = pictures.looks, len(pairs[0])
    labels = groups.joined(labels, *groups.equals(looks.appearances, places))
    at_once = _THREADS * _PAIRS_AT_ONCE
    with ThreadPoolExecutor(_THREADS, thread_name_prefix="pocketlens-compare") as pool:
        for start in range(0, total, at_once):
            ones, others, is_mirrored = (each[start : start + at_once] for each in pairs)
            open_ = labels[places[ones]] != labels[places[others]]
            ones, others, is_mirrored = ones[open_], others[open_], is_mirrored[open_]
            parts = [
                (ones[n::_THREADS], others[n::_THREADS], is_mirrored[n::_THREADS])
                for n in range(_THREADS)
            ]
            for part, levels in zip(
                parts,
                pool.map(lambda each: pictures.differences(each, options), parts),
                strict=True,
            ):
                is_one = levels < np.inf
                labels = groups.joined(labels, places[part[0][is_one]], places[part[1][is_one]])
            progress("comparing pictures", min(start + at_once, total), total)
    return labels

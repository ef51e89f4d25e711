"""The duplicates of a catalogue: codes of a store, and the pictures of its list where it is given.

    found = find("shop/", "catalogue.csv")
    for group in found.near:
        print([copy.image.id for copy in group.copies])

One reader, which sees one version also while the store is synced. Time and memory grow with the
number of images, also where all are alike: groups are told, never pairs.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from pocketlens.duplicates import (
    alignment,
    comparing,
    galleries,
    groups,
    hashes,
    layouts,
    neighbours,
)
from pocketlens.duplicates.catalogues import Catalogue
from pocketlens.duplicates.found import Duplicates, Group, Kind
from pocketlens.duplicates.galleries import Gallery
from pocketlens.duplicates.looking import Looks, Thumbnail, look, thumbnails_of
from pocketlens.duplicates.neighbours import Nearest
from pocketlens.duplicates.options import DuplicateOptions
from pocketlens.errors import PictureError
from pocketlens.open_install import OpenInstall, Settings
from pocketlens.options import PictureLimits, SearchOptions
from pocketlens.progress import Progress

Numbers = npt.NDArray[np.int64]
Pairs = tuple[Numbers, Numbers, npt.NDArray[np.bool_]]
"""Pictures of a list, and whether the second is mirrored before they are compared."""

_NEIGHBOURS = 8  # that an image is linked with, if they are the same thing: more are in its chain
_THREADS = 2
_PAIRS_AT_ONCE = 1024


def find(
    directory: str | Path,
    image_list: str | Path | None = None,
    *,
    options: DuplicateOptions | None = None,
    limits: PictureLimits | None = None,
    progress: Progress = lambda stage, done, total: None,
) -> Duplicates:
    """Finds the duplicates among the images of a store.

    Args:
        directory: The store.
        image_list: The list that it was made of, or any list with pictures of its images by their
            ids; None finds by codes alone.
        options: What counts as a duplicate; defaults if None.
        limits: What a picture may be; defaults if None.
        progress: Called with "reading", "comparing codes", "looking at pictures" and "comparing
            pictures".

    Raises:
        StoreError: The store cannot be read.
        BundleError: Its bundle is missing or damaged.
        ImageListError: The list is wrong, or has no image of the store.
        MissingExtraError: Pictures are to be compared, for which an extra is not installed.
    """
    limits = limits or PictureLimits()
    settings = Settings(SearchOptions(), "auto", limits)
    with closing(OpenInstall.opened(Path(directory), settings)) as install:
        gallery = galleries.read(install.reader, progress)
        catalogue = Catalogue(
            install.reader, gallery.keys, Path(image_list) if image_list else None
        )
        return found_in(
            install,
            gallery,
            catalogue,
            options=options or DuplicateOptions(),
            limits=limits,
            progress=progress,
        )


def found_in(
    install: OpenInstall,
    gallery: Gallery,
    catalogue: Catalogue,
    *,
    options: DuplicateOptions,
    limits: PictureLimits,
    progress: Progress,
) -> Duplicates:
    """The same of an install that is open, whose codes and list were read."""
    cosine = options.cosine or install.bundle().spec.duplicate_cosine
    near = neighbours.nearest(gallery, _NEIGHBOURS, progress=progress)
    looks = look(catalogue.entries, limits, progress=progress)
    places = catalogue.places[looks.rows]

    apart = np.arange(len(gallery.keys))
    exact = groups.joined(apart, *_of_one(looks.digests, places))
    pairs = _suspects(gallery, near, looks, places, options)
    pictures = _Pictures(looks, [catalogue.entries[row].path for row in looks.rows], limits)
    alike = _compared(exact, pictures, places, pairs, options, progress)
    same = groups.joined(alike, *_of_one_row(gallery, near, cosine))
    return Duplicates(
        exact=_groups(catalogue, "exact", exact, apart),
        near=_groups(catalogue, "near", alike, exact),
        same=_groups(catalogue, "same", same, alike),
        images=len(gallery.keys),
        pictures=len(looks.rows),
        cosine=cosine,
        version=install.reader.facts.version,
        problems=(*catalogue.problems, *looks.problems),
    )


def _groups(
    catalogue: Catalogue, kind: Kind, labels: Numbers, stronger: Numbers
) -> tuple[Group, ...]:
    """Groups that links of this kind made, or made larger."""
    found = []
    for rows in groups.members(labels):
        if (stronger[rows] != stronger[rows[0]]).any():
            copies = catalogue.copies(rows.tolist())
            products = {each for copy in copies for each in copy.product_ids}
            found.append(Group(kind, copies, len(products)))
    return tuple(found)


def _of_one(values: npt.NDArray[np.uint8], places: Numbers) -> tuple[Numbers, Numbers]:
    """Links between places whose rows of `values` are equal."""
    first = _firsts(values)
    return places, places[first]


def _firsts(values: npt.NDArray[np.uint8]) -> Numbers:
    """The first row that is equal to each row of uint8 (n, bytes)."""
    whole = np.ascontiguousarray(values).view(f"V{values.shape[1]}").ravel()
    _, first, number = np.unique(whole, return_index=True, return_inverse=True)
    return first[number.reshape(-1)]


def _of_one_row(gallery: Gallery, near: Nearest, cosine: float) -> tuple[Numbers, Numbers]:
    """Links between images of one code, and of codes at `cosine` or more."""
    first = np.zeros(len(gallery.codes), np.int64)  # image of each row
    first[gallery.row_of[::-1]] = np.arange(len(gallery.row_of))[::-1]
    ones, others = near.pairs(cosine)
    images = np.arange(len(gallery.row_of))
    return (
        np.concatenate([images, first[ones]]),
        np.concatenate([first[gallery.row_of], first[others]]),
    )


def _suspects(
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
class _Pictures:
    """Pictures of a list, small in memory, and larger from their files."""

    looks: Looks
    paths: list[Path]
    limits: PictureLimits

    def differences(self, pairs: Pairs, options: DuplicateOptions) -> npt.NDArray[np.float32]:
        """See `comparing`; of pairs of rows."""
        ones, others, is_mirrored = pairs
        first, second = self.looks.thumbnails[ones], self.looks.thumbnails[others]
        second[is_mirrored] = second[is_mirrored][:, :, ::-1]

        def large(row: int) -> tuple[Thumbnail, Thumbnail] | None:
            try:
                one, other = (
                    thumbnails_of(self.paths[each[row]], self.limits)[1] for each in (ones, others)
                )
            except PictureError:  # it was there a moment ago
                return None
            return one, other[:, ::-1] if is_mirrored[row] else other

        return comparing.differences(first, second, options, large)


def _compared(
    labels: Numbers,
    pictures: _Pictures,
    places: Numbers,
    pairs: Pairs,
    options: DuplicateOptions,
    progress: Progress,
) -> Numbers:
    """Labels after linking the pairs of pictures that are one; those joined meanwhile are passed.

    Pictures that nothing tells apart are linked without a comparison.
    """
    looks, total = pictures.looks, len(pairs[0])
    seen = np.concatenate(
        [looks.hashes, looks.thumbnails.reshape(len(places), 3 * alignment.SIDE**2)], axis=1
    )
    labels = groups.joined(labels, *_of_one(seen, places))
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

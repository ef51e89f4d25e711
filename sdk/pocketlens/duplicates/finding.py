"""The duplicates of a catalogue: codes of a store, and the pictures of its list where it is given.

    found = find("shop/", "catalogue.csv")
    for group in found.near:
        print([copy.image.id for copy in group.copies])

One reader, which sees one version also while the store is synced. Time and memory grow with the
number of images, also where all are alike: groups are told, never pairs.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import numpy.typing as npt

from pocketlens.duplicates import galleries, groups, pairing
from pocketlens.duplicates.catalogues import Catalogue
from pocketlens.duplicates.found import Duplicates, Group, Kind
from pocketlens.duplicates.galleries import Gallery
from pocketlens.duplicates.looking import Looks, look
from pocketlens.duplicates.neighbours import Nearest, nearest
from pocketlens.duplicates.options import DuplicateOptions
from pocketlens.open_install import OpenInstall, Settings
from pocketlens.options import PictureLimits, SearchOptions
from pocketlens.progress import Progress
from pocketlens.store.reader import Reader

Numbers = npt.NDArray[np.int64]

_LINKED = 8  # neighbours of an image, if they are the same thing: more are in its chain


@dataclass(frozen=True, slots=True)
class Examined:
    """The images of a store, and what there is to say of them.

    Attributes:
        gallery: Their codes.
        catalogue: Their ids, their products, where their pictures are.
        looks: What was seen of the pictures.
        near: The nearest of each code.
    """

    gallery: Gallery
    catalogue: Catalogue
    looks: Looks
    near: Nearest


def find(
    directory: str | Path,
    image_list: str | Path | None = None,
    *,
    options: DuplicateOptions | None = None,
    limits: PictureLimits | None = None,
    processes: int = 0,
    progress: Progress = lambda stage, done, total: None,
) -> Duplicates:
    """Finds the duplicates among the images of a store.

    Args:
        directory: The store.
        image_list: The list that it was made of, or any list with pictures of its images by their
            ids; None finds by codes alone.
        options: What counts as a duplicate; defaults if None.
        limits: What a picture may be; defaults if None.
        processes: That look at pictures, where these are thousands, as with `multiprocessing`: the
            program's main module must bear to be imported by them. 0: threads of this one.
        progress: Called with "reading", "looking at pictures", "comparing codes" and "comparing
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
        seen = examined(
            install.reader,
            image_list,
            _LINKED,
            limits=limits,
            processes=processes,
            progress=progress,
        )
        options = options or DuplicateOptions()
        return found_in(install, seen, options=options, limits=limits, progress=progress)


def examined(
    reader: Reader,
    image_list: str | Path | None,
    neighbours: int,
    *,
    limits: PictureLimits,
    processes: int,
    progress: Progress,
) -> Examined:
    """Reads the codes of a store, and looks at its pictures; as of `find`.

    Args:
        reader: Of the store.
        image_list: As of `find`.
        neighbours: Wanted of each code.
        limits: What a picture may be.
        processes: As of `find`.
        progress: As of `find`, but for "comparing pictures".
    """
    gallery = galleries.read(reader, progress)
    catalogue = Catalogue(reader, gallery.keys, Path(image_list) if image_list else None)
    # Pictures first: that an extra is missing is known with the first of them.
    looks = look(catalogue.entries, limits, processes=processes, progress=progress)
    return Examined(gallery, catalogue, looks, nearest(gallery, neighbours, progress=progress))


def found_in(
    install: OpenInstall,
    seen: Examined,
    *,
    options: DuplicateOptions,
    limits: PictureLimits,
    progress: Progress,
) -> Duplicates:
    """The same of an install that is open, whose images were examined."""
    cosine = options.cosine or install.bundle().spec.duplicate_cosine
    gallery, catalogue, looks, near = seen.gallery, seen.catalogue, seen.looks, seen.near
    places = catalogue.places[looks.rows]

    apart = np.arange(len(gallery.keys))
    exact = groups.joined(apart, *groups.equals(looks.digests, places))
    pairs = pairing.suspects(gallery, near, looks, places, options)
    pictures = pairing.Pictures(looks, [catalogue.entries[row].path for row in looks.rows], limits)
    alike = pairing.compared(exact, pictures, places, pairs, options, progress)
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
    made = [rows for rows in groups.members(labels) if np.ptp(stronger[rows])]
    copies = iter(catalogue.copies([row for rows in made for row in rows.tolist()]))
    found = []
    for rows in made:
        some = tuple(islice(copies, len(rows)))
        found.append(Group(kind, some, len({each for copy in some for each in copy.product_ids})))
    return tuple(found)


def _of_one_row(gallery: Gallery, near: Nearest, cosine: float) -> tuple[Numbers, Numbers]:
    """Links between images of one code, and of codes at `cosine` or more."""
    ones, others = (gallery.firsts[rows] for rows in near.pairs(cosine, _LINKED))
    images = np.arange(len(gallery.row_of))
    return (
        np.concatenate([images, ones]),
        np.concatenate([gallery.firsts[gallery.row_of], others]),
    )

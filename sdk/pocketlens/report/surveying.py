"""A look at a catalogue: what is in a store, and what of it a search will trip over.

    survey = look_over("shop/", "catalogue.csv")

One reader, which sees one version also while the store is synced. Memory is that of `duplicates`.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from pocketlens.duplicates.catalogues import Catalogue
from pocketlens.duplicates.finding import examined, found_in
from pocketlens.duplicates.galleries import Gallery
from pocketlens.duplicates.looking import walked
from pocketlens.duplicates.neighbours import Nearest
from pocketlens.duplicates.options import DuplicateOptions
from pocketlens.errors import PictureError
from pocketlens.formats.bundle import Spec
from pocketlens.open_install import OpenInstall, Settings
from pocketlens.options import PictureLimits, SearchOptions
from pocketlens.product_columns import ProductColumns
from pocketlens.progress import Progress
from pocketlens.query import pictures
from pocketlens.query.picture_sources import opened
from pocketlens.report import sharpness
from pocketlens.report.survey import Category, Hub, PoorPicture, Survey
from pocketlens.store import sizes

# Of 105 pictures of office goods none is above 0.56 at the model's size; nine of ten are that were
# blurred by two pixels there.
BLURRED = 0.56
HUB_NEIGHBOURS = 10
HUB_TIMES = 4 * HUB_NEIGHBOURS  # four times the mean
MAX_HUBS = 100

_Measured = tuple[int, int, float]  # width, height, blur


def look_over(
    directory: str | Path,
    image_list: str | Path | None = None,
    *,
    options: DuplicateOptions | None = None,
    limits: PictureLimits | None = None,
    processes: int = 0,
    progress: Progress = lambda stage, done, total: None,
) -> Survey:
    """Looks a catalogue over.

    Args:
        directory: The store.
        image_list: The list that it was made of; None leaves out what only pictures tell.
        options: What counts as a duplicate; defaults if None.
        limits: What a picture may be; defaults if None.
        processes: That look at pictures, as of `duplicates.find`.
        progress: As of `duplicates.find`, and with "measuring pictures".

    Raises:
        StoreError: The store cannot be read.
        BundleError: Its bundle is missing or damaged.
        ImageListError: The list is wrong, or has no image of the store.
        MissingExtraError: Pictures are to be compared, for which an extra is not installed.
    """
    limits = limits or PictureLimits()
    with closing(
        OpenInstall.opened(Path(directory), Settings(SearchOptions(), "auto", limits))
    ) as install:
        # Now: `pocketlens index` may replace and remove its folder meanwhile.
        table_bytes, is_estimated = _table_bytes(install.folder)
        reader = install.reader
        spec = install.bundle().spec
        columns = reader.columns()
        seen = examined(
            reader,
            image_list,
            HUB_NEIGHBOURS,
            limits=limits,
            processes=processes,
            progress=progress,
        )
        gallery, catalogue = seen.gallery, seen.catalogue
        hubs, never = _hubs(gallery, seen.near, catalogue)
        options = options or DuplicateOptions()
        found = found_in(install, seen, options=options, limits=limits, progress=progress)
        small, blurred = _poor(catalogue, spec, limits, processes, progress)
        shown = np.isin(columns.keys, columns.link_product_keys)
        alone = _alone(columns)
        return Survey(
            facts=reader.facts,
            input_size=(spec.width, spec.height),
            categories=_categories(columns),
            alone=tuple(reader.products(alone.tolist()).values()),
            without_price=int(np.count_nonzero(columns.prices < 0)),
            out_of_stock=int(np.count_nonzero(columns.stock == 0)),
            without_image=int(np.count_nonzero(~shown)),
            without_product=len(gallery.keys) - len(np.unique(columns.link_image_keys)),
            hubs=hubs,
            never=never,
            duplicates=found,
            small=small,
            blurred=blurred,
            table_bytes=table_bytes,
            is_estimated=is_estimated,
        )


def _table_bytes(folder: Path) -> tuple[dict[str, int], bool]:
    """By table, and whether they are estimated."""
    told = sizes.table_bytes(folder)
    return told or sizes.estimated_table_bytes(folder), not told


def _hubs(gallery: Gallery, near: Nearest, catalogue: Catalogue) -> tuple[tuple[Hub, ...], float]:
    """Images that are among the nearest of many, and the share of those that are of none.

    Images of one code count as one. Source: M. Radovanovic et al., "Hubs in space" (2010): N_k.
    """
    times = np.bincount(near.rows[near.rows >= 0], minlength=len(gallery.codes))
    order = np.argsort(-times, kind="stable")[:MAX_HUBS]
    rows = order[times[order] >= HUB_TIMES]
    copies = catalogue.copies(gallery.firsts[rows].tolist())
    hubs = tuple(Hub(copy, int(times[row])) for copy, row in zip(copies, rows, strict=True))
    return hubs, float(np.mean(times == 0)) if len(times) > 1 else 0.0


def _categories(columns: ProductColumns) -> tuple[Category, ...]:
    names = columns.category_names
    products = np.bincount(columns.categories, minlength=len(names))
    places = np.searchsorted(columns.keys, columns.link_product_keys)
    # Each once, also where it shows several products of a category.
    links = np.stack([columns.categories[places], columns.link_image_keys.astype(np.int64)])
    images = np.bincount(np.unique(links, axis=1)[0], minlength=len(names))
    found = [
        Category(name, int(count), int(shown))
        for name, count, shown in zip(names, products, images, strict=True)
        if count
    ]
    return tuple(sorted(found, key=lambda each: (-each.products, each.name)))


def _alone(columns: ProductColumns) -> npt.NDArray[np.uint32]:
    """Keys of products that are the only one of their category."""
    names = columns.category_names
    counts = np.bincount(columns.categories, minlength=len(names))
    is_named = np.array([bool(name) for name in names], np.bool_)
    alone = (counts == 1) & is_named
    found: npt.NDArray[np.uint32] = columns.keys[alone[columns.categories]]
    return found


def _poor(
    catalogue: Catalogue, spec: Spec, limits: PictureLimits, processes: int, progress: Progress
) -> tuple[tuple[PoorPicture, ...], tuple[PoorPicture, ...]]:
    """Pictures that are too small, and those that are blurred; the worst first."""
    entries = catalogue.entries
    small: list[tuple[int, _Measured]] = []
    blurred: list[tuple[int, _Measured]] = []
    measure = partial(_measured, side=min(spec.width, spec.height), limits=limits)
    for row, (_, seen) in enumerate(walked(entries, measure, processes=processes)):
        if not isinstance(seen, PictureError):  # that it cannot be read is told with duplicates
            width, height, blur = seen
            if _is_enlarged(width, height, spec):
                small.append((row, seen))
            if blur > BLURRED:
                blurred.append((row, seen))
        progress("measuring pictures", row + 1, len(entries))
    small.sort(key=lambda each: each[1][0] * each[1][1])
    blurred.sort(key=lambda each: -each[1][2])
    return _told(catalogue, small), _told(catalogue, blurred)


def _told(catalogue: Catalogue, poor: Sequence[tuple[int, _Measured]]) -> tuple[PoorPicture, ...]:
    copies = catalogue.copies([int(catalogue.places[row]) for row, _ in poor])
    return tuple(PoorPicture(copy, *seen) for copy, (_, seen) in zip(copies, poor, strict=True))


def _is_enlarged(width: int, height: int, spec: Spec) -> bool:
    """Whether the model's input has more pixels across the picture than the picture has."""
    scales = spec.width / width, spec.height / height
    return (min(scales) if spec.resize_mode == "pad" else max(scales)) > 1


def _measured(path: Path, side: int, limits: PictureLimits) -> _Measured:
    """Width, height, and the blur of a picture as large as the model sees it."""
    with opened(path, limits) as source:
        width, height = source.upright_size
    picture = pictures.upright(path, limits=limits, at_least=side).convert("L")
    if min(picture.size) > side:
        scale = side / min(picture.size)
        size = round(picture.width * scale), round(picture.height * scale)
        picture = picture.resize(size, Image.Resampling.BILINEAR)
    return width, height, sharpness.blur(np.asarray(picture))

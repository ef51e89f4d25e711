"""Whether a photo is one of the catalogue's pictures: stolen, uploaded once more, taken as it is.

    for answer in recognise("shop/", [Path("seen_elsewhere.jpg")], "catalogue.csv"):
        print(answer.photo, answer.kind, answer.seen[0].copy.image.id)

The photo and its mirror image are searched; with the pictures of the catalogue at hand the nearest
are laid over the photo, which tells a crop of one from a picture of a like thing. Without, codes
alone say that it is the same thing, and not that it is the same picture.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing, suppress
from pathlib import Path

import numpy as np

from pocketlens.answering import searcher_of
from pocketlens.duplicates import comparing
from pocketlens.duplicates.catalogues import Catalogue
from pocketlens.duplicates.found import Copy, Kind, Recognised, Seen
from pocketlens.duplicates.looking import Thumbnail, digest, thumbnails_of
from pocketlens.duplicates.options import DuplicateOptions
from pocketlens.errors import PictureError
from pocketlens.open_install import OpenInstall, Settings
from pocketlens.options import PictureLimits, SearchOptions
from pocketlens.query import pictures

NEAREST = 10  # images that a photo, and its mirror image, are held against


def recognise(
    directory: str | Path,
    photos: Sequence[str | Path],
    image_list: str | Path | None = None,
    *,
    options: DuplicateOptions | None = None,
    limits: PictureLimits | None = None,
) -> Iterator[Recognised | PictureError]:
    """Says of each photo whether it is one of the catalogue's pictures.

    Args:
        directory: The store.
        photos: Files.
        image_list: The list that the store was made of; None judges by codes alone.
        options: What counts as a copy; defaults if None.
        limits: What a picture may be; defaults if None.

    Yields:
        An answer a photo, in their order; the error of one that cannot be used.

    Raises:
        StoreError: The store cannot be read.
        BundleError: Its model cannot run here.
        ImageListError: The list is wrong, or has no image of the store.
    """
    limits = limits or PictureLimits()
    settings = Settings(SearchOptions(), "auto", limits)
    with closing(OpenInstall.opened(Path(directory), settings)) as install:
        asked = _Asked(install, Path(image_list) if image_list else None, options, limits)
        for photo in photos:
            try:
                yield asked.recognised(Path(photo))
            except PictureError as exc:
                yield exc


class _Asked:
    """An open install, and the pictures of its images."""

    def __init__(
        self,
        install: OpenInstall,
        image_list: Path | None,
        options: DuplicateOptions | None,
        limits: PictureLimits,
    ) -> None:
        self._embedder, self._limits = install.embedder(), limits
        self._options = options or DuplicateOptions()
        self._cosine = self._options.cosine or install.bundle().spec.duplicate_cosine
        self._searcher = searcher_of(install.reader, install.bundle())
        reader = install.reader
        lists = [reader.read_list(number)[0] for number in range(reader.facts.lists)]
        self._keys = np.sort(np.concatenate(lists))
        self._catalogue = Catalogue(reader, self._keys, image_list)

    def recognised(self, photo: Path) -> Recognised:
        similarities, is_mirrored = self._nearest(photo)
        copies = self._catalogue.copies(np.searchsorted(self._keys, list(similarities)).tolist())
        laid_over = self._laid_over(photo, copies)
        seen = [
            Seen(
                copy,
                self._kind(photo, copy, similarity, turned),
                similarity,
                is_mirrored[key] if turned is None else turned,
            )
            for (key, similarity), copy, turned in zip(
                similarities.items(), copies, laid_over, strict=True
            )
        ]
        return Recognised(photo, tuple(sorted(seen, key=_likeliest)[:NEAREST]))

    def _nearest(self, photo: Path) -> tuple[dict[int, float], dict[int, bool]]:
        """Image keys with the similarity of the photo or its mirror image, and which it is of."""
        similarities: dict[int, float] = {}
        is_mirrored: dict[int, bool] = {}
        tensor = pictures.tensor(photo, self._embedder.spec, limits=self._limits)
        for turned, seen in enumerate((tensor, np.ascontiguousarray(tensor[:, ::-1]))):
            embedding = self._embedder.embed_tensor(seen)
            found = self._searcher.nearest_images(embedding, NEAREST)
            for key, similarity in zip(
                found.image_keys.tolist(), found.similarities.tolist(), strict=True
            ):
                if similarity > similarities.get(key, -2.0):
                    similarities[key], is_mirrored[key] = similarity, bool(turned)
        return similarities, is_mirrored

    def _laid_over(self, photo: Path, copies: Sequence[Copy]) -> list[bool | None]:
        """Whether the photo is a mirrored copy of each image's picture; None if it is no copy."""
        found: list[bool | None] = [None] * len(copies)
        shown = [(row, copy.path) for row, copy in enumerate(copies) if copy.path is not None]
        if shown:
            ours = thumbnails_of(photo, self._limits)
            for row, path in shown:
                with suppress(PictureError):  # the catalogue's, not the photo's: it is passed over
                    found[row] = self._is_mirrored_copy(ours, thumbnails_of(path, self._limits))
        return found

    def _is_mirrored_copy(
        self, ours: tuple[Thumbnail, Thumbnail], theirs: tuple[Thumbnail, Thumbnail]
    ) -> bool | None:
        """As `_laid_over`, of thumbnails of both sides."""
        levels = comparing.differences(
            np.stack([ours[0], ours[0][:, ::-1]]),
            np.stack([theirs[0], theirs[0]]),
            self._options,
            lambda row: np.stack([ours[1][:, ::-1] if row else ours[1], theirs[1]]),
        )
        return bool(levels.argmin()) if levels.min() < np.inf else None

    def _kind(
        self, photo: Path, copy: Copy, similarity: float, is_mirrored_copy: bool | None
    ) -> Kind | None:
        if is_mirrored_copy is not None and copy.path is not None:
            return "exact" if digest(photo) == digest(copy.path) else "near"
        return "same" if similarity >= self._cosine else None


def _likeliest(seen: Seen) -> tuple[int, float]:
    ranks: dict[Kind | None, int] = {"exact": 0, "near": 1, "same": 2, None: 3}
    return ranks[seen.kind], -seen.similarity

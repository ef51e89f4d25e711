"""Looks at the pictures of a list: what tells copies from others, and poor pictures from good.

    looks = look(entries, limits, progress=progress)

Each is decoded once, scaled, two at a time; what is kept of one is two kilobytes.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
import numpy.typing as npt
from PIL import Image

from pocketlens.duplicates import alignment, hashes
from pocketlens.errors import PictureError
from pocketlens.image_lists import Entry, Problem
from pocketlens.options import PictureLimits
from pocketlens.progress import Progress
from pocketlens.query import pictures

Value = TypeVar("Value")
Thumbnail = npt.NDArray[np.uint8]

_THREADS = 2  # decoding lets go of Python's lock
_AHEAD = 8
# Pixels that are decoded at least. Copies of other sizes differ by 11 levels in 95 of 100 with 64,
# by 4 with 128, by 2 with all.
_SHORTER_SIDE = 128
_DIGEST_BYTES = 16


@dataclass(frozen=True, slots=True)
class Looks:
    """What was seen of pictures, a row each.

    Attributes:
        rows: int64 (n,), of the entries that could be read.
        digests: uint8 (n, 16), of the bytes.
        appearances: uint8 (n, 16), of hash and thumbnail: equal where nothing here tells apart.
        hashes, mirrored_hashes: uint8 (n, 32).
        thumbnails: uint8 (n, 24, 24, 3), squeezed to squares.
        problems: A line each that could not be read.
    """

    rows: npt.NDArray[np.int64]
    digests: npt.NDArray[np.uint8]
    appearances: npt.NDArray[np.uint8]
    hashes: npt.NDArray[np.uint8]
    mirrored_hashes: npt.NDArray[np.uint8]
    thumbnails: npt.NDArray[np.uint8]
    problems: tuple[Problem, ...]


@dataclass(frozen=True, slots=True)
class Look:
    """What was seen of one picture; the fields are those of `Looks`."""

    digest: bytes
    whole: bytes
    mirrored: bytes
    thumbnail: Thumbnail


def look(entries: Sequence[Entry], limits: PictureLimits, *, progress: Progress) -> Looks:
    """Looks at the pictures of a list, one line of a problem for each that cannot be read.

    Raises:
        MissingExtraError: Perceptual hashes need an extra.
    """
    rows: list[int] = []
    problems: list[Problem] = []
    thumbnails = np.empty((len(entries), alignment.SIDE, alignment.SIDE, 3), np.uint8)
    digests, appearances, wholes, turned = bytearray(), bytearray(), bytearray(), bytearray()
    for row, (entry, seen) in enumerate(walked(entries, lambda path: look_at(path, limits))):
        if isinstance(seen, PictureError):
            problems.append(Problem(entry.line, "image", f"{seen} The picture is left out."))
        else:
            thumbnails[len(rows)] = seen.thumbnail
            digests += seen.digest
            appearances += _shortened(hashlib.sha256(seen.whole + seen.thumbnail.tobytes()))
            wholes += seen.whole
            turned += seen.mirrored
            rows.append(row)
        progress("looking at pictures", row + 1, len(entries))
    return Looks(
        np.array(rows, np.int64),
        _rows(digests, _DIGEST_BYTES),
        _rows(appearances, _DIGEST_BYTES),
        _rows(wholes, hashes.HASH_BYTES),
        _rows(turned, hashes.HASH_BYTES),
        thumbnails[: len(rows)],
        tuple(problems),
    )


def thumbnails_of(path: Path, limits: PictureLimits) -> tuple[Thumbnail, Thumbnail]:
    """What `comparing` compares, of a file: uint8 (24, 24, 3) and (64, 64, 3).

    Raises:
        PictureError: It cannot be read.
    """
    picture = pictures.upright(path, limits=limits, at_least=_SHORTER_SIDE)
    return _squeezed(picture, alignment.SIDE), _squeezed(picture, alignment.LARGE_SIDE)


def look_at(path: Path, limits: PictureLimits) -> Look:
    """Looks at one picture.

    Raises:
        PictureError: It cannot be read.
        MissingExtraError: Perceptual hashes need an extra.
    """
    picture = pictures.upright(path, limits=limits, at_least=_SHORTER_SIDE)
    whole, turned = hashes.hashed(picture)
    return Look(digest(path), whole, turned, _squeezed(picture, alignment.SIDE))


def digest(path: Path) -> bytes:
    """Of the bytes of a file, 16 bytes.

    Raises:
        PictureError: It cannot be read.
    """
    try:
        with path.open("rb") as file:
            return _shortened(hashlib.file_digest(file, "sha256"))
    except OSError as exc:  # it was decoded a moment ago
        raise PictureError(f"Cannot read {path}: {exc.strerror}.") from exc


def walked(
    entries: Sequence[Entry], see: Callable[[Path], Value]
) -> Iterator[tuple[Entry, Value | PictureError]]:
    """Each entry with what `see` makes of its picture, or why that cannot be; two at a time."""
    waiting: deque[tuple[Entry, Future[Value | PictureError]]] = deque()
    pool = ThreadPoolExecutor(_THREADS, thread_name_prefix="pocketlens-look")
    try:
        for entry in entries:
            waiting.append((entry, pool.submit(_seen, see, entry.path)))
            if len(waiting) > _AHEAD:
                first, future = waiting.popleft()
                yield first, future.result()
        for first, future in waiting:
            yield first, future.result()
    finally:
        pool.shutdown(cancel_futures=True)


def _seen(see: Callable[[Path], Value], path: Path) -> Value | PictureError:
    try:
        return see(path)
    except PictureError as exc:
        return exc


def _squeezed(picture: Image.Image, side: int) -> Thumbnail:
    return np.asarray(picture.resize((side, side), Image.Resampling.BILINEAR))


def _shortened(found: hashlib._Hash) -> bytes:
    return found.digest()[:_DIGEST_BYTES]


def _rows(data: bytearray, width: int) -> npt.NDArray[np.uint8]:
    return np.frombuffer(data, np.uint8).reshape(-1, width)

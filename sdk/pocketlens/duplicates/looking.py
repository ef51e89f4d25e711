"""Looks at the pictures of a list: what tells copies from others, and poor pictures from good.

    looks = look(entries, limits, progress=progress)

Each is decoded once, scaled; what is kept of one is two kilobytes.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import hashlib
import os
import sys
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import BrokenExecutor, Executor, Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TypeVar

import numpy as np
import numpy.typing as npt
from PIL import Image

from pocketlens.duplicates import alignment, hashes
from pocketlens.errors import PictureError, PocketLensError
from pocketlens.image_lists import Entry, Problem
from pocketlens.options import PictureLimits
from pocketlens.progress import Progress
from pocketlens.query import pictures

Value = TypeVar("Value")
Thumbnail = npt.NDArray[np.uint8]

_THREADS = 2  # decoding lets go of Python's lock, which is half of the work
_AT_ONCE = 16  # pictures that are given to a thread or process
_AHEAD = 4  # such batches for each of them, so that none waits for the next
_WORTH_PROCESSES = 2000  # pictures: starting one takes a second
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


def look(
    entries: Sequence[Entry], limits: PictureLimits, *, processes: int = 0, progress: Progress
) -> Looks:
    """Looks at the pictures of a list, one line of a problem for each that cannot be read.

    Args:
        entries: Of the list.
        limits: What a picture may be.
        processes: As of `walked`.
        progress: Called with "looking at pictures".

    Raises:
        MissingExtraError: Perceptual hashes need an extra.
    """
    rows: list[int] = []
    problems: list[Problem] = []
    thumbnails = np.empty((len(entries), alignment.SIDE, alignment.SIDE, 3), np.uint8)
    digests, appearances, wholes, turned = bytearray(), bytearray(), bytearray(), bytearray()
    see = partial(look_at, limits=limits)
    for row, (entry, seen) in enumerate(walked(entries, see, processes=processes)):
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
    entries: Sequence[Entry], see: Callable[[Path], Value], *, processes: int = 0
) -> Iterator[tuple[Entry, Value | PictureError]]:
    """Each entry with what `see` makes of its picture, or why that cannot be; some at once.

    Args:
        entries: Whose pictures are seen.
        see: A function of a module, or a `partial` of one, where processes call it.
        processes: That look at many pictures, nearly so many times as fast; the program's main
            module must bear to be imported by them, as with `multiprocessing`. 0: threads.

    Raises:
        PocketLensError: A process was killed.
    """
    left = iter(entries)
    waiting: deque[tuple[list[Entry], Future[list[Value | PictureError]]]] = deque()
    workers = processes if len(entries) >= _WORTH_PROCESSES else 0
    pool = _processes(workers) if workers else _threads()
    try:
        while some := list(islice(left, _AT_ONCE)):
            waiting.append((some, pool.submit(_seen, see, [entry.path for entry in some])))
            if len(waiting) > _AHEAD * max(workers, _THREADS):
                first, future = waiting.popleft()
                yield from zip(first, future.result(), strict=True)
        for first, future in waiting:
            yield from zip(first, future.result(), strict=True)
    except BrokenExecutor as exc:
        raise PocketLensError(
            "A process that looked at pictures was ended by another, perhaps for want of memory. "
            "Try again with more room."
        ) from exc
    finally:
        pool.shutdown(cancel_futures=True)


def _threads() -> Executor:
    return ThreadPoolExecutor(_THREADS, thread_name_prefix="pocketlens-look")


def _processes(count: int) -> Executor:
    """Started anew: a fork would take threads' locks along as they happen to be."""
    import multiprocessing
    from concurrent.futures import ProcessPoolExecutor

    anew = multiprocessing.get_context("spawn")
    return ProcessPoolExecutor(count, mp_context=anew, initializer=_follow_caller)


def _follow_caller() -> None:
    """A process of the pool ends when its caller does, and not by Ctrl-C, which is the caller's."""
    import multiprocessing
    import signal
    import threading

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    caller = multiprocessing.parent_process()

    def end() -> None:
        if caller is not None:  # as it is in such a process
            caller.join()
            os._exit(1)

    threading.Thread(target=end, name="pocketlens-caller", daemon=True).start()


def _seen(see: Callable[[Path], Value], paths: Sequence[Path]) -> list[Value | PictureError]:
    found: list[Value | PictureError] = []
    _read_ahead(paths)
    for path in paths:
        try:
            found.append(see(path))
        except PictureError as exc:
            found.append(exc)
    return found


def _read_ahead(paths: Sequence[Path]) -> None:
    """Asks the system to read files side by side: a disk takes as long for one as for some."""
    if sys.platform == "linux":
        for path in paths:
            with suppress(OSError), path.open("rb", buffering=0) as file:
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_WILLNEED)


def _squeezed(picture: Image.Image, side: int) -> Thumbnail:
    return np.asarray(picture.resize((side, side), Image.Resampling.BILINEAR))


def _shortened(found: hashlib._Hash) -> bytes:
    return found.digest()[:_DIGEST_BYTES]


def _rows(data: bytearray, width: int) -> npt.NDArray[np.uint8]:
    return np.frombuffer(data, np.uint8).reshape(-1, width)

"""Thumbnails of matches as files: `pocketlens search --thumbnails DIR`."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from pocketlens.durable_files import translated
from pocketlens.errors import PocketLensError, StoreError
from pocketlens.results import SearchResult

if TYPE_CHECKING:
    from pocketlens.lens import Lens

Photos = TypeVar("Photos")

_NAME = re.compile(r"[0-9]{3,}-[0-9]{2,}\.webp")


def written(
    folder: Path | None,
    lens: Lens,
    answers: Iterable[tuple[Photos, SearchResult | PocketLensError]],
) -> Iterator[tuple[Photos, SearchResult | PocketLensError]]:
    """Passes answers on, and writes the thumbnail of each match as PHOTO-RANK.webp, from 001-01.

    What an earlier search wrote to the folder goes first. Without a folder nothing is written.

    Raises:
        StoreError: The store has no thumbnails.
        StoreFull, StoreReadOnly: The folder cannot be written.
    """
    if folder is None:
        yield from answers
        return
    if not lens.facts.thumbnail_packs:
        raise StoreError(
            f"The store {lens.directory} has no thumbnails. Make it with them: pocketlens index "
            "LIST --model SHOP.tflite --out DIR --thumbnails"
        )
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for path in folder.iterdir():
            if _NAME.fullmatch(path.name):
                path.unlink()
        for number, (photos, answer) in enumerate(answers, 1):
            if isinstance(answer, SearchResult):
                _write(folder, number, answer)
            yield photos, answer
    except OSError as exc:
        raise translated(exc, folder) from exc


def _write(folder: Path, number: int, found: SearchResult) -> None:
    for rank, match in enumerate(found.matches, 1):
        if (data := match.image.thumbnail()) is not None:
            (folder / f"{number:03}-{rank:02}.webp").write_bytes(data)

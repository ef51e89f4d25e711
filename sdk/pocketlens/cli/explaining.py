"""Why the first match of a photo: `pocketlens search --explain FILE.png`."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pocketlens.cli import output

if TYPE_CHECKING:
    from pocketlens.lens import Lens
    from pocketlens.query.filters import Filter
    from pocketlens.query.pictures import Box
    from pocketlens.results import SearchResult


def check(file: Path | None, photos: Sequence[Path]) -> None:
    """Ends the command where it cannot be told what is to be explained, or not be drawn."""
    if file is not None and len(photos) != 1:
        output.usage_error("--explain", "one photo", str(len(photos)))
    output.check_place("--explain", file)


def draw(
    file: Path,
    lens: Lens,
    photo: Path,
    answer: SearchResult,
    wanted: Filter,
    box: Box | None,
    *,
    in_words: bool,
) -> None:
    """Draws where in the photo the evidence lies, and says why in words too if these are wanted.

    What is explained is the first match of the answer, whatever words or categories led to it; of
    a server's answer, which may be of what the store lacks, the first of the store's own.

    Raises:
        PocketLensError: The photo has no match, or the file cannot be written.
    """
    from pocketlens.durable_files import write_file
    from pocketlens.errors import PictureError
    from pocketlens.explaining import captions

    match = answer.matches[0] if answer.matches and answer.answered_by == "device" else None
    why = lens.explain(photo, filter=wanted, box=box, match=match)
    try:
        drawn = why.png(why.match.image.thumbnail())
    except PictureError:  # a thumbnail is what its server made of it
        drawn = why.png()
    write_file(file, drawn)
    for line in captions.of_explanation(why) if in_words else ():
        output.show(line)

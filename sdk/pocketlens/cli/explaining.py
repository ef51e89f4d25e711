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


def check(file: Path | None, photos: Sequence[Path]) -> None:
    """Ends the command where it cannot be told what is to be explained."""
    if file is not None and len(photos) != 1:
        output.usage_error("--explain", "one photo", str(len(photos)))


def draw(
    file: Path, lens: Lens, photo: Path, wanted: Filter, box: Box | None, *, in_words: bool
) -> None:
    """Draws where in the photo the evidence lies, and says why in words too if these are wanted.

    Raises:
        PocketLensError: The photo has no match, or the file cannot be written.
    """
    from pocketlens.durable_files import write_file
    from pocketlens.explaining import captions

    why = lens.explain(photo, filter=wanted, box=box)
    write_file(file, why.png(why.match.image.thumbnail()))
    for line in captions.of_explanation(why) if in_words else ():
        output.show(line)

"""What a store holds, said without searching it: `pocketlens info`."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from pocketlens.errors import BundleError
from pocketlens.formats import bundle as bundles
from pocketlens.formats.bundle import Bundle
from pocketlens.store import installs, marks, sizes
from pocketlens.store.database import FILE_NAME
from pocketlens.store.facts import StoreFacts
from pocketlens.store.marks import Quarantine, Trial
from pocketlens.store.reader import Reader
from pocketlens.store.thumbnails import ThumbnailFacts


@dataclass(frozen=True, slots=True)
class Description:
    """One install of a store.

    Attributes:
        directory: Of the store.
        install: Folder of the install in use.
        facts: Counts, generation, version, codebook.
        bundle: What its bundle says.
        bundle_bytes, database_bytes: Sizes of the two files.
        table_bytes: By table, largest first; empty where SQLite cannot tell.
        thumbnails: How many images have one that can be read, and what they take.
        trial: Whose place the install took, until it has answered a search; None otherwise.
        quarantine: The version that is held back; None where none is.
    """

    directory: Path
    install: Path
    facts: StoreFacts
    bundle: Bundle
    bundle_bytes: int
    database_bytes: int
    table_bytes: dict[str, int] = field(default_factory=dict)
    thumbnails: ThumbnailFacts = field(default_factory=lambda: ThumbnailFacts(0, 0))
    trial: Trial | None = None
    quarantine: Quarantine | None = None


def describe(directory: str | Path) -> Description:
    """Reads what a store says of itself; nothing is searched or verified.

    Raises:
        StoreError: There is no store, or it cannot be opened.
        BundleError: Its bundle is missing or damaged.
    """
    directory = Path(directory)
    install = installs.current(directory)
    with Reader(directory, install) as reader:
        try:
            data = reader.bundle_path.read_bytes()
        except OSError as exc:
            raise BundleError(
                f"The store's bundle {reader.bundle_path} cannot be read: {exc.strerror}."
            ) from exc
        return Description(
            directory=directory,
            install=install,
            facts=reader.facts,
            bundle=bundles.decode(data),
            bundle_bytes=len(data),
            database_bytes=(install / FILE_NAME).stat().st_size,
            table_bytes=sizes.table_bytes(install),
            thumbnails=reader.thumbnails.facts,
            trial=marks.get(install, Trial),
            quarantine=marks.get(directory, Quarantine),
        )

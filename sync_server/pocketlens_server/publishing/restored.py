"""A catalogue that came from a backup: it publishes nothing until its operator says above what.

    mark(folder.folder, Restored(...))          # by a restore
    check(folder, above=None)                   # ServerError: it would rewind devices

Versions that were published after the backup was made are lost, and devices may have them. Their
numbers must not come twice: a device takes an equal number for the same version, refuses a lower
one, and goes on with what it has.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from pocketlens.durable_files import write_file
from pocketlens.errors import CatalogueRestored, InvalidOperation, ServerError
from pocketlens_server.folders import CatalogueFolder
from pocketlens_server.publishing import ahead

FILE_NAME = "restored.json"
MOST_LOST = 1_000_000  # versions; one digit too many could never be taken back


@dataclass(frozen=True, slots=True)
class Restored:
    """Where a catalogue came from.

    Attributes:
        at: When it was restored.
        taken_at: When the backup was made.
        version: That the backup has; 0 where none was published.
        seen: That a copy of the public files had when it was restored; 0 where none was shown.
    """

    at: datetime
    taken_at: datetime
    version: int
    seen: int = 0

    @property
    def text(self) -> str:
        """For people."""
        copy = f"; the copy of its public files has version {self.seen}" if self.seen else ""
        return (
            f"restored from a backup of {self.taken_at:%Y-%m-%d %H:%M} UTC, at version "
            f"{self.version}{copy}"
        )


def mark(folder: Path, restored: Restored) -> None:
    """Remembers it until `forget`.

    Args:
        folder: Of the catalogue, what only the server reads.
        restored: Where it came from.

    Raises:
        StoreFull, StoreReadOnly: It cannot be written.
    """
    value = {
        "at": restored.at.isoformat(),
        "taken_at": restored.taken_at.isoformat(),
        "version": restored.version,
        "seen": restored.seen,
    }
    write_file(folder / FILE_NAME, (json.dumps(value, indent=2) + "\n").encode())


def mark_of(folder: CatalogueFolder) -> Restored | None:
    """Where a catalogue came from; None where it was not restored, or has published since.

    Raises:
        ServerError: What was remembered is damaged.
    """
    path = folder.folder / FILE_NAME
    try:
        found = json.loads(path.read_text("utf-8"))
        return Restored(
            datetime.fromisoformat(found["at"]),
            datetime.fromisoformat(found["taken_at"]),
            int(found["version"]),
            int(found["seen"]),
        )
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as exc:
        raise ServerError(f"{path} cannot be read: {exc}. Restore the server again.") from exc


def forget(folder: CatalogueFolder) -> None:
    """Lets it publish as any other; what devices said until now no longer counts."""
    (folder.folder / FILE_NAME).unlink(missing_ok=True)
    ahead.forget(folder)


def check(folder: CatalogueFolder, *, head: int, above: int | None) -> None:
    """Lets a catalogue publish, or not.

    Args:
        folder: Of the catalogue.
        head: Its newest version.
        above: The highest version that was ever published, as the operator says; 0 where the
            newest here was; None where they said nothing.

    Raises:
        CatalogueRestored: It was restored, and they said nothing.
        InvalidOperation: They said what cannot be.
    """
    if above is not None:
        if not 0 <= above <= head + MOST_LOST:
            raise InvalidOperation(
                f"Expected a version from 0 to {head + MOST_LOST:,}. Received {above:,}. Devices "
                "never go back from a number."
            )
        return
    origin = mark_of(folder)
    if origin is None:
        return
    found = ahead.seen(folder)
    said = f"Devices said that they have {found.text}. " if found else ""
    raise CatalogueRestored(
        f"The catalogue {folder.name!r} was {origin.text}. {said}Say which version was the highest "
        "that was ever published: publish --above VERSION; or, if none was after version "
        f"{origin.version}: publish --above 0"
    )

"""The document of a backup, backup.json: what each file is, and what the catalogues are at.

    data = Document(made_at, server_format, catalogues, files).encode()
    Document.decode(data)

It carries its own SHA-256: a backup rots as any file does.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import PurePosixPath
from typing import Any

from pocketlens.errors import ServerError
from pocketlens.products import is_catalogue_name

FORMAT = 1


@dataclass(frozen=True, slots=True)
class Entry:
    """A file.

    Attributes:
        path: In the server's folder, with "/".
        sha256: Hex.
        size: Bytes.
        is_private: Whether its owner alone may read it.
    """

    path: str
    sha256: str
    size: int
    is_private: bool = False

    def __post_init__(self) -> None:
        path = PurePosixPath(self.path)
        is_inside = not path.is_absolute() and ".." not in path.parts and str(path) == self.path
        is_plain = all(each.isprintable() and each not in '\\:*?"<>|' for each in self.path)
        if not (is_inside and is_plain and path.parts):
            raise ValueError(f"Expected a path inside a server's folder. Received {self.path!r}.")
        if len(bytes.fromhex(self.sha256)) != 32 or self.size < 0:
            raise ValueError(f"Expected hash and length of {self.path}. Received others.")


@dataclass(frozen=True, slots=True)
class Point:
    """What a catalogue is at.

    Attributes:
        version: The newest; 0 where none was published.
        state_hashes: Hex, by the id of the generation, hex.
        metadata: Versions of what is signed, by role.
    """

    version: int
    state_hashes: Mapping[str, str]
    metadata: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Document:
    """All of it.

    Attributes:
        made_at: When.
        server_format: Of the server's folder.
        catalogues: By name.
        files: Each once.
    """

    made_at: datetime
    server_format: int
    catalogues: Mapping[str, Point]
    files: Sequence[Entry]

    def encode(self) -> bytes:
        """Its bytes."""
        value = {
            "format": FORMAT,
            "made_at": self.made_at.isoformat(),
            "server_format": self.server_format,
            "catalogues": {name: asdict(point) for name, point in self.catalogues.items()},
            "files": [asdict(entry) for entry in self.files],
        }
        return (json.dumps(value | {"sha256": _digest(value)}, indent=1) + "\n").encode()

    @classmethod
    def decode(cls, data: bytes) -> Document:
        """Reads it.

        Raises:
            ServerError: It is damaged, or of a newer format.
        """
        try:
            value: dict[str, Any] = json.loads(data)
            if value["format"] > FORMAT:
                raise ServerError(
                    f"Expected a backup of format {FORMAT}. Received {value['format']}. Update "
                    "PocketLens."
                )
            is_whole = value.pop("sha256") == _digest(value)
            if not is_whole or not all(map(is_catalogue_name, value["catalogues"])):
                raise ServerError("The backup is damaged: its document has another hash.")
            return cls(
                datetime.fromisoformat(value["made_at"]),
                int(value["server_format"]),
                {name: Point(**point) for name, point in value["catalogues"].items()},
                tuple(Entry(**entry) for entry in value["files"]),
            )
        except (ValueError, KeyError, TypeError, AttributeError) as exc:
            raise ServerError(f"The backup is damaged: {exc}. Try another.") from exc


def _digest(value: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()

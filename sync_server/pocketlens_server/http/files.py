"""Public files by the paths that devices and CDNs ask for.

    files = PublicFiles(folder.path / "public")
    with files.opened("/main/metadata/timestamp.json") as found: ...

A file named by a number or a hash never changes and may be kept for ever; the timestamp is asked
for again every time. No other name is served, so that nothing beside a file, and nothing that is
being written, can be reached.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import BinaryIO

from pocketlens_server.http.messages import Refused

_CATALOGUE = r"/[a-z0-9][a-z0-9_-]{0,62}"
_TIMESTAMP = re.compile(rf"{_CATALOGUE}/metadata/timestamp\.json")
_IMMUTABLE = re.compile(
    rf"{_CATALOGUE}/(metadata/[0-9]{{1,10}}\.[a-z]{{1,32}}\.json"
    r"|targets/manifest/[0-9a-f]{64}\.[0-9a-z]{1,64}"
    r"|blobs/[0-9a-f]{64})"
)
_FOR_EVER = "public, max-age=31536000, immutable"
NEVER_KEPT = {"Cache-Control": "no-cache"}


@dataclass(frozen=True, slots=True)
class OpenFile:
    """A file, open; it stays as it is while it is read.

    Attributes:
        file: To read and to close.
        size: Bytes.
        etag: Names its contents, quoted.
        headers: Of every answer with it.
    """

    file: BinaryIO
    size: int
    etag: str
    headers: Mapping[str, str]


class PublicFiles:
    """The files of every catalogue in a server's public folder."""

    def __init__(self, public: Path) -> None:
        self._public = public

    def open(self, path: str) -> OpenFile:
        """Opens the file at a path, such as "/main/blobs/<sha256>".

        Raises:
            Refused: There is none.
        """
        changes = _TIMESTAMP.fullmatch(path) is not None
        if not changes and not _IMMUTABLE.fullmatch(path):
            raise Refused(HTTPStatus.NOT_FOUND)
        place = self._public / path[1:]
        try:
            file = place.open("rb")
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError) as exc:
            raise Refused(HTTPStatus.NOT_FOUND) from exc
        except OSError as exc:
            raise Refused(HTTPStatus.INTERNAL_SERVER_ERROR) from exc
        size = os.fstat(file.fileno()).st_size
        name = place.name
        if changes:
            name = hashlib.sha256(file.read()).hexdigest()
            file.seek(0)
        is_json = place.suffix == ".json"
        headers = {
            "Content-Type": "application/json" if is_json else "application/octet-stream",
            "ETag": f'"{name}"',
            "Accept-Ranges": "bytes",
            **(NEVER_KEPT if changes else {"Cache-Control": _FOR_EVER}),
        }
        return OpenFile(file, size, headers["ETag"], headers)

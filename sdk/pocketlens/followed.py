"""What a store follows, kept in its folder twice, sealed: if one copy is damaged, the other serves.

    DIR/sync.json, DIR/sync-copy.json

A folder that is damaged otherwise still knows whom to ask for what it lacks.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

from pocketlens.durable_files import write_file
from pocketlens.errors import SyncError
from pocketlens.store import installs

_NEEDED = frozenset({"server", "catalogue", "device", "root"})


@dataclass(frozen=True, slots=True)
class Followed:
    """What a store follows.

    Attributes:
        server: HOST:PORT of a server, address (https://...) of the catalogue's public files, or a
            folder that is a copy of them.
        catalogue: Its name.
        root: Signed metadata that the app came with.
        device: Id of this store, made at random; it decides when a version that reaches some
            devices first reaches this one, and is never sent.
        ca: File with the certificates to trust; "" for those of the system.
        token_file: File with the token to send; "" for none.
        thumbnails: "yes" where they are fetched too; "" where not.
    """

    server: str
    catalogue: str
    root: bytes
    device: str
    ca: str = ""
    token_file: str = ""
    thumbnails: str = ""


def write(directory: Path, followed: Followed) -> None:
    """Remembers what a store follows, and mends copies that are damaged; others are left alone.

    The caller has the store's lock: without it, what is unfinished is cleaned away by others.

    Raises:
        StoreFull, StoreReadOnly: The folder cannot be written.
    """
    settings = {
        "server": followed.server,
        "catalogue": followed.catalogue,
        "device": followed.device,
        "root": followed.root.decode(),
        "ca": followed.ca,
        "token_file": followed.token_file,
    }
    if followed.thumbnails:
        settings["thumbnails"] = followed.thumbnails
    settings["sha256"] = _seal(settings)
    for name in installs.FOLLOWED:
        if _settings(directory / name) != settings:
            data = json.dumps(settings, indent=2, ensure_ascii=False)
            write_file(directory / name, f"{data}\n".encode(), is_private=True)


def read(directory: Path) -> Followed | None:
    """What the store in a folder follows; None where it follows nothing.

    Raises:
        SyncError: Both copies are damaged.
    """
    paths = [directory / name for name in installs.FOLLOWED]
    for path in paths:
        if found := _settings(path):
            return Followed(
                found["server"],
                found["catalogue"],
                found["root"].encode(),
                found["device"],
                found.get("ca", ""),
                found.get("token_file", ""),
                found.get("thumbnails", ""),
            )
    if not any(path.exists() for path in paths):
        return None
    raise SyncError(
        f"What the store {directory} follows is damaged. Name its server again: "
        f"pocketlens sync {directory} --server ADDRESS --root root.json"
    )


def _settings(path: Path) -> dict[str, str]:
    """What a copy says; nothing where it is missing or damaged."""
    try:
        found = json.loads(path.read_bytes().decode())  # of bytes, json guesses the encoding
        seal = found["sha256"]
    except (OSError, ValueError, KeyError, TypeError):
        return {}
    is_whole = seal == _seal(found) and found.keys() >= _NEEDED
    return found if is_whole and all(isinstance(text, str) for text in found.values()) else {}


def _seal(settings: dict[str, str]) -> str:
    sealed = {name: text for name, text in settings.items() if name != "sha256"}
    return hashlib.sha256(json.dumps(sealed, sort_keys=True).encode()).hexdigest()

"""Keys that sign a catalogue's metadata: files in two folders, or whatever a signer can reach.

    made = create(folder / "keys", ONLINE), create(Path("/media/safe"), OFFLINE)
    signers = load(folder / "keys", ONLINE)

Each role has a key of its own. A folder holds a private key a role, readable by its owner alone,
and `keys.json`, which says for each role where its key is: a line there may name a key in a KMS
instead (any URI that securesystemslib knows).
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives.serialization import load_pem_private_key
from securesystemslib.exceptions import Error as SigningError
from securesystemslib.signer import CryptoSigner, Key, Signer, SSlibKey

from pocketlens.durable_files import sync_folder, translated, write_file
from pocketlens.errors import ServerError

ROOT, TARGETS, MODELS = "root", "targets", "models"
PUBLISHING, SNAPSHOT, TIMESTAMP = "publishing", "snapshot", "timestamp"
# A model is a program: its key is kept apart from those that a server needs all day.
OFFLINE = (ROOT, TARGETS, MODELS)
ONLINE = (PUBLISHING, SNAPSHOT, TIMESTAMP)
INDEX = "keys.json"

_BESIDE = "beside:"  # a file in the folder of keys.json


def create(folder: Path, roles: Iterable[str]) -> dict[str, Signer]:
    """Makes an Ed25519 key for each role in a folder, which must not hold keys yet.

    Raises:
        ServerError: It holds keys.
        StoreFull, StoreReadOnly: It cannot be written.
    """
    if (folder / INDEX).exists():
        raise ServerError(
            f"{folder} holds keys already. Choose another folder; keys are never overwritten."
        )
    made: dict[str, Signer] = {}
    index = {}
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for role in roles:
            signer = CryptoSigner.generate_ed25519()
            _write_secret(folder / f"{role}.pem", signer.private_bytes)
            made[role] = signer
            public = signer.public_key
            index[role] = {
                "uri": f"{_BESIDE}{role}.pem",
                "keyid": public.keyid,
                "public": public.to_dict(),
            }
        sync_folder(folder)
    except OSError as exc:
        raise translated(exc, folder) from exc
    write_file(folder / INDEX, (json.dumps(index, indent=2) + "\n").encode())
    return made


def load(folder: Path, roles: Iterable[str]) -> dict[str, Signer]:
    """The signers of some roles.

    Raises:
        ServerError: A key is missing, or cannot be used.
    """
    index = _index(folder)
    found: dict[str, Signer] = {}
    for role in roles:
        if role not in index:
            raise ServerError(f"{folder / INDEX} names no key of the role {role!r}.")
        entry = index[role]
        try:
            if entry.uri.startswith(_BESIDE):
                data = (folder / entry.uri.removeprefix(_BESIDE)).read_bytes()
                private = load_pem_private_key(data, None)
                found[role] = CryptoSigner(private, entry.public)
            else:
                found[role] = Signer.from_priv_key_uri(entry.uri, entry.public)
        except (OSError, TypeError, ValueError, SigningError) as exc:
            raise ServerError(f"The key of the role {role!r} cannot be used: {exc}.") from exc
    return found


def public_keys(folder: Path) -> dict[str, Key]:
    """The public key of each role that a folder has keys of.

    Raises:
        ServerError: The folder holds no keys.
    """
    return {role: entry.public for role, entry in _index(folder).items()}


@dataclass(frozen=True, slots=True)
class _Entry:
    """A line of keys.json."""

    uri: str
    public: SSlibKey


def _index(folder: Path) -> dict[str, _Entry]:
    path = folder / INDEX
    try:
        index = json.loads(path.read_text())
        return {
            role: _Entry(str(entry["uri"]), SSlibKey.from_dict(entry["keyid"], entry["public"]))
            for role, entry in index.items()
        }
    except OSError as exc:
        raise ServerError(f"{folder} holds no keys: {path.name} cannot be read.") from exc
    except (AttributeError, KeyError, TypeError, ValueError) as exc:
        raise ServerError(f"{path} is damaged ({exc}). Copy it from where it was kept.") from exc


def _write_secret(path: Path, data: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())

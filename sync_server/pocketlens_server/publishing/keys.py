"""Keys that sign a catalogue's metadata: files in folders, or whatever a signer can reach.

    made = create(folder / "keys", ONLINE) | create(Path("/media/safe"), OFFLINE)
    signers = load([folder / "keys"], ONLINE)

A role has one key or several. A folder holds private keys, readable by their owner alone, and
`keys.json`, which says for each role where its keys are: a line there may name a key in a KMS
instead (any URI that securesystemslib knows). Which of them may sign is not said there but in the
signed metadata; a key that is named here and not there signs nothing.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import json
import os
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import load_pem_private_key, load_pem_public_key
from securesystemslib.exceptions import Error as SigningError
from securesystemslib.signer import CryptoSigner, Signer, SSlibKey

from pocketlens.durable_files import sync_folder, translated, write_file
from pocketlens.errors import ServerError

ROOT, TARGETS, MODELS = "root", "targets", "models"
PUBLISHING, SNAPSHOT, TIMESTAMP = "publishing", "snapshot", "timestamp"
# A model is a program: its key is kept apart from those that a server needs all day.
OFFLINE = (ROOT, TARGETS, MODELS)
ONLINE = (PUBLISHING, SNAPSHOT, TIMESTAMP)
ROLES = (*OFFLINE, *ONLINE)
INDEX = "keys.json"

Signers = Mapping[str, Sequence[Signer]]
"""Keys at hand, by their role."""

_BESIDE = "beside:"  # a file in the folder of keys.json
_PROBE = b"pocketlens: whether a key signs"


def create(folder: Path, roles: Iterable[str]) -> dict[str, list[Signer]]:
    """Makes an Ed25519 key for each role in a folder, which must not hold keys yet.

    Raises:
        ServerError: It holds keys.
        StoreFull, StoreReadOnly: It cannot be written.
    """
    if holds_keys(folder):
        raise ServerError(
            f"{folder} holds keys already. Choose another folder; keys are never overwritten."
        )
    return {role: [add(folder, role)] for role in roles}


def holds_keys(folder: Path) -> bool:
    """Whether a folder says where keys are."""
    return (folder / INDEX).exists()


def add(folder: Path, role: str) -> Signer:
    """Makes another Ed25519 key for a role in a folder, which is made if it is not there.

    Raises:
        ServerError: The folder's keys.json is damaged.
        StoreFull, StoreReadOnly: It cannot be written.
    """
    signer = CryptoSigner.generate_ed25519()
    name = f"{role}-{signer.public_key.keyid[:8]}.pem"
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        _write_secret(folder / name, signer.private_bytes)
        sync_folder(folder)
    except OSError as exc:
        raise translated(exc, folder) from exc
    _append(folder, role, _Entry(f"{_BESIDE}{name}", signer.public_key))
    return signer


def adopt(folder: Path, role: str, uri: str, public_pem: bytes) -> Signer:
    """Names a key that is held elsewhere, such as in a KMS, as one of a role.

    Args:
        folder: Whose keys.json names it.
        role: That it is to sign for.
        uri: Where its private half is, as securesystemslib writes it ("gcpkms:...").
        public_pem: Its public half.

    Raises:
        ServerError: Nothing can sign with it.
    """
    try:
        public = SSlibKey.from_crypto(load_pem_public_key(public_pem))
    except (TypeError, ValueError, UnsupportedAlgorithm, SigningError) as exc:
        raise ServerError(f"Expected a public key as PEM. Received another: {exc}.") from exc
    entry = _Entry(uri, public)
    signer = _signer(folder, role, entry)
    try:
        public.verify_signature(signer.sign(_PROBE), _PROBE)
    except (OSError, ValueError, SigningError) as exc:
        raise ServerError(f"The key {uri} does not sign as its public half says: {exc}.") from exc
    _append(folder, role, entry)
    return signer


def load(folders: Iterable[Path], roles: Collection[str]) -> dict[str, list[Signer]]:
    """The signers of some roles that folders name; none of a role that none of them names.

    Raises:
        ServerError: A folder holds no keys, or a key cannot be used.
    """
    found: dict[str, list[Signer]] = {role: [] for role in roles}
    for folder in folders:
        for role, entries in _index(folder).items():
            if role in found:
                found[role] += [_signer(folder, role, entry) for entry in entries]
    return found


def named(folder: Path) -> dict[str, list[str]]:
    """Ids of the keys that a folder names, by their role.

    Raises:
        ServerError: The folder holds no keys.
    """
    return {
        role: [entry.public.keyid for entry in entries] for role, entries in _index(folder).items()
    }


def forget(folder: Path, keyids: Collection[str]) -> list[Path]:
    """Names some keys no more.

    Returns:
        Their private halves, which stay: whoever keeps the folder destroys them.

    Raises:
        ServerError: The folder holds no keys.
        StoreFull, StoreReadOnly: It cannot be written.
    """
    index = _index(folder)
    gone = [entry for entries in index.values() for entry in entries if entry.keyid in keyids]
    kept = {
        role: [entry for entry in entries if entry not in gone] for role, entries in index.items()
    }
    if gone and any(kept.values()):
        _write_index(folder, {role: entries for role, entries in kept.items() if entries})
    elif gone:
        (folder / INDEX).unlink()
    return [path for path in (entry.private_file(folder) for entry in gone) if path]


@dataclass(frozen=True, slots=True)
class _Entry:
    """A key that keys.json names."""

    uri: str
    public: SSlibKey

    @property
    def keyid(self) -> str:
        return self.public.keyid

    def private_file(self, folder: Path) -> Path | None:
        is_beside = self.uri.startswith(_BESIDE)
        return folder / self.uri.removeprefix(_BESIDE) if is_beside else None


def _signer(folder: Path, role: str, entry: _Entry) -> Signer:
    path = entry.private_file(folder)
    try:
        if path is None:
            return Signer.from_priv_key_uri(entry.uri, entry.public)
        return CryptoSigner(load_pem_private_key(path.read_bytes(), None), entry.public)
    except (OSError, TypeError, ValueError, UnsupportedAlgorithm, SigningError) as exc:
        raise ServerError(
            f"A key of the role {role!r} that {folder / INDEX} names cannot be used: {exc}."
        ) from exc


def _append(folder: Path, role: str, entry: _Entry) -> None:
    index = _index(folder) if holds_keys(folder) else {}
    index[role] = [*(each for each in index.get(role, ()) if each.keyid != entry.keyid), entry]
    _write_index(folder, index)


def _index(folder: Path) -> dict[str, list[_Entry]]:
    path = folder / INDEX
    try:
        index = json.loads(path.read_text())
        return {
            role: [
                _Entry(str(each["uri"]), SSlibKey.from_dict(each["keyid"], each["public"]))
                for each in entries
            ]
            for role, entries in index.items()
        }
    except OSError as exc:
        raise ServerError(
            f"{folder} holds no keys: {path.name} cannot be read. Bring the folder, or name where "
            "it is: --offline-keys"
        ) from exc
    except (AttributeError, KeyError, TypeError, ValueError) as exc:
        raise ServerError(f"{path} is damaged ({exc}). Copy it from where it was kept.") from exc


def _write_index(folder: Path, index: Mapping[str, Sequence[_Entry]]) -> None:
    value = {
        role: [
            {"uri": each.uri, "keyid": each.keyid, "public": each.public.to_dict()}
            for each in entries
        ]
        for role, entries in index.items()
    }
    write_file(folder / INDEX, (json.dumps(value, indent=2) + "\n").encode())


def _write_secret(path: Path, data: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())

"""Whether the files of a catalogue are what its tables and its signed metadata say.

    missing, others = unlike_their_names(files, progress)
    for text in untrusted(public, visible, "main"): ...

Nothing is changed.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import hashlib
import stat
from collections.abc import Callable, Collection, Iterator
from datetime import datetime, timedelta
from pathlib import Path

from pocketlens.errors import ServerError, SyncError
from pocketlens.sync import trust
from pocketlens.sync.transports import FolderTransport
from pocketlens_server.folders import CatalogueFolder
from pocketlens_server.publishing import keys, metadata, signing
from pocketlens_server.publishing.holdings import Visible


def unlike_their_names(
    paths: Collection[Path], progress: Callable[[int, int], None]
) -> tuple[list[Path], list[Path]]:
    """Which files are missing, and which are not what their names say.

    Args:
        paths: Of files named by their SHA-256.
        progress: Called with done and total.
    """
    missing, others = [], []
    for done, path in enumerate(sorted(paths)):
        progress(done, len(paths))
        try:
            with path.open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
        except FileNotFoundError:
            missing.append(path)
        except OSError:
            others.append(path)
        else:
            if digest != path.name.partition(".")[0]:
                others.append(path)
    progress(len(paths), len(paths))
    return missing, others


def untrusted(public: Path, visible: Visible, catalogue: str) -> Iterator[str]:
    """Yields why a device would not believe what is signed, were its clock right.

    Args:
        public: Of the catalogue.
        visible: What devices find there; before the first version nothing is for them.
        catalogue: Its name.

    Raises:
        ServerError: The metadata cannot be read.
    """
    root = (public / "metadata" / "1.root.json").read_bytes()
    in_time = min(each.expires for each in signing.status(public)) - timedelta(seconds=1)
    for generation in (None, *visible.manifests) if visible.manifests else ():
        try:
            found = trust.verified(
                {},
                root=root,
                fetch=FolderTransport(public).file,
                generation=generation,
                now=in_time,
            )
        except SyncError as exc:
            yield str(exc)
        else:
            if found.manifest.catalogue != catalogue:
                yield f"a manifest is of the catalogue {found.manifest.catalogue!r}"


def expired(public: Path, now: datetime) -> list[str]:
    """Roles whose metadata has expired.

    Raises:
        ServerError: It cannot be read.
    """
    return [each.role for each in signing.status(public) if each.expires <= now]


def unusable_keys(folder: CatalogueFolder) -> Iterator[str]:
    """Yields why the server cannot sign, and which keys others than its owner may read."""
    try:
        at_hand = keys.load([folder.online_keys], keys.ONLINE)
        holders = metadata.holders(folder.public)
    except ServerError as exc:
        yield str(exc)
        return
    for role in keys.ONLINE:
        found = {signer.public_key.keyid for signer in at_hand[role]} & {*holders[role].keyids}
        if len(found) < holders[role].threshold:
            yield f"{len(found)} keys of the role {role!r} sign, and it needs "
            f"{holders[role].threshold}"
    for path in sorted(folder.online_keys.glob("*.pem")):
        if path.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
            yield f"{path} may be read by others than its owner"


def leftovers(folder: CatalogueFolder, named: Collection[Path]) -> dict[str, int]:
    """How many files nothing names, by the folder that they are in.

    Args:
        folder: Of the catalogue.
        named: Everything that is needed.
    """
    counts: dict[str, int] = {}
    for place, found in (
        ("pictures", (folder.folder / "pictures").glob("*/*")),
        ("bundles", (folder.folder / "bundles").iterdir()),
        ("public", folder.public.rglob("*")),
    ):
        left = sum(path.is_file() and path not in named for path in found)
        if left:
            counts[place] = left
    return counts

"""Signed metadata (TUF) to a manifest that may be believed. The only module that imports tuf.

    found = verified(trusted, root=ROOT_JSON, fetch=fetch, generation=None, now=now)
    found.manifest, found.metadata          # keep both in one transaction

What was trusted before comes as values and what is trusted now goes as values: python-tuf's own
files are written without a flush, so that they live in a folder of their own for one call only.
Nothing is trusted of a call that fails.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import errno
import json
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from tuf.api.exceptions import (
    DownloadError,
    DownloadHTTPError,
    DownloadLengthMismatchError,
    ExpiredMetadataError,
    RepositoryError,
    UnsignedMetadataError,
)
from tuf.api.metadata import Metadata, Root, Timestamp
from tuf.ngclient import FetcherInterface, Updater, UpdaterConfig

from pocketlens.durable_files import translated
from pocketlens.errors import ClockSuspect, StoreError, TransportError, TrustError
from pocketlens.formats import manifest as manifests
from pocketlens.formats.manifest import Manifest

# What a server can make a device read, and follow. A role's metadata has some 250 bytes for each of
# its targets, and a snapshot names six roles.
_LIMITS = UpdaterConfig(
    max_root_rotations=1024,
    root_max_length=512_000,
    timestamp_max_length=16_384,
    snapshot_max_length=64 << 10,
    targets_max_length=1 << 20,
)
NEWEST = "manifest/newest"

Fetch = Callable[[str], Iterator[bytes] | None]
"""A name below the catalogue's folder, such as "metadata/7.root.json", to its bytes in pieces; None
where there is no such file. Raises `TransportError` where that cannot be known."""


@dataclass(frozen=True, slots=True)
class Verified:
    """What may be believed.

    Attributes:
        manifest: Of the generation asked for, or of the newest.
        metadata: By name: what the next call trusts.
        is_recovery: Whether the key that said what was newest before says it no more: what was
            trusted may have come from a thief, who may have run ahead with versions and times.
    """

    manifest: Manifest
    metadata: Mapping[str, bytes]
    is_recovery: bool


def verified(
    trusted: Mapping[str, bytes],
    *,
    root: bytes,
    fetch: Fetch,
    generation: bytes | None,
    now: datetime,
    signed_before: datetime | None = None,
) -> Verified:
    """Follows the metadata from what is trusted to a manifest.

    Args:
        trusted: What an earlier call gave as `metadata`; empty at first.
        root: That the app came with.
        fetch: Gives files of the server's; bytes beyond what is signed are not asked for.
        generation: Id of the generation wanted, 32 bytes; None for the newest.
        now: The device's clock.
        signed_before: The newest time that was signed before, which it cannot be before; it counts
            while the key holds that said so.

    Raises:
        TransportError: A file could not be fetched.
        TrustError: What came is not signed as it must be, is older than what was trusted, or has
            expired; the manifest names a bundle that no model key signed.
        ClockSuspect: It is later than the expiry of everything that is signed.
        StoreFull, StoreError: The system's folder for temporary files cannot be written.
    """
    path = NEWEST if generation is None else f"manifest/{generation.hex()}"
    fetcher = _Fetcher(fetch)
    with _scratch_folder() as folder:
        _write(folder, trusted)
        try:
            updater = Updater(
                str(folder),
                "metadata",
                fetcher=fetcher,
                config=_LIMITS,
                bootstrap=root,
            )
            updater._load_root()  # alone, as nothing public does
            is_recovery = not _holds(updater, trusted)
            if signed_before is not None and not is_recovery:
                now = max(now, signed_before)
            updater._trusted_set.reference_time = now  # it has no other way in
            updater.refresh()
            manifest = _manifest(updater, fetcher, path)
        except ExpiredMetadataError as exc:
            raise _expired(exc, folder, now) from exc
        except DownloadError as exc:
            raise _transport(exc) from exc
        except (RepositoryError, ValueError) as exc:
            hint = "" if trusted else " Is the root that of this catalogue?"
            raise TrustError(f"What the server sent cannot be trusted: {exc}.{hint}") from exc
        return Verified(manifest, _read(folder), is_recovery)


def check_root(root: bytes) -> None:
    """Says whether signed metadata of the app's can be a root at all.

    Raises:
        TrustError: It is none.
    """
    try:
        Metadata[Root].from_bytes(root)
        is_root = json.loads(root)["signed"]["_type"] == Root.type
    except (RepositoryError, ValueError, KeyError, TypeError):
        is_root = False
    if not is_root:
        raise TrustError(
            "Expected the root that the app came with, such as 1.root.json. Received another file."
        )


def versions(metadata: Mapping[str, bytes]) -> dict[str, int]:
    """The version of each role in what `verified` gave."""
    found: dict[str, int] = {}
    for name, data in metadata.items():
        role = name.removesuffix(".json").rpartition(".")[2]  # "7.root" is one of the root's
        found[role] = max(found.get(role, 0), int(json.loads(data)["signed"]["version"]))
    return found


def offered_generation(metadata: Mapping[str, bytes], wanted: bytes | None) -> bytes | None:
    """Id of the generation whose manifest a server offers that has signed nothing since.

    Args:
        metadata: What `verified` gave.
        wanted: The generation asked for; None for the newest.

    Returns:
        The one wanted, or the newest if that has retired; None where nothing is known.
    """
    if "publishing.json" not in metadata:
        return None
    targets = json.loads(metadata["publishing.json"])["signed"]["targets"]
    if wanted is not None and f"manifest/{wanted.hex()}" in targets:
        return wanted
    for path, target in targets.items():  # the newest has two names
        if path.startswith("manifest/") and path != NEWEST and target == targets.get(NEWEST):
            return bytes.fromhex(path.rpartition("/")[2])
    return None


def _holds(updater: Updater, trusted: Mapping[str, bytes]) -> bool:
    """Whether the newest root still lets those say what is newest who said it before."""
    data = trusted.get("timestamp.json")
    if data is None:
        return True
    document = Metadata[Timestamp].from_bytes(data)
    root = updater._trusted_set.root
    try:
        root.verify_delegate(Timestamp.type, document.signed_bytes, document.signatures)
    except UnsignedMetadataError:
        return False
    return True


def _manifest(updater: Updater, fetcher: _Fetcher, path: str) -> Manifest:
    target = updater.get_targetinfo(path)
    if target is None and path != NEWEST:  # the generation has retired
        path = NEWEST
        target = updater.get_targetinfo(path)
    if target is None:
        raise TrustError(f"The server has signed no {path}. Publish a version first.")
    if target.length > manifests.MAX_BYTES:
        raise TrustError(f"The manifest {path} is said to have {target.length:,} bytes.")
    digest = target.hashes.get("sha256", "")
    folder, _, name = path.rpartition("/")
    data = fetcher.download_bytes(f"targets/{folder}/{digest}.{name}", target.length)
    target.verify_length_and_hashes(data)
    manifest = manifests.decode(data)
    if path != NEWEST and manifest.generation.hex() != path.rpartition("/")[2]:
        raise TrustError(f"{path} is the manifest of another generation.")
    if manifest.signed_at > updater._trusted_set.root.expires:
        # It would be the earliest time that is believed from now on, and nothing be valid any more.
        raise TrustError(f"The manifest {path} was signed at a time when no key holds any more.")
    bundle = updater.get_targetinfo(f"bundles/{manifest.bundle.sha256.hex()}")
    signed = None if bundle is None else (bundle.length, bundle.hashes.get("sha256"))
    if signed != (manifest.bundle.size, manifest.bundle.sha256.hex()):
        raise TrustError("The manifest names a model that no model key has signed.")
    return manifest


class _Fetcher(FetcherInterface):
    """`Fetch` as python-tuf asks for it; what is not there is asked for once."""

    def __init__(self, fetch: Fetch) -> None:
        self._fetch_named = fetch
        self._absent: set[str] = set()

    def _fetch(self, url: str) -> Iterator[bytes]:
        found = None if url in self._absent else self._fetch_named(url)
        if found is None:
            self._absent.add(url)
            raise DownloadHTTPError(f"There is no {url}", 404)
        return found


@contextmanager
def _scratch_folder() -> Iterator[Path]:
    """Where python-tuf may write."""
    try:
        with tempfile.TemporaryDirectory(prefix="pocketlens-") as name:
            yield Path(name)
    except OSError as exc:
        if exc.errno in (errno.ENOSPC, errno.EDQUOT):
            raise translated(exc, Path(tempfile.gettempdir())) from exc
        raise StoreError(
            f"The system's folder for temporary files cannot be written: {exc}. Free some space "
            "there, or let TMPDIR name another."
        ) from exc


def _write(folder: Path, trusted: Mapping[str, bytes]) -> None:
    """Puts what is trusted where python-tuf looks for it."""
    (folder / "root_history").mkdir()
    for name, data in trusted.items():
        is_root = name.endswith(".root.json")
        (folder / "root_history" / name if is_root else folder / name).write_bytes(data)


def _read(folder: Path) -> dict[str, bytes]:
    """What is trusted now: every root since the app's, the newest of all other roles."""
    roots = sorted((folder / "root_history").iterdir())
    others = sorted(path for path in folder.glob("*.json") if path.name != "root.json")
    return {path.name: path.read_bytes() for path in (*roots, *others)}


def _expired(exc: ExpiredMetadataError, folder: Path, now: datetime) -> ClockSuspect | TrustError:
    """Whether a server that stands still, or a clock that is wrong, is the likelier reason."""
    root = Metadata[Root].from_file(str(folder / "root.json")).signed
    if now > root.expires:
        return ClockSuspect(
            f"The clock says {now:%Y-%m-%d}, later than anything that was signed is valid. Set it "
            "right; searching goes on."
        )
    return TrustError(f"What the server sent has expired: {exc}. It may be an old copy.")


def _transport(exc: DownloadError) -> TransportError | TrustError:
    if isinstance(exc.__cause__, TransportError):
        return exc.__cause__
    if isinstance(exc, DownloadLengthMismatchError):
        return TrustError(f"What the server sent cannot be trusted: {exc}.")
    return TransportError(f"The server's metadata is not whole: {exc}.")

"""The manifest of a generation: what was signed of its newest version, to bytes and back.

    manifest = decode(target_bytes)
    manifest.delta_from(store_version)        # None: it needs the snapshot

Source: docs/formats.md, "Manifest"; protos/pocketlens_protos/v1/manifest.proto.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import numpy as np
import numpy.typing as npt
from google.protobuf.message import DecodeError

from pocketlens.errors import TrustError, UpdateRequired
from pocketlens.products import is_catalogue_name
from pocketlens_protos.v1 import manifest_pb2

FORMAT = 1
PIECE_BYTES = 1 << 20
MAX_BYTES = 256 << 10  # of an encoded manifest
MAX_DELTAS = 64
MAX_BLOB_BYTES = 1 << 40
WHOLE_ROLLOUT = 1 << 16


@dataclass(frozen=True, slots=True)
class Blob:
    """A file that is named by its hash.

    Attributes:
        sha256: 32 bytes.
        size: Bytes.
        pieces: SHA-256 of each piece of 1 MiB.
    """

    sha256: bytes
    size: int
    pieces: tuple[bytes, ...]

    @classmethod
    def of(cls, data: bytes) -> Blob:
        """The blob that `data` is."""
        pieces = (data[at : at + PIECE_BYTES] for at in range(0, len(data), PIECE_BYTES))
        return cls(
            hashlib.sha256(data).digest(),
            len(data),
            tuple(hashlib.sha256(piece).digest() for piece in pieces),
        )

    def piece_size(self, number: int) -> int:
        """Length of piece `number`, from 0."""
        return min(PIECE_BYTES, self.size - number * PIECE_BYTES)


@dataclass(frozen=True, slots=True)
class Changes:
    """A delta, or with base 0 a snapshot.

    Attributes:
        base, head: Versions.
        inflated_size: Length of the stream before it was compressed.
        blob: The stream.
    """

    base: int
    head: int
    inflated_size: int
    blob: Blob


@dataclass(frozen=True, slots=True)
class Manifest:
    """What was signed of a generation's newest version.

    Attributes:
        catalogue: Its name; see `is_catalogue_name`.
        generation: Id, 32 bytes.
        version: That all below leads to.
        as_of, signed_at: When it was published and signed, UTC.
        state_hash: 32 bytes.
        images, products: Counts.
        scale: float32 (dim,).
        bundle, codebook: Files.
        probes: Lists that a search scores.
        probes_estimated: Whether they were fitted without held-out photos.
        saturated_share: Components of codes at the limit, 0 to 1, when they were made.
        snapshot: From 0 to an earlier version or this one.
        deltas: Each to `version`, by falling base.
        retires_at: From when on the generation gets no more versions; None while not known.
        rollout: Of 65,536 devices, how many may take this version.
        relist: The list of every image at the version that brought this codebook, from 0; None
            where no delta has an older base.
        thumbnails: The list of the packs that hold them (`formats.pack_list`); None without.
    """

    catalogue: str
    generation: bytes
    version: int
    as_of: datetime
    signed_at: datetime
    state_hash: bytes
    images: int
    products: int
    scale: npt.NDArray[np.float32]
    bundle: Blob
    codebook: Blob
    probes: int
    probes_estimated: bool
    saturated_share: float
    snapshot: Changes
    deltas: Sequence[Changes]
    retires_at: datetime | None = None
    rollout: int = WHOLE_ROLLOUT
    relist: Changes | None = None
    thumbnails: Blob | None = None

    def delta_from(self, version: int) -> Changes | None:
        """The smallest delta for a store at `version`; None where it needs the snapshot."""
        return next((each for each in self.deltas if each.base <= version < each.head), None)


def encode(manifest: Manifest) -> bytes:
    """The bytes of the signed target."""
    retires = manifest.retires_at
    return manifest_pb2.Manifest(
        format=FORMAT,
        catalogue=manifest.catalogue,
        generation=manifest.generation,
        version=manifest.version,
        as_of=_microseconds(manifest.as_of),
        signed_at=_microseconds(manifest.signed_at),
        state_hash=manifest.state_hash,
        images=manifest.images,
        products=manifest.products,
        dim=len(manifest.scale),
        scale=manifest.scale.astype("<f4").tobytes(),
        bundle=_blob_message(manifest.bundle),
        codebook=_blob_message(manifest.codebook),
        probes=manifest.probes,
        probes_estimated=manifest.probes_estimated,
        saturated_share=manifest.saturated_share,
        snapshot=_changes_message(manifest.snapshot),
        deltas=[_changes_message(each) for each in manifest.deltas],
        retires_at=0 if retires is None else _microseconds(retires),
        rollout=manifest.rollout,
        relist=None if manifest.relist is None else _changes_message(manifest.relist),
        thumbnails=None if manifest.thumbnails is None else _blob_message(manifest.thumbnails),
    ).SerializeToString(deterministic=True)


def decode(data: bytes) -> Manifest:
    """Reads what was signed.

    Raises:
        TrustError: It is no manifest, whoever signed it.
        UpdateRequired: It is of a newer format.
    """
    _check(len(data) <= MAX_BYTES, "length")
    message = manifest_pb2.Manifest()
    try:
        message.ParseFromString(data)
    except DecodeError as exc:
        raise _wrong("message") from exc
    if message.format > FORMAT:
        raise UpdateRequired(
            f"Expected a manifest of format {FORMAT}. Received {message.format}. Update PocketLens."
        )
    _check(message.format == FORMAT, "format")
    _check(is_catalogue_name(message.catalogue), "name of a catalogue")
    _check(len(message.generation) == len(message.state_hash) == 32, "hashes")
    _check(1 <= message.version < 1 << 63, "version")
    _check(2 <= message.dim <= 4096 and len(message.scale) == 4 * message.dim, "scale")
    scale = np.frombuffer(message.scale, "<f4").astype(np.float32)
    _check(bool((np.isfinite(scale) & (scale > 0)).all()), "scale")
    _check(1 <= message.probes <= 1 << 16, "probes")
    share = message.saturated_share
    _check(math.isfinite(share) and 0 <= share <= 1, "share of saturated components")
    _check(message.rollout <= WHOLE_ROLLOUT, "rollout")
    _check(len(message.deltas) <= MAX_DELTAS, "number of deltas")
    snapshot = _read_changes(message.snapshot)
    _check(snapshot.base == 0 and 1 <= snapshot.head <= message.version, "snapshot")
    deltas = tuple(_read_changes(each) for each in message.deltas)
    bases = [each.base for each in deltas]
    _check(all(each.head == message.version for each in deltas), "deltas")
    _check(bases == sorted(set(bases), reverse=True) and 0 not in bases, "deltas")
    relist = _read_changes(message.relist) if message.HasField("relist") else None
    if relist is not None:
        _check(relist.base == 0 and relist.head <= snapshot.head, "relist")
    thumbnails = _read_blob(message.thumbnails) if message.HasField("thumbnails") else None
    codebook = _read_blob(message.codebook)
    lists, rest = divmod(codebook.size - 8, 2 * message.dim)
    _check(rest == 0 and 1 <= lists <= 1 << 16, "codebook")
    return Manifest(
        catalogue=message.catalogue,
        generation=message.generation,
        version=message.version,
        as_of=_time(message.as_of),
        signed_at=_time(message.signed_at),
        state_hash=message.state_hash,
        images=message.images,
        products=message.products,
        scale=scale,
        bundle=_read_blob(message.bundle),
        codebook=codebook,
        probes=message.probes,
        probes_estimated=message.probes_estimated,
        saturated_share=share,
        snapshot=snapshot,
        deltas=deltas,
        retires_at=_time(message.retires_at) if message.retires_at else None,
        rollout=message.rollout,
        relist=relist,
        thumbnails=thumbnails,
    )


def _blob_message(blob: Blob) -> manifest_pb2.Blob:
    # One piece is the blob itself: its hash is not said twice.
    pieces = b"".join(blob.pieces) if len(blob.pieces) > 1 else b""
    return manifest_pb2.Blob(sha256=blob.sha256, size=blob.size, pieces=pieces)


def _read_blob(message: manifest_pb2.Blob) -> Blob:
    _check(len(message.sha256) == 32, "hashes")
    _check(1 <= message.size <= MAX_BLOB_BYTES, "length of a file")
    count = -(-message.size // PIECE_BYTES)
    pieces = message.pieces or message.sha256
    _check(len(pieces) == 32 * count and (count > 1 or not message.pieces), "pieces of a file")
    split = tuple(pieces[at : at + 32] for at in range(0, len(pieces), 32))
    return Blob(message.sha256, message.size, split)


def _changes_message(changes: Changes) -> manifest_pb2.Changes:
    return manifest_pb2.Changes(
        base=changes.base,
        head=changes.head,
        inflated_size=changes.inflated_size,
        blob=_blob_message(changes.blob),
    )


def _read_changes(message: manifest_pb2.Changes) -> Changes:
    _check(message.base < message.head < 1 << 63, "versions")
    _check(1 <= message.inflated_size <= MAX_BLOB_BYTES, "length of a stream")
    return Changes(message.base, message.head, message.inflated_size, _read_blob(message.blob))


def _microseconds(time: datetime) -> int:
    return (time - _EPOCH) // timedelta(microseconds=1)


def _time(microseconds: int) -> datetime:
    try:
        return _EPOCH + timedelta(microseconds=microseconds)
    except OverflowError as exc:
        raise _wrong("time") from exc


def _check(holds: bool, what: str) -> None:
    if not holds:
        raise _wrong(what)


def _wrong(what: str) -> TrustError:
    return TrustError(f"Expected a manifest. Received one with a wrong {what}.")


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

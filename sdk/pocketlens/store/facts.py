"""What a store says of itself as a whole, to the rows of its table `facts` and back.

Every fact has a fixed packing; a row that is missing, or whose checksum differs, is corruption.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import numpy.typing as npt

from pocketlens.errors import StoreCorrupt
from pocketlens.formats import state_hash
from pocketlens.store.checksums import checksum

FactRow = tuple[str, bytes, int]


@dataclass(frozen=True, slots=True)
class Origin:
    """What a store was made of; the fields are those of `StoreFacts`."""

    generation: str
    bundle_sha256: bytes
    catalogue: str
    version: int
    as_of: datetime
    scale: npt.NDArray[np.float32]
    probes: int
    probes_estimated: bool
    codebook_sha256: bytes
    saturated_share: float
    thumbnail_packs: tuple[bytes, ...] = ()
    thumbnail_list: bytes = b""
    thumbnail_version: int = 0


@dataclass(frozen=True, slots=True)
class StoreFacts:
    """Facts of one install.

    Attributes:
        format: Of the store, as in the database's `user_version`.
        generation: Id of the generation, hex.
        bundle_sha256: Of the bundle's file, 32 bytes.
        catalogue: Name of the catalogue; "" for a store made by `index`.
        version: Of the catalogue.
        as_of: When that version was made, UTC, whole microseconds.
        images, products, lists: Counts.
        max_image_key, max_product_key: Largest key in use.
        categories, attribute_rows: Rows of those tables.
        dim: Numbers of a code.
        scale: float32 (dim,); see `pocketlens.query.codes`.
        probes: Lists that a search scores.
        probes_estimated: Whether `probes` was fitted without held-out photos.
        codebook_sha256: Of the codebook's canonical bytes, 32 bytes.
        state_sum: S, 64 bytes.
        state_hash: 32 bytes; see `pocketlens.formats.state_hash`.
        saturated_share: Components of codes at the limit, 0 to 1, when they were made.
        thumbnail_packs: SHA-256 of each pack of thumbnails, 32 bytes, the oldest first.
        thumbnail_list: SHA-256 of the list of packs that they are all of; empty without one.
        thumbnail_version: That this list is of; 0 without one.
    """

    format: int
    generation: str
    bundle_sha256: bytes
    catalogue: str
    version: int
    as_of: datetime
    images: int
    products: int
    lists: int
    max_image_key: int
    max_product_key: int
    categories: int
    attribute_rows: int
    dim: int
    scale: npt.NDArray[np.float32]
    probes: int
    probes_estimated: bool
    codebook_sha256: bytes
    state_sum: bytes
    state_hash: bytes
    saturated_share: float
    thumbnail_packs: tuple[bytes, ...] = ()
    thumbnail_list: bytes = b""
    thumbnail_version: int = 0

    @property
    def thumbnail_facts(self) -> tuple[tuple[bytes, ...], bytes, int]:
        """All that is said of thumbnails."""
        return self.thumbnail_packs, self.thumbnail_list, self.thumbnail_version

    def digest(self, state_sum: bytes) -> bytes:
        """The state hash that this store has if S is `state_sum`."""
        return state_hash.digest(
            state_hash.Identity(
                self.catalogue, bytes.fromhex(self.generation), self.codebook_sha256
            ),
            state_hash.Counts(self.images, self.images, self.products, self.products),
            state_sum,
        )


def to_rows(facts: StoreFacts) -> list[FactRow]:
    """Rows of the table `facts`."""
    packed: dict[str, bytes] = {
        "generation": bytes.fromhex(facts.generation),
        "catalogue": facts.catalogue.encode(),
        "as_of": _I64.pack((facts.as_of - _EPOCH) // timedelta(microseconds=1)),
        "scale": facts.scale.astype("<f4").tobytes(),
        "saturated_share": _F64.pack(facts.saturated_share),
        **{name: _I64.pack(int(getattr(facts, name))) for name in _INTEGERS},
        **{name: getattr(facts, name) for name in _BYTES},
    }
    if any(facts.thumbnail_facts):  # a store without is what it was before there were any
        packed["thumbnail_packs"] = b"".join(facts.thumbnail_packs)
        packed["thumbnail_list"] = facts.thumbnail_list
        packed["thumbnail_version"] = _I64.pack(facts.thumbnail_version)
    return [(name, value, _checksum(name, value)) for name, value in packed.items()]


def from_rows(rows: Iterable[FactRow]) -> StoreFacts:
    """Reads rows of the table `facts`; unknown ones are passed over.

    Raises:
        StoreCorrupt: A row is damaged or missing.
    """
    try:
        packed: Mapping[str, bytes] = {name: _checked(name, value, c) for name, value, c in rows}
        fields: dict[str, Any] = {
            "generation": packed["generation"].hex(),
            "catalogue": packed["catalogue"].decode(),
            "as_of": _EPOCH + timedelta(microseconds=_I64.unpack(packed["as_of"])[0]),
            "scale": np.frombuffer(packed["scale"], "<f4").astype(np.float32),
            "saturated_share": _F64.unpack(packed["saturated_share"])[0],
            **{name: _I64.unpack(packed[name])[0] for name in _INTEGERS},
            **{name: packed[name] for name in _BYTES},
            "thumbnail_packs": _hashes(packed.get("thumbnail_packs", b"")),
            "thumbnail_list": packed.get("thumbnail_list", b""),
            "thumbnail_version": _I64.unpack(packed.get("thumbnail_version", bytes(8)))[0],
        }
        fields["probes_estimated"] = bool(fields["probes_estimated"])
        return StoreFacts(**fields)
    except (AttributeError, KeyError, TypeError, ValueError, OverflowError, struct.error) as exc:
        raise StoreCorrupt(
            f"The store's facts are damaged ({exc}). Make it again: pocketlens index"
        ) from exc


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_I64, _F64 = struct.Struct("<q"), struct.Struct("<d")
_INTEGERS = (
    "format version images products lists max_image_key max_product_key categories attribute_rows"
    " dim probes probes_estimated"
).split()
_BYTES = "bundle_sha256 codebook_sha256 state_sum state_hash".split()


def _checksum(name: str, value: bytes) -> int:
    return checksum(name.encode(), b"\0", value)


def _hashes(data: bytes) -> tuple[bytes, ...]:
    if len(data) % 32:
        raise ValueError("hashes of packs")
    return tuple(data[at : at + 32] for at in range(0, len(data), 32))


def _checked(name: str, value: bytes, expected: int) -> bytes:
    if _checksum(name, value) != expected:
        raise ValueError(f"checksum of {name!r}")
    return value

"""The state hash: one digest of everything a store holds, whatever the order it came in.

    state = StateSum()
    state.add([encode_offer(...), encode_placement(...)])
    state.subtract([old]), state.add([new])                  # a change
    digest(Identity(...), counts, state.value)

It proves that two sides agree on a state; it is no signature.
Source: docs/formats.md, "State hash".
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice

import numpy as np

FORMAT = 1
SUM_BYTES = 64

_MODULUS = 1 << (8 * SUM_BYTES)
_BLOCK = 4096  # digests summed at once, by column: a third of the time of big integers
_FEW = 32  # of which big integers are quicker


@dataclass(frozen=True, slots=True)
class Identity:
    """Whose state it is.

    Attributes:
        catalogue: Its name; "" for a store made by `index`.
        generation: 32 bytes, see `pocketlens.query.codes.generation_id`.
        codebook_sha256: 32 bytes, of the codebook's canonical bytes.
    """

    catalogue: str
    generation: bytes
    codebook_sha256: bytes


@dataclass(frozen=True, slots=True)
class Counts:
    """Parts of each kind."""

    images: int
    placements: int
    products: int
    offers: int


class StateSum:
    """S: the sum of SHA-512(part) modulo 2**512. Not thread-safe."""

    def __init__(self, value: bytes = bytes(SUM_BYTES)) -> None:
        if len(value) != SUM_BYTES:
            raise ValueError(f"Expected {SUM_BYTES} bytes. Received {len(value)}.")
        self._sum = int.from_bytes(value, "little")

    @property
    def value(self) -> bytes:
        """64 bytes, little endian."""
        return self._sum.to_bytes(SUM_BYTES, "little")

    def add(self, parts: Iterable[bytes]) -> None:
        """Adds canonical bytes of parts."""
        self._sum = (self._sum + _sum_of(parts)) % _MODULUS

    def subtract(self, parts: Iterable[bytes]) -> None:
        """Takes away parts that were added."""
        self._sum = (self._sum - _sum_of(parts)) % _MODULUS


def combined(*sums: bytes) -> bytes:
    """S of all the parts that several sums are of."""
    total = sum(int.from_bytes(each, "little") for each in sums) % _MODULUS
    return total.to_bytes(SUM_BYTES, "little")


def digest(identity: Identity, counts: Counts, state_sum: bytes) -> bytes:
    """The state hash, 32 bytes."""
    catalogue = identity.catalogue.encode()
    data = b"".join(
        (
            struct.pack("<II", FORMAT, len(catalogue)),
            catalogue,
            identity.generation,
            identity.codebook_sha256,
            struct.pack("<4Q", counts.images, counts.placements, counts.products, counts.offers),
            state_sum,
        )
    )
    return hashlib.sha256(data).digest()


def _sum_of(parts: Iterable[bytes]) -> int:
    total, left, sha512 = 0, iter(parts), hashlib.sha512
    # Nobody's trust rests on a sum; without that claim OpenSSL takes two thirds of the time.
    while digests := [
        sha512(part, usedforsecurity=False).digest() for part in islice(left, _BLOCK)
    ]:
        if len(digests) <= _FEW:
            total += sum(int.from_bytes(each, "little") for each in digests)
            continue
        words = np.frombuffer(b"".join(digests), "<u4").reshape(-1, SUM_BYTES // 4)
        columns = words.sum(axis=0, dtype=np.uint64)  # 4,096 x 2**32 fits
        total += sum(int(column) << (32 * place) for place, column in enumerate(columns))
    return total

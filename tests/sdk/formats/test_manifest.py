"""Manifests: what was signed is read back, and what cannot be is refused whoever signed it."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import random
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pocketlens.errors import TrustError, UpdateRequired
from pocketlens.formats.manifest import (
    PIECE_BYTES,
    Blob,
    Changes,
    Manifest,
    decode,
    encode,
)
from pocketlens_protos.v1 import manifest_pb2

AS_OF = datetime(2026, 11, 25, 10, 0, 0, 7, tzinfo=UTC)


def blob(size: int, seed: int = 0) -> Blob:
    rng = random.Random(seed)
    whole, count = rng.randbytes(32), -(-size // PIECE_BYTES)
    pieces = tuple(rng.randbytes(32) for _ in range(count)) if count > 1 else (whole,)
    return Blob(whole, size, pieces)


def manifest(version: int = 20, dim: int = 16, lists: int = 3) -> Manifest:
    return Manifest(
        catalogue="main",
        generation=bytes(range(32)),
        version=version,
        as_of=AS_OF,
        signed_at=AS_OF + timedelta(seconds=3),
        state_hash=bytes(range(1, 33)),
        images=100,
        products=80,
        scale=np.linspace(0.1, 1, dim, dtype=np.float32),
        bundle=blob(3 * PIECE_BYTES + 5),
        codebook=blob(8 + 2 * dim * lists),
        probes=2,
        probes_estimated=True,
        saturated_share=0.001,
        snapshot=Changes(0, 12, 1 << 22, blob(PIECE_BYTES)),
        deltas=tuple(Changes(base, version, 999, blob(77, base)) for base in (19, 18, 12)),
    )


@given(version=st.integers(20, 2**62), dim=st.integers(2, 300), lists=st.integers(1, 700))
def test_what_is_written_is_read_back(version: int, dim: int, lists: int) -> None:
    made = manifest(version, dim, lists)

    found = decode(encode(made))

    assert np.array_equal(found.scale, made.scale)
    assert replace(found, scale=made.scale) == made
    assert found.bundle.piece_size(0) == PIECE_BYTES
    assert found.bundle.piece_size(3) == 5


def test_a_store_takes_the_nearest_delta_at_or_before_its_version() -> None:
    made = manifest()

    bases = {v: getattr(made.delta_from(v), "base", None) for v in (20, 19, 18, 17, 13, 12, 11, 1)}

    assert bases == {20: None, 19: 19, 18: 18, 17: 12, 13: 12, 12: 12, 11: None, 1: None}


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"catalogue": ""}, "name of a catalogue"),
        ({"catalogue": "m" * 64}, "name of a catalogue"),
        ({"catalogue": "Main"}, "name of a catalogue"),
        ({"generation": bytes(31)}, "hashes"),
        ({"state_hash": b""}, "hashes"),
        ({"version": 0}, "version"),
        ({"version": 2**63}, "version"),
        ({"scale": np.zeros(16, np.float32)}, "scale"),
        ({"scale": np.full(16, np.nan, np.float32)}, "scale"),
        ({"scale": np.ones(1, np.float32)}, "scale"),
        ({"probes": 0}, "probes"),
        ({"saturated_share": 1.5}, "share"),
        ({"saturated_share": float("nan")}, "share"),
        ({"rollout": 65_537}, "rollout"),
        ({"codebook": blob(8)}, "codebook"),
        ({"codebook": blob(8 + 32 + 1)}, "codebook"),
        ({"bundle": Blob(bytes(31), 5, (bytes(32),))}, "hashes"),
        ({"bundle": Blob(bytes(32), 0, (bytes(32),))}, "length of a file"),
        ({"bundle": Blob(bytes(32), 2**41, (bytes(32),))}, "length of a file"),
        ({"bundle": Blob(bytes(32), 5, (bytes(32), bytes(32)))}, "pieces"),
        ({"bundle": Blob(bytes(32), PIECE_BYTES + 1, (bytes(32),))}, "pieces"),
        ({"snapshot": Changes(1, 12, 10, blob(5))}, "snapshot"),
        ({"snapshot": Changes(0, 21, 10, blob(5))}, "snapshot"),
        ({"snapshot": Changes(0, 12, 0, blob(5))}, "length of a stream"),
        ({"deltas": (Changes(18, 19, 10, blob(5)),)}, "deltas"),
        ({"deltas": (Changes(18, 20, 10, blob(5)),) * 2}, "deltas"),
        ({"deltas": (Changes(0, 20, 10, blob(5)),)}, "deltas"),
        ({"deltas": (Changes(20, 20, 10, blob(5)),)}, "versions"),
        (
            {
                "version": 99,
                "deltas": tuple(Changes(n, 99, 10, blob(5)) for n in range(98, 30, -1)),
            },
            "number of deltas",
        ),
        ({"catalogue": "x" * (256 << 10)}, "length"),
    ],
)
def test_what_cannot_be_is_refused(changes: dict[str, object], says: str) -> None:
    with pytest.raises(TrustError, match=f"wrong {says}"):
        decode(encode(replace(manifest(), **changes)))  # type: ignore[arg-type]


def test_a_newer_format_asks_for_an_update() -> None:
    with pytest.raises(UpdateRequired, match=r"format 1\. Received 2"):
        decode(manifest_pb2.Manifest(format=2).SerializeToString())
    with pytest.raises(TrustError, match="wrong format"):
        decode(b"")


def test_changed_bytes_are_refused_or_read_and_nothing_else_happens() -> None:
    data, rng = encode(manifest()), random.Random(0)
    for _ in range(3000):
        mutant = bytearray(data)
        for _ in range(rng.randint(1, 4)):
            mutant[rng.randrange(len(mutant))] = rng.randrange(256)
        cut = mutant[: rng.randint(0, len(mutant))] if rng.random() < 0.3 else mutant
        with suppress(TrustError, UpdateRequired):
            decode(bytes(cut))

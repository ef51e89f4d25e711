"""The state hash: order does not matter, and a change is a subtraction and an addition."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import hashlib
import struct
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pocketlens.formats.state_hash import Counts, Identity, StateSum, digest

PARTS = st.lists(st.binary(max_size=30), max_size=30)
NOTHING = Counts(0, 0, 0, 0)


def plain_sum(parts: Sequence[bytes]) -> bytes:
    total = sum(int.from_bytes(hashlib.sha512(part).digest(), "little") for part in parts)
    return (total % 2**512).to_bytes(64, "little")


def sum_of(parts: Sequence[bytes]) -> bytes:
    state = StateSum()
    state.add(parts)
    return state.value


@settings(deadline=None, max_examples=100)
@given(parts=PARTS, data=st.data())
def test_order_does_not_matter(parts: list[bytes], data: st.DataObject) -> None:
    assert sum_of(parts) == sum_of(data.draw(st.permutations(parts))) == plain_sum(parts)


@settings(deadline=None, max_examples=100)
@given(kept=PARTS, old=PARTS, new=PARTS)
def test_a_change_gives_the_sum_of_the_final_state(
    kept: list[bytes], old: list[bytes], new: list[bytes]
) -> None:
    state = StateSum(sum_of(kept + old))

    state.subtract(old)
    state.add(new)

    assert state.value == sum_of(kept + new)


@pytest.mark.parametrize("count", [4095, 4096, 4097, 9000])
def test_blocks_add_up_like_a_plain_loop(count: int) -> None:
    parts = [b"%d" % number for number in range(count)]

    assert sum_of(parts) == plain_sum(parts)


def test_the_sum_of_nothing_is_zero_and_its_length_is_checked() -> None:
    assert StateSum().value == bytes(64)
    with pytest.raises(ValueError, match="64 bytes"):
        StateSum(bytes(63))


def test_digest_is_sha256_over_the_fields_in_order() -> None:
    identity = Identity("main", b"g" * 32, b"c" * 32)
    counts = Counts(images=1, placements=2, products=3, offers=4)

    expected = hashlib.sha256(
        struct.pack("<II", 1, 4)
        + b"main"
        + b"g" * 32
        + b"c" * 32
        + struct.pack("<4Q", 1, 2, 3, 4)
        + b"s" * 64
    ).digest()

    assert digest(identity, counts, b"s" * 64) == expected


@pytest.mark.parametrize(
    "other",
    [
        digest(Identity("other", bytes(32), bytes(32)), NOTHING, bytes(64)),
        digest(Identity("", b"\1" + bytes(31), bytes(32)), NOTHING, bytes(64)),
        digest(Identity("", bytes(32), b"\1" + bytes(31)), NOTHING, bytes(64)),
        digest(Identity("", bytes(32), bytes(32)), Counts(1, 0, 0, 0), bytes(64)),
        digest(Identity("", bytes(32), bytes(32)), NOTHING, b"\1" + bytes(63)),
    ],
    ids=["catalogue", "generation", "codebook", "counts", "sum"],
)
def test_every_field_changes_the_digest(other: bytes) -> None:
    assert other != digest(Identity("", bytes(32), bytes(32)), NOTHING, bytes(64))

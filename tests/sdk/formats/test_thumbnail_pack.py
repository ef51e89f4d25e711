"""Packs of thumbnails: what is put in is found by its image alone; what is no pack is refused."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pocketlens.errors import StoreCorrupt, StoreTooNew
from pocketlens.formats import thumbnail_pack as packs
from pocketlens.formats.thumbnail_pack import HEAD, TAIL_BYTES, Entry

THUMBNAILS = st.dictionaries(
    st.text(min_size=1, max_size=8), st.binary(min_size=1, max_size=20), max_size=30
)


def packed(thumbnails: dict[str, bytes]) -> bytes:
    entries, data = [], HEAD
    for image_id, thumbnail in thumbnails.items():
        key = packs.key_of(image_id)
        entries.append(Entry(key, len(data), len(thumbnail), packs.checksum_of(key, thumbnail)))
        data += thumbnail
    return data + packs.index_bytes(entries)


def index_of(pack: bytes) -> bytes:
    size = packs.index_size(pack[: len(HEAD)], pack[-TAIL_BYTES:], len(pack))
    return pack[len(pack) - TAIL_BYTES - size : len(pack) - TAIL_BYTES]


@settings(deadline=None)
@given(thumbnails=THUMBNAILS, others=st.lists(st.text(min_size=1, max_size=8), max_size=5))
def test_each_image_is_found_and_no_other(thumbnails: dict[str, bytes], others: list[str]) -> None:
    pack = packed(thumbnails)
    index = index_of(pack)

    for image_id, thumbnail in thumbnails.items():
        entry = packs.find(index, packs.key_of(image_id))
        assert entry is not None
        assert entry.holds(pack[entry.offset : entry.offset + entry.size])
        assert pack[entry.offset : entry.offset + entry.size] == thumbnail
    for image_id in set(others) - set(thumbnails):
        assert packs.find(index, packs.key_of(image_id)) is None
    assert len(list(packs.entries(index))) == len(thumbnails)


def test_a_thumbnail_of_another_image_is_not_held() -> None:
    first, second = b"one", b"two"
    key = packs.key_of("a")
    entry = Entry(key, 8, 3, packs.checksum_of(key, first))

    assert entry.holds(first)
    assert not entry.holds(second)
    assert not entry.holds(first[:2])
    assert not Entry(packs.key_of("b"), 8, 3, entry.checksum).holds(first)


@settings(deadline=None, max_examples=300)
@given(data=st.binary(max_size=200), behind_head=st.booleans())
def test_what_is_no_pack_is_refused_or_has_an_index_inside(data: bytes, behind_head: bool) -> None:
    data = HEAD + data if behind_head else data
    try:
        size = packs.index_size(data[: len(HEAD)], data[-TAIL_BYTES:], len(data))
    except (StoreCorrupt, StoreTooNew):
        return
    assert size % packs.ENTRY_BYTES == 0
    assert len(HEAD) + size + TAIL_BYTES <= len(data)


def test_a_newer_format_is_refused_by_name() -> None:
    newer = HEAD[:4] + (2).to_bytes(4, "little")

    with pytest.raises(StoreTooNew, match="Received 2"):
        packs.index_size(newer, b"\0\0\0\0", 12)


def test_the_example_of_the_documents() -> None:
    """docs/formats.md, "Thumbnail pack"."""
    assert packed({"mug-front": b"RIFF"}).hex(" ") == (
        "50 4c 74 6e 01 00 00 00 52 49 46 46 44 88 88 9a "
        "ad 11 02 e7 44 47 8c a2 cc 1a 1e 50 08 00 00 00 "
        "00 00 00 00 04 00 00 00 03 fe e8 7e 01 00 00 00"
    )

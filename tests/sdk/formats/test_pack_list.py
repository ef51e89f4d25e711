"""Lists of packs: what a manifest names, to bytes and back; other bytes are refused."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pocketlens.errors import TrustError, UpdateRequired
from pocketlens.formats import pack_list
from pocketlens.formats.manifest import PIECE_BYTES
from pocketlens.formats.pack_list import Pack, PackList
from pocketlens_protos.v1.thumbnails_pb2 import PackList as Message
from pocketlens_protos.v1.thumbnails_pb2 import ThumbnailPack

HASHES = st.binary(min_size=32, max_size=32)
PACKS = st.builds(
    Pack, HASHES, st.integers(1, PIECE_BYTES), st.integers(1, 2**32 - 1), st.integers(1, 9)
)
LISTS = st.builds(
    PackList,
    st.integers(9, 2**63 - 1),
    st.lists(PACKS, max_size=5, unique_by=lambda pack: pack.sha256).map(tuple),
)


@settings(deadline=None)
@given(listed=LISTS)
def test_round_trip(listed: PackList) -> None:
    assert pack_list.decode(pack_list.encode(listed)) == listed


@settings(deadline=None, max_examples=300)
@given(data=st.binary(max_size=80))
def test_whatever_decodes_is_a_list_that_can_be_written(data: bytes) -> None:
    try:
        listed = pack_list.decode(data)
    except (TrustError, UpdateRequired):
        return
    assert pack_list.decode(pack_list.encode(listed)) == listed


def pack(**changed: object) -> ThumbnailPack:
    return ThumbnailPack(**{"sha256": b"a" * 32, "size": 9, "count": 1, "head": 3, **changed})


@pytest.mark.parametrize(
    "wrong",
    [
        Message(head=3, packs=[pack()]),
        Message(format=1, packs=[pack()]),
        Message(format=1, head=1 << 63, packs=[pack()]),
        Message(format=1, head=3, packs=[pack(sha256=b"a" * 31)]),
        Message(format=1, head=3, packs=[pack(size=0)]),
        Message(format=1, head=3, packs=[pack(size=PIECE_BYTES + 1)]),
        Message(format=1, head=3, packs=[pack(count=0)]),
        Message(format=1, head=3, packs=[pack(head=4)]),
        Message(format=1, head=3, packs=[pack(head=0)]),
        Message(format=1, head=3, packs=[pack(), pack()]),
        Message(format=1, head=3, packs=[pack(sha256=b"%032d" % n) for n in range(4097)]),
    ],
    ids="format version late hash empty large none newer old twice many".split(),
)
def test_what_is_no_list_is_refused(wrong: Message) -> None:
    with pytest.raises(TrustError, match="list of packs"):
        pack_list.decode(wrong.SerializeToString())


def test_a_newer_format_is_refused_by_name() -> None:
    with pytest.raises(UpdateRequired, match="Received 2"):
        pack_list.decode(Message(format=2, head=3).SerializeToString())

"""Blobs are named by what is in them, and their pieces too."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pocketlens_server.storage import blobs
from pocketlens_server.storage.blobs import Blobs


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(chunks=st.lists(st.binary(max_size=40), max_size=6))
def test_a_blob_and_its_pieces_are_named_by_their_hashes(
    chunks: list[bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(blobs, "PIECE_BYTES", 16)
    whole = b"".join(chunks)

    found = Blobs(tmp_path).put(chunks)

    assert found.sha256 == hashlib.sha256(whole).digest()
    assert found.size == len(whole)
    split = [whole[at : at + 16] for at in range(0, len(whole), 16)]
    assert found.pieces == tuple(hashlib.sha256(each).digest() for each in split)
    assert Blobs(tmp_path).path(found.sha256).read_bytes() == whole


def test_what_breaks_off_leaves_nothing(tmp_path: Path) -> None:
    def chunks() -> Iterator[bytes]:
        yield b"begun"
        raise RuntimeError("no more")

    with pytest.raises(RuntimeError, match="no more"):
        Blobs(tmp_path).put(chunks())

    assert list(tmp_path.iterdir()) == []

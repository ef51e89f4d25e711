"""Pieces of files on their way: what is dropped, and what stays."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from pocketlens.errors import StoreCorrupt
from pocketlens.formats.manifest import Blob
from pocketlens.store.pieces import Pieces


def test_what_a_killed_writer_left_goes_with_the_pieces(tmp_path: Path) -> None:
    pieces = Pieces(tmp_path / "pieces")
    sha256 = hashlib.sha256(b"a piece").digest()
    pieces.put(sha256, [b"a piece"], size=7)
    (tmp_path / "pieces" / f".{sha256.hex()}.1234abcd.tmp").write_bytes(b"a pi")

    pieces.keep(())

    assert not (tmp_path / "pieces").exists()


def test_where_one_piece_rotted_all_that_did_are_dropped(tmp_path: Path) -> None:
    pieces, data = Pieces(tmp_path / "pieces"), [b"one", b"two", b"three"]
    hashes = [hashlib.sha256(each).digest() for each in data]
    for sha256, each in zip(hashes, data, strict=True):
        pieces.put(sha256, [each], size=len(each))
    for sha256 in hashes[1:]:
        (tmp_path / "pieces" / sha256.hex()).write_bytes(b"rot")
    blob = Blob(hashlib.sha256(b"".join(data)).digest(), 11, tuple(hashes))

    with pytest.raises(StoreCorrupt, match="Sync again"):
        list(pieces.read(blob))

    assert pieces.at_hand() == {hashes[0]}


def test_files_of_others_among_the_pieces_stay(tmp_path: Path) -> None:
    (tmp_path / "pieces").mkdir()
    (tmp_path / "pieces" / "notes.txt").write_text("mine")

    Pieces(tmp_path / "pieces").keep(())

    assert (tmp_path / "pieces" / "notes.txt").read_text() == "mine"

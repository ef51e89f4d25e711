"""Lists of codes: read for the codes of some images, and changed with few chunks written anew."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import struct
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from pocketlens.errors import StoreCorrupt
from pocketlens.store import chunks, database, rows
from pocketlens.store.applying.maps import SizeMap
from pocketlens.store.facts import StoreFacts

Keys = npt.NDArray[np.uint32]
Codes = npt.NDArray[np.int8]


class Lists:
    """Lists of codes: read for the codes of some images, changed one by one."""

    def __init__(self, connection: database.Connection, facts: StoreFacts) -> None:
        self._connection, self._facts = connection, facts
        self._sizes = SizeMap(connection, facts.lists)
        self._put: list[rows.ChunkRow] = []

    def codes(self, image_keys: Keys, list_of: dict[int, int]) -> dict[int, bytes]:
        """Codes of images by key, `list_of` naming the list of each.

        Raises:
            StoreCorrupt: A list is damaged, or an image is not where the map says.
        """
        found: dict[int, bytes] = {}
        lists = np.array([list_of[key] for key in image_keys.tolist()], np.int64)
        order = np.argsort(lists, kind="stable")
        numbers, starts = np.unique(lists[order], return_index=True)
        for number, of_list in zip(numbers.tolist(), np.split(order, starts[1:]), strict=False):
            asked = image_keys[of_list]
            keys, codes = self._read(number, 0, self._sizes.of(number + 1))
            places = np.minimum(np.searchsorted(keys, asked), max(0, len(keys) - 1))
            if not len(keys) or not np.array_equal(keys[places], asked):
                raise StoreCorrupt(f"List {number} lacks an image. {database.MEND}")
            found.update(zip(asked.tolist(), map(bytes, codes[places]), strict=True))
        return found

    def change(
        self, number: int, leaving: Sequence[int], entering: Sequence[tuple[int, bytes]]
    ) -> None:
        """Takes codes out of a list and puts others in, both by ascending key; once a list.

        Raises:
            StoreCorrupt: What had to be read of the list is damaged.
        """
        if not leaving and self._append(number, entering):
            return
        keys, sizes = self._outline(number)
        gone = np.array(leaving, np.uint32)
        come = np.array([key for key, _ in entering], np.uint32)
        new_sizes = chunks.resized(keys, sizes, gone, come, rows.CHUNK_CODES)
        first = _first_changed(keys, sizes, new_sizes, np.concatenate([gone, come]))
        start = int(sizes[:first].sum())
        keys, codes = self._read(number, first, len(keys) - start)
        stays = ~np.isin(keys, gone, assume_unique=True)
        all_keys, all_codes = _joined(keys[stays], codes[stays], entering)
        order = np.argsort(all_keys, kind="stable")
        all_keys, all_codes = all_keys[order], all_codes[order]
        was = list(pairwise([0, *np.cumsum(sizes[first:]).tolist()]))
        for chunk, (begin, end) in enumerate(pairwise([0, *np.cumsum(new_sizes[first:]).tolist()])):
            new_keys, new_codes = all_keys[begin:end], all_codes[begin:end]
            old = slice(*was[chunk]) if chunk < len(was) else slice(0)
            is_new = not np.array_equal(keys[old], new_keys)
            if is_new or not np.array_equal(codes[old], new_codes) or chunk >= len(was):
                self._put.append(rows.chunk_row(_place(number, first + chunk), new_keys, new_codes))
        if len(new_sizes) < len(sizes):
            self._connection.execute(
                "DELETE FROM list_chunks WHERE place >= ? AND place < ?",
                (_place(number, len(new_sizes)), _place(number, len(sizes))),
            )
        self._sizes.put(number + 1, int(new_sizes.sum()))

    def _append(self, number: int, entering: Sequence[tuple[int, bytes]]) -> bool:
        """Puts codes behind those of a list, if that is their place: only its last chunk is read.

        New images have the largest keys, so that most changes are such.
        """
        row = self._connection.execute(
            "SELECT * FROM list_chunks WHERE place >= ? AND place < ? ORDER BY place DESC LIMIT 1",
            (_place(number, 0), _place(number + 1, 0)),
        ).fetchone()
        if row is None:
            raise StoreCorrupt(f"List {number} is damaged. {database.MEND}")
        place, dim = row[0], self._facts.dim
        rows.check_chunk(place, row, dim)
        keys, codes = row[1], row[2]
        if not keys and place > _place(number, 0):
            return False  # its codes have gone, and chunks before it may have larger keys
        if keys and int.from_bytes(keys[-4:], "little") >= entering[0][0]:
            return False
        keys += struct.pack(f"<{len(entering)}I", *(key for key, _ in entering))
        codes = b"".join([codes, *(code for _, code in entering)])
        for chunk, at in enumerate(range(0, len(keys) // 4, rows.CHUNK_CODES)):
            end = at + rows.CHUNK_CODES
            some = keys[4 * at : 4 * end], codes[dim * at : dim * end]
            self._put.append(rows.chunk_row_of(place + chunk, *some))
        self._sizes.put(number + 1, self._sizes.of(number + 1) + len(entering))
        return True

    def write(self) -> None:
        """Writes all chunks that changed, and how many codes each list has now."""
        database.put_rows(self._connection, "list_chunks", self._put)
        self._sizes.write(self._facts.lists)

    def _outline(self, number: int) -> tuple[Keys, chunks.Sizes]:
        """Image keys of a list, uint32 (n,), not checked, and the sizes of its chunks."""
        found = self._connection.execute(
            "SELECT image_keys FROM list_chunks WHERE place >= ? AND place < ? ORDER BY place",
            (_place(number, 0), _place(number + 1, 0)),
        ).fetchall()
        blobs = [row[0] for row in found]
        if not blobs or not all(isinstance(blob, bytes) and not len(blob) % 4 for blob in blobs):
            raise StoreCorrupt(f"List {number} is damaged. {database.MEND}")
        sizes = np.array([len(blob) // 4 for blob in blobs], np.int64)
        if int(sizes.sum()) != self._sizes.of(number + 1):
            raise StoreCorrupt(f"List {number} lacks a chunk. {database.MEND}")
        return np.frombuffer(b"".join(blobs), "<u4"), sizes

    def _read(self, number: int, chunk: int, size: int) -> tuple[Keys, Codes]:
        """What a list holds from one of its chunks on, `size` codes."""
        place = _place(number, chunk)
        found = self._connection.execute(
            "SELECT * FROM list_chunks WHERE place >= ? AND place < ? ORDER BY place",
            (place, _place(number + 1, 0)),
        ).fetchall()
        return rows.read_chunks(place, found, size, self._facts.dim)


def _joined(keys: Keys, codes: Codes, entering: Sequence[tuple[int, bytes]]) -> tuple[Keys, Codes]:
    """Codes, and others behind them."""
    come = np.array([key for key, _ in entering], np.uint32)
    new = np.frombuffer(b"".join(code for _, code in entering), np.int8)
    return np.concatenate([keys, come]), np.concatenate([codes, new.reshape(-1, codes.shape[1])])


def _place(number: int, chunk: int) -> int:
    return (number << rows.PLACE_BITS) + chunk


def _first_changed(keys: Keys, sizes: chunks.Sizes, new_sizes: chunks.Sizes, changed: Keys) -> int:
    """The first chunk that becomes another, `changed` being what leaves and enters."""
    first = int(chunks.places(keys, sizes, changed).min())
    common = min(len(sizes), len(new_sizes))
    resized = np.flatnonzero(sizes[:common] != new_sizes[:common])
    return min(first, int(resized[0])) if len(resized) else first

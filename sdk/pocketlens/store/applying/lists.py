"""Lists of codes: read for the codes of some images, and changed with few chunks written anew."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from pocketlens.errors import StoreCorrupt
from pocketlens.store import chunks, database, rows
from pocketlens.store.facts import StoreFacts

Keys = npt.NDArray[np.uint32]


class Lists:
    """Lists of codes: read for the codes of some images, changed one by one."""

    def __init__(self, connection: database.Connection, facts: StoreFacts) -> None:
        self._connection, self._dim = connection, facts.dim

    def codes(self, image_keys: Keys, list_of: dict[int, int]) -> dict[int, bytes]:
        """Codes of images by key, `list_of` naming the list of each.

        Raises:
            StoreCorrupt: A list is damaged, or an image is not where the map says.
        """
        found: dict[int, bytes] = {}
        lists = np.array([list_of[key] for key in image_keys.tolist()], np.int64)
        for number in np.unique(lists).tolist():
            asked = image_keys[lists == number]
            keys, codes, _ = self._read(number)
            places = np.minimum(np.searchsorted(keys, asked), max(0, len(keys) - 1))
            if not len(keys) or not np.array_equal(keys[places], asked):
                raise StoreCorrupt(f"List {number} lacks an image. {database.MEND}")
            found.update(
                (key, codes[place].tobytes())
                for key, place in zip(asked.tolist(), places.tolist(), strict=True)
            )
        return found

    def change(
        self, number: int, leaving: Sequence[int], entering: Sequence[tuple[int, bytes]]
    ) -> None:
        """Takes codes out of a list and puts others in; both by ascending key."""
        keys, codes, sizes = self._read(number)
        gone = np.array(leaving, np.uint32)
        come = np.array([key for key, _ in entering], np.uint32)
        stays = ~np.isin(keys, gone, assume_unique=True)
        new_codes = np.frombuffer(b"".join(code for _, code in entering), np.int8)
        all_keys = np.concatenate([keys[stays], come])
        order = np.argsort(all_keys, kind="stable")
        all_keys = all_keys[order]
        all_codes = np.concatenate([codes[stays], new_codes.reshape(-1, self._dim)])[order]
        new_sizes = chunks.resized(keys, sizes, gone, come, rows.CHUNK_CODES)
        stops = np.cumsum(new_sizes).tolist()
        old_stops = np.cumsum(sizes).tolist()
        place = number << rows.PLACE_BITS
        put = []
        for chunk, (start, stop) in enumerate(pairwise([0, *stops])):
            new = all_keys[start:stop], all_codes[start:stop]
            if chunk < len(old_stops) and (chunk or len(all_keys) == len(keys)):
                old_start = old_stops[chunk - 1] if chunk else 0
                old = keys[old_start : old_stops[chunk]], codes[old_start : old_stops[chunk]]
                if np.array_equal(new[0], old[0]) and np.array_equal(new[1], old[1]):
                    continue
            put.append(rows.chunk_row(place + chunk, len(all_keys), *new))
        database.put_rows(self._connection, "list_chunks", put)
        if len(stops) < len(sizes):
            self._connection.execute(
                "DELETE FROM list_chunks WHERE place >= ? AND place < ?",
                (place + len(stops), place + len(sizes)),
            )

    def _read(self, number: int) -> tuple[Keys, npt.NDArray[np.int8], chunks.Sizes]:
        found = self._connection.execute(
            "SELECT * FROM list_chunks WHERE place >= ? AND place < ? ORDER BY place",
            (number << rows.PLACE_BITS, (number + 1) << rows.PLACE_BITS),
        ).fetchall()
        keys, codes = rows.read_chunks(number, found, self._dim)
        return keys, codes, np.array([len(row[2]) // 4 for row in found], np.int64)

"""Changes the store of one install: deletions and final states of parts, in one transaction.

    applier = Applier(connection, path)         # inside a transaction of the caller
    applier.apply(reader.header, reader.blocks())
    facts = applier.facts                       # compare facts.state_hash, then commit

Every old part is taken out of the state sum as it is read and every new one added, so that the
state hash afterwards says whether the store is what the server has. Products and offers are written
as they come; images and placements wait until all are known, since a code moves from list to list.
Memory is bounded by the delta and the lists that it touches.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from pocketlens.errors import StateMismatch, StoreCorrupt
from pocketlens.formats import parts
from pocketlens.formats.delta import Block, Header
from pocketlens.formats.parts import ImagePart, OfferPart, ProductPart
from pocketlens.formats.state_hash import StateSum
from pocketlens.products import Image
from pocketlens.store import chunks, database, rows
from pocketlens.store.facts import StoreFacts, from_rows, to_rows

Value = TypeVar("Value")
Keys = npt.NDArray[np.uint32]

_AT_ONCE = 500  # keys a query; the oldest SQLite takes 999


class Applier:
    """One delta into one store; used once, by one thread. After an error, roll back."""

    def __init__(self, connection: database.Connection, path: Path) -> None:
        """Reads the store's facts.

        Args:
            connection: Of the store, inside a transaction that may write.
            path: Of its file, for errors.

        Raises:
            StoreCorrupt: The facts are damaged.
        """
        self._connection, self._path = connection, path
        self.facts: StoreFacts = from_rows(self._query("SELECT * FROM facts"))
        self._state = StateSum(self.facts.state_sum)
        self._images: dict[int, ImagePart | None] = {}
        self._placements: dict[int, int] = {}
        self._counts = {"products": self.facts.products, "offers": self.facts.products}
        self._max_product_key = self.facts.max_product_key
        self._categories = _Categories(connection, self.facts.categories)
        self._postings = _Postings(connection, self.facts.attribute_rows)

    def apply(self, header: Header, blocks: Iterable[Block]) -> None:
        """Applies a delta; `facts` are those of its head afterwards.

        Raises:
            StateMismatch: It is a delta of another store, or makes no sense in this one.
            StoreCorrupt: A row that had to be read is damaged.
            StoreFull: The disk has no room.
        """
        self._check(header)
        with database.errors(self._path):
            for block in blocks:
                self._delete_products(block.deleted_products)
                self._put_products(block.products)
                self._put_offers(block.offers)
                self._images.update(dict.fromkeys(block.deleted_images))
                self._images.update((part.key, part) for part in block.images)
                self._placements.update(
                    (part.image_key, part.list_number) for part in block.placements
                )
            images = self._change_images()
            self._categories.write(self._max_product_key, self.facts.max_product_key)
            self._postings.write()
            if self._counts["products"] != self._counts["offers"]:
                raise _mismatch("a product without its offer, or an offer without its product")
            facts = replace(
                self.facts,
                version=header.head,
                as_of=header.as_of,
                images=self.facts.images + images.grown,
                products=self._counts["products"],
                max_image_key=images.max_key,
                max_product_key=self._max_product_key,
                categories=len(self._categories.names),
                attribute_rows=self._postings.rows,
                state_sum=self._state.value,
            )
            self.facts = replace(facts, state_hash=facts.digest(facts.state_sum))
            _put(self._connection, "facts", to_rows(self.facts))

    def _check(self, header: Header) -> None:
        facts = self.facts
        of_store = facts.catalogue, facts.generation, facts.codebook_sha256, facts.dim
        of_delta = (
            header.catalogue,
            header.generation.hex(),
            header.codebook_sha256,
            header.dim,
        )
        if of_store != of_delta:
            raise _mismatch("another catalogue, generation or codebook than the store's")
        if not header.base <= facts.version < header.head:
            raise _mismatch(
                f"changes from version {header.base} to {header.head}, the store being at "
                f"{facts.version}"
            )

    # --- products and offers ---------------------------------------------------------------------

    def _delete_products(self, keys: Sequence[int]) -> None:
        found = self._products(keys)
        offers = self._offers(keys)
        self._state.subtract(map(parts.encode_product, found.values()))
        self._state.subtract(map(parts.encode, offers.values()))
        for part in found.values():
            self._postings.change(part.key, part.attributes.items(), ())
        self._delete("products", "key", found)
        self._delete("offers", "product_key", offers)
        self._counts["products"] -= len(found)
        self._counts["offers"] -= len(offers)

    def _put_products(self, new: Sequence[ProductPart]) -> None:
        if not new:
            return
        old = self._products([part.key for part in new])
        self._state.subtract(map(parts.encode_product, old.values()))
        self._state.add(map(parts.encode_product, new))
        put = []
        for part in new:
            before = old[part.key].attributes.items() if part.key in old else ()
            self._postings.change(part.key, before, part.attributes.items())
            put.append(rows.product_row(part, self._categories.number(part.key, part.category)))
        _put(self._connection, "products", put)
        self._counts["products"] += len(new) - len(old)
        self._max_product_key = max(self._max_product_key, new[-1].key)

    def _put_offers(self, new: Sequence[OfferPart]) -> None:
        old = self._offers([part.key for part in new])
        self._state.subtract(map(parts.encode, old.values()))
        self._state.add(map(parts.encode, new))
        _put(self._connection, "offers", map(rows.offer_row, new))
        self._counts["offers"] += len(new) - len(old)

    def _products(self, keys: Sequence[int]) -> dict[int, ProductPart]:
        names = self._categories.names
        return self._by_key("products", "key", keys, lambda row: rows.read_product(row, names))

    def _offers(self, keys: Sequence[int]) -> dict[int, OfferPart]:
        return self._by_key("offers", "product_key", keys, rows.read_offer)

    # --- images ----------------------------------------------------------------------------------

    def _change_images(self) -> _ImagesChanged:
        touched = np.array(sorted(self._images.keys() | self._placements.keys()), np.uint32)
        known = self.facts.max_image_key
        max_key = max([known, *(key for key, part in self._images.items() if part is not None)])
        if not len(touched):
            return _ImagesChanged(0, max_key)
        links = _Links(self._connection, known)
        map_of_lists = _ListMap(self._connection, known)
        were = {key: links.of(key) for key in touched.tolist()}
        present = np.array([bool(were[key]) for key in touched.tolist()])
        old_list = {key: map_of_lists.of(key) for key in touched[present].tolist()}
        lists = _Lists(self._connection, self.facts)
        old_codes = lists.codes(touched[present], old_list)
        old_images = self._by_key(
            "images", "key", [key for key in old_list if key in self._images], rows.read_image
        )
        self._subtract(old_images, were, old_codes)

        leaving: dict[int, list[int]] = defaultdict(list)
        entering: dict[int, list[tuple[int, bytes]]] = defaultdict(list)
        added, moved_from, moved_to, grown = [], [], [], 0
        for key in touched.tolist():
            before, is_new = old_list.get(key), key not in old_list
            part = self._images.get(key)
            if part is None and key in self._images:  # deleted
                if key in self._placements:
                    raise _mismatch(f"a place for image {key}, which it deletes")
                if before is not None:
                    leaving[before].append(key)
                    moved_from.append(parts.encode_placement(key, before))
                    links.put(key, ())
                    grown -= 1
                continue
            after = self._placements.get(key, before)
            if after is None or (is_new and part is None) or after >= self.facts.lists:
                raise _mismatch(
                    f"image {key} in no list, or a place for an image that is not there"
                )
            if part is not None:
                links.put(key, part.product_keys)
                added.append(part)
            if after != before:
                map_of_lists.put(key, after)
                moved_to.append(parts.encode_placement(key, after))
                if before is not None:
                    moved_from.append(parts.encode_placement(key, before))
            code = old_codes[key] if part is None else part.code
            if after != before or code != old_codes[key]:
                if before is not None:
                    leaving[before].append(key)
                entering[after].append((key, code))
            grown += is_new
        self._state.subtract(moved_from)
        self._state.add(moved_to)
        self._state.add(map(parts.encode, added))
        self._delete("images", "key", [key for key in old_images if self._images[key] is None])
        _put(
            self._connection,
            "images",
            (rows.image_row(part.key, Image(part.id, part.url)) for part in added),
        )
        links.write(max_key)
        map_of_lists.write(max_key)
        for number in sorted(leaving.keys() | entering.keys()):
            lists.change(number, leaving[number], entering[number])
        return _ImagesChanged(grown, max_key)

    def _subtract(
        self,
        images: dict[int, Image],
        products: dict[int, tuple[int, ...]],
        codes: dict[int, bytes],
    ) -> None:
        self._state.subtract(
            parts.encode_image(key, image.id, image.url, products[key], codes[key])
            for key, image in images.items()
        )

    # --- rows ------------------------------------------------------------------------------------

    def _query(self, statement: str, parameters: Sequence[object] = ()) -> list[Any]:
        with database.errors(self._path):
            return self._connection.execute(statement, parameters).fetchall()

    def _by_key(
        self, table: str, column: str, keys: Sequence[int], read: Callable[[Any], Value]
    ) -> dict[int, Value]:
        """Those of the rows that are there."""
        found: dict[int, Value] = {}
        for start in range(0, len(keys), _AT_ONCE):
            some = keys[start : start + _AT_ONCE]
            marks = ",".join("?" * len(some))
            statement = f"SELECT * FROM {table} WHERE {column} IN ({marks})"  # noqa: S608 # ours
            found.update((row[0], read(row)) for row in self._query(statement, some))
        return found

    def _delete(self, table: str, column: str, keys: Iterable[int]) -> None:
        statement = f"DELETE FROM {table} WHERE {column} = ?"  # noqa: S608 # our names
        self._connection.executemany(statement, ((key,) for key in keys))


@dataclass(frozen=True, slots=True)
class _ImagesChanged:
    """How many more images there are, and the largest key that ever was."""

    grown: int
    max_key: int


class _Map:
    """Some chunks of a map, read when asked for, written when changed."""

    table: str

    def __init__(self, connection: database.Connection, known: int) -> None:
        self._connection, self._known = connection, known
        self._changed: set[int] = set()

    def _blobs(self, chunk: int) -> tuple[bytes, ...] | None:
        """None for a chunk beyond all keys."""
        if chunk * rows.MAP_CHUNK >= self._known:
            return None
        statement = f"SELECT * FROM {self.table} WHERE chunk = ?"  # noqa: S608 # our names
        found = self._connection.execute(statement, (chunk,)).fetchall()
        if not found:
            raise StoreCorrupt(f"Chunk {chunk} of {self.table} is missing. {database.MEND}")
        return rows.read_map(self.table, chunk, found[0])

    def _to_write(self, max_key: int) -> Iterator[tuple[int, int]]:
        """Chunks that changed or grew, with their sizes."""
        grown: Iterable[int] = ()
        if max_key > self._known:
            last = max(0, self._known - 1) // rows.MAP_CHUNK
            grown = range(last, (max_key - 1) // rows.MAP_CHUNK + 1)
        for chunk in sorted(self._changed.union(grown)):
            yield chunk, min(rows.MAP_CHUNK, max_key - chunk * rows.MAP_CHUNK)


class _NumberMap(_Map):
    """A number for each key; 0 where there is nothing under a key."""

    dtype: str

    def __init__(self, connection: database.Connection, known: int) -> None:
        super().__init__(connection, known)
        self._chunks: dict[int, npt.NDArray[Any]] = {}

    def of(self, key: int) -> int:
        chunk, place = divmod(key - 1, rows.MAP_CHUNK)
        return int(self._chunk(chunk)[place])

    def put(self, key: int, number: int) -> None:
        chunk, place = divmod(key - 1, rows.MAP_CHUNK)
        self._chunk(chunk)[place] = number
        self._changed.add(chunk)

    def write(self, max_key: int) -> None:
        _put(
            self._connection,
            self.table,
            (
                rows.map_row(chunk, self._chunk(chunk)[:size].tobytes())
                for chunk, size in self._to_write(max_key)
            ),
        )

    def _chunk(self, chunk: int) -> npt.NDArray[Any]:
        if chunk not in self._chunks:
            numbers = np.zeros(rows.MAP_CHUNK, self.dtype)
            blobs = self._blobs(chunk)
            if blobs is not None:
                found = np.frombuffer(blobs[0], self.dtype)
                numbers[: len(found)] = found
            self._chunks[chunk] = numbers
        return self._chunks[chunk]


class _ListMap(_NumberMap):
    table, dtype = "image_lists", "<u2"


class _CategoryMap(_NumberMap):
    table, dtype = "product_categories", "<u4"


class _Links(_Map):
    """The products of each image."""

    table = "image_products"

    def __init__(self, connection: database.Connection, known: int) -> None:
        super().__init__(connection, known)
        self._chunks: dict[int, list[tuple[int, ...]]] = {}

    def of(self, key: int) -> tuple[int, ...]:
        """Ascending product keys; none where there is no image."""
        chunk, place = divmod(key - 1, rows.MAP_CHUNK)
        return self._chunk(chunk)[place]

    def put(self, key: int, product_keys: tuple[int, ...]) -> None:
        chunk, place = divmod(key - 1, rows.MAP_CHUNK)
        self._chunk(chunk)[place] = product_keys
        self._changed.add(chunk)

    def write(self, max_key: int) -> None:
        _put(self._connection, self.table, (self._row(*each) for each in self._to_write(max_key)))

    def _row(self, chunk: int, size: int) -> tuple[int | bytes, ...]:
        products = self._chunk(chunk)[:size]
        counts = np.array([len(each) for each in products], "<u4")
        keys = np.array([key for each in products for key in each], "<u4")
        return rows.map_row(chunk, counts.tobytes(), keys.tobytes())

    def _chunk(self, chunk: int) -> list[tuple[int, ...]]:
        if chunk not in self._chunks:
            products: list[tuple[int, ...]] = [()] * rows.MAP_CHUNK
            blobs = self._blobs(chunk)
            if blobs is not None:
                counts, keys = (np.frombuffer(blob, "<u4") for blob in blobs)
                flat = keys.tolist()
                stops = np.cumsum(counts, dtype=np.int64).tolist()
                products[: len(counts)] = [tuple(flat[a:b]) for a, b in pairwise([0, *stops])]
            self._chunks[chunk] = products
        return self._chunks[chunk]


class _Lists:
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
        _put(self._connection, "list_chunks", put)
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


class _Categories:
    """Names of categories by their number, and the number of each product that changed."""

    def __init__(self, connection: database.Connection, count: int) -> None:
        self._connection = connection
        found = connection.execute("SELECT * FROM categories ORDER BY number").fetchall()
        if len(found) != count:
            raise StoreCorrupt(f"A category is missing. {database.MEND}")
        self.names = [rows.read_category(number, row) for number, row in enumerate(found)]
        self._numbers = {name: number for number, name in enumerate(self.names)}
        self._known = count
        self._of_products: dict[int, int] = {}

    def number(self, product_key: int, name: str) -> int:
        """The number of a category, which is the product's from now on."""
        number = self._numbers.setdefault(name, len(self.names))
        if number == len(self.names):
            self.names.append(name)
        self._of_products[product_key] = number
        return number

    def write(self, max_product_key: int, known_key: int) -> None:
        new = range(self._known, len(self.names))
        _put(
            self._connection,
            "categories",
            (rows.category_row(number, self.names[number]) for number in new),
        )
        numbers = _CategoryMap(self._connection, known_key)
        for key, number in self._of_products.items():
            numbers.put(key, number)
        numbers.write(max_product_key)


class _Postings:
    """The products of each attribute's value: changes wait, then each value is edited once.

    Attributes:
        rows: Of the table.
    """

    def __init__(self, connection: database.Connection, count: int) -> None:
        self._connection, self.rows = connection, count
        self._removed: dict[tuple[str, str], set[int]] = defaultdict(set)
        self._added: dict[tuple[str, str], set[int]] = defaultdict(set)

    def change(
        self,
        product_key: int,
        before: Iterable[tuple[str, str]],
        after: Iterable[tuple[str, str]],
    ) -> None:
        """Takes what a product had and what it has from now on."""
        old, new = set(before), set(after)
        for pair in old - new:
            self._removed[pair].add(product_key)
        for pair in new - old:
            self._added[pair].add(product_key)

    def write(self) -> None:
        for name, value in sorted(self._removed.keys() | self._added.keys()):
            pair = name, value
            self._edit(name, value, self._removed[pair], self._added[pair])

    def _edit(self, name: str, value: str, removed: set[int], added: set[int]) -> None:
        found = self._connection.execute(
            "SELECT * FROM attributes WHERE name = ? AND value = ? ORDER BY chunk", (name, value)
        ).fetchall()
        for row in found:
            rows.check_attribute(row)
        old = [np.frombuffer(row[3], "<u4") for row in found]
        keys = np.concatenate(old) if old else np.zeros(0, "<u4")
        gone, come = (np.array(sorted(each), "<u4") for each in (removed - added, added - removed))
        kept = np.sort(np.concatenate([keys[~np.isin(keys, gone)], come]))
        sizes = np.array([len(each) for each in old], np.int64)
        new_sizes = chunks.resized(keys, sizes, gone, come, rows.MAP_CHUNK)
        new_sizes = new_sizes[: len(new_sizes) if len(kept) else 0]
        stops = np.cumsum(new_sizes).tolist()
        put = [
            rows.attribute_row(name, value, chunk, kept[start:stop].tobytes())
            for chunk, (start, stop) in enumerate(pairwise([0, *stops]))
            if chunk >= len(old) or not np.array_equal(kept[start:stop], old[chunk])
        ]
        _put(self._connection, "attributes", put)
        if len(stops) < len(found):
            self._connection.execute(
                "DELETE FROM attributes WHERE name = ? AND value = ? AND chunk >= ?",
                (name, value, len(stops)),
            )
        self.rows += len(stops) - len(found)


def _put(connection: database.Connection, table: str, new: Iterable[tuple[object, ...]]) -> None:
    """Inserts rows, or replaces those that are there."""
    new = list(new)
    if new:
        marks = ",".join("?" * len(new[0]))
        statement = f"INSERT OR REPLACE INTO {table} VALUES ({marks})"  # noqa: S608 # our names
        connection.executemany(statement, new)


def _mismatch(what: str) -> StateMismatch:
    return StateMismatch(f"Expected changes to this store. Received {what}.")

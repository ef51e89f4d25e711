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
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from pocketlens.errors import StateMismatch
from pocketlens.formats import parts
from pocketlens.formats.delta import Header
from pocketlens.formats.delta_blocks import Block
from pocketlens.formats.parts import ImagePart, OfferPart, ProductPart
from pocketlens.formats.state_hash import StateSum
from pocketlens.products import Image
from pocketlens.store import database, rows
from pocketlens.store.applying.filter_rows import Categories, Postings
from pocketlens.store.applying.lists import Lists
from pocketlens.store.applying.maps import Links, ListMap
from pocketlens.store.facts import StoreFacts, from_rows, to_rows

Value = TypeVar("Value")
Keys = npt.NDArray[np.uint32]

_AT_ONCE = 500  # keys a query; the oldest SQLite takes 999


class Applier:
    """One delta into one store; used once, by one thread. After an error, roll back."""

    def __init__(
        self,
        connection: database.Connection,
        path: Path,
        new_places: Mapping[int, int] | None = None,
    ) -> None:
        """Reads the store's facts.

        Args:
            connection: Of the store, inside a transaction that may write.
            path: Of its file, for errors.
            new_places: Lists of images that the store lacks, as `relisting.relist` gives them.

        Raises:
            StoreCorrupt: The facts are damaged.
        """
        self._connection, self._path = connection, path
        self.facts: StoreFacts = from_rows(self._query("SELECT * FROM facts"))
        self._state = StateSum(self.facts.state_sum)
        self._images: dict[int, ImagePart | None] = {}
        self._placements: dict[int, int] = {}
        self._new_places = new_places or {}
        self._counts = {"products": self.facts.products, "offers": self.facts.products}
        self._max_product_key = self.facts.max_product_key
        self._categories = Categories(connection, self.facts.categories)
        self._postings = Postings(connection, self.facts.attribute_rows)

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
            database.put_rows(self._connection, "facts", to_rows(self.facts))

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
        self._state.subtract(offers.values())
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
        database.put_rows(self._connection, "products", put)
        self._counts["products"] += len(new) - len(old)
        self._max_product_key = max(self._max_product_key, new[-1].key)

    def _put_offers(self, new: Sequence[OfferPart]) -> None:
        old = self._offers([part.key for part in new])
        self._state.subtract(old.values())
        put, encoded = rows.offer_rows(new)
        self._state.add(encoded)
        database.put_rows(self._connection, "offers", put)
        self._counts["offers"] += len(new) - len(old)

    def _products(self, keys: Sequence[int]) -> dict[int, ProductPart]:
        names = self._categories.names
        return self._by_key("products", "key", keys, lambda row: rows.read_product(row, names))

    def _offers(self, keys: Sequence[int]) -> dict[int, bytes]:
        """Canonical bytes."""
        found = self._rows("offers", "product_key", keys)
        return dict(zip([row[0] for row in found], rows.encode_offers(found), strict=True))

    # --- images ----------------------------------------------------------------------------------

    def _change_images(self) -> _ImagesChanged:
        touched = np.array(sorted(self._images.keys() | self._placements.keys()), np.uint32)
        known = self.facts.max_image_key
        max_key = max([known, *(key for key, part in self._images.items() if part is not None)])
        if not len(touched):
            return _ImagesChanged(0, max_key)
        links = Links(self._connection, known)
        map_of_lists = ListMap(self._connection, known)
        were = {key: links.of(key) for key in touched.tolist()}
        present = np.array([bool(were[key]) for key in touched.tolist()])
        old_list = {key: map_of_lists.of(key) for key in touched[present].tolist()}
        lists = Lists(self._connection, self.facts)
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
            place = self._new_places.get(key) if is_new else before
            after = self._placements.get(key, place)
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
        database.put_rows(
            self._connection,
            "images",
            (rows.image_row(part.key, Image(part.id, part.url)) for part in added),
        )
        links.write(max_key)
        map_of_lists.write(max_key)
        for number in sorted(leaving.keys() | entering.keys()):
            lists.change(number, leaving[number], entering[number])
        lists.write()
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
        """Those that are there, read."""
        return {row[0]: read(row) for row in self._rows(table, column, keys)}

    def _rows(self, table: str, column: str, keys: Sequence[int]) -> list[Any]:
        """Those that are there."""
        found: list[Any] = []
        for start in range(0, len(keys), _AT_ONCE):
            some = keys[start : start + _AT_ONCE]
            marks = ",".join("?" * len(some))
            statement = f"SELECT * FROM {table} WHERE {column} IN ({marks})"  # noqa: S608 # ours
            found += self._query(statement, some)
        return found

    def _delete(self, table: str, column: str, keys: Iterable[int]) -> None:
        statement = f"DELETE FROM {table} WHERE {column} = ?"  # noqa: S608 # our names
        self._connection.executemany(statement, ((key,) for key in keys))


@dataclass(frozen=True, slots=True)
class _ImagesChanged:
    """How many more images there are, and the largest key that ever was."""

    grown: int
    max_key: int


def _mismatch(what: str) -> StateMismatch:
    return StateMismatch(f"Expected changes to this store. Received {what}.")

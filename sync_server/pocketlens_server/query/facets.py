"""What filters ask of products, and which images show them, through the versions (PURE).

    facets = Facets.none().changed(changes)
    images, products = facets.narrowed(Filter(category="shoes"))

Every version is a value of its own: what did not change is merged with what did in a few passes
over dense arrays, 4 bytes a link, and nothing is looked for product by product.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from pocketlens.product_columns import ProductColumns
from pocketlens.query import filters
from pocketlens.query.filters import Wanted, currency_number
from pocketlens_server.query.vector_store import ProductRow, VersionChanges

_Keys = npt.NDArray[np.uint32]
_UNKNOWN = -1
_NUMBERS_HELD = 1024  # of attributes that no product has, at least, before they are forgotten


@dataclass(frozen=True, slots=True)
class Pairs:
    """Which values belong to which keys.

    Attributes:
        keys: uint32 (m,), ascending; one that has several values comes as often.
        values: uint32 (m,), ascending for each key.
    """

    keys: _Keys
    values: _Keys

    @classmethod
    def none(cls) -> Pairs:
        """No pair."""
        return cls(np.zeros(0, np.uint32), np.zeros(0, np.uint32))

    def replaced(self, gone: _Keys, new: Mapping[int, Sequence[int]]) -> Pairs:
        """The same, with all values of some keys taken away and those of some put in their place.

        Args:
            gone: Keys, in any order.
            new: Keys with their values, ascending; they need not be in `gone`.
        """
        replaced = np.fromiter(new, np.uint32, len(new))
        new_keys = np.repeat(replaced, [len(values) for values in new.values()])
        new_values = np.fromiter((each for some in new.values() for each in some), np.uint32)
        stay = ~is_in(self.keys, np.union1d(gone, replaced))
        keys = np.concatenate([self.keys[stay], new_keys])
        values = np.concatenate([self.values[stay], new_values])
        order = np.argsort(keys, kind="stable")
        return Pairs(keys[order], values[order])

    def of(self, key: int) -> _Keys:
        """Values of a key."""
        return self.values[np.searchsorted(self.keys, key) : np.searchsorted(self.keys, key + 1)]

    def of_each(self, keys: Sequence[int]) -> list[tuple[int, ...]]:
        """Values of each of some keys."""
        wanted = np.asarray(keys, np.uint32)
        starts = np.searchsorted(self.keys, wanted).tolist()
        ends = np.searchsorted(self.keys, wanted, side="right").tolist()
        return [
            tuple(self.values[start:end].tolist()) for start, end in zip(starts, ends, strict=True)
        ]

    def keys_of(self, value: int) -> _Keys:
        """Keys that have a value, ascending."""
        found: _Keys = self.keys[self.values == value]
        return found


@dataclass(frozen=True, slots=True)
class Facets:
    """One version.

    Attributes:
        columns: Of every product, with the links of images to products.
        attributes: Product keys with the numbers of their attributes.
        attribute_numbers: Name and value of an attribute to its number; added to, so that versions
            share it, until half of it is of none.
    """

    columns: ProductColumns
    attributes: Pairs
    attribute_numbers: dict[tuple[str, str], int]

    @classmethod
    def none(cls) -> Facets:
        """Without a product."""
        nothing, links = np.zeros(0, np.int64), Pairs.none()
        columns = ProductColumns(
            keys=nothing.astype(np.uint32),
            categories=nothing.astype(np.int32),
            category_names=(),
            prices=nothing,
            currencies=nothing.astype(np.int32),
            stock=nothing,
            link_image_keys=links.keys,
            link_product_keys=links.values,
        )
        return cls(columns, links, {})

    @property
    def links(self) -> Pairs:
        """Image keys with the keys of the products that they show."""
        return Pairs(self.columns.link_image_keys, self.columns.link_product_keys)

    def changed(self, changes: VersionChanges) -> Facets:
        """The version after some changes; this one stays what it is."""
        images = changes.images
        links = self.links.replaced(
            changes.deleted_images,
            dict(zip(images.keys.tolist(), images.product_keys, strict=True)),
        )
        numbers = self.attribute_numbers
        attributes = self.attributes.replaced(
            changes.deleted_products,
            {each.key: _numbers(each.attributes, numbers) for each in changes.products},
        )
        if len(numbers) > 2 * len(attributes.values) + _NUMBERS_HELD:
            attributes, numbers = _renumbered(attributes, numbers)
        columns = _merged(self.columns, changes.deleted_products, changes.products)
        columns = replace(columns, link_image_keys=links.keys, link_product_keys=links.values)
        return Facets(columns, attributes, numbers)

    def narrowed(self, wanted: Wanted) -> tuple[_Keys, _Keys]:
        """Keys of images of a product that satisfies a filter, and of such products, ascending."""
        columns = self.columns
        kept = filters.linked(
            columns, filters.eligible_products(wanted, columns, self._products_with)
        )
        return _distinct(columns.link_image_keys[kept]), _distinct(columns.link_product_keys[kept])

    def values_of(self, name: str) -> Iterable[tuple[str, _Keys]]:
        """Values of an attribute that some product has, each with the keys of these, ascending."""
        # Numbers are added to while versions are read: a copy is taken in one step.
        known = {
            number: value
            for (of, value), number in self.attribute_numbers.copy().items()
            if of == name
        }
        keys, numbers = self.attributes.keys, self.attributes.values
        of_name = np.isin(numbers, np.fromiter(known, np.uint32, len(known)))
        keys, numbers = keys[of_name], numbers[of_name]
        order = np.argsort(numbers, kind="stable")
        distinct, starts = np.unique(numbers[order], return_index=True)
        groups = np.split(keys[order], starts[1:])
        return ((known[number], of) for number, of in zip(distinct.tolist(), groups, strict=False))

    def _products_with(self, name: str, value: str) -> _Keys:
        number = self.attribute_numbers.get((name, value))
        return np.zeros(0, np.uint32) if number is None else self.attributes.keys_of(number)


def is_in(keys: _Keys, among: _Keys) -> npt.NDArray[np.bool_]:
    """Which of some keys are among others, which are ascending; keys are dense."""
    if not len(keys) or not len(among):
        return np.zeros(len(keys), np.bool_)
    by_key = np.zeros(max(int(keys.max()), int(among[-1])) + 1, np.bool_)
    by_key[among] = True
    return by_key[keys]


def _distinct(keys: _Keys) -> _Keys:
    """Each of some keys once, ascending; keys are dense."""
    by_key = np.zeros(int(keys.max(initial=0)) + 1, np.bool_)
    by_key[keys] = True
    return np.flatnonzero(by_key).astype(np.uint32)


def _numbers(attributes: Mapping[str, str], known: dict[tuple[str, str], int]) -> list[int]:
    return sorted(known.setdefault(each, len(known)) for each in attributes.items())


def _renumbered(
    attributes: Pairs, known: Mapping[tuple[str, str], int]
) -> tuple[Pairs, dict[tuple[str, str], int]]:
    """The same without attributes that no product has any more."""
    used = np.unique(attributes.values)
    names = list(known)  # which stand by their numbers
    numbers = {names[number]: place for place, number in enumerate(used.tolist())}
    values = np.searchsorted(used, attributes.values).astype(np.uint32)
    return replace(attributes, values=values), numbers


def _merged(before: ProductColumns, gone: _Keys, rows: Iterable[ProductRow]) -> ProductColumns:
    new = sorted(rows, key=lambda row: row.key)
    places = {name: place for place, name in enumerate(before.category_names)}
    keys = np.array([row.key for row in new], np.uint32)
    stay = ~is_in(before.keys, np.union1d(gone, keys))
    order = np.argsort(np.concatenate([before.keys[stay], keys]), kind="stable")

    def column(old: npt.NDArray[np.int64] | npt.NDArray[np.int32], found: list[int]) -> npt.NDArray:  # type: ignore[type-arg]  # as it comes
        return np.concatenate([old[stay], np.array(found, old.dtype)])[order]

    return replace(
        before,
        keys=np.concatenate([before.keys[stay], keys])[order],
        categories=column(
            before.categories, [places.setdefault(row.category, len(places)) for row in new]
        ),
        category_names=tuple(places),
        prices=column(before.prices, [_UNKNOWN if row.price is None else row.price for row in new]),
        currencies=column(before.currencies, [currency_number(row.currency) for row in new]),
        stock=column(before.stock, [_UNKNOWN if row.stock is None else row.stock for row in new]),
    )

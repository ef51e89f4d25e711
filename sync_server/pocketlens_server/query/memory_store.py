"""A VectorStore of dictionaries, right by reading: what others are compared with, in tests."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal

import numpy as np
import numpy.typing as npt

from pocketlens.product_columns import ProductColumns
from pocketlens.products import Price
from pocketlens.query.filters import AnyOf, Filter, Wanted, currency_number
from pocketlens_server.query.vector_store import Nearest, ProductRow, VersionChanges


@dataclass(frozen=True, slots=True)
class MemoryView:
    """One version; see `vector_store.View`."""

    version: int
    dim: int
    rows: Mapping[int, tuple[npt.NDArray[np.float32], tuple[int, ...]]]
    facets: Mapping[int, ProductRow]

    @property
    def images(self) -> int:
        """See `View.images`."""
        return len(self.rows)

    @property
    def products(self) -> int:
        """See `View.products`."""
        return len(self.facets)

    def search(
        self, queries: npt.NDArray[np.float32], count: int, *, wanted: Wanted | None = None
    ) -> list[Nearest]:
        """See `View.search`."""
        return [self._nearest(query, count, wanted or Filter()) for query in queries]

    def product_keys(self, image_keys: Sequence[int]) -> list[tuple[int, ...]]:
        """See `View.product_keys`."""
        return [self.rows[key][1] if key in self.rows else () for key in image_keys]

    def images_of(self, product_key: int) -> npt.NDArray[np.uint32]:
        """See `View.images_of`."""
        return np.array(sorted(k for k, row in self.rows.items() if product_key in row[1]), "u4")

    def vectors(self, image_keys: Sequence[int]) -> npt.NDArray[np.float32]:
        """See `View.vectors`."""
        return np.array([self.rows[key][0] for key in image_keys], "f4").reshape(-1, self.dim)

    def categories(self) -> tuple[str, ...]:
        """See `View.categories`."""
        counted = Counter(row.category for row in self.facets.values() if row.category)
        return tuple(sorted(counted, key=lambda name: (-counted[name], name)))

    def columns(self) -> ProductColumns:
        """See `View.columns`."""
        rows = [self.facets[key] for key in sorted(self.facets)]
        names = tuple(dict.fromkeys(row.category for row in rows))
        links = sorted((key, of) for key, (_, shown) in self.rows.items() for of in shown)
        return ProductColumns(
            keys=np.array([row.key for row in rows], np.uint32),
            categories=np.array([names.index(row.category) for row in rows], np.int32),
            category_names=names,
            prices=np.array([-1 if row.price is None else row.price for row in rows], np.int64),
            currencies=np.array([currency_number(row.currency) for row in rows], np.int32),
            stock=np.array([-1 if row.stock is None else row.stock for row in rows], np.int64),
            link_image_keys=np.array([key for key, _ in links], np.uint32),
            link_product_keys=np.array([key for _, key in links], np.uint32),
        )

    def values_of(self, name: str) -> Iterable[tuple[str, npt.NDArray[np.uint32]]]:
        """See `View.values_of`."""
        found: dict[str, list[int]] = {}
        for key, row in sorted(self.facets.items()):
            if name in row.attributes:
                found.setdefault(row.attributes[name], []).append(key)
        return ((value, np.array(keys, np.uint32)) for value, keys in found.items())

    def satisfying(self, wanted: Wanted) -> npt.NDArray[np.uint32]:
        """See `View.satisfying`."""
        shown = {key for _, products in self.rows.values() for key in products}
        return np.array(sorted(k for k in shown if _satisfies(self.facets[k], wanted)), "u4")

    def _nearest(self, query: npt.NDArray[np.float32], count: int, wanted: Wanted) -> Nearest:
        scored = [
            (-np.float32((vector.astype("f8") * query.astype("f8")).sum()), key)
            for key, (vector, products) in self.rows.items()
            if any(_satisfies(self.facets[each], wanted) for each in products)
        ]
        nearest = sorted(scored)[:count]
        keys = [key for _, key in nearest]
        similarities = np.array([-score for score, _ in nearest], np.float32)
        return Nearest(np.array(keys, np.uint32), similarities, self.vectors(keys))


class MemoryStore:
    """See `vector_store.VectorStore`."""

    def __init__(self, dim: int) -> None:
        self.dim = dim
        self._newest = MemoryView(0, dim, {}, {})

    @property
    def version(self) -> int:
        """See `VectorStore.version`."""
        return self._newest.version

    def apply(self, changes: VersionChanges) -> None:
        """See `VectorStore.apply`."""
        images, before = changes.images, self._newest
        if images.vectors.shape != (len(images.keys), self.dim):
            raise ValueError(f"Expected vectors of {self.dim}. Received {images.vectors.shape}.")
        if changes.base not in (0, before.version):
            raise ValueError(f"Expected a change of {before.version}. Received {changes.base}.")
        rows = dict(before.rows) if changes.base else {}
        facets = dict(before.facets) if changes.base else {}
        for key in changes.deleted_images.tolist():
            rows.pop(key, None)
        for key in changes.deleted_products.tolist():
            facets.pop(key, None)
        new = zip(images.keys.tolist(), images.vectors, images.product_keys, strict=True)
        rows |= {key: (vector.copy(), shown) for key, vector, shown in new}
        facets |= {row.key: row for row in changes.products}
        self._newest = MemoryView(changes.version, self.dim, rows, facets)

    @contextmanager
    def view(self) -> Iterator[MemoryView]:
        """See `VectorStore.view`."""
        yield self._newest

    def close(self) -> None:
        """See `VectorStore.close`."""
        self._newest = MemoryView(0, self.dim, {}, {})


def _satisfies(row: ProductRow, wanted: Wanted) -> bool:
    if isinstance(wanted, AnyOf):
        return any(_satisfies(row, each) for each in wanted.filters)
    is_priced = row.price is not None
    amount = Price(row.price, row.currency).amount if row.price is not None else Decimal(0)
    conditions = (
        wanted.category is None or row.category == wanted.category,
        wanted.currency is None or (is_priced and row.currency == wanted.currency),
        wanted.min_price is None or (is_priced and amount >= wanted.min_price),
        wanted.max_price is None or (is_priced and amount <= wanted.max_price),
        not wanted.in_stock or (row.stock is not None and row.stock > 0),
        all(row.attributes.get(name) == value for name, value in wanted.attributes.items()),
    )
    return all(conditions)

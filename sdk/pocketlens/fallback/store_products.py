"""Products of a store by their ids, for `merging`: searches know them by key alone."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from pocketlens.fallback.merging import Held
from pocketlens.products import Product
from pocketlens.query import filters
from pocketlens.query.filters import Filter
from pocketlens.store.reader import Reader


def held(reader: Reader, catalogue: str, wanted: Filter | None) -> Held:
    """What a reader sees.

    Args:
        reader: Of the store, open for as long as what is returned is asked.
        catalogue: Of the server.
        wanted: Filter of the search.
    """

    def products(ids: Sequence[str]) -> Mapping[str, Product]:
        keys = reader.product_keys(ids)
        found = reader.products(list(keys.values()))
        return {id_: found[key] for id_, key in keys.items()}

    def satisfying(ids: Sequence[str]) -> frozenset[str]:
        keys = reader.product_keys(ids)
        if wanted is None or wanted.is_empty:
            return frozenset(keys)
        columns = reader.columns()
        allowed = filters.eligible_products(wanted, columns, reader.products_with)
        eligible = set(np.compress(allowed, columns.keys).tolist())
        return frozenset(id_ for id_, key in keys.items() if key in eligible)

    facts = reader.facts
    return Held(facts.version, facts.catalogue == catalogue, products, satisfying)

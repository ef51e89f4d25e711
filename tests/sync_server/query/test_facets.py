"""What filters ask of products, through many versions."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import numpy as np
from tests.sync_server.query.vector_store_suite import DIM, change

from pocketlens.query.filters import Filter
from pocketlens_server.query.facets import Facets
from pocketlens_server.query.vector_store import ProductRow


def seen_at(version: int) -> dict[int, ProductRow]:
    return {1: ProductRow(1, attributes={"seen": str(version), "kept": "yes"})}


def test_attributes_that_no_product_has_any_more_are_forgotten() -> None:
    """Such as a time that a backend puts with every change."""
    facets = Facets.none().changed(change(0, {7: (np.ones(DIM), (1,))}, seen_at(0)))
    first = facets
    for version in range(1, 3001):
        facets = facets.changed(change(version, products=seen_at(version)))

        assert len(facets.attribute_numbers) < 1100

    for wanted, products in (({"kept": "yes", "seen": "3000"}, [1]), ({"seen": "2999"}, [])):
        assert facets.narrowed(Filter(attributes=wanted))[1].tolist() == products
    assert first.narrowed(Filter(attributes={"seen": "0"}))[1].tolist() == [1]
    assert first.narrowed(Filter(attributes={"seen": "3000"}))[1].tolist() == []

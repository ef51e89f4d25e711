"""The store in this process: the suite, and what only many rows, or few left of them, bring out."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import gc
import weakref

import numpy as np
import pytest
from tests.sync_server.query.vector_store_suite import DIM, VectorStoreSuite, change, units

from pocketlens.query.filters import Filter
from pocketlens_server.query import exact_blocks
from pocketlens_server.query.exact_blocks import Floats
from pocketlens_server.query.exact_store import ExactStore
from pocketlens_server.query.vector_store import ProductRow, VectorStore

PRODUCTS = {key: ProductRow(key, category="mugs" if key % 3 else "hats") for key in range(1, 100)}


class TestExactStore(VectorStoreSuite):
    def made(self, dim: int) -> VectorStore:
        return ExactStore(dim)


def rows(rng: np.random.Generator, keys: range) -> dict[int, tuple[Floats, tuple[int, ...]]]:
    return {key: (rng.standard_normal(DIM), (1 + key % 99,)) for key in keys}


def nearest(
    store: ExactStore, query: Floats, count: int, wanted: Filter | None = None
) -> list[int]:
    with store.view() as view:
        return view.search(query, count)[0].keys.tolist()


def test_the_nearest_are_those_of_double_precision() -> None:
    rng = np.random.default_rng(1)
    count = 3 * exact_blocks.BLOCK_ROWS // 2
    vectors = units(rng.standard_normal((count, DIM)))
    store = ExactStore(DIM)
    images = {key: (vectors[key - 1], (1 + key % 99,)) for key in range(1, count + 1)}
    store.apply(change(0, images, PRODUCTS))
    with store.view() as view:
        held = view.vectors(range(1, count + 1))
    queries = units(rng.standard_normal((9, DIM)))
    exact = (held.astype(np.float64) @ queries.T.astype(np.float64)).astype(np.float32)

    with store.view() as view:
        for wanted in (None, Filter(category="hats")):
            for place, found in enumerate(view.search(queries, 50, wanted=wanted)):
                keys = np.arange(1, count + 1)
                if wanted is not None:
                    keys = keys[(1 + keys % 99) % 3 == 0]
                order = np.lexsort((keys, -exact[keys - 1, place]))[:50]
                assert set(found.keys.tolist()) == set(keys[order].tolist())


def test_rows_that_went_give_their_room_back() -> None:
    rng = np.random.default_rng(2)
    store = ExactStore(DIM)
    store.apply(change(0, rows(rng, range(1, 1001)), PRODUCTS))
    with store.view() as view:
        block = weakref.ref(view.parts[0].block)
    query = units(rng.standard_normal(DIM))

    store.apply(change(1, gone_images=tuple(range(1, 401))))
    assert block() is not None
    store.apply(change(2, gone_images=tuple(range(401, 701))))
    gc.collect()

    del view
    assert block() is None
    assert sorted(nearest(store, query, 1000)) == list(range(701, 1001))


def test_a_version_takes_no_room_for_what_did_not_change() -> None:
    rng = np.random.default_rng(3)
    store = ExactStore(DIM)
    store.apply(change(0, rows(rng, range(1, 1001)), PRODUCTS))
    with store.view() as before:
        pass
    for version in range(1, 30):
        store.apply(change(version, rows(rng, range(1, 11))))

    with store.view() as after:
        assert after.parts[0].block is before.parts[0].block
        assert len(after.parts) == 1
        assert after.images == 1000


def test_a_change_that_fails_leaves_what_was() -> None:
    rng = np.random.default_rng(4)
    store = ExactStore(DIM)
    store.apply(change(0, rows(rng, range(1, 101)), PRODUCTS))
    query = units(rng.standard_normal(DIM))
    expected = nearest(store, query, 20)
    broken = change(1, {500: (query[0], (1,))}, {1: ProductRow(1, price="much")})  # type: ignore[arg-type]

    with pytest.raises((TypeError, ValueError)):
        store.apply(broken)

    assert (store.version, nearest(store, query, 20)) == (1, expected)
    store.apply(change(1, {500: (query[0], (1,))}))
    assert nearest(store, query, 1) == [500]


def test_a_hundred_thousand_equals_are_not_quadratic() -> None:
    store = ExactStore(DIM)
    images = {key: (np.ones(DIM), (1,)) for key in range(1, 100_001)}
    store.apply(change(0, images, PRODUCTS))

    assert nearest(store, units(np.ones(DIM)), 5) == [1, 2, 3, 4, 5]

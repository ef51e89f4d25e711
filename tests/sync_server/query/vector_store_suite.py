"""What every VectorStore does: the one suite that each implementation passes.

Subclass `VectorStoreSuite` and give `made`.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import replace
from decimal import Decimal

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pocketlens.query.filters import AnyOf, Filter, Wanted
from pocketlens_server.query.memory_store import MemoryStore
from pocketlens_server.query.vector_store import (
    ImageRows,
    ProductRow,
    VectorStore,
    VersionChanges,
    View,
)

DIM = 8
FILTERS: list[Wanted] = [
    Filter(category="mugs"),
    Filter(in_stock=True),
    Filter(max_price=Decimal(5)),
    Filter(currency="JPY", min_price=3),
    Filter(attributes={"colour": "red"}),
    Filter(category="mugs", attributes={"colour": "blue"}),
    Filter(category="of nothing"),
    AnyOf((Filter(category="mugs"), Filter(category="hats", in_stock=True))),
]
IMAGE_KEYS, PRODUCT_KEYS = st.integers(1, 40), st.integers(1, 12)
PRODUCT_ROWS = st.builds(
    ProductRow,
    key=st.just(0),
    category=st.sampled_from(["mugs", "hats", ""]),
    price=st.none() | st.integers(0, 1000),
    currency=st.sampled_from(["EUR", "JPY"]),
    stock=st.none() | st.integers(0, 2),
    attributes=st.dictionaries(st.just("colour"), st.sampled_from(["red", "blue"])),
)


def units(rows: npt.ArrayLike) -> npt.NDArray[np.float32]:
    """Rows at unit length, float32 (n, DIM)."""
    found = np.asarray(rows, np.float64).reshape(-1, DIM)
    return (found / np.linalg.norm(found, axis=1, keepdims=True)).astype(np.float32)


# Few, so that many are equal.
VECTORS = units(np.random.default_rng(1).integers(-2, 3, (9, DIM)) + 0.25)
QUERIES = units(np.random.default_rng(2).integers(-2, 3, (5, DIM)) + 0.25)
PICTURES = st.tuples(
    st.integers(0, len(VECTORS) - 1), st.sets(PRODUCT_KEYS, min_size=1, max_size=2)
)


def change(
    base: int,
    images: Mapping[int, tuple[npt.ArrayLike, tuple[int, ...]]] | None = None,
    products: Mapping[int, ProductRow] | None = None,
    *,
    gone_images: tuple[int, ...] = (),
    gone_products: tuple[int, ...] = (),
) -> VersionChanges:
    """One version more."""
    images = dict(sorted((images or {}).items()))
    return VersionChanges(
        base,
        base + 1,
        np.array(gone_images, np.uint32),
        np.array(gone_products, np.uint32),
        ImageRows(
            np.array(list(images), np.uint32),
            units([vector for vector, _ in images.values()] or np.zeros((0, DIM))),
            [shown for _, shown in images.values()],
        ),
        tuple((products or {}).values()),
    )


@st.composite
def histories(draw: st.DrawFn) -> list[VersionChanges]:
    """Versions one after the other, now and then one that replaces all."""
    shown, known, found = dict[int, tuple[int, ...]](), set[int](), list[VersionChanges]()
    for version in range(1, draw(st.integers(1, 7)) + 1):
        is_anew = version == 1 or draw(st.integers(0, 5)) == 5
        if is_anew:
            shown, known = {}, set()
        products = draw(st.dictionaries(PRODUCT_KEYS, PRODUCT_ROWS, min_size=1, max_size=8))
        known |= set(products)
        images = {
            key: (VECTORS[place], tuple(sorted(of & known)))
            for key, (place, of) in draw(st.dictionaries(IMAGE_KEYS, PICTURES, max_size=15)).items()
            if of & known
        }
        gone_images = draw(st.sets(IMAGE_KEYS, max_size=15)) - set(images)
        shown = {key: of for key, of in shown.items() if key not in gone_images}
        shown |= {key: of for key, (_, of) in images.items()}
        still_shown = {product for of in shown.values() for product in of}
        gone_products = draw(st.sets(PRODUCT_KEYS, max_size=4)) - still_shown - set(products)
        known -= gone_products
        changes = change(
            version - 1,
            images,
            {key: replace(row, key=key) for key, row in products.items()},
            gone_images=tuple(gone_images),
            gone_products=tuple(gone_products),
        )
        found.append(replace(changes, base=0) if is_anew else changes)
    return found


def assert_same(found: View, expected: View, count: int) -> None:
    """That two views answer alike, to the last bit."""
    assert (found.version, found.images, found.products) == (
        expected.version,
        expected.images,
        expected.products,
    )
    for wanted in (None, *FILTERS):
        pairs = zip(
            found.search(QUERIES, count, wanted=wanted),
            expected.search(QUERIES, count, wanted=wanted),
            strict=True,
        )
        for one, other in pairs:
            assert one.keys.tolist() == other.keys.tolist(), wanted
            assert one.similarities.tolist() == other.similarities.tolist()
            assert one.vectors.tolist() == other.vectors.tolist()
        if wanted is not None:
            assert found.satisfying(wanted).tolist() == expected.satisfying(wanted).tolist()
    assert found.categories() == expected.categories()
    assert _colours(found) == _colours(expected)
    assert _listed(found) == _listed(expected)
    keys = list(range(42))
    assert found.product_keys(keys) == expected.product_keys(keys)
    for product in range(14):
        assert found.images_of(product).tolist() == expected.images_of(product).tolist()


def _listed(view: View) -> list[object]:
    """Columns as lists, and categories by their names: numbers of these are a store's own."""
    columns = view.columns()
    categories = [columns.category_names[number] for number in columns.categories.tolist()]
    others = (columns.keys, columns.prices, columns.currencies, columns.stock)
    links = (columns.link_image_keys, columns.link_product_keys)
    return [categories, *(each.tolist() for each in (*others, *links))]


def _colours(view: View) -> dict[str, list[int]]:
    assert not list(view.values_of("nothing"))
    return {value: keys.tolist() for value, keys in view.values_of("colour")}


class VectorStoreSuite:
    """The promises of `vector_store`."""

    made: Callable[[int], VectorStore]
    """A store of so many numbers a vector, which is empty."""

    def test_an_empty_one_finds_nothing(self) -> None:
        store = self.made(DIM)

        with store.view() as view:
            (found,) = view.search(units(np.eye(DIM)[:1]), 5)

            assert (store.version, view.images, view.products) == (0, 0, 0)
            assert found.keys.tolist() == []
            assert found.vectors.shape == (0, DIM)
            assert view.product_keys([1, 2]) == [(), ()]
            with pytest.raises(KeyError):
                view.vectors([1])

    def test_every_view_is_and_stays_that_of_a_dictionary(self) -> None:
        @settings(max_examples=30, deadline=None)
        @given(histories())
        def check(versions: list[VersionChanges]) -> None:
            store, model = self.made(DIM), MemoryStore(DIM)
            with ExitStack() as views:
                pairs = []
                for changes in versions:
                    store.apply(changes)
                    model.apply(changes)
                    pairs.append(
                        (views.enter_context(store.view()), views.enter_context(model.view()))
                    )
                    assert_same(*pairs[-1], count=7)

                for found, expected in pairs:
                    for count in (1, 100):
                        assert_same(found, expected, count)

        check()

    def test_an_answer_is_the_same_alone_and_among_others(self) -> None:
        rng = np.random.default_rng(4)
        store = self.made(DIM)
        product = {1: ProductRow(1)}
        rows = {key: (rng.standard_normal(DIM), (1,)) for key in range(1, 1500)}
        store.apply(change(0, rows, product))
        queries = units(rng.standard_normal((33, DIM)))

        with store.view() as view:
            together = view.search(queries, 12)
            for place, query in enumerate(queries):
                (alone,) = view.search(query[None], 12)
                assert alone.keys.tolist() == together[place].keys.tolist()
                assert alone.similarities.tobytes() == together[place].similarities.tobytes()

    def test_equals_come_by_their_key(self) -> None:
        store = self.made(DIM)
        rows = {key: (np.eye(DIM)[key % 2], (1,)) for key in range(1, 200)}
        store.apply(change(0, rows, {1: ProductRow(1)}))

        with store.view() as view:
            (found,) = view.search(units(np.eye(DIM)[:1]), 5)

        assert found.keys.tolist() == [2, 4, 6, 8, 10]
        assert found.similarities.tolist() == [1] * 5

    def test_a_filter_never_gives_fewer_than_there_are(self) -> None:
        store = self.made(DIM)
        products = {
            key: ProductRow(key, category="mugs" if key > 97 else "") for key in range(1, 101)
        }
        rows = {key: (np.eye(DIM)[0] + key / 1000, (key,)) for key in range(1, 101)}
        store.apply(change(0, rows, products))

        with store.view() as view:
            query = units(-np.ones(DIM))
            (found,) = view.search(query, 10, wanted=Filter(category="mugs"))

        assert sorted(found.keys.tolist()) == [98, 99, 100]

    @pytest.mark.parametrize("base", [0, 2, 7])
    def test_a_change_of_another_version_is_refused(self, base: int) -> None:
        store = self.made(DIM)
        store.apply(change(0, {1: (np.ones(DIM), (1,))}, {1: ProductRow(1)}))
        wrong = change(base or 9)

        with pytest.raises(ValueError, match="change of 1"):
            store.apply(wrong)
        assert store.version == 1

    def test_vectors_of_another_length_are_refused(self) -> None:
        store = self.made(DIM + 1)

        with pytest.raises(ValueError, match=f"of {DIM + 1}"):
            store.apply(change(0, {1: (np.ones(DIM), (1,))}, {1: ProductRow(1)}))
        assert store.version == 0

    def test_who_searches_while_versions_come_sees_one_of_them_whole(self) -> None:
        store = self.made(DIM)
        rows = {key: (np.ones(DIM) * (1 + key % 3), (1,)) for key in range(1, 301)}
        store.apply(change(0, rows, {1: ProductRow(1)}))
        query, wrong, done = units(np.ones(DIM)), list[object](), threading.Event()

        def look() -> None:
            while not done.is_set():
                with store.view() as view:
                    (found,) = view.search(query, 1000)
                    # Version v has the keys from v on.
                    if found.keys.tolist() != list(range(view.version, 301)):
                        wrong.append((view.version, found.keys))

        threads = [threading.Thread(target=look) for _ in range(3)]
        for each in threads:
            each.start()
        for version in range(1, 120):
            store.apply(change(version, gone_images=(version,)))
        done.set()
        for each in threads:
            each.join()

        assert wrong == []

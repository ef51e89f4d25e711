"""What every VectorStore does: the one suite that each implementation passes.

Subclass `VectorStoreSuite` and give `made`.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from decimal import Decimal

import numpy as np
import numpy.typing as npt
import pytest

from pocketlens.query.filters import Filter
from pocketlens_server.query.memory_store import MemoryStore
from pocketlens_server.query.vector_store import (
    ImageRows,
    ProductRow,
    VectorStore,
    VersionChanges,
    View,
)

DIM = 8
FILTERS = [
    Filter(category="mugs"),
    Filter(in_stock=True),
    Filter(max_price=Decimal(5)),
    Filter(currency="JPY", min_price=3),
    Filter(attributes={"colour": "red"}),
    Filter(category="mugs", attributes={"colour": "blue"}),
    Filter(category="of nothing"),
]
NO_KEYS = np.zeros(0, np.uint32)


def units(rows: npt.ArrayLike) -> npt.NDArray[np.float32]:
    """Rows at unit length, float32 (n, DIM)."""
    found = np.asarray(rows, np.float64).reshape(-1, DIM)
    return (found / np.linalg.norm(found, axis=1, keepdims=True)).astype(np.float32)


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


def random_change(
    rng: np.random.Generator, base: int, known: set[int], size: int
) -> VersionChanges:
    """Some images and products more, others, fewer; of few vectors, so that many are equal."""
    products = rng.choice(np.arange(1, 40), size=min(size, 20), replace=False).tolist()
    rows = {
        key: ProductRow(
            key,
            category=str(rng.choice(["mugs", "hats", ""])),
            price=None if rng.random() < 0.2 else int(rng.integers(0, 1000)),
            currency=str(rng.choice(["EUR", "JPY"])),
            stock=None if rng.random() < 0.2 else int(rng.integers(0, 3)),
            attributes={"colour": str(rng.choice(["red", "blue"]))} if rng.random() < 0.7 else {},
        )
        for key in products
    }
    known |= set(products)
    shown = sorted(known)
    images = {
        int(key): (
            rng.integers(-2, 3, DIM) + np.eye(DIM)[0] * 0.5,
            tuple(sorted(rng.choice(shown, size=int(rng.integers(1, 3))).tolist())),
        )
        for key in rng.choice(np.arange(1, 60), size=size, replace=False)
    }
    images = {key: (vector, tuple(sorted(set(of)))) for key, (vector, of) in images.items()}
    gone = rng.choice(np.arange(1, 60), size=size // 2, replace=False).tolist()
    return change(base, images, rows, gone_images=tuple(key for key in gone if key not in images))


def assert_same(found: View, expected: View, queries: npt.NDArray[np.float32], count: int) -> None:
    """That two views answer alike, to the last bit."""
    assert (found.version, found.images, found.products) == (
        expected.version,
        expected.images,
        expected.products,
    )
    for wanted in (None, *FILTERS):
        pairs = zip(
            found.search(queries, count, wanted=wanted),
            expected.search(queries, count, wanted=wanted),
            strict=True,
        )
        for one, other in pairs:
            assert one.keys.tolist() == other.keys.tolist(), wanted
            assert one.similarities.tolist() == other.similarities.tolist()
            assert one.vectors.tolist() == other.vectors.tolist()
        if wanted is not None:
            assert found.satisfying(wanted).tolist() == expected.satisfying(wanted).tolist()
    assert found.categories() == expected.categories()
    keys = list(range(62))
    assert found.product_keys(keys) == expected.product_keys(keys)
    for product in range(41):
        assert found.images_of(product).tolist() == expected.images_of(product).tolist()


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

    @pytest.mark.parametrize("seed", range(30))
    def test_any_history_is_that_of_a_dictionary(self, seed: int) -> None:
        rng = np.random.default_rng(seed)
        store, model = self.made(DIM), MemoryStore(DIM)
        known: set[int] = set()
        for version in range(1 + seed % 8):
            if rng.random() < 0.15:  # from nothing
                changes = random_change(rng, 0, known := set(), int(rng.integers(1, 30)))
                changes = VersionChanges(
                    0, version + 1, NO_KEYS, NO_KEYS, changes.images, changes.products
                )
            else:
                changes = random_change(rng, version, known, int(rng.integers(1, 30)))
            store.apply(changes)
            model.apply(changes)

        queries = units(rng.integers(-2, 3, (5, DIM)) + 0.25)
        with store.view() as found, model.view() as expected:
            for count in (1, 7, 100):
                assert_same(found, expected, queries, count)

    def test_a_view_stays_what_it_was(self) -> None:
        rng = np.random.default_rng(3)
        store, model = self.made(DIM), MemoryStore(DIM)
        known: set[int] = set()
        queries = units(rng.standard_normal((4, DIM)))
        changes = random_change(rng, 0, known, 30)
        store.apply(changes)
        model.apply(changes)

        with store.view() as before, model.view() as expected:
            for version in range(1, 12):
                store.apply(random_change(rng, version, known, 30))
                assert_same(before, expected, queries, 10)
        assert store.version == 12

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

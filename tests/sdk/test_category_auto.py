"""Class first, then similar: what is searched when one is sure, unsure, and very unsure."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from tests.making.embeddings import turned, unit
from tests.making.shops import bare_bundle, product_row, write_csv

from pocketlens import CategoryShare, Filter, Lens, indexing
from pocketlens.errors import QueryError

DIM = 32
NAMES = ("mugs", "auto", "shoes", "")


class Catalogue:
    """Thirty products of each category, around a centre of its own each."""

    def __init__(self, folder: Path) -> None:
        rng = np.random.default_rng(5)
        self.centres = unit(rng.standard_normal((len(NAMES), DIM), dtype=np.float32))
        self.vectors = turned(rng, np.repeat(self.centres, 30, axis=0), 0.8)
        names = [name for name in NAMES for _ in range(30)]
        self.store = store_of(folder, self.vectors, names)


def store_of(folder: Path, vectors: np.ndarray, categories: list[str]) -> Path:
    rows = [product_row(n) | {"category": name} for n, name in enumerate(categories)]
    listed = write_csv(folder / "list.csv", rows)
    np.save(folder / "vectors.npy", vectors)
    bundle = folder / "shop.tflite"
    bundle.write_bytes(bare_bundle(vectors.shape[1]))
    indexing.index(listed, vectors=folder / "vectors.npy", model=bundle, out=folder / "store")
    return folder / "store"


@pytest.fixture(scope="module")
def catalogue(tmp_path_factory: pytest.TempPathFactory) -> Catalogue:
    return Catalogue(tmp_path_factory.mktemp("shop"))


def test_a_sure_photo_is_searched_in_its_category(catalogue: Catalogue) -> None:
    with Lens.open(catalogue.store) as lens:
        found = lens.search_vector(catalogue.centres[0], 50, category="auto")

    assert found.searched == ("mugs",)
    assert found.categories[0].category == "mugs"
    assert found.categories[0].probability >= 0.95
    assert {match.product.category for match in found.matches} == {"mugs"}
    assert len(found.matches) == found.matches_in_filter == 30


def test_an_unsure_photo_is_searched_in_two(catalogue: Catalogue) -> None:
    between = unit(catalogue.centres[0] + catalogue.centres[2])
    with Lens.open(catalogue.store) as lens:
        found = lens.search_vector(between, 100, category="auto")

    assert sorted(found.searched) == ["mugs", "shoes"]
    assert {match.product.category for match in found.matches} == {"mugs", "shoes"}
    assert len(found.matches) == 60
    similarities = [match.similarity for match in found.matches]
    assert similarities == sorted(similarities, reverse=True)


def test_a_very_unsure_photo_is_searched_as_without_categories(catalogue: Catalogue) -> None:
    nowhere = unit(catalogue.centres.sum(axis=0))
    with Lens.open(catalogue.store) as lens:
        found = lens.search_vector(nowhere, 100, category="auto")
        plain = lens.search_vector(nowhere, 100)

    assert found.searched == ()
    assert len(found.categories) >= 2
    assert found.matches == plain.matches
    assert found.matches_in_filter == plain.matches_in_filter


def test_products_without_a_category_are_never_searched_alone(catalogue: Catalogue) -> None:
    with Lens.open(catalogue.store) as lens:
        found = lens.search_vector(catalogue.centres[3], 100, category="auto")

    assert found.searched == ()
    assert all(each.category for each in found.categories)
    assert found.matches[0].product.category == ""


def test_verdict_is_that_of_the_search_of_all(catalogue: Catalogue) -> None:
    query = unit(catalogue.centres[0] + np.float32(0.3) * catalogue.centres[1])
    with Lens.open(catalogue.store) as lens:
        found, plain = lens.search_vector(query, category="auto"), lens.search_vector(query)

    assert found.best == plain.best
    assert (found.verdict, found.margin) == (plain.verdict, plain.margin)
    assert (plain.categories, plain.searched) == ((), ())


def test_filter_holds_in_the_category(catalogue: Catalogue) -> None:
    wanted = Filter(attributes={"colour": "red"})
    with Lens.open(catalogue.store) as lens:
        found = lens.search_vector(catalogue.centres[0], 50, filter=wanted, category="auto")

    assert found.searched == ("mugs",)
    assert {match.product.id for match in found.matches} == {f"sku-{n}" for n in range(0, 30, 3)}


def test_where_nothing_of_the_category_is_left_all_are_searched(catalogue: Catalogue) -> None:
    """No category is guessed so surely that a shopper is shown nothing."""
    wanted = Filter(min_price=100)  # sku-100 and more: none of the mugs
    with Lens.open(catalogue.store) as lens:
        found = lens.search_vector(catalogue.centres[0], 50, filter=wanted, category="auto")
        plain = lens.search_vector(catalogue.centres[0], 50, filter=wanted)

    assert found.searched == ()
    assert found.categories[0].category == "mugs"
    assert found.matches == plain.matches != ()


def test_a_category_that_is_called_auto_is_one_like_others(catalogue: Catalogue) -> None:
    with Lens.open(catalogue.store) as lens:
        by_name = lens.search_vector(catalogue.centres[0], 50, filter=Filter(category="auto"))
        found_out = lens.search_vector(catalogue.centres[1], 50, category="auto")

    assert {match.product.category for match in by_name.matches} == {"auto"}
    assert by_name.categories == ()
    assert found_out.searched == ("auto",)


def test_photos_find_their_category_too(catalogue: Catalogue) -> None:
    photo = np.full((32, 32, 3), 128, np.uint8)
    with Lens.open(catalogue.store) as lens:
        found = lens.search(photo, category="auto")
        together = lens.search_together([photo, photo], category="auto")

    assert found.categories
    assert [each.category for each in together.categories] == [
        each.category for each in found.categories
    ]
    assert together.searched == found.searched


@pytest.mark.parametrize(
    ("category", "wanted", "says"),
    [
        ("shoes", None, r"Filter\(category='shoes'\)"),
        ("", None, "Expected category 'auto' or None"),
        ("auto", Filter(category="shoes"), "Received both: 'shoes'"),
    ],
)
def test_what_cannot_be_asked_is_refused(
    category: str, wanted: Filter | None, says: str, catalogue: Catalogue
) -> None:
    with Lens.open(catalogue.store) as lens:
        with pytest.raises(QueryError, match=says):
            lens.search_vector(catalogue.centres[0], filter=wanted, category=category)  # type: ignore[arg-type]
        assert lens.search_vector(catalogue.centres[0]).matches


@pytest.mark.parametrize("count", [1, 2])
def test_tiny_catalogues_are_searched(count: int, tmp_path: Path) -> None:
    vectors = unit(np.random.default_rng(1).standard_normal((count, DIM), dtype=np.float32))
    store = store_of(tmp_path, vectors, [f"category {n}" for n in range(count)])
    with Lens.open(store) as lens:
        found = lens.search_vector(vectors[0], category="auto")

    assert found.matches[0].product.id == "sku-0"
    assert found.categories[0].category == "category 0"


def test_one_category_is_searched_as_all(tmp_path: Path) -> None:
    vectors = unit(np.random.default_rng(1).standard_normal((40, DIM), dtype=np.float32))
    with Lens.open(store_of(tmp_path, vectors, ["mugs"] * 40)) as lens:
        found = lens.search_vector(vectors[3], 50, category="auto")
        plain = lens.search_vector(vectors[3], 50)

    assert found.categories == (CategoryShare("mugs", pytest.approx(1)),)
    assert found.matches == plain.matches


def test_threads_get_the_answers_that_one_thread_gets(catalogue: Catalogue) -> None:
    """The vote is fitted by whoever asks first."""
    queries = catalogue.vectors[::4]
    with Lens.open(catalogue.store) as lens:
        alone = [lens.search_vector(each, 5, category="auto").categories for each in queries]
    with Lens.open(catalogue.store) as lens, ThreadPoolExecutor(4) as pool:
        asked = pool.map(lambda each: lens.search_vector(each, 5, category="auto"), queries)
        together = [found.categories for found in asked]

    assert together == alone


def test_the_vote_is_of_the_store_as_it_is_now(catalogue: Catalogue, tmp_path: Path) -> None:
    store = store_of(tmp_path, catalogue.vectors, ["mugs"] * len(catalogue.vectors))
    with Lens.open(store) as lens:
        before = lens.search_vector(catalogue.centres[0], category="auto")
        store_of(tmp_path, catalogue.vectors, ["cups"] * len(catalogue.vectors))
        lens.refresh()
        after = lens.search_vector(catalogue.centres[0], category="auto")

    assert (before.searched, after.searched) == (("mugs",), ("cups",))

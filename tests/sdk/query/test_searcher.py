"""Searches over rows in memory: filters, ever more lists, bad questions, threads."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import numpy.typing as npt
import pytest
from tests.making.embeddings import clustered, turned
from tests.making.rows import MemoryRows

from pocketlens.errors import QueryError
from pocketlens.options import SearchOptions
from pocketlens.query import clustering, codes, searcher
from pocketlens.query.codebook import Codebook
from pocketlens.query.filters import AnyOf, Filter
from pocketlens.query.searcher import Found, Searcher

DIM = 32
N = 3_000
LARGE = searcher.FEW_IMAGES + 6_000  # enough that a filter leaves more than a few images


def rows_of(n: int = N, lists: int = 40, **facts: object) -> MemoryRows:
    rng = np.random.default_rng(1)
    embeddings = clustered(rng, n, DIM, clusters=120)
    codebook = Codebook(clustering.centroids(embeddings, lists, rng))
    return MemoryRows(embeddings, codebook, **facts)  # type: ignore[arg-type]  # by name


def searcher_of(rows: MemoryRows, probes: int = 6, **options: object) -> Searcher:
    return Searcher(
        rows,
        rows.codebook,
        scale=rows.scale,
        probes=probes,
        options=SearchOptions(**options),  # type: ignore[arg-type]  # by name
        duplicate_cosine=0.9999,
    )


def photos(rows: MemoryRows, count: int = 30, cosine: float = 0.8) -> npt.NDArray[np.float32]:
    return turned(np.random.default_rng(2), rows.embeddings[:count], cosine)


def nearest(
    rows: MemoryRows, query: npt.NDArray[np.float32], allowed: npt.NDArray[np.bool_], k: int
) -> list[int]:
    """Keys of the k allowed images of the highest float similarity."""
    order = np.argsort(-(rows.embeddings @ query))
    return (order[allowed[order]][:k] + 1).tolist()


def recall(
    rows: MemoryRows, found: Searcher, wanted: Filter | None, allowed: npt.NDArray[np.bool_]
) -> float:
    hits, asked = 0, photos(rows)
    for query in asked:
        truth = nearest(rows, query, allowed, 10)
        keys = found.nearest_images(query, 10, wanted).image_keys.tolist()
        assert len(keys) == min(10, np.count_nonzero(allowed))
        assert allowed[np.array(keys, int) - 1].all()
        hits += len(set(keys) & set(truth)) / len(truth)
    return hits / len(asked)


def shown(found: Found) -> list[int]:
    return [key for group in found.groups for key in group.product_keys]


def test_probing_every_list_is_an_exact_search() -> None:
    rows = rows_of()

    assert recall(rows, searcher_of(rows, probes=40), None, np.ones(N, np.bool_)) > 0.97


def test_more_probes_find_more() -> None:
    rows = rows_of()
    recalls = [
        recall(rows, searcher_of(rows, probes), None, np.ones(N, np.bool_)) for probes in (1, 4, 16)
    ]

    assert recalls == sorted(recalls)
    assert recalls[0] < recalls[2] > 0.9


def test_probes_of_the_options_go_first() -> None:
    rows = rows_of()

    found = Searcher(
        rows, rows.codebook, scale=rows.scale, probes=6, options=SearchOptions(probes=3)
    )
    assert found.probes == 3


def test_matches_are_the_nearest_products() -> None:
    rows = rows_of()
    query = photos(rows)[0]

    found = searcher_of(rows, probes=40).search(query, 5)

    best = searcher_of(rows, probes=40).nearest_images(query, 5)
    assert [group.image_key for group in found.groups] == best.image_keys.tolist()
    assert [group.product_keys for group in found.groups] == [
        (key,) for key in best.image_keys.tolist()
    ]
    assert found.best == found.groups[:2]
    assert found.similarity == found.groups[0].similarity
    assert found.margin == pytest.approx(found.groups[0].similarity - found.groups[1].similarity)
    assert found.matching_products is None


def test_k_beyond_the_catalogue_returns_every_product() -> None:
    rows = rows_of(500, 20)

    found = searcher_of(rows, probes=1).search(photos(rows)[0], 10_000)

    assert sorted(key for group in found.groups for key in group.product_keys) == list(
        range(1, 501)
    )
    similarities = [group.similarity for group in found.groups]
    assert similarities == sorted(similarities, reverse=True)


def test_probing_goes_on_until_there_are_matches_enough() -> None:
    shows = {key: [1 if key <= 2_900 else key] for key in range(1, N + 1)}
    rows = rows_of(shows=shows)

    found = searcher_of(rows, probes=1).search(photos(rows)[0], 8)

    assert len(found.groups) == 8


def test_one_match_is_returned_with_the_margin_to_the_second() -> None:
    rows = rows_of()

    found = searcher_of(rows).search(photos(rows)[0], 1)

    assert len(found.groups) == 1
    assert len(found.best) == 2
    assert found.margin is not None
    assert found.margin >= 0


def test_a_catalogue_of_one_product_has_no_margin() -> None:
    rows = rows_of(60, 4, shows={key: [1] for key in range(1, 61)})

    found = searcher_of(rows).search(photos(rows)[0], 3)

    assert [group.product_keys for group in found.groups] == [(1,)]
    assert found.margin is None


def test_an_empty_store_answers_nothing() -> None:
    codebook = Codebook(np.eye(1, DIM, dtype=np.float16))
    rows = MemoryRows(clustered(np.random.default_rng(1), 1, DIM), codebook, shows={})
    rows.keys, rows.codes, rows.lists = rows.keys[:0], rows.codes[:0], rows.lists[:0]
    query = clustered(np.random.default_rng(2), 1, DIM)[0]

    found = searcher_of(rows).search(query, 5)

    assert (found.groups, found.similarity, found.margin) == ((), None, None)
    under = searcher_of(rows).search(query, 5, Filter(in_stock=True))
    assert (under.groups, under.matching_products) == ((), 0)


@pytest.mark.parametrize("n", [N, LARGE])
@pytest.mark.parametrize("share", [0.9, 0.5, 0.1, 0.01])
def test_filters_before_the_cut_when_eligible_rows_are_spread(n: int, share: float) -> None:
    eligible = np.random.default_rng(3).random(n) < share
    rows = rows_of(n, 60, categories=["in" if each else "out" for each in eligible])

    assert recall(rows, searcher_of(rows, probes=20), Filter(category="in"), eligible) > 0.93


@pytest.mark.parametrize("n", [N, LARGE])
def test_filters_before_the_cut_when_eligible_rows_share_lists(n: int) -> None:
    rows = rows_of(n, 60)
    eligible = rows.embeddings[:, 0] < np.quantile(rows.embeddings[:, 0], 0.85)
    rows.categories = ["in" if each else "out" for each in eligible]

    assert recall(rows, searcher_of(rows, probes=20), Filter(category="in"), eligible) > 0.93


@pytest.mark.parametrize("matching", [0, 1, 3, 12])
def test_never_fewer_than_match(matching: int) -> None:
    eligible = np.zeros(N, np.bool_)
    eligible[np.random.default_rng(4).choice(N, matching, replace=False)] = True
    rows = rows_of(categories=["in" if each else "out" for each in eligible])

    found = searcher_of(rows, probes=1).search(photos(rows)[0], 10, Filter(category="in"))

    assert len(found.groups) == min(10, matching)
    assert found.matching_products == matching
    assert {key for group in found.groups for key in group.product_keys} <= set(
        (np.flatnonzero(eligible) + 1).tolist()
    )


def test_verdict_facts_do_not_know_the_filter() -> None:
    rows = rows_of(categories=["in"] * 10 + ["out"] * (N - 10))
    query = photos(rows)[20]

    without, under = (
        searcher_of(rows).search(query, 3, each) for each in (None, Filter(category="in"))
    )

    assert under.best == without.best
    assert under.groups != without.groups


def test_only_eligible_products_of_an_image_are_returned() -> None:
    shows = {key: [key, key + N] for key in range(1, N + 1)}
    rows = rows_of(shows=shows, stock=[0] * N + [1] * N)

    found = searcher_of(rows).search(photos(rows)[0], 5, Filter(in_stock=True))

    assert [group.product_keys for group in found.groups] == [
        (group.image_key + N,) for group in found.groups
    ]
    assert found.matching_products == N


def test_attributes_are_asked_of_the_source() -> None:
    rows = rows_of()

    found = searcher_of(rows).search(photos(rows)[0], 5, Filter(attributes={"parity": "odd"}))

    assert all(key % 2 for key in shown(found))
    assert found.matching_products == N // 2


def test_an_empty_filter_is_no_filter() -> None:
    rows = rows_of()

    assert searcher_of(rows).search(photos(rows)[0], 5, Filter()).matching_products is None


def test_a_few_eligible_images_are_read_once_and_scanned_exactly() -> None:
    eligible = np.zeros(N, np.bool_)
    eligible[::300] = True
    rows = rows_of(categories=["in" if each else "out" for each in eligible])
    found = searcher_of(rows, probes=1)

    first = [found.nearest_images(query, 10, Filter(category="in")) for query in photos(rows)]

    assert rows.lists_read == []
    for query, candidates in zip(photos(rows), first, strict=True):
        decoded = codes.decode(rows.codes[eligible], rows.scale) @ query
        np.testing.assert_allclose(candidates.similarities, np.sort(decoded)[::-1], atol=1e-5)


BAD_QUERIES = {
    "another length": np.ones(DIM + 1, np.float32),
    "two rows": np.ones((2, DIM), np.float32),
    "not a number": np.full(DIM, np.nan, np.float32),
    "infinite": np.full(DIM, np.inf, np.float32),
}


@pytest.mark.parametrize("query", BAD_QUERIES.values(), ids=BAD_QUERIES)
def test_a_bad_vector_is_refused(query: npt.NDArray[np.float32]) -> None:
    rows = rows_of(100, 4)

    with pytest.raises(QueryError, match="Expected a vector"):
        searcher_of(rows).search(query, 5)
    assert rows.lists_read == []


@pytest.mark.parametrize("k", [0, -3])
def test_k_below_one_is_refused(k: int) -> None:
    rows = rows_of(100, 4)

    with pytest.raises(QueryError, match="k of 1 or more"):
        searcher_of(rows).search(photos(rows)[0], k)


def test_lists_are_read_once_and_again_after_a_change() -> None:
    rows = rows_of()
    found = searcher_of(rows)
    query = photos(rows)[0]
    found.search(query, 5)
    read = len(rows.lists_read)
    found.search(query, 5)
    assert len(rows.lists_read) == read

    rows.codes = np.roll(rows.codes, 1, axis=0)
    rows.version = 2
    after = found.search(query, 5)

    assert len(rows.lists_read) == 2 * read
    assert after.groups == searcher_of(rows).search(query, 5).groups


def test_without_a_cache_answers_are_the_same() -> None:
    rows = rows_of()
    cached, uncached = searcher_of(rows), searcher_of(rows, cache_bytes=0)

    for query in photos(rows):
        assert cached.search(query, 5) == uncached.search(query, 5)
    assert uncached.cache.held_bytes == 0


def test_threads_get_the_answers_of_one() -> None:
    rows = rows_of(categories=["in" if key % 7 else "out" for key in range(N)])
    wanted = [None, Filter(category="in"), Filter(category="out")]
    questions = [(query, each) for query in photos(rows) for each in wanted]
    alone = [searcher_of(rows).search(query, 5, each) for query, each in questions]
    shared = searcher_of(rows, cache_bytes=20_000)

    with ThreadPoolExecutor(4) as pool:
        together = list(
            pool.map(lambda question: shared.search(question[0], 5, question[1]), questions * 4)
        )

    assert together == alone * 4


def test_probes_below_one_are_refused() -> None:
    rows = rows_of(100, 4)

    with pytest.raises(QueryError, match="1 or more lists"):
        Searcher(rows, rows.codebook, scale=rows.scale, probes=6, options=SearchOptions(probes=0))


def test_images_that_are_no_answer_are_passed_over() -> None:
    rows = rows_of(shows={key: [1 if key <= 30 else key] for key in range(1, N + 1)})
    query = photos(rows)[0]
    own = frozenset(range(1, 31))

    found = searcher_of(rows, probes=40).search(query, 6, without=own)

    plain = searcher_of(rows, probes=40).search(query, 60)
    assert plain.groups[0].product_keys == (1,)
    expected = [group for group in plain.groups if group.image_key not in own]
    assert list(found.groups) == [group for group in expected if group.product_keys != (1,)][:6]
    assert found.best == found.groups[:2]


def test_images_that_are_no_answer_are_none_under_a_filter_either() -> None:
    rows = rows_of(500, 4, categories=["in"] * 250 + ["out"] * 250)
    query = photos(rows)[0]
    wanted = Filter(category="in")

    plain = searcher_of(rows, probes=4).search(query, 500, wanted)
    without = frozenset(group.image_key for group in plain.groups[:3])
    found = searcher_of(rows, probes=4).search(query, 500, wanted, without=without)

    assert found.groups == plain.groups[3:]


def test_a_product_of_hidden_images_alone_is_not_found() -> None:
    rows = rows_of(60, 4, shows={key: [1] for key in range(1, 61)})

    found = searcher_of(rows).search(photos(rows)[0], 3, without=frozenset(range(1, 61)))

    assert (found.groups, found.best, found.similarity, found.margin) == ((), (), None, None)


@pytest.mark.parametrize("n", [600, LARGE])
def test_one_filter_or_another_finds_what_either_finds(n: int) -> None:
    names = ["a", "b", "c"]
    rows = rows_of(n, 40, categories=[names[key % 3] for key in range(n)])
    query = photos(rows)[0]
    either = AnyOf((Filter(category="a"), Filter(category="c")))

    found = searcher_of(rows, probes=40).search(query, 20, either)

    each = [searcher_of(rows, probes=40).search(query, 20, one) for one in either.filters]
    groups = sorted((group for one in each for group in one.groups), key=lambda g: -g.similarity)
    assert list(found.groups) == groups[:20]
    assert found.matching_products == sum(one.matching_products or 0 for one in each)


def test_any_of_nothing_asked_for_is_everything() -> None:
    rows = rows_of()

    wanted = AnyOf((Filter(), Filter(in_stock=True)))
    found = searcher_of(rows).search(photos(rows)[0], 5, wanted)

    assert wanted.is_empty
    assert found == searcher_of(rows).search(photos(rows)[0], 5)

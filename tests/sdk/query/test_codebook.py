"""The codebook: nearest lists exactly and through Annoy, its kept index, the fit of probes."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import hashlib
import struct
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from tests.making.embeddings import clustered, turned, unit

from pocketlens.query import clustering, codes
from pocketlens.query.codebook import ANNOY_CENTROIDS, Codebook, fit_probes, stand_in_queries

DIM = 24


def many_centroids(k: int = 1_200) -> npt.NDArray[np.float16]:
    return clustered(np.random.default_rng(1), k, DIM, clusters=80).astype(np.float16)


def queries(count: int = 60) -> npt.NDArray[np.float32]:
    rng = np.random.default_rng(2)
    return turned(rng, many_centroids()[:count].astype(np.float32), 0.6)


@pytest.mark.parametrize(
    ("k", "index", "through_annoy"),
    [
        (ANNOY_CENTROIDS - 1, "auto", False),
        (ANNOY_CENTROIDS, "auto", True),
        (ANNOY_CENTROIDS, "exact", False),
        (5, "annoy", True),
    ],
)
def test_annoy_is_the_path_of_large_codebooks(k: int, index: str, through_annoy: bool) -> None:
    codebook = Codebook(many_centroids()[:k], index=index)  # type: ignore[arg-type]  # of the table

    assert (codebook.k, codebook.dim, codebook.uses_annoy) == (k, DIM, through_annoy)


@pytest.mark.parametrize("probes", [1, 7, 1_199, 1_200, 5_000])
def test_exact_lists_are_those_of_a_full_sort(probes: int) -> None:
    centroids = many_centroids()
    codebook = Codebook(centroids, index="exact")
    for query in queries(5):
        found = codebook.nearest_lists(query, probes)

        scores = centroids.astype(np.float32) @ query
        np.testing.assert_allclose(scores[found], np.sort(scores)[::-1][:probes], rtol=1e-5)
        assert len(set(found.tolist())) == min(probes, 1_200)


@pytest.mark.parametrize("probes", [1, 12, 100])
def test_annoy_finds_nearly_all_of_the_nearest_lists(probes: int) -> None:
    exact, annoy = (Codebook(many_centroids(), index=each) for each in ("exact", "annoy"))
    shares = []
    for query in queries():
        found = annoy.nearest_lists(query, probes)
        assert len(set(found.tolist())) == probes
        shares.append(np.isin(exact.nearest_lists(query, probes), found).mean())

    assert np.mean(shares) > 0.9


def test_annoy_gives_all_lists_when_asked() -> None:
    codebook = Codebook(many_centroids(), index="annoy")

    assert sorted(codebook.nearest_lists(queries(1)[0], 9_999).tolist()) == list(range(1_200))


def test_one_list_is_the_nearest_of_any_query() -> None:
    codebook = Codebook(many_centroids()[:1])

    assert codebook.nearest_lists(queries(1)[0], 3).tolist() == [0]


def test_hash_is_that_of_the_canonical_bytes() -> None:
    centroids = many_centroids()[:2]

    expected = hashlib.sha256(struct.pack("<II", 2, DIM) + centroids.astype("<f2").tobytes())
    assert Codebook(centroids).sha256 == expected.digest()


def test_assign_is_the_nearest_centroid() -> None:
    codebook = Codebook(many_centroids())
    rows = queries()

    assert np.array_equal(
        codebook.assign(rows), [codebook.nearest_lists(row, 1200)[0] for row in rows]
    )


def test_the_index_is_kept_and_used_again(tmp_path: Path) -> None:
    cache = tmp_path / "codebook.ann"
    first = Codebook(many_centroids(), cache=cache)
    built = cache.stat()

    again = Codebook(many_centroids(), cache=cache)

    assert cache.stat().st_mtime_ns == built.st_mtime_ns
    assert sorted(path.name for path in tmp_path.iterdir()) == ["codebook.ann", "codebook.ann.seal"]
    for query in queries(10):
        assert np.array_equal(first.nearest_lists(query, 9), again.nearest_lists(query, 9))


def _flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 255
    path.write_bytes(data)


DAMAGES = {
    "flipped": _flip,
    "cut": lambda path: path.write_bytes(path.read_bytes()[:-1]),
    "half": lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2]),
    "empty": lambda path: path.write_bytes(b""),
    "missing": lambda path: path.unlink(),
    "lengthened": lambda path: path.write_bytes(path.read_bytes() + b"\0" * 4096),
    "of other bytes": lambda path: path.write_bytes(b"\xff" * path.stat().st_size),
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
@pytest.mark.parametrize("suffix", ["", ".seal"])
def test_a_damaged_index_is_built_again(tmp_path: Path, damage: object, suffix: str) -> None:
    cache = tmp_path / "codebook.ann"
    expected = Codebook(many_centroids(), cache=cache).nearest_lists(queries(1)[0], 9)
    whole = cache.read_bytes()
    damage(tmp_path / f"codebook.ann{suffix}")  # type: ignore[operator]  # of the table

    found = Codebook(many_centroids(), cache=cache).nearest_lists(queries(1)[0], 9)

    assert np.array_equal(found, expected)
    assert cache.read_bytes() == whole


def test_an_index_of_other_centroids_is_built_again(tmp_path: Path) -> None:
    cache = tmp_path / "codebook.ann"
    Codebook(many_centroids()[::-1].copy(), cache=cache)

    found = Codebook(many_centroids(), cache=cache)

    own = many_centroids()[17].astype(np.float32)
    assert found.nearest_lists(own, 1).tolist() == [17]


def test_without_a_folder_the_index_stays_in_memory(tmp_path: Path) -> None:
    codebook = Codebook(many_centroids(), cache=tmp_path / "absent" / "codebook.ann")

    assert len(codebook.nearest_lists(queries(1)[0], 9)) == 9
    assert list(tmp_path.iterdir()) == []


def gallery_and_lists(
    codebook: Codebook, rows: npt.NDArray[np.float32]
) -> list[tuple[npt.NDArray[np.float32], npt.NDArray[np.int32]]]:
    blocks = np.array_split(rows, 7)
    return [(block, codebook.assign(block)) for block in blocks]


def plain_recall(
    codebook: Codebook, rows: npt.NDArray[np.float32], asked: npt.NDArray[np.float32], probes: int
) -> float:
    scale = codes.scale_of(np.abs(rows).max(axis=0))
    decoded = codes.decode(codes.encode(rows, scale), scale)
    lists, hits = codebook.assign(rows), 0
    for query in asked:
        truth = np.argsort(-(rows @ query))[:10]
        reached = np.flatnonzero(np.isin(lists, codebook.nearest_lists(query, probes)))
        found = reached[np.argsort(-(decoded[reached] @ query))[:10]]
        hits += len(np.intersect1d(truth, found))
    return hits / (10 * len(asked))


@pytest.mark.parametrize("index", ["exact", "annoy"])
def test_probes_are_the_fewest_that_reach_the_target(index: str) -> None:
    rng = np.random.default_rng(3)
    rows = clustered(rng, 6_000, DIM, clusters=60)
    codebook = Codebook(clustering.centroids(rows, 120, rng), index=index)  # type: ignore[arg-type]
    asked = turned(rng, rows[:40], 0.7)
    scale = codes.scale_of(np.abs(rows).max(axis=0))

    probes = fit_probes(codebook, scale, asked, gallery_and_lists(codebook, rows), target=0.9)

    assert 1 < probes < 120
    assert plain_recall(codebook, rows, asked, probes) >= 0.9
    assert plain_recall(codebook, rows, asked, probes - 1) < 0.9


def test_a_target_beyond_the_codes_settles_near_what_all_lists_reach() -> None:
    rng = np.random.default_rng(4)
    rows = clustered(rng, 4_000, DIM, clusters=30, spread=0.1)
    codebook = Codebook(clustering.centroids(rows, 60, rng))
    asked = turned(rng, rows[:40], 0.9)
    coarse = np.full(DIM, 20, np.float32)  # a scale so wide that neighbours share their code

    probes = fit_probes(codebook, coarse, asked, gallery_and_lists(codebook, rows), target=0.999)

    assert 1 <= probes < 60


def test_one_list_needs_one_probe() -> None:
    codebook = Codebook(many_centroids()[:1])

    assert fit_probes(codebook, np.ones(DIM, np.float32), queries(3), []) == 1


def test_stand_in_queries_have_the_cosine_asked_for() -> None:
    rng = np.random.default_rng(5)
    rows = clustered(rng, 200, DIM)

    found = stand_in_queries(rows, rng)

    np.testing.assert_allclose((found * rows).sum(axis=1), 0.5, atol=1e-5)
    np.testing.assert_allclose(found, unit(found), atol=1e-5)

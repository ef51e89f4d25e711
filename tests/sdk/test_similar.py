"""More like a product of the store: from its own codes, without itself."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tests.making.embeddings import turned, unit
from tests.making.shops import Shop, bare_bundle, make_shop, product_row, write_csv

from pocketlens import Filter, Lens, SearchResult, Verdict, indexing
from pocketlens.errors import NotFound, QueryError


def shown(found: SearchResult) -> list[str]:
    return [match.product.id for match in found.matches]


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Shop:
    return make_shop(tmp_path_factory.mktemp("shop"), products=60, images_each=3)


@pytest.fixture(scope="module")
def store(shop: Shop, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("stores") / "store"
    indexing.index(shop.list, vectors=shop.vectors, model=shop.bundle, out=out)
    return out


def store_of(folder: Path, vectors: np.ndarray, shows: list[tuple[str, str]]) -> Path:
    """A store of vectors: row i is the image, and shows the product, of `shows[i]`."""
    rows = [
        product_row(n) | {"image": image, "product_id": product}
        for n, (image, product) in enumerate(shows)
    ]
    listed = write_csv(folder / "list.csv", rows)
    np.save(folder / "vectors.npy", vectors)
    bundle = folder / "shop.tflite"
    bundle.write_bytes(bare_bundle(vectors.shape[1]))
    indexing.index(listed, vectors=folder / "vectors.npy", model=bundle, out=folder / "store")
    return folder / "store"


def test_all_images_of_the_product_are_what_is_looked_for(shop: Shop, store: Path) -> None:
    own = shop.embeddings[12:15]
    with Lens.open(store) as lens:
        found = lens.similar("sku-4", 59)

    best = {
        f"sku-{number}": float((shop.embeddings[3 * number : 3 * number + 3] @ own.mean(0)).max())
        for number in range(60)
        if number != 4
    }
    products = {each.id for match in found.matches for each in (match.product, *match.alternatives)}
    assert products == set(best)
    for match in found.matches:
        assert match.similarity == pytest.approx(best[match.product.id], abs=0.02)


def test_nothing_was_recognised(store: Path) -> None:
    with Lens.open(store) as lens:
        found = lens.similar("sku-4", 5)

    assert (found.verdict, found.confidence, found.threshold) == (Verdict.UNSURE, None, None)
    assert found.best == found.matches[0]
    assert found.margin == pytest.approx(
        found.matches[0].similarity - found.matches[1].similarity, abs=1e-6
    )
    assert found.timings.decode_ms == found.timings.embed_ms == 0


def test_filter_narrows_what_is_similar(store: Path) -> None:
    with Lens.open(store) as lens:
        found = lens.similar("sku-4", 60, filter=Filter(category="category 4"))

    expected = {f"sku-{n}" for n in range(60) if n % 7 == 4 and n != 4}
    products = {each.id for match in found.matches for each in (match.product, *match.alternatives)}
    assert products == expected


def test_an_image_is_looked_for_without_the_products_that_it_shows(tmp_path: Path) -> None:
    images = unit(np.eye(4, 8, dtype=np.float32) + np.float32(0.3))
    shows = [("a.jpg", "coat"), ("a.jpg", "hat"), ("b.jpg", "hat"), ("c.jpg", "shoe")]
    store = store_of(tmp_path, images[[0, 0, 1, 2]], shows)
    with Lens.open(store) as lens:
        by_image = lens.similar(image_id="a.jpg")
        of_coat = lens.similar("coat")
        of_hat = lens.similar("hat")

    assert shown(by_image) == ["shoe"]
    assert {match.image.id for match in of_coat.matches} == {"b.jpg", "c.jpg"}
    assert shown(of_hat) == ["shoe"]


def test_near_duplicates_are_one_match(tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    things = unit(rng.standard_normal((3, 16), dtype=np.float32))
    vectors = np.stack([things[0], things[1], things[1], things[1], things[2]])
    shows = [(f"{n}.jpg", f"sku-{n}") for n in range(5)]
    with Lens.open(store_of(tmp_path, vectors, shows)) as lens:
        found = lens.similar("sku-0", 2)

    folded = next(match for match in found.matches if match.alternatives)
    assert len(found.matches) == 2
    assert {folded.product.id, *(each.id for each in folded.alternatives)} == {
        "sku-1",
        "sku-2",
        "sku-3",
    }


def test_variety_shows_another_group_earlier(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    query, near, far = unit(rng.standard_normal((3, 32), dtype=np.float32))
    near, far = unit(query + near), unit(query + np.float32(1.3) * far)
    vectors = np.concatenate(
        [
            query[None],
            turned(rng, np.repeat(near[None], 6, 0), 0.95),
            turned(rng, np.repeat(far[None], 6, 0), 0.95),
        ]
    )
    shows = [(f"{n}.jpg", f"sku-{n}") for n in range(13)]
    with Lens.open(store_of(tmp_path, vectors, shows)) as lens:
        plain, varied = lens.similar("sku-0", 4), lens.similar("sku-0", 4, variety=0.6)

    def groups(found: SearchResult) -> list[bool]:
        return [int(each.removeprefix("sku-")) <= 6 for each in shown(found)]

    assert groups(plain) == [True] * 4
    assert groups(varied)[:2] == [True, False]
    assert varied.matches[0] == plain.matches[0]
    assert len(set(shown(varied))) == 4


def test_variety_never_leaves_fewer(store: Path) -> None:
    with Lens.open(store) as lens:
        for k in (1, 7, 59, 1000):
            assert len(lens.similar("sku-4", k, variety=0.5).matches) == len(
                lens.similar("sku-4", k).matches
            )


@pytest.mark.parametrize(
    ("asked", "error"),
    [
        ({"product_id": "sku-99"}, NotFound),
        ({"product_id": ""}, NotFound),
        ({"product_id": "sku-\ud800"}, NotFound),
        ({"product_id": "' OR 1=1 --"}, NotFound),
        ({"image_id": "sku-4"}, NotFound),
        ({}, QueryError),
        ({"product_id": "sku-4", "image_id": "pictures/00003-1.jpg"}, QueryError),
        ({"product_id": "sku-4", "k": 0}, QueryError),
        ({"product_id": "sku-4", "variety": 1.01}, QueryError),
        ({"product_id": "sku-4", "variety": -0.1}, QueryError),
        ({"product_id": "sku-4", "variety": float("nan")}, QueryError),
    ],
    ids=str,
)
def test_what_cannot_be_asked_is_refused(
    asked: dict[str, object], error: type[Exception], store: Path
) -> None:
    with Lens.open(store) as lens:
        with pytest.raises(error):
            lens.similar(**asked)  # type: ignore[arg-type]
        assert lens.similar("sku-4").matches  # the Lens goes on


def test_a_catalogue_of_one_product_has_nothing_similar(tmp_path: Path) -> None:
    vectors = np.ones((2, 8), np.float32)
    store = store_of(tmp_path, vectors, [("a.jpg", "only"), ("b.jpg", "only")])
    with Lens.open(store) as lens:
        for found in (lens.similar("only"), lens.similar("only", variety=0.5)):
            assert (found.matches, found.best, found.margin) == ((), None, None)


def test_identical_pictures_by_the_thousand_are_one_match(tmp_path: Path) -> None:
    vectors = np.repeat(unit(np.ones((1, 8), np.float32)), 3000, axis=0)
    shows = [(f"{n}.jpg", f"sku-{n}") for n in range(3000)]
    with Lens.open(store_of(tmp_path, vectors, shows)) as lens:
        (match,) = lens.similar("sku-7", 5, variety=0.5).matches

    assert len(match.alternatives) == 2998

"""Groups of a catalogue: the same bytes, one picture altered, one thing to the model."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.making.copies import ALTERATIONS, LOOK_ALIKES, CopyShop, jpeg, picture, write_shop
from tests.making.shops import make_shop

from pocketlens import duplicates, index
from pocketlens.errors import ImageListError, MissingExtraError, QueryError, StoreNotFound


def ids(groups: Sequence[duplicates.Group]) -> list[set[str]]:
    return [{copy.image.id for copy in group.copies} for group in groups]


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> CopyShop:
    """A picture of each alteration and look-alike, and its original."""
    pictures = {"first": jpeg(picture(90)), "twin": jpeg(picture(90)), "alone": jpeg(picture(91))}
    for seed, (kind, altered) in enumerate({**ALTERATIONS, **LOOK_ALIKES}.items()):
        pictures[f"{kind}-whole"] = jpeg(picture(seed))
        pictures[kind] = jpeg(altered(picture(seed)))
    return write_shop(tmp_path_factory.mktemp("copies"), pictures)


@pytest.fixture(scope="module")
def found(shop: CopyShop) -> duplicates.Duplicates:
    return duplicates.find(shop.store, shop.list)


def test_same_bytes_are_exact(found: duplicates.Duplicates) -> None:
    assert ids(found.exact) == [{"first", "twin"}]
    (group,) = found.exact
    assert (group.kind, group.products) == ("exact", 2)
    assert [copy.product_ids for copy in group.copies] == [("product-first",), ("product-twin",)]
    assert all(copy.path is not None and copy.path.exists() for copy in group.copies)


def test_altered_copies_are_near_and_look_alikes_are_not(found: duplicates.Duplicates) -> None:
    expected = [{kind, f"{kind}-whole"} for kind in ALTERATIONS]

    assert sorted(ids(found.near), key=sorted) == sorted(expected, key=sorted)
    assert found.pictures == found.images == 3 + 2 * len({**ALTERATIONS, **LOOK_ALIKES})
    assert found.problems == ()


def test_store_alone_tells_by_codes(shop: CopyShop) -> None:
    found = duplicates.find(shop.store)

    assert (found.exact, found.near, found.pictures) == ((), (), 0)
    assert {"first", "twin"} in ids(found.same)
    assert all(copy.path is None for group in found.same for copy in group.copies)


def test_lower_cosine_finds_more(shop: CopyShop) -> None:
    bundles_own = duplicates.find(shop.store)
    lower = duplicates.find(shop.store, options=duplicates.DuplicateOptions(cosine=0.5))

    assert bundles_own.cosine == 0.9999
    assert lower.cosine == 0.5
    assert len(lower.same[0].copies) > len(bundles_own.same[0].copies)


@pytest.mark.parametrize("cosine", [0.0, -1.0, 1.5, float("nan")])
def test_cosine_that_cannot_be_is_refused(cosine: float) -> None:
    with pytest.raises(QueryError, match="Expected a cosine above 0"):
        duplicates.DuplicateOptions(cosine=cosine)


def test_many_identical_pictures_are_one_group(tmp_path: Path) -> None:
    shop = write_shop(tmp_path, {f"copy-{n}": jpeg(picture(1)) for n in range(300)})

    found = duplicates.find(shop.store, shop.list)

    assert [len(group.copies) for group in found.exact] == [300]
    assert (found.near, found.same) == ((), ())


def test_many_vectors_of_one_code_are_one_group(tmp_path: Path) -> None:
    shop = make_shop(tmp_path / "shop", products=25_000)
    vectors = np.repeat(shop.embeddings[:1], len(shop.embeddings), axis=0)
    np.save(shop.vectors, vectors)
    index(shop.list, vectors=shop.vectors, model=shop.bundle, out=tmp_path / "store")

    found = duplicates.find(tmp_path / "store")

    assert [len(group.copies) for group in found.same] == [25_000]


def test_pictures_of_one_colour_are_one_by_colour(tmp_path: Path) -> None:
    plain = {
        name: jpeg(Image.new("RGB", (side, side), colour))
        for name, side, colour in [
            ("red", 64, "red"),
            ("red-large", 128, "red"),
            ("blue", 64, "blue"),
            ("green", 64, "green"),
        ]
    }
    shop = write_shop(tmp_path, plain)

    found = duplicates.find(shop.store, shop.list)

    assert ids(found.near) == [{"red", "red-large"}]


def test_catalogue_of_one_image_has_no_groups(tmp_path: Path) -> None:
    shop = write_shop(tmp_path, {"only": jpeg(picture(1))})

    found = duplicates.find(shop.store, shop.list)

    assert (found.exact, found.near, found.same, found.pictures) == ((), (), (), 1)


def test_broken_picture_is_a_problem_and_the_rest_is_compared(tmp_path: Path) -> None:
    shop = write_shop(tmp_path, {name: jpeg(picture(1)) for name in "abc"})
    (tmp_path / "b.jpg").write_bytes(b"no picture")

    found = duplicates.find(shop.store, shop.list)

    assert ids(found.exact) == [{"a", "c"}]
    assert [problem.line for problem in found.problems] == [3]
    assert found.pictures == 2


def test_where_list_and_store_differ_is_told(tmp_path: Path) -> None:
    shop = write_shop(tmp_path, {name: jpeg(picture(1)) for name in "abc"})
    (tmp_path / "d.jpg").write_bytes(jpeg(picture(1)))
    shop.list.write_text("image,product_id,image_id\na.jpg,p,a\nb.jpg,p,b\nd.jpg,p,d\n")

    found = duplicates.find(shop.store, shop.list)

    assert ids(found.exact) == [{"a", "b"}]
    assert ids(found.same) == [{"a", "b", "c"}]
    assert [problem.what for problem in found.problems] == [
        "pictures of no image of the store, left out: 1",
        "images without a picture in the list, known by their codes alone: 1",
    ]


def test_list_of_other_images_is_refused(tmp_path: Path, shop: CopyShop) -> None:
    other = write_shop(tmp_path, {"elsewhere": jpeg(picture(1))})

    with pytest.raises(ImageListError, match="none whose id it knows"):
        duplicates.find(shop.store, other.list)


def test_store_that_is_made_anew_meanwhile_is_seen_as_it_was(tmp_path: Path) -> None:
    shop = write_shop(tmp_path / "first", {name: jpeg(picture(1)) for name in "abc"})
    other = write_shop(tmp_path / "second", {"d": jpeg(picture(2))})
    done = []

    def replace(stage: str, at: int, total: int) -> None:
        if stage == "looking at pictures" and not done:
            done.append(index(other.list, model=tmp_path / "second/colours.tflite", out=shop.store))

    found = duplicates.find(shop.store, shop.list, progress=replace)

    assert done[0].images == 1
    assert ids(found.exact) == [{"a", "b", "c"}]
    assert found.images == 3
    assert duplicates.find(shop.store).images == 1


def test_codes_need_no_extra_and_pictures_name_it(
    shop: CopyShop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "imagehash", None)

    assert duplicates.find(shop.store).same
    with pytest.raises(MissingExtraError, match=r"pocketlens\[duplicates\]"):
        duplicates.find(shop.store, shop.list)


def test_missing_store_is_named(tmp_path: Path) -> None:
    with pytest.raises(StoreNotFound):
        duplicates.find(tmp_path)

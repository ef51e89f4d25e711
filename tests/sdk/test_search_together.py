"""Several photos of one thing in one search: one answer, and how far the photos agree."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from io import BytesIO
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image
from tests.making.colour_bundle import colour_bundle, fields

from pocketlens import Embedder, Filter, Lens, Verdict, indexing
from pocketlens.errors import PictureFormat, QueryError, StoreError
from pocketlens.query import query_vectors
from pocketlens.query.verdict import judge

PRODUCTS = 12


def picture(number: int) -> npt.NDArray[np.uint8]:
    return fields(np.random.default_rng(number), side=64)


def photo(number: int, seed: int, *, noise: int = 60) -> npt.NDArray[np.uint8]:
    """The picture of a product as another camera sees it."""
    shift = np.random.default_rng(seed).integers(-noise, noise + 1, (4, 4, 3))
    shifted = picture(number).astype(int) + shift.repeat(16, 0).repeat(16, 1)
    return shifted.clip(0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("shop")
    lines = ["image,product_id,category"]
    for number in range(PRODUCTS):
        Image.fromarray(picture(number)).save(folder / f"{number}.png")
        lines.append(f"{number}.png,sku-{number},{'even' if number % 2 == 0 else 'odd'}")
    (folder / "list.csv").write_text("\n".join(lines))
    (folder / "shop.tflite").write_bytes(colour_bundle())
    indexing.index(folder / "list.csv", model=folder / "shop.tflite", out=folder / "store")
    return folder


def test_a_similarity_is_the_mean_of_the_photos_by_how_near_each_comes(folder: Path) -> None:
    photos = [photo(3, 1), photo(3, 2), photo(3, 3, noise=120)]
    with Lens.open(folder / "store") as lens:
        found = lens.search_together(photos, PRODUCTS)
        alone = [lens.search(each, PRODUCTS) for each in photos]

    weights = np.exp([one.matches[0].similarity / 0.1 for one in alone])
    weights /= weights.sum()
    for match in found.matches:
        each = [
            other.similarity
            for one in alone
            for other in one.matches
            if other.product == match.product
        ]
        assert match.similarity == pytest.approx(float(np.dot(weights, each)), abs=1e-3)
    assert found.matches[0].product.id == "sku-3"
    assert found.accelerator == "cpu"
    assert found.timings.decode_ms > 0
    assert found.timings.embed_ms > 0


def test_the_verdict_is_of_what_the_photos_show_on_average(folder: Path) -> None:
    """A good photo leads the search; it does not answer for those that show another thing."""
    photos = [picture(3), photo(3, 5, noise=150)]
    with Lens.open(folder / "store") as lens:
        found = lens.search_together(photos)
        alone = [lens.search(each, PRODUCTS) for each in photos]
        calibration = lens.bundle.calibration("device")

    best, second = (
        np.mean([{m.product.id: m.similarity for m in one.matches}[product] for one in alone])
        for product in (match.product.id for match in found.matches[:2])
    )
    expected = judge(float(best), float(best - second), PRODUCTS, calibration)
    assert found.confidence == pytest.approx(expected.confidence, abs=0.02)
    assert found.verdict is expected.verdict
    assert found.confidence < alone[0].confidence


def test_agreement_is_told_of_each_photo(folder: Path) -> None:
    photos = [photo(3, 1), photo(3, 2), photo(7, 1)]
    with Lens.open(folder / "store") as lens, Embedder.open(folder / "shop.tflite") as embedder:
        found = lens.search_together(photos)
        vectors, bundle = embedder.embed_many(photos), lens.bundle

    background = query_vectors.background_of(bundle.representative)
    assert found.agreement == pytest.approx(query_vectors.agreement(vectors, background), abs=1e-5)
    assert found.agreement[2] < min(found.agreement[:2])


def test_photos_of_one_thing_are_a_match_and_of_two_things_are_none(folder: Path) -> None:
    strangers = [fields(np.random.default_rng(seed), side=64) for seed in (100, 101)]
    with Lens.open(folder / "store") as lens:
        same = lens.search_together([photo(3, 1, noise=20), photo(3, 2, noise=20)])
        different = lens.search_together([picture(3), *strangers])
        alone = lens.search(picture(3))

    assert (same.verdict, alone.verdict) == (Verdict.MATCH, Verdict.MATCH)
    assert different.verdict is not Verdict.MATCH
    assert min(different.agreement) < min(same.agreement)


def test_one_photo_alone_is_a_search(folder: Path) -> None:
    with Lens.open(folder / "store") as lens:
        together, alone = lens.search_together([picture(5)], 4), lens.search(picture(5), 4)

    assert together.matches == alone.matches
    assert together.confidence == pytest.approx(alone.confidence, abs=1e-5)
    assert together.agreement == (1.0,)
    assert (alone.agreement, alone.disagreeing) == ((), ())


def test_filter_and_boxes_are_those_of_a_search(folder: Path) -> None:
    wide = np.concatenate([picture(2), picture(9)], axis=1)
    with Lens.open(folder / "store") as lens:
        found = lens.search_together(
            [picture(2), wide],
            3,
            filter=Filter(category="even"),
            boxes=[None, (0, 0, 64, 64)],
        )

    assert found.agreement == pytest.approx((1, 1), abs=1e-3)
    assert found.matches[0].product.id == "sku-2"
    assert {match.product.category for match in found.matches} == {"even"}


@pytest.mark.parametrize(
    ("photos", "boxes", "says"),
    [
        ([], None, "one photo or more"),
        ("photo.jpg", None, "one photo or more"),
        (b"\xff\xd8", None, "one photo or more"),
        (Path("photo.jpg"), None, "one photo or more"),
        (Image.fromarray(picture(1)), None, "one photo or more"),
        (picture(1), None, "one photo or more"),
        (iter([picture(1)]), None, "one photo or more"),
        ([picture(1), picture(2)], [None], "each of 2 photos. Received 1"),
        ([picture(1), picture(2)], [None, (0, 0, 0, 0)], "Photo 2 of 2: "),
    ],
    ids="none text bytes path image pixels iterator boxes box".split(),
)
def test_what_cannot_be_searched_together_is_refused(
    photos: object, boxes: object, says: str, folder: Path
) -> None:
    with Lens.open(folder / "store") as lens:
        with pytest.raises(QueryError, match=says):
            lens.search_together(photos, boxes=boxes)  # type: ignore[arg-type]
        assert lens.search_together([picture(1)]).matches  # the Lens goes on


def test_a_bad_photo_among_several_is_named(folder: Path) -> None:
    with (
        Lens.open(folder / "store") as lens,
        pytest.raises(PictureFormat, match="Photo 2 of 3: "),
    ):
        lens.search_together([picture(1), b"no picture", picture(2)])


def test_a_closed_lens_refuses(folder: Path) -> None:
    lens = Lens.open(folder / "store")
    lens.close()

    with pytest.raises(StoreError, match="closed"):
        lens.search_together([picture(1)])


def test_photos_of_a_real_product_agree_more_than_one_of_another(
    shared: Path, tmp_path: Path
) -> None:
    """A crop and a dim copy, each encoded again, beside a photo of something else."""
    grocery = shared / "data" / "grocery"
    bundle = tmp_path / "shop.tflite"
    bundle.write_bytes(colour_bundle())
    indexing.index(grocery / "catalog.csv", model=bundle, out=tmp_path / "store")
    with Image.open(grocery / "catalog" / "Golden-Delicious_Iconic.jpg") as image:
        whole = image.convert("RGB")
    width, height = whole.size
    copies = [whole.crop((4, 4, width - 4, height - 4)), whole.point(lambda level: level * 0.9)]
    files = [BytesIO() for _ in copies]
    for copy, file in zip(copies, files, strict=True):
        copy.save(file, "JPEG", quality=60)
    other = grocery / "catalog" / "Oatly-Natural-Oatghurt_Iconic.jpg"

    with Lens.open(tmp_path / "store") as lens:
        same = lens.search_together([file.getvalue() for file in files], 3)
        mixed = lens.search_together([*(file.getvalue() for file in files), other], 3)

    assert same.matches[0].product.id == "Golden-Delicious"
    assert mixed.agreement[2] < min(mixed.agreement[:2])
    assert mixed.agreement[2] < min(same.agreement)

"""Whether photos are copies of a catalogue's pictures."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from pathlib import Path

import pytest
from tests.making.copies import ALTERATIONS, LOOK_ALIKES, CopyShop, jpeg, picture, write_shop

from pocketlens import duplicates
from pocketlens.errors import PictureError


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> CopyShop:
    pictures = {f"image-{n}": jpeg(picture(n)) for n in range(20)}
    return write_shop(tmp_path_factory.mktemp("catalogue"), pictures)


def recognised(shop: CopyShop, photo: Path) -> duplicates.Recognised:
    (answer,) = duplicates.recognise(shop.store, [photo], shop.list)
    assert isinstance(answer, duplicates.Recognised)
    return answer


@pytest.mark.parametrize("kind", sorted(ALTERATIONS))
def test_altered_copy_is_ours(kind: str, shop: CopyShop, tmp_path: Path) -> None:
    photo = tmp_path / "photo.jpg"
    photo.write_bytes(jpeg(ALTERATIONS[kind](picture(7))))

    answer = recognised(shop, photo)

    first = answer.seen[0]
    assert (answer.kind, first.copy.image.id) == ("near", "image-7")
    assert first.copy.product_ids == ("product-image-7",)
    assert first.is_mirrored == (kind == "mirrored")


def test_the_file_itself_is_exact(shop: CopyShop) -> None:
    answer = recognised(shop, shop.list.parent / "image-3.jpg")

    assert (answer.kind, answer.seen[0].copy.image.id) == ("exact", "image-3")


@pytest.mark.parametrize("kind", sorted(LOOK_ALIKES))
def test_look_alike_is_no_copy(kind: str, shop: CopyShop, tmp_path: Path) -> None:
    photo = tmp_path / "photo.jpg"
    photo.write_bytes(jpeg(LOOK_ALIKES[kind](picture(7))))

    assert recognised(shop, photo).kind is None


def test_another_picture_is_not_ours_and_the_nearest_is_told(
    shop: CopyShop, tmp_path: Path
) -> None:
    photo = tmp_path / "photo.jpg"
    photo.write_bytes(jpeg(picture(77)))

    answer = recognised(shop, photo)

    assert answer.kind is None
    similarities = [seen.similarity for seen in answer.seen]
    assert similarities == sorted(similarities, reverse=True)


def test_codes_alone_say_same_thing(shop: CopyShop) -> None:
    photo = shop.list.parent / "image-3.jpg"
    options = duplicates.DuplicateOptions(cosine=0.99)

    (answer,) = duplicates.recognise(shop.store, [photo], options=options)

    assert isinstance(answer, duplicates.Recognised)
    assert (answer.kind, answer.seen[0].copy.image.id) == ("same", "image-3")
    assert answer.seen[0].copy.path is None


def test_broken_photo_is_an_error_and_the_others_are_answered(
    shop: CopyShop, tmp_path: Path
) -> None:
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(b"no picture")
    good = shop.list.parent / "image-1.jpg"

    first, second = duplicates.recognise(shop.store, [broken, good], shop.list)

    assert isinstance(first, PictureError)
    assert isinstance(second, duplicates.Recognised)
    assert second.kind == "exact"

"""What of a photo is sent: pixels that the model sees, and nothing else of the file."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps
from tests.making import pictures as making
from tests.making.canaries import canary_photo, canary_text
from tests.making.colour_bundle import colour_bundle

from pocketlens import Embedder, PictureLimits
from pocketlens.errors import PictureTooLarge, QueryError
from pocketlens.fallback.crops import LARGER, crop_of, kept
from pocketlens.formats.bundle import Spec
from pocketlens.query import pictures

LIMITS = PictureLimits()
SPEC = Spec("any", 64, 48, 8)


def sent(photo: object, spec: Spec = SPEC, **given: object) -> Image.Image:
    data = crop_of(photo, spec, limits=LIMITS, **given)  # type: ignore[arg-type]
    return Image.open(io.BytesIO(data))


def test_a_copy_is_twice_as_large_as_the_models_input() -> None:
    copy = sent(making.encoded(making.drawn(3000, 2000)))

    assert (copy.format, copy.mode, copy.size) == ("JPEG", "RGB", (2 * 48, 2 * 64))
    assert LARGER == 2


def test_nothing_of_the_file_travels_but_pixels() -> None:
    photo = canary_photo(3)
    assert canary_text(3).encode() in photo
    profile = Image.open(io.BytesIO(photo))
    file = io.BytesIO()
    profile.save(file, "JPEG", exif=profile.info["exif"], icc_profile=b"canary-profile" * 40)

    data = crop_of(file.getvalue(), SPEC, limits=LIMITS)

    assert b"canary" not in data
    assert b"Exif" not in data
    assert dict(Image.open(io.BytesIO(data)).getexif()) == {}
    assert set(Image.open(io.BytesIO(data)).info) <= {
        "jfif", "jfif_version", "jfif_unit", "jfif_density",
    }  # fmt: skip


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_copy_is_upright(orientation: int) -> None:
    photo = making.with_exif(making.encoded(making.drawn(640, 480)), making.exif(orientation))
    upright = ImageOps.exif_transpose(Image.open(io.BytesIO(photo)))

    difference = np.abs(np.asarray(sent(photo), np.int16) - np.asarray(sent(upright), np.int16))
    assert difference.mean() < 4


def test_only_the_box_is_sent() -> None:
    photo = np.zeros((100, 200, 3), np.uint8)
    photo[:, 100:] = 255

    left = np.asarray(sent(photo, Spec("any", 32, 32, 8), box=(0, 0, 90, 90)))
    right = np.asarray(sent(photo, Spec("any", 32, 32, 8), box=(110, 0, 200, 90)))

    assert left.max() < 8
    assert right.min() > 247


@pytest.mark.parametrize("mode", ["pad", "crop", "squash"])
def test_who_embeds_a_copy_sees_what_the_device_saw(mode: str) -> None:
    photo = making.encoded(making.drawn(900, 600), quality=95)
    spec = replace(SPEC, width=48, height=48, resize_mode=mode)  # type: ignore[arg-type]
    here = pictures.tensor(photo, spec).astype(np.int16)
    there = pictures.tensor(crop_of(photo, spec, limits=LIMITS), spec).astype(np.int16)

    assert np.abs(here - there).mean() < 4


def test_the_embedding_of_a_copy_is_that_of_the_photo() -> None:
    photo = canary_photo(9)
    with Embedder.open(colour_bundle()) as embedder:
        copy = crop_of(photo, embedder.spec, limits=LIMITS)

        assert float(embedder.embed(photo) @ embedder.embed(copy)) > 0.999


def test_a_box_outside_is_refused() -> None:
    with pytest.raises(QueryError, match="box"):
        sent(making.drawn(100, 100), box=(0, 0, 101, 50))


def test_a_file_is_read_once_and_kept(tmp_path: Path) -> None:
    photo = canary_photo(1)
    path = tmp_path / "photo.jpg"
    path.write_bytes(photo)

    with path.open("rb", buffering=0) as file:
        assert kept(file, LIMITS) == photo
    assert kept(path, LIMITS) is path
    with io.BytesIO(photo) as file, pytest.raises(PictureTooLarge):
        crop_of(kept(file, PictureLimits(encoded_bytes=100)), SPEC, limits=PictureLimits(100))

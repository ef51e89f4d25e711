"""Photos are embedded as the bundle does it, together or alone; none is at fault for another."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from tests.making.colour_bundle import SIZE, colour_bundle, fields

from pocketlens.errors import PictureError
from pocketlens.query.embedder import Embedder
from pocketlens_server.models.photo_models import BundleModel

BLANK = np.full((SIZE, SIZE, 3), 255, np.uint8)  # white, of which the model makes zeros


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BundleModel]:
    path: Path = tmp_path_factory.mktemp("model") / "shop.tflite"
    path.write_bytes(colour_bundle())
    with BundleModel.open(path, hashlib.sha256(colour_bundle()).digest()) as made:
        yield made


def test_photos_together_are_what_each_is_alone(model: BundleModel) -> None:
    tensors = [fields(np.random.default_rng(seed)) for seed in range(9)]

    together = model.embed(tensors)

    with Embedder.open(colour_bundle()) as embedder:
        assert np.array_equal(together, [embedder.embed_tensor(each) for each in tensors])
    assert np.array_equal(together, [model.embed([each])[0] for each in tensors])


def test_a_photo_in_which_nothing_is_seen_costs_nobody_else_an_answer(model: BundleModel) -> None:
    seen = fields(np.random.default_rng(1))

    first, blank, last = model.embed([seen, BLANK, seen])

    assert np.array_equal(first, last)
    assert isinstance(blank, PictureError)
    assert isinstance(model.embed([BLANK])[0], PictureError)

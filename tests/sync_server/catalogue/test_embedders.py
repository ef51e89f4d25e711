"""A bundle is opened once, and anew after an error."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from tests.making.backend_shop import backend_folder
from tests.making.colour_bundle import colour_bundle

from pocketlens.errors import BundleError
from pocketlens.query.embedder import Embedder
from pocketlens_server.catalogue.embedders import Embedders


@pytest.fixture
def embedders(tmp_path: Path) -> Iterator[Embedders]:
    with Embedders(backend_folder(tmp_path / "main")) as made:
        yield made


def bundle(tmp_path: Path, name: str) -> bytes:
    """The SHA-256 of another bundle in the folder."""
    data = colour_bundle(name=name)
    sha256 = hashlib.sha256(data).digest()
    (tmp_path / "main" / "bundles" / f"{sha256.hex()}.tflite").write_bytes(data)
    return sha256


def is_open(embedder: Embedder) -> bool:
    spec = embedder.spec
    try:
        embedder.embed_tensor(np.full((spec.height, spec.width, 3), 99, np.uint8))
    except BundleError:
        return False
    return True


def test_a_bundle_is_opened_once(tmp_path: Path, embedders: Embedders) -> None:
    sha256 = bundle(tmp_path, "first")
    with embedders.opened(sha256) as first:
        pass
    with embedders.opened(sha256) as second:
        assert second is first
        assert is_open(second)


def test_after_an_error_it_is_opened_anew(tmp_path: Path, embedders: Embedders) -> None:
    sha256 = bundle(tmp_path, "first")
    with pytest.raises(ZeroDivisionError), embedders.opened(sha256) as first:
        1 / 0  # noqa: B018
    assert not is_open(first)
    with embedders.opened(sha256) as second:
        assert is_open(second)


def test_two_stay_open_and_no_more(tmp_path: Path, embedders: Embedders) -> None:
    opened = []
    for name in ("first", "second", "third"):
        with embedders.opened(bundle(tmp_path, name)) as embedder:
            opened.append(embedder)

    assert [is_open(each) for each in opened] == [False, True, True]


def test_closing_closes_them(tmp_path: Path, embedders: Embedders) -> None:
    with embedders.opened(bundle(tmp_path, "first")) as embedder:
        pass
    embedders.close()
    assert not is_open(embedder)

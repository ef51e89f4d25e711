"""Pictures without an embedding get one by each bundle."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.making.backend_shop import backend_folder
from tests.making.colour_bundle import colour_bundle
from tests.making.tiles import tile

from pocketlens_server.catalogue.decoders import Decoders
from pocketlens_server.catalogue.missing import embed_missing, unreadable_pictures
from pocketlens_server.catalogue.pictures import keep
from pocketlens_server.folders import CatalogueFolder


@pytest.fixture
def folder(tmp_path: Path) -> CatalogueFolder:
    return backend_folder(tmp_path / "main")


@pytest.fixture(scope="module")
def decoders() -> Iterator[Decoders]:
    with Decoders(workers=1) as made:
        yield made


def test_each_bundle_embeds_and_what_is_no_picture_counts_as_nothing(
    folder: CatalogueFolder, decoders: Decoders
) -> None:
    data = colour_bundle(name="second")
    sha256 = hashlib.sha256(data).digest()
    folder.bundle(sha256).write_bytes(data)
    with folder.changing() as tables:
        tables.vectors.bundle(sha256)
    pictures = [keep(folder, each) for each in (tile(1), tile(2), b"no picture")]

    made, unreadable = embed_missing(folder, pictures, decoders=decoders)

    assert (made, list(unreadable)) == (4, pictures[2:])
    assert embed_missing(folder, pictures, decoders=decoders)[0] == 0


def test_an_operator_is_told_the_file_of_a_picture_once(
    folder: CatalogueFolder, decoders: Decoders
) -> None:
    picture = keep(folder, b"no picture")
    _, unreadable = embed_missing(folder, [picture], decoders=decoders)

    assert str(unreadable_pictures(folder, unreadable)).count(str(folder.picture(picture))) == 1

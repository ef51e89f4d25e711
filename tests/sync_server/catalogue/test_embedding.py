"""What a server keeps of a picture is what a phone would make of it, whoever decodes it."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import contextlib
import hashlib
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.making import pictures as making
from tests.making.colour_bundle import colour_bundle
from tests.making.decoder_processes import workers

from pocketlens.errors import BundleError, PictureError, PictureFormat, PictureTooLarge, ServerError
from pocketlens.options import PictureLimits
from pocketlens.query.embedder import Embedder
from pocketlens_server.catalogue.decoders import Decoders
from pocketlens_server.catalogue.embedding import embedded

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="processes are read from /proc")


@pytest.fixture
def embedder() -> Iterator[Embedder]:
    with Embedder.open(colour_bundle()) as made:
        yield made


@pytest.fixture(scope="module")
def decoders() -> Iterator[Decoders]:
    with Decoders(workers=2) as made:
        yield made


def files_of(paths: list[Path]) -> dict[bytes, Path]:
    return {hashlib.sha256(path.read_bytes()).digest(): path for path in paths}


def drawn(folder: Path, count: int) -> dict[bytes, Path]:
    for number in range(count):
        form = ("JPEG", "PNG", "WEBP")[number % 3]
        picture = making.drawn(60 + number, 50, seed=number)
        (folder / f"{number}").write_bytes(making.encoded(picture, form))
    return files_of([folder / f"{number}" for number in range(count)])


def test_embeddings_are_those_of_this_process(
    embedder: Embedder, decoders: Decoders, tmp_path: Path
) -> None:
    files = drawn(tmp_path, 150)

    batches = list(embedded(embedder, files, decoders=decoders))

    found = [(sha256, each) for batch in batches for sha256, each in batch.embeddings.items()]
    assert [sha256 for sha256, _ in found] == list(files)
    assert [len(batch.embeddings) for batch in batches] == [64, 64, 22]
    for sha256, embedding in found:
        assert embedding.tobytes() == embedder.embed(files[sha256]).tobytes()


def test_embeddings_of_real_pictures_are_those_of_this_process(
    embedder: Embedder, decoders: Decoders, shared: Path
) -> None:
    paths = sorted((shared / "data" / "phone_photos").glob("*.jpg"))
    paths += sorted((shared / "data" / "homeshop" / "images").glob("*.jpg"))[:30]
    files = files_of(paths)

    (batch,) = embedded(embedder, files, decoders=decoders)

    assert len(batch.embeddings) == len(files) > 40
    for sha256, path in files.items():
        assert batch.embeddings[sha256].tobytes() == embedder.embed(path).tobytes()


def test_pictures_that_cannot_be_embedded_are_told_apart(
    embedder: Embedder, decoders: Decoders, tmp_path: Path
) -> None:
    files = drawn(tmp_path, 3)
    bad = {
        b"text": (b"no picture", PictureFormat),
        b"huge": (making.png(30_000, 30_000, data=b""), PictureTooLarge),
        b"blank": (making.encoded(making.Image.new("RGB", (64, 64), "white")), PictureError),
    }
    for name, (data, _) in bad.items():
        files[name] = tmp_path / name.decode()
        files[name].write_bytes(data)

    (batch,) = embedded(embedder, files, decoders=decoders)

    assert len(batch.embeddings) == 3
    assert {name: type(each) for name, each in batch.unreadable.items()} == {
        name: kind for name, (_, kind) in bad.items()
    }
    assert "blank" in str(batch.unreadable[b"blank"])


def test_limits_of_the_embedder_hold(decoders: Decoders, tmp_path: Path) -> None:
    with Embedder.open(colour_bundle(), limits=PictureLimits(encoded_bytes=5)) as embedder:
        (batch,) = embedded(embedder, drawn(tmp_path, 2), decoders=decoders)

    assert [type(each) for each in batch.unreadable.values()] == [PictureTooLarge] * 2


def test_decoders_of_the_caller_stay_open_and_own_ones_do_not(
    embedder: Embedder, decoders: Decoders, tmp_path: Path
) -> None:
    files = drawn(tmp_path, 5)
    list(embedded(embedder, files, decoders=decoders))
    before = workers()

    assert len(next(embedded(embedder, files)).embeddings) == 5
    assert len(next(embedded(embedder, files, decoders=decoders)).embeddings) == 5

    assert workers() == before != set()


def test_a_few_pictures_start_one_process_and_many_start_all(
    embedder: Embedder, tmp_path: Path
) -> None:
    files, before = drawn(tmp_path, 70), workers()
    for count, started in ((7, 1), (70, 2)):
        with Decoders(workers=2) as decoders:
            list(embedded(embedder, dict(list(files.items())[:count]), decoders=decoders))

            assert len(workers() - before) == started


def test_whoever_stops_early_leaves_no_process_and_no_thread(
    embedder: Embedder, decoders: Decoders, tmp_path: Path
) -> None:
    files = drawn(tmp_path, 150)
    with contextlib.closing(embedded(embedder, files, decoders=decoders)) as batches:
        next(batches)
        before = workers()
    assert "pocketlens-embed" not in str(threading.enumerate())

    with contextlib.closing(embedded(embedder, files)) as batches:
        next(batches)
        assert workers() != before
    assert workers() == before


def test_what_is_no_fault_of_a_picture_ends_it_all(embedder: Embedder, tmp_path: Path) -> None:
    files, before = drawn(tmp_path, 3), workers()
    with Decoders(command=("/missing/program",)) as decoders, pytest.raises(ServerError):
        list(embedded(embedder, files, decoders=decoders))
    embedder.close()

    with pytest.raises(BundleError, match="closed"):
        list(embedded(embedder, files))

    assert workers() == before


def test_nothing_to_embed_starts_nothing(embedder: Embedder) -> None:
    assert list(embedded(embedder, {})) == []

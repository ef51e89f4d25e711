"""A photo at full precision: the float model, its gallery, and how both follow a catalogue."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import asyncio
import io
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import grpc
import numpy as np
import pytest
from PIL import Image as Pillow
from tests.making.models import draw_shop, keras_file, tiny_model
from tests.making.serving import serving
from tests.making.tiles import TileShop, tile

from pocketlens.errors import BundleHashMismatch
from pocketlens.fallback import messages as codec
from pocketlens.formats import bundle as bundles
from pocketlens.formats.bundle import Calibration
from pocketlens.results import SearchResult, Verdict
from pocketlens_converter import float_models as converters
from pocketlens_converter.conversion import convert
from pocketlens_protos.v1 import query_service_pb2 as messages
from pocketlens_protos.v1 import query_service_pb2_grpc as stubs
from pocketlens_server.catalogue import float_siblings
from pocketlens_server.cli import main as pocketlens_server
from pocketlens_server.folders import ServerFolder
from pocketlens_server.publishing import models
from pocketlens_server.query.queries import Photo, Queries
from pocketlens_server.storage.float_embeddings import FloatEmbeddings

from tests.making.colour_bundle import described_as  # isort: skip

TILES = range(8)
PHOTO = Calibration("photo", -20, 30, 5, 0, match_threshold=0.8, no_match_threshold=0.3)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model, and the bundle of it, which knows what photos' thresholds are."""
    folder = tmp_path_factory.mktemp("made")
    keras_file(folder)
    drawn = draw_shop(folder, products=24)
    data = convert(folder / "shop.keras", catalogue=drawn.catalogue, queries=drawn.photos).data
    found = bundles.decode(data)
    calibrations = (*(each for each in found.calibrations if each.name != "photo"), PHOTO)
    data = described_as(data, replace(found, calibrations=calibrations))
    (folder / "shop.tflite").write_bytes(data)
    return folder


@pytest.fixture
def shop(tmp_path: Path, made: Path) -> TileShop:
    """Tiles, embedded by the model and not by the one of colours."""
    shop = TileShop(tmp_path / "shop", dict.fromkeys(TILES, 1), now=datetime.now(UTC))
    models.add_model(shop.catalogue, made / "shop.tflite", now=shop.now)
    shop.publish()
    return shop


@contextmanager
def asking(shop: TileShop) -> Iterator[stubs.QueryServiceStub]:
    with (
        serving(shop.folder / "server") as address,
        grpc.insecure_channel(address.grpc) as channel,
    ):
        yield stubs.QueryServiceStub(channel)


def photo_of(number: int) -> bytes:
    file = io.BytesIO()
    with Pillow.open(io.BytesIO(tile(number))) as picture:
        picture.convert("RGB").resize((200, 200)).save(file, "JPEG", quality=85)
    return file.getvalue()


def searched(stub: stubs.QueryServiceStub, number: int) -> SearchResult:
    request = messages.SearchRequest(catalogue="main", photo=photo_of(number), k=3)
    return codec.result_of(stub.Search(request, timeout=30))


def precisely(stub: stubs.QueryServiceStub, number: int, version: int = 1) -> SearchResult:
    """The answer of the float model, once its gallery has a version."""
    until = time.monotonic() + 60
    while True:
        found = searched(stub, number)
        if found.answered_by == "photo" and found.version >= version:
            return found
        assert time.monotonic() < until, found
        time.sleep(0.05)


def test_a_photo_is_answered_by_the_float_model(shop: TileShop, made: Path) -> None:
    models.add_model(
        shop.catalogue, made / "shop.tflite", float_model=made / "shop.keras", now=shop.now
    )
    loaded = converters.load(made / "shop.keras")

    with asking(shop) as stub:
        found = [precisely(stub, each) for each in TILES]
        request = messages.EmbedRequest(catalogue="main", photo=photo_of(2))
        best = stub.Embed(request, timeout=30)
        request.model = messages.EmbedRequest.BUNDLE
        device = stub.Embed(request, timeout=30)

    assert [each.matches[0].product.id for each in found] == [f"sku-{each}" for each in TILES]
    assert all(each.accelerator == "cpu" for each in found)
    assert {each.verdict for each in found} <= {Verdict.MATCH, Verdict.UNSURE}
    assert all(each.confidence is not None for each in found)
    assert (best.pipeline, device.pipeline) == ("photo", "embedding")
    with Pillow.open(io.BytesIO(tile(2))) as picture:
        small = np.asarray(picture.convert("RGB").resize((32, 32)))
    close = float(np.frombuffer(best.values, "<f4") @ loaded.embed_tensors(small[None])[0])
    assert close > 0.97


def test_its_gallery_follows_what_is_published(shop: TileShop, made: Path) -> None:
    models.add_model(
        shop.catalogue, made / "shop.tflite", float_model=made / "shop.keras", now=shop.now
    )
    with asking(shop) as stub:
        before = precisely(stub, 0)
        shop.stock[50] = 1
        del shop.stock[3]
        shop.publish()
        after = precisely(stub, 50, before.version + 1)
        gone = precisely(stub, 3, before.version + 1)

    assert after.matches[0].product.id == "sku-50"
    assert "sku-3" not in [match.product.id for match in gone.matches]


def test_until_its_gallery_is_whole_the_bundle_answers(shop: TileShop, made: Path) -> None:
    found = bundles.decode((made / "shop.tflite").read_bytes())
    sibling = float_siblings.add_sibling(shop.catalogue, made / "shop.keras", found)
    assert not sibling.embeddings.exists()  # nothing is embedded yet

    async def run() -> list[str]:
        queries = Queries(ServerFolder(shop.folder / "server"))
        answered = []
        while answered[-1:] != ["photo"]:
            result = await queries.search("main", Photo(photo_of(1)))
            answered.append(result.answered_by)
            assert result.matches[0].product.id == "sku-1"
            await asyncio.sleep(0.01)
        await queries.close()
        return answered

    answered = asyncio.run(asyncio.wait_for(run(), 60))
    assert answered == sorted(answered)  # embedding, ..., photo


def test_a_job_that_was_cut_off_goes_on(shop: TileShop, made: Path) -> None:
    class CutOff(Exception):
        pass

    def cut(stage: str, done: int, total: int) -> None:
        if "full precision" in stage:
            raise CutOff

    shop.stock = dict.fromkeys(range(40), 1)
    shop.publish()
    with pytest.raises(CutOff):
        models.add_model(
            shop.catalogue,
            made / "shop.tflite",
            float_model=made / "shop.keras",
            now=shop.now,
            progress=cut,
        )
    found = bundles.decode((made / "shop.tflite").read_bytes())
    sibling = float_siblings.sibling_of(shop.catalogue, found)
    assert sibling is not None
    told: list[tuple[str, int, int]] = []
    models.add_model(
        shop.catalogue,
        made / "shop.tflite",
        float_model=made / "shop.keras",
        now=shop.now,
        progress=lambda *each: told.append(each),
    )

    assert [each for each in told if "full precision" in each[0]] == [
        ("embedding at full precision", 8, 8)
    ]


def test_another_model_is_refused_and_not_kept(shop: TileShop, made: Path, tmp_path: Path) -> None:
    other = keras_file(tmp_path, tiny_model(seed=9))

    with pytest.raises(BundleHashMismatch):
        models.add_model(shop.catalogue, made / "shop.tflite", float_model=other, now=shop.now)
    assert not shop.catalogue.floats.exists() or not list(shop.catalogue.floats.iterdir())


def test_a_backup_keeps_the_float_model(
    shop: TileShop, made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    models.add_model(
        shop.catalogue, made / "shop.tflite", float_model=made / "shop.keras", now=shop.now
    )
    data, backup, again = shop.folder / "server", tmp_path / "backup", tmp_path / "again"

    assert pocketlens_server(["backup", "--out", str(backup), "--data", str(data)]) == 0
    assert pocketlens_server(["fsck", "--data", str(data)]) == 0
    assert pocketlens_server(["restore", str(backup), "--data", str(again)]) == 0
    capsys.readouterr()

    kept = sorted(path.name for path in (again / "catalogues/main/floats").iterdir())
    assert [path.rpartition(".")[2] for path in kept] == ["keras"]


def test_a_lost_file_of_embeddings_is_made_again(shop: TileShop, made: Path) -> None:
    models.add_model(
        shop.catalogue, made / "shop.tflite", float_model=made / "shop.keras", now=shop.now
    )
    for path in shop.catalogue.floats.glob("*.sqlite*"):
        path.unlink()

    with asking(shop) as stub:
        assert precisely(stub, 5).matches[0].product.id == "sku-5"


def test_embeddings_come_as_they_were_kept(tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    pictures = [bytes([each]) * 32 for each in range(20)]
    rows = rng.standard_normal((20, 4)).astype(np.float32)
    with FloatEmbeddings.opened(tmp_path / "floats.sqlite") as floats:
        floats.put(dict(zip(pictures[:15], rows, strict=False)))
        assert floats.missing(pictures[::-1]) == pictures[:14:-1]
        np.testing.assert_array_equal(floats.of(pictures[3:9], 4), rows[3:9])
        with pytest.raises(KeyError):
            floats.of(pictures, 4)
        floats.forget(pictures[2:])
        assert floats.missing(pictures) == pictures[2:]


def test_the_command_adds_one_to_a_bundle_that_is_there(
    shop: TileShop, made: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = str(shop.folder / "server")
    shutil.copy(made / "shop.tflite", shop.folder)
    command = ["model", "add", str(shop.folder / "shop.tflite"), "--data", data]

    assert pocketlens_server([*command, "--float", str(made / "shop.keras")]) == 0
    assert pocketlens_server([*command, "--float", str(shop.folder / "nothing.keras")]) == 1
    assert "cannot be read" in capsys.readouterr().err

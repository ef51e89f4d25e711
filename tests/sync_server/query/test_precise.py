"""A photo at full precision: the float model, its gallery, and how both follow a catalogue."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import asyncio
import io
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import grpc
import numpy as np
import pytest
from PIL import Image as Pillow
from tests.making.colour_bundle import described_as
from tests.making.float_shops import TILES, add_float, converted, float_shop
from tests.making.models import DIM, draw_shop, keras_file, tiny_model
from tests.making.serving import serving
from tests.making.tiles import TileShop, tile

from pocketlens.errors import BundleHashMismatch
from pocketlens.fallback import messages as codec
from pocketlens.formats import bundle as bundles
from pocketlens.results import SearchResult, Verdict
from pocketlens_converter import float_models as converters
from pocketlens_converter.conversion import convert
from pocketlens_converter.convert_options import ConvertOptions
from pocketlens_protos.v1 import query_service_pb2 as messages
from pocketlens_protos.v1 import query_service_pb2_grpc as stubs
from pocketlens_server.catalogue import float_siblings
from pocketlens_server.cli import main as pocketlens_server
from pocketlens_server.folders import ServerFolder
from pocketlens_server.publishing import models, releasing
from pocketlens_server.publishing.images import picture_of
from pocketlens_server.query.queries import Photo, Queries
from pocketlens_server.storage.float_embeddings import FloatEmbeddings
from pocketlens_server.storage.history import IMAGE


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return converted(tmp_path_factory.mktemp("made"))


@pytest.fixture
def shop(tmp_path: Path, made: Path) -> TileShop:
    return float_shop(tmp_path / "shop", made)


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
    add_float(shop, made)
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
    add_float(shop, made)
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
    assert float_siblings.siblings_of(shop.catalogue, found)
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
    add_float(shop, made)
    data, backup, again = shop.folder / "server", tmp_path / "backup", tmp_path / "again"

    assert pocketlens_server(["backup", "--out", str(backup), "--data", str(data)]) == 0
    assert pocketlens_server(["fsck", "--data", str(data)]) == 0
    assert pocketlens_server(["restore", str(backup), "--data", str(again)]) == 0
    capsys.readouterr()

    kept = sorted(path.name for path in (again / "catalogues/main/floats").iterdir())
    assert [path.rpartition(".")[2] for path in kept] == ["keras"]


def test_a_lost_file_of_embeddings_is_made_again(shop: TileShop, made: Path) -> None:
    add_float(shop, made)
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
    assert "warning" not in capsys.readouterr().err
    assert pocketlens_server([*command, "--float", str(shop.folder / "nothing.keras")]) == 1
    assert "cannot be read" in capsys.readouterr().err


def test_a_bundle_without_thresholds_for_photos_is_told(
    shop: TileShop, made: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data, bare = (made / "shop.tflite").read_bytes(), shop.folder / "bare.tflite"
    bare.write_bytes(described_as(data, replace(bundles.decode(data), calibrations=())))
    command = ["model", "add", str(bare), "--data", str(shop.folder / "server")]

    assert pocketlens_server([*command, "--float", str(made / "shop.keras")]) == 0
    assert "has no thresholds for photos" in capsys.readouterr().err


def test_a_version_that_it_cannot_have_is_answered_by_the_bundle(
    shop: TileShop, made: Path
) -> None:
    """Here a picture was lost; prices and stock that were are no answer."""
    add_float(shop, made)
    with asking(shop) as stub:
        before = precisely(stub, 1)
        shop.stock[1] = 0
        shop.stock[50] = 1
        shop.push()
        for path in shop.catalogue.folder.glob("pictures/*/*"):
            if path.read_bytes() == tile(50):
                path.unlink()
        shop.now += timedelta(minutes=5)
        releasing.publish(shop.catalogue, now=shop.now, rng=np.random.default_rng(1))
        until = time.monotonic() + 30
        while (found := searched(stub, 1)).version == before.version:
            assert time.monotonic() < until, found
            time.sleep(0.05)

    assert (found.version, found.answered_by) == (before.version + 1, "embedding")
    assert found.matches[0].product.stock == 0


def test_one_that_is_added_while_a_server_runs_answers(shop: TileShop, made: Path) -> None:
    with asking(shop) as stub:
        assert searched(stub, 2).answered_by == "embedding"
        add_float(shop, made)
        assert precisely(stub, 2).matches[0].product.id == "sku-2"


def test_a_float32_bundle_answers_where_a_keras_file_cannot(
    shop: TileShop, made: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """As where TensorFlow is not installed; here the file is rotten."""
    drawn = draw_shop(tmp_path, products=24)
    options = ConvertOptions(precision="float32")
    again = convert(
        made / "shop.keras", catalogue=drawn.catalogue, queries=drawn.photos, options=options
    )
    (tmp_path / "float.tflite").write_bytes(again.data)
    add_float(shop, made)
    add_float(shop, made, str(tmp_path / "float.tflite"))
    [keras] = shop.catalogue.floats.glob("*.keras")
    keras.write_bytes(keras.read_bytes() + b"rotten")

    with asking(shop) as stub:
        assert precisely(stub, 4).matches[0].product.id == "sku-4"


def test_a_server_does_not_stay_to_fill_a_gallery(shop: TileShop, made: Path) -> None:
    shop.stock = dict.fromkeys(range(200), 1)
    shop.publish()
    found = bundles.decode((made / "shop.tflite").read_bytes())
    sibling = float_siblings.add_sibling(shop.catalogue, made / "shop.keras", found)

    async def run() -> None:
        queries = Queries(ServerFolder(shop.folder / "server"))
        await queries.search("main", Photo(photo_of(1)))
        while not sibling.embeddings.exists():
            await asyncio.sleep(0.001)
        await queries.close()

    asyncio.run(asyncio.wait_for(run(), 60))
    with shop.catalogue.reading() as tables:
        pictures = [picture_of(value) for _, value in tables.history.values(IMAGE)]
    with FloatEmbeddings.opened(sibling.embeddings) as floats:
        assert floats.missing(pictures)


def test_a_vector_of_a_device_does_not_wait_for_tensorflow(shop: TileShop, made: Path) -> None:
    """Which this process may have loaded long ago: so another is asked."""
    add_float(shop, made)
    script = """
import asyncio, sys
from pathlib import Path
import numpy as np
from pocketlens_server.folders import ServerFolder
from pocketlens_server.query.queries import Queries, Vector

async def run():
    queries = Queries(ServerFolder(Path(sys.argv[1])))
    vector = Vector(b"", np.eye(int(sys.argv[2]), dtype="<f4")[0].tobytes())
    await queries.search("main", vector)
    print("keras" in sys.modules)
    await queries.close()

asyncio.run(run())
"""
    arguments = [str(shop.folder / "server"), str(DIM)]

    done = subprocess.run(
        [sys.executable, "-c", script, *arguments], capture_output=True, text=True, check=True
    )

    assert done.stdout == "False\n"

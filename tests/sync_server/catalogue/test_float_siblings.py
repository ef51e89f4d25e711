"""What is kept of a float model: it may rot, be cut off or come late, and nothing else suffers."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest
from tests.making.colour_bundle import colour_bundle
from tests.making.float_shops import add_float, converted, float_shop
from tests.making.tiles import TileShop, tile

from pocketlens.formats import bundle as bundles
from pocketlens_server.catalogue import float_siblings
from pocketlens_server.catalogue.float_siblings import Sibling
from pocketlens_server.folders import ServerFolder
from pocketlens_server.maintenance.findings import Check
from pocketlens_server.maintenance.fsck import examine
from pocketlens_server.models.photo_models import Found, Tensor
from pocketlens_server.publishing import collecting
from pocketlens_server.publishing.images import picture_of
from pocketlens_server.storage.float_embeddings import FloatEmbeddings
from pocketlens_server.storage.history import IMAGE

COMMAND = "import sys; from pocketlens_server.cli import main; sys.exit(main())"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return converted(tmp_path_factory.mktemp("made"))


@pytest.fixture
def shop(tmp_path: Path, made: Path) -> TileShop:
    return float_shop(tmp_path / "shop", made)


def damages(shop: TileShop) -> list[Check]:
    found = examine(ServerFolder(shop.folder / "server"), now=shop.now)
    return [each.check for each in found if each.is_damage]


def model_of(shop: TileShop) -> Path:
    [path] = shop.catalogue.floats.glob("*.keras")
    return path


def lost(path: Path) -> None:
    """The embeddings become bytes that are none."""
    for each in path.parent.glob(f"{path.stem}.sqlite*"):
        each.unlink()
    path.with_suffix(".sqlite").write_bytes(b"rotten" * 1000)


def test_a_rotten_float_model_is_found_and_adding_it_again_mends_it(
    shop: TileShop, made: Path
) -> None:
    add_float(shop, made)
    assert damages(shop) == []
    data = bytearray(model_of(shop).read_bytes())
    data[len(data) // 2] ^= 1
    model_of(shop).write_bytes(data)

    assert damages(shop) == [Check.FLOATS]
    add_float(shop, made)
    assert damages(shop) == []


def test_rotten_embeddings_are_found(shop: TileShop, made: Path) -> None:
    add_float(shop, made)
    lost(model_of(shop))

    assert damages(shop) == [Check.FLOATS]


def test_rotten_embeddings_do_not_end_a_publish(shop: TileShop, made: Path) -> None:
    add_float(shop, made)
    lost(model_of(shop))
    unshown = shop.catalogue.picture(b"\7" * 32)
    unshown.parent.mkdir(parents=True, exist_ok=True)
    unshown.write_bytes(b"that no image shows, for long")
    os.utime(unshown, (1, 1))

    for day in range(3):
        shop.now += timedelta(days=2)
        shop.stock[0] = 5 + day
        assert shop.publish() is not None
    assert not unshown.exists()


def test_a_rotten_bundle_costs_no_float_model(shop: TileShop, made: Path) -> None:
    add_float(shop, made)
    for path in shop.catalogue.folder.glob("bundles/*"):
        path.write_bytes(path.read_bytes()[:-40])
    for path in shop.catalogue.floats.iterdir():
        os.utime(path, (1, 1))

    with shop.catalogue.changing() as tables:
        for _ in range(2):
            shop.now += timedelta(days=2)
            found = collecting.unshown(shop.catalogue, tables, now=shop.now, all_images=True)
            collecting.collect(shop.catalogue, tables, found, hours=24, now=shop.now)

    assert model_of(shop).exists()


def test_one_that_comes_late_needs_no_offline_key_and_signs_nothing(
    shop: TileShop, made: Path
) -> None:
    def signed() -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in shop.public.glob("metadata/*")}

    before = signed()
    (shop.folder / "keys").rename(shop.folder / "in a safe")

    add_float(shop, made)

    assert signed() == before
    assert model_of(shop).with_suffix(".sqlite").exists()


def test_a_bundle_that_another_followed_may_have_one(shop: TileShop, made: Path) -> None:
    """It may be served again, after `publish --new-generation --model`."""
    shop.add_model("later")

    add_float(shop, made)

    assert model_of(shop).exists()


def test_killed_in_the_middle_the_same_command_goes_on(shop: TileShop, made: Path) -> None:
    shop.stock = dict.fromkeys(range(120), 1)
    shop.publish()
    arguments = ["model", "add", str(made / "shop.tflite"), "--float", str(made / "shop.keras")]
    command = [sys.executable, "-c", COMMAND, *arguments, "--data", str(shop.folder / "server")]
    bundle = bundles.decode((made / "shop.tflite").read_bytes())

    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as job:
        assert job.stderr is not None
        told = next(line for line in job.stderr if "full precision" in line)
        job.kill()
    assert told == "embedding at full precision: 32 of 120\n"
    assert job.returncode == -9
    subprocess.run(command, check=True, capture_output=True)

    [sibling] = float_siblings.siblings_of(shop.catalogue, bundle)
    with shop.catalogue.reading() as tables:
        pictures = [picture_of(value) for _, value in tables.history.values(IMAGE)]
    with FloatEmbeddings.opened(sibling.embeddings) as floats:
        assert floats.missing(pictures) == []


class Counting:
    """A model that sees the same in every picture."""

    accelerator = "cpu"

    def __init__(self) -> None:
        self.spec, self.embedded = bundles.decode(colour_bundle()).spec, 0

    def embed(self, tensors: Sequence[Tensor]) -> list[Found]:
        self.embedded += len(tensors)
        return [np.eye(self.spec.dim, dtype=np.float32)[0] for _ in tensors]

    def close(self) -> None:
        """Nothing is held."""


def test_of_two_processes_none_does_what_the_other_has_done(tmp_path: Path) -> None:
    """As a command and the server beside it."""
    folder = TileShop(tmp_path / "shop", {}).catalogue
    sibling = Sibling.of(tmp_path / "any.keras")
    pictures = [hashlib.sha256(tile(number)).digest() for number in range(100)]
    for number, picture in enumerate(pictures):
        folder.picture(picture).parent.mkdir(exist_ok=True)
        folder.picture(picture).write_bytes(tile(number))
    one, other = Counting(), Counting()

    def halfway(stage: str, done: int, total: int) -> None:
        if done == 64 and total == 100:
            float_siblings.embed_all(sibling, folder, reversed(pictures), other)

    float_siblings.embed_all(sibling, folder, pictures, one, progress=halfway)

    assert (one.embedded, other.embedded) == (64, 36)

"""From a list to a device by the commands alone, served by a plain web server."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import csv
import functools
import http.server
import json
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from tests.making.answering_threads import in_a_thread
from tests.making.colour_bundle import colour_bundle
from tests.making.models import drawing

from pocketlens import Lens, Verdict, install
from pocketlens.cli import main as pocketlens
from pocketlens.errors import SyncError
from pocketlens_server.cli import main as server

PRODUCTS = 30


class Shop:
    """A list that changes, and the server that it is pushed to."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.data = folder, folder / "server"
        self.rows = [self._row(number) for number in range(PRODUCTS)]
        (folder / "shop.tflite").write_bytes(colour_bundle())

    def _row(self, number: int) -> dict[str, str]:
        picture = self.folder / f"{number}.png"
        Image.fromarray(drawing(number)).resize((96, 96), Image.Resampling.NEAREST).save(picture)
        return {
            "image": picture.name,
            "product_id": f"sku-{number}",
            "title": f"Tile {number}",
            "price": f"{number}.50",
            "currency": "EUR",
            "stock": str(number),
        }

    def run(self, command: str) -> None:
        assert server([*command.split(), "--data", str(self.data)]) == 0

    def push(self) -> None:
        with (self.folder / "list.csv").open("w", newline="") as file:
            writer = csv.DictWriter(file, list(self.rows[0]))
            writer.writeheader()
            writer.writerows(self.rows)
        self.run(f"push {self.folder / 'list.csv'} --replace --lost-share 1")


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    made = Shop(tmp_path)
    assert server(["init", str(made.data)]) == 0
    made.run(f"model add {tmp_path / 'shop.tflite'}")
    made.push()
    made.run("publish")
    return made


@pytest.fixture
def address(shop: Shop) -> Iterator[str]:
    """A plain web server on the loopback that serves the public files."""
    handler = functools.partial(Quiet, directory=str(shop.data / "public"))
    with in_a_thread(http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)) as served:
        yield f"http://127.0.0.1:{served.server_address[1]}/main"


class Quiet(http.server.SimpleHTTPRequestHandler):
    """Says nothing of what it serves."""

    def log_message(self, *_: object) -> None:
        pass


def printed(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, Any]:
    capsys.readouterr()
    assert pocketlens([*arguments, "--json"]) == 0
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


def test_a_device_follows_what_the_shop_pushes(
    shop: Shop, address: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store, root = str(tmp_path / "store"), str(shop.data / "public/main/metadata/1.root.json")
    plan = printed(capsys, "sync", store, "--server", address, "--root", root, "--plan")
    assert not Path(store).exists()
    first = printed(capsys, "sync", store, "--server", address, "--root", root)
    assert (first["action"], first["version"]) == ("install", 1)
    assert first["fetched_bytes"] == plan["fetched_bytes"]
    assert printed(capsys, "sync", store)["action"] == "nothing"
    with Lens.open(store) as lens:
        found = lens.search(tmp_path / "7.png")
        assert found.verdict is Verdict.MATCH
        assert found.best is not None
        assert (found.best.product.id, str(found.best.product.price)) == ("sku-7", "7.50 EUR")
        del shop.rows[5:10]
        shop.rows[3]["price"] = "99.00"
        shop.rows += [shop._row(number) for number in range(100, 105)]
        shop.push()
        shop.run("publish")

        report = lens.sync()

        assert (report.action.value, report.before, report.version) == ("delta", 1, 2)
        found = lens.search(tmp_path / "7.png")
        assert found.best is not None
        assert found.best.product.id != "sku-7"
        assert (found.version, found.gallery_size, found.as_of) == (2, PRODUCTS, report.as_of)
        third = lens.search(tmp_path / "3.png").best
        assert third is not None
        assert str(third.product.price) == "99.00 EUR"
        new = lens.search(tmp_path / "103.png").best
        assert new is not None
        assert new.product.id == "sku-103"
    assert pocketlens(["verify", store]) == 0


def test_without_its_server_a_store_answers(
    shop: Shop, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store, public = str(tmp_path / "store"), shop.data / "public" / "main"
    root = str(public / "metadata" / "1.root.json")
    assert pocketlens(["sync", store, "--server", str(public), "--root", root]) == 0
    public.rename(tmp_path / "gone")

    assert pocketlens(["sync", store]) == 1

    assert "Expected a server" in capsys.readouterr().err
    with Lens.open(store) as lens:
        found = lens.search(tmp_path / "7.png")
        assert found.best is not None
        assert found.best.product.id == "sku-7"
        with pytest.raises(SyncError):
            lens.sync()


def test_nothing_is_published_twice_and_what_waits_is_told(
    shop: Shop, capsys: pytest.CaptureFixture[str]
) -> None:
    capsys.readouterr()
    shop.run("publish")
    assert "nothing waits; 'main' is at version 1" in capsys.readouterr().out
    shop.rows[0]["stock"] = "77"
    shop.push()
    capsys.readouterr()
    shop.run("diff --json")
    found = json.loads(capsys.readouterr().out)
    words = ("added", "changed", "deleted")
    nothing = dict.fromkeys(words, 0) | {f"{word}_ids": [] for word in words}
    assert 0 < found.pop("delta_bytes") < 300
    assert found == {
        "base": 1,
        "head": 0,
        "products": nothing,
        "images": nothing,
        "offers_changed": 1,
        "is_estimated": True,
        "is_new_model": False,
    }


def test_a_rollback_is_a_new_version_with_everything_as_it_was(
    shop: Shop, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    public, store = shop.data / "public" / "main", tmp_path / "store"
    root = str(public / "metadata" / "1.root.json")
    assert pocketlens(["sync", str(store), "--server", str(public), "--root", root]) == 0
    del shop.rows[:20]
    shop.rows[0]["price"] = "0.01"
    shop.push()
    shop.run("publish --allow lost-rows")
    assert pocketlens(["sync", str(store)]) == 0

    shop.run("rollback 1")
    shop.run("publish")
    assert pocketlens(["sync", str(store)]) == 0

    with Lens.open(store) as lens:
        found = lens.search(tmp_path / "7.png")
        assert (found.version, found.gallery_size) == (3, PRODUCTS)
        assert found.best is not None
        assert found.best.product.id == "sku-7"
        twenty = lens.search(tmp_path / "20.png").best
        assert twenty is not None
        assert str(twenty.product.price) == "20.50 EUR"
    assert pocketlens(["verify", str(store)]) == 0
    # What shows a product is known again: with it, its images go.
    shop.rows = shop.rows[1:]
    shop.push()
    shop.run("publish --allow lost-rows")
    assert pocketlens(["sync", str(store)]) == 0
    assert pocketlens(["verify", str(store)]) == 0
    for version in ("0", "9"):
        assert server(["rollback", version, "--data", str(shop.data)]) == 1
    assert "Expected a version from 1 to 4. Received 9" in capsys.readouterr().err


def test_another_generation_of_the_same_model_is_begun_by_command(
    shop: Shop, tmp_path: Path
) -> None:
    store, public = tmp_path / "store", str(shop.data / "public" / "main")
    root = str(shop.data / "public/main/metadata/1.root.json")
    assert pocketlens(["sync", str(store), "--server", public, "--root", root]) == 0
    shop.rows += [shop._row(number) for number in range(100, 140)]
    shop.push()

    shop.run("publish --new-generation")

    with Lens.open(store) as lens:
        before = lens.search(tmp_path / "7.png")
        report = lens.sync()
        after = lens.search(tmp_path / "7.png")
        new = lens.search(tmp_path / "120.png")
    assert (report.action.value, report.version) == ("install", 2)
    assert before.generation != after.generation
    assert after.best is not None
    assert after.best.product.id == "sku-7"
    assert new.best is not None
    assert new.best.product.id == "sku-120"


def test_an_app_starts_from_a_store_that_came_with_it(
    shop: Shop, address: str, tmp_path: Path
) -> None:
    shop.run(f"export --out {tmp_path / 'exported'}")
    for path in (tmp_path / "exported").rglob("*"):
        assert not path.name.endswith(("-wal", "-shm"))
    root = (shop.data / "public/main/metadata/1.root.json").read_bytes()
    shop.rows[3]["price"] = "99.00"
    shop.push()
    shop.run("publish")

    report = install(
        tmp_path / "store", server=address, root=root, start_from=tmp_path / "exported"
    )
    again = install(tmp_path / "store", server=address, root=root, start_from=tmp_path / "exported")

    assert (report.action.value, report.before, report.version) == ("delta", 1, 2)
    assert (again.action.value, again.before) == ("nothing", 2)
    with Lens.open(tmp_path / "exported") as lens:
        assert lens.search(tmp_path / "3.png").version == 1
    with Lens.open(tmp_path / "store") as lens:
        assert lens.search(tmp_path / "3.png").version == 2
    assert server(["export", "--out", str(tmp_path / "exported"), "--data", str(shop.data)]) == 1


def test_a_cut_list_reaches_no_device_until_it_is_meant(
    shop: Shop, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    public, store = shop.data / "public" / "main", tmp_path / "store"
    root = str(public / "metadata" / "1.root.json")
    assert pocketlens(["sync", str(store), "--server", str(public), "--root", root]) == 0
    del shop.rows[10:]
    shop.push()
    capsys.readouterr()

    assert server(["publish", "--data", str(shop.data)]) == 1

    assert "[lost-rows] 10 products where the last version had 30" in capsys.readouterr().err
    assert printed(capsys, "sync", str(store))["action"] == "nothing"
    settings = shop.data / "catalogues" / "main" / "settings.toml"
    settings.write_text("[gates]\nlost_shares = 0.9\n")
    assert server(["publish", "--data", str(shop.data)]) == 1
    assert "Received lost_shares" in capsys.readouterr().err
    settings.write_text("[gates]\nlost_share = 0.9\n")
    shop.run("publish")
    assert printed(capsys, "sync", str(store))["version"] == 2


def test_what_is_needed_is_not_collected(shop: Shop, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    shop.run("collect --json")

    assert json.loads(capsys.readouterr().out) == {"catalogue": "main", "files": 0, "pictures": 0}
    shop.run("collect")
    assert "0 files and 0 pictures removed" in capsys.readouterr().out


def test_keys_say_until_when_they_hold(shop: Shop, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    shop.run("keys status --json")

    found = {each["role"]: each for each in json.loads(capsys.readouterr().out)}

    assert list(found) == ["root", "targets", "models", "publishing", "snapshot", "timestamp"]
    assert all(len(each["keyids"]) == 1 and not each["urgent"] for each in found.values())
    assert found["publishing"]["version"] == 2
    shop.run("keys status")
    assert "timestamp" in capsys.readouterr().out


def test_keys_are_readable_by_their_owner_alone_and_lie_apart(shop: Shop) -> None:
    online, offline = (
        shop.data / "catalogues" / "main" / "keys",
        shop.folder / "server-offline-keys" / "main",
    )

    assert {path.stem.partition("-")[0] for path in online.glob("*.pem")} == {
        "publishing",
        "snapshot",
        "timestamp",
    }
    assert {path.stem.partition("-")[0] for path in offline.glob("*.pem")} == {
        "root",
        "targets",
        "models",
    }
    for path in (*online.glob("*.pem"), *offline.glob("*.pem")):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_without_offline_keys_versions_are_published_and_models_are_not(
    shop: Shop, capsys: pytest.CaptureFixture[str]
) -> None:
    (shop.folder / "server-offline-keys").rename(shop.folder / "in a safe")
    shop.rows[0]["stock"] = "77"
    shop.push()

    shop.run("publish")

    model = str(shop.folder / "shop.tflite")
    assert server(["model", "add", model, "--data", str(shop.data)]) == 1
    assert "holds no keys" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("command", "says"),
    [
        ("push {list} --data {data} --catalog other", "no catalogue 'other'. There are: main"),
        ("catalog add main --data {data}", "There is a catalogue 'main' already"),
        ("catalog add Main --data {data}", "small letters"),
        ("init {data}", "new or empty"),
        ("init {new} --offline-keys {new}/keys", "outside"),
        ("publish --data {new}", "no folder of a server"),
        ("model add {list} --data {data}", "Expected a TensorFlow Lite model"),
    ],
)
def test_what_cannot_be_done_is_told(
    shop: Shop, tmp_path: Path, command: str, says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    names = {"list": tmp_path / "list.csv", "data": shop.data, "new": tmp_path / "new"}

    assert server(command.format(**names).split()) == 1

    assert says in capsys.readouterr().err


def test_a_catalogue_without_a_model_says_what_to_do(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = Shop(tmp_path)
    assert server(["init", str(made.data)]) == 0

    for command in (["push", str(made.folder)], ["publish"]):
        assert server([*command, "--data", str(made.data)]) == 1
    assert "pocketlens-server model add" in capsys.readouterr().err

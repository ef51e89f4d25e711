"""`pocketlens sync` and `watch`: budgets that hold, versions that come, and Ctrl-C."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
from itertools import islice
from pathlib import Path

import pytest
from tests.making.shop_servers import ShopServer
from tests.making.shops import write_csv

from pocketlens import Lens, install
from pocketlens.cli import main
from pocketlens.options import MIB
from pocketlens_server.cli import main as pocketlens_server


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> ShopServer:
    return ShopServer(tmp_path_factory.mktemp("shop"), products=12)


@pytest.fixture
def store(shop: ShopServer, tmp_path: Path) -> Path:
    install(tmp_path / "store", server=str(shop.data / "public" / "main"), root=shop.root)
    return tmp_path / "store"


def version_of(store: Path) -> int:
    with Lens.open(store) as lens:
        return lens.facts.version


def publish_much(shop: ShopServer, seed: int) -> None:
    """A version whose delta has between one and two mebibytes, of noise in attributes."""
    rng = random.Random(seed)
    rows = [
        {"image": f"{number}.png", "product_id": f"sku-{number}"}
        | {f"attr.{name}": rng.randbytes(4000).hex() for name in range(30)}
        for number in shop.stock
    ]
    path = write_csv(shop.data.parent / "much.csv", rows)
    assert pocketlens_server(["push", str(path), "--data", str(shop.data)]) == 0
    assert pocketlens_server(["publish", "--data", str(shop.data)]) == 0


@pytest.mark.parametrize("budget", [["--metered"], ["--max-bytes", str(MIB)]])
def test_a_delta_beyond_the_budget_waits_until_more_is_allowed(
    shop: ShopServer, store: Path, budget: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    before = version_of(store)
    publish_much(shop, seed=before)
    capsys.readouterr()

    assert main(["sync", str(store), *budget]) == 1
    assert "1,048,576 are allowed here" in capsys.readouterr().err
    assert version_of(store) == before

    assert main(["sync", str(store), "--max-bytes", str(2 * MIB)]) == 0
    said = capsys.readouterr().out
    assert f"from version {before}, version {before + 1}; a delta took 1." in said
    assert version_of(store) == before + 1


def test_a_delta_within_the_budget_comes_over_a_metered_network(
    shop: ShopServer, store: Path
) -> None:
    before = version_of(store)
    shop.stock[3] += 1
    shop.publish()

    assert main(["sync", str(store), "--metered"]) == 0

    assert version_of(store) == before + 1


@pytest.mark.skipif(os.name == "nt", reason="no SIGINT to send")
def test_watching_brings_what_is_published_until_ctrl_c(shop: ShopServer, store: Path) -> None:
    run = "import sys; from pocketlens.cli import main; sys.exit(main(sys.argv[1:]))"
    process = subprocess.Popen(
        [sys.executable, "-c", run, "watch", str(store), "--interval", "1", "--json"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    first = json.loads(process.stdout.readline())
    shop.stock[3] += 1
    shop.publish()

    for line in islice(process.stdout, 20):
        if json.loads(line)["action"] != "nothing":
            break
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=20)

    assert first["action"] == "nothing"
    assert json.loads(line)["version"] == version_of(store) == first["version"] + 1
    assert (process.returncode, said) == (130, "")
    assert (store / "lock").read_bytes() == b""
    assert main(["verify", str(store)]) == 0


def test_thumbnails_are_told_apart_and_remembered(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shop = ShopServer(tmp_path / "shop", products=3)
    settings = shop.data / "catalogues/main/settings.toml"
    settings.write_text("[pictures]\nthumbnails = true\n")
    shop.stock[1] = 5
    shop.publish()
    root = tmp_path / "root.json"
    root.write_bytes(shop.root)
    store = ["sync", str(tmp_path / "store")]
    of_server = ["--server", str(shop.data / "public/main"), "--root", str(root), "--thumbnails"]
    capsys.readouterr()

    assert main([*store, *of_server, "--plan"]) == 0
    assert capsys.readouterr().out.splitlines()[1].startswith("thumbnails would take ")
    assert main([*store, *of_server, "--max-bytes", "100000"]) == 0
    assert capsys.readouterr().out.splitlines()[1].startswith("thumbnails took ")
    with Lens.open(tmp_path / "store") as lens:
        assert lens.thumbnail("1.png")
    shop.stock[4] = 1
    (shop.data.parent / "4.png").write_bytes((shop.data.parent / "1.png").read_bytes())
    shop.publish()
    assert main([*store, "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["thumbnails"]["packs"] == 1
    assert main([*store, "--no-thumbnails"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 1
    with Lens.open(tmp_path / "store") as lens:
        assert lens.thumbnail("1.png") is None

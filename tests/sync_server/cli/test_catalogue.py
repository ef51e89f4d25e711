"""`publish` and `diff`, which tell the same of a folder and of a server."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from tests.making.certificates import make_certificates
from tests.making.serving import Address, serving
from tests.making.tiles import TileShop, tile

from pocketlens_server.cli import main
from pocketlens_server.config import ServerConfig, Tls


@pytest.fixture
def shop(tmp_path: Path) -> TileShop:
    made = TileShop(tmp_path / "shop", dict.fromkeys(range(6), 1), now=datetime.now(UTC))
    made.push()
    return made


@pytest.fixture
def data(shop: TileShop) -> list[str]:
    return ["--data", str(shop.folder / "server")]


@pytest.fixture
def address(shop: TileShop) -> Iterator[Address]:
    with serving(shop.folder / "server") as found:
        yield found


def told(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    capsys.readouterr()
    assert main(list(arguments)) == 0
    return capsys.readouterr().out


def test_a_version_is_told_alike_by_a_folder_and_a_server(
    data: list[str], address: Address, capsys: pytest.CaptureFixture[str]
) -> None:
    here: dict[str, Any] = json.loads(told(capsys, "publish", "--json", *data))
    there: dict[str, Any] = json.loads(told(capsys, "publish", "--json", "--server", address.grpc))
    nothing = told(capsys, "publish", *data)

    assert (here["version"], here["published"], there["published"]) == (1, True, False)
    [of_here], [of_there] = here.pop("generations"), there.pop("generations")
    assert of_here.items() >= of_there.items()
    assert here | {"published": False} == there | {"saturated_share": here["saturated_share"]}
    assert nothing == "nothing waits; 'main' is at version 1\n"
    assert told(capsys, "publish", "--server", address.grpc) == nothing


def test_a_version_of_a_server_is_told_with_its_generations(
    address: Address, capsys: pytest.CaptureFixture[str]
) -> None:
    first, generation = told(capsys, "publish", "--server", address.grpc).splitlines()

    assert first == "'main' version 1: 6 images of 6 products"
    assert "snapshot of version 1: " in generation


def test_a_server_that_asks_for_a_certificate_is_shown_it_by_commands(
    shop: TileShop, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made, own = make_certificates(tmp_path / "tls"), make_certificates(tmp_path / "own")
    config = ServerConfig(tls=Tls(made.certificate, made.key, client_ca=own.ca))
    (shop.folder / "0.png").write_bytes(tile(0))
    (tmp_path / "list.csv").write_text(f"image,product_id\n{shop.folder / '0.png'},sku-0\n")
    with serving(shop.folder / "server", config) as found:
        there = ["--server", found.grpc, "--ca", str(made.ca), "--cert", str(own.certificate)]
        for command in (["jobs", "list"], ["push", str(tmp_path / "list.csv")], ["publish"]):
            assert told(capsys, *command, *there, "--key", str(own.key))

        assert main(["diff", *there]) == 2
        assert "Expected --cert and --key" in " ".join(capsys.readouterr().err.split())


def test_some_devices_are_told_of(data: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert ", for 50.00% of devices\n" in told(capsys, "publish", "--rollout", "0.5", *data)


def test_what_a_phone_pays_is_told_in_words(
    shop: TileShop, data: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    before = told(capsys, "diff", *data)
    for stock in (1, 2, 3):
        shop.stock[0] = stock
        shop.push()
        assert main(["publish", *data]) == 0
    shop.stock[0] = 4
    shop.push()

    assert "known once the first version is published" in before
    assert "a new phone pays " in told(capsys, "diff", "0", "3", *data)
    assert "a phone at version 1 pays " in told(capsys, "diff", "1", "3", *data)
    assert "a phone at version 3 pays about " in told(capsys, "diff", *data)
    assert "a phone pays nothing" in told(capsys, "diff", "3", "3", *data)
    assert "no phone goes to version 2 any more" in told(capsys, "diff", "1", "2", *data)

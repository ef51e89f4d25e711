"""The server for tests of apps: signed and followed like any other, without a network."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import io
import random
import re
import socket
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.making.colour_bundle import colour_bundle, fields

import pocketlens.testing
from pocketlens import Lens, Price, Product, install
from pocketlens.errors import (
    BundleError,
    ClockSuspect,
    InvalidOperation,
    PictureError,
    ServerUnavailable,
    TransportError,
    TrustError,
)
from pocketlens.store.verification import verify
from pocketlens.sync.planner import Action
from pocketlens.testing import CutAfter, MemoryServer, Unavailable, WrongBytes

TUTORIAL = Path(__file__).resolve().parents[2] / "docs" / "tutorial.md"


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object) -> None:
        raise AssertionError("a network was asked")

    monkeypatch.setattr(socket.socket, "connect", refused)


@pytest.fixture
def server() -> MemoryServer:
    made = MemoryServer(colour_bundle())
    for number in range(12):
        made.put(product(number), picture(number))
    made.publish()
    return made


@pytest.fixture
def lens(server: MemoryServer, tmp_path: Path) -> Iterator[Lens]:
    install(tmp_path / "store", server="memory", root=server.root, transport=server)
    with Lens.open(tmp_path / "store") as opened:
        yield opened


def product(number: int, cents: int = 500) -> Product:
    return Product(
        f"sku-{number}", f"Tile {number}", "tiles", price=Price(cents, "EUR"), stock=number,
        attributes={"size": str(number % 3)},
    )  # fmt: skip


def picture(number: int) -> bytes:
    file = io.BytesIO()
    Image.fromarray(fields(np.random.default_rng(number), side=64)).save(file, "PNG")
    return file.getvalue()


def test_the_example_of_the_tutorial_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    blocks = re.findall(r"```python\n(.*?)```", TUTORIAL.read_text("utf-8"), re.DOTALL)
    (example,) = [block for block in blocks if "MemoryServer(" in block]
    monkeypatch.chdir(tmp_path)
    Path("shop.tflite").write_bytes(colour_bundle())
    Image.fromarray(fields(np.random.default_rng(1), side=64)).save("mug.jpg", quality=95)

    names: dict[str, object] = {}
    exec(compile(example, str(TUTORIAL), "exec"), names)  # noqa: S102 # our own page
    names["test_my_app_follows_its_shop"](tmp_path)  # type: ignore[operator]


def test_an_installed_store_finds_what_was_put(lens: Lens) -> None:
    for number in range(12):
        found = lens.search(picture(number)).best
        assert found is not None
        assert found.product == product(number)


def test_what_changes_travels_as_a_delta(lens: Lens, server: MemoryServer) -> None:
    server.put(product(3, cents=1))
    server.delete("sku-5")
    server.put(product(12), picture(12), picture(13))
    server.publish()

    report = lens.sync(transport=server)

    assert (report.action, report.before, report.version) == (Action.DELTA, 1, 2)
    assert str(lens.search(picture(3)).best.product.price) == "0.01 EUR"  # type: ignore[union-attr]
    assert lens.search(picture(13)).best.product.id == "sku-12"  # type: ignore[union-attr]
    assert lens.search(picture(5)).best.product.id != "sku-5"  # type: ignore[union-attr]
    assert verify(lens.directory).findings == ()


def test_stores_of_any_version_come_to_the_newest(tmp_path: Path) -> None:
    rng = random.Random(4)
    server, stores = MemoryServer(colour_bundle()), []
    server.put(product(0), picture(0))
    for version in range(1, 8):
        for _ in range(rng.randint(1, 6)):
            number = rng.randrange(9)
            try:
                server.delete(f"sku-{number}")
            except InvalidOperation:
                server.put(product(number, rng.randrange(900)), picture(number))
        server.put(product(rng.randrange(9)), picture(rng.randrange(30)))
        assert server.publish() == version
        stores.append(tmp_path / f"store-{version}")
        install(stores[-1], server="memory", root=server.root, transport=server)

    for store in stores:
        report = install(store, server="memory", root=server.root, transport=server)
        assert report.version == 7
        assert verify(store).findings == ()


def test_failures_leave_the_store_as_it_was(lens: Lens, server: MemoryServer) -> None:
    server.put(product(3, cents=1))
    server.publish()

    for failing in (Unavailable(), CutAfter(server, 0), CutAfter(server, 700), WrongBytes(server)):
        with pytest.raises(TransportError):
            lens.sync(transport=failing)
        assert lens.search(picture(3)).version == 1
    with pytest.raises(ServerUnavailable):
        list(Unavailable().piece(None, 0))  # type: ignore[arg-type] # whatever is asked for
    assert lens.sync(transport=server.at(1)).action is Action.NOTHING

    assert lens.sync(transport=server).version == 2
    with pytest.raises(TrustError):
        lens.sync(transport=server.at(1))
    assert lens.search(picture(3)).version == 2


def test_what_fits_is_not_cut(lens: Lens, server: MemoryServer) -> None:
    server.put(product(3, cents=1))
    server.publish()

    assert lens.sync(transport=CutAfter(server, 1 << 20)).version == 2


def test_an_old_server_has_expired(tmp_path: Path) -> None:
    server = MemoryServer(colour_bundle(), clock=lambda: datetime.now(UTC) - timedelta(days=400))
    server.put(product(0), picture(0))
    server.publish()

    with pytest.raises((TrustError, ClockSuspect)):
        install(tmp_path / "store", server="memory", root=server.root, transport=server)


def test_another_server_is_not_trusted(server: MemoryServer, tmp_path: Path) -> None:
    other = MemoryServer(colour_bundle())

    with pytest.raises(TrustError):
        install(tmp_path / "store", server="memory", root=other.root, transport=server)


def test_what_cannot_be_is_told(server: MemoryServer) -> None:
    with pytest.raises(InvalidOperation, match="'sku-99'"):
        server.delete("sku-99")
    with pytest.raises(InvalidOperation, match="Expected a product with a picture"):
        MemoryServer(colour_bundle()).publish()
    with pytest.raises(PictureError):
        server.put(product(0), b"no picture")
    with pytest.raises(BundleError):
        MemoryServer(b"no bundle")
    with pytest.raises(AttributeError):
        _ = pocketlens.testing.Nothing

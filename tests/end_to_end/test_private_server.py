"""A shop's own server, behind a certificate of its own: what a store shows it, and keeps of it."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import json
import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.making.certificates import Certificates, make_certificates
from tests.making.servers import Server
from tests.making.serving import Address, on_disk, serving
from tests.making.shop_servers import ShopServer
from tests.making.shops import make_shop

from pocketlens import following, install
from pocketlens.cli import main
from pocketlens.errors import SyncError
from pocketlens.sync.planner import Action
from pocketlens_server.catalogue.operations import PatchProduct, apply
from pocketlens_server.cli import main as pocketlens_server
from pocketlens_server.config import ServerConfig, Tls

TOKEN = "secret-0123456789"  # noqa: S105 # of no server


@pytest.fixture
def certificates(tmp_path: Path) -> Certificates:
    return make_certificates(tmp_path / "tls")


@pytest.fixture
def server(tmp_path: Path) -> Server:
    made = Server.of_shop(make_shop(tmp_path / "shop", products=20), tmp_path / "made")
    made.publish()
    on_disk(made, tmp_path / "server")
    return made


@pytest.fixture
def address(server: Server, certificates: Certificates, tmp_path: Path) -> Iterator[Address]:
    tls = ServerConfig(tls=Tls(certificates.certificate, certificates.key))
    with serving(tmp_path / "server", tls) as found:
        yield found


@pytest.mark.parametrize("kind", ["grpc", "http"])
def test_a_store_remembers_whom_to_trust_and_where_its_token_is(
    kind: str,
    server: Server,
    address: Address,
    certificates: Certificates,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    store, token = tmp_path / "store", tmp_path / "token"
    token.write_text(TOKEN)
    monkeypatch.chdir(tmp_path)
    install(
        store,
        server=getattr(address, kind),
        root=server.root,
        ca=certificates.ca,
        token_file="token",  # noqa: S106 # a place
        clock=lambda: server.now,
    )
    apply(server.catalogue.history, PatchProduct("sku-3", stock=77))
    server.publish()

    monkeypatch.chdir("/")
    report = following.update(store, clock=lambda: server.now)

    assert (report.action, report.version) == (Action.DELTA, 2)
    settings = json.loads((store / "sync.json").read_text())
    assert (settings["ca"], settings["token_file"]) == (str(certificates.ca), str(token))
    assert all(TOKEN.encode() not in path.read_bytes() for path in files(store))
    token.unlink()
    with pytest.raises(SyncError, match="--token-file"):
        following.update(store, clock=lambda: server.now)
    certificates.ca.unlink()
    with pytest.raises(SyncError, match="--ca"):
        following.update(store, clock=lambda: server.now)


def test_nobody_else_reads_a_store_that_follows(
    server: Server, address: Address, certificates: Certificates, tmp_path: Path
) -> None:
    store = tmp_path / "store"
    install(
        store,
        server=address.grpc,
        root=server.root,
        ca=certificates.ca,
        clock=lambda: server.now,
    )
    assert {stat.S_IMODE(path.stat().st_mode) for path in files(store)} == {0o600}
    (store / "of the app").touch(0o644)

    following.update(store, clock=lambda: server.now)

    assert stat.S_IMODE((store / "of the app").stat().st_mode) == 0o644


def test_a_store_for_an_app_follows_the_umask(tmp_path: Path) -> None:
    shop = ShopServer(tmp_path / "app", products=3)
    before = os.umask(0o022)
    try:
        exported = pocketlens_server(
            ["export", "--data", str(shop.data), "--out", str(tmp_path / "exported")]
        )
    finally:
        os.umask(before)

    assert exported == 0
    modes = {stat.S_IMODE(path.stat().st_mode) for path in files(tmp_path / "exported")}
    assert modes == {0o644}


def test_without_its_authority_a_server_is_not_trusted(
    server: Server, address: Address, tmp_path: Path
) -> None:
    for found in (address.grpc, address.http):
        with pytest.raises(SyncError):
            install(tmp_path / "store", server=found, root=server.root)
    assert not (tmp_path / "store").exists()


def test_a_certificate_needs_a_server_to_go_with(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["sync", str(tmp_path / "store"), "--ca", "ca.pem"]) == 2
    assert "--server and --root with --ca" in " ".join(capsys.readouterr().err.split())


def files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]

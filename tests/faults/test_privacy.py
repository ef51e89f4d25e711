"""Photos stay on the device: no search asks a network, no sync and no log tells of one.

A sync asks the server that was named, and nobody else.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import json
import logging
import subprocess
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.making import fault_shim
from tests.making.canaries import canary_photo, found_in, traces_of
from tests.making.colour_bundle import colour_bundle
from tests.making.contacts import contacts, noting
from tests.making.fault_proxy import FaultProxy, Toxic
from tests.making.serving import Address, serving
from tests.making.shop_servers import ShopServer

from pocketlens import Embedder, Lens, following, install
from pocketlens.errors import SyncError

ROOT = Path(__file__).resolve().parents[2]
SEARCHES, SYNCS = 50, 50  # benchmarks/faults/privacy.py makes 1,000 of each
MOST_SENT_BYTES = 4_000  # by a device, in a sync
TOKEN = "canary-token-0123456789"  # noqa: S105 # of no server


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> ShopServer:
    return ShopServer(tmp_path_factory.mktemp("shop"), products=12)


@pytest.fixture(scope="module")
def address(shop: ShopServer) -> Iterator[Address]:
    with serving(shop.data) as found:
        yield found


@pytest.fixture
def store(shop: ShopServer, tmp_path: Path) -> Path:
    public = str(shop.data / "public" / "main")
    install(tmp_path / "store", server=public, root=shop.root)
    return tmp_path / "store"


def test_searches_ask_no_network(store: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.making.offline_searches", str(store), str(SEARCHES)],
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip

    found = json.loads(done.stdout)
    assert (found["answered"], found["refused"]) == (SEARCHES, SEARCHES)
    assert found["events"] == []
    assert found["loaded"] == []  # gRPC connects without Python


@pytest.mark.skipif(bool(fault_shim.missing()), reason=fault_shim.missing())
@pytest.mark.parametrize("kind", ["grpc", "http"])
def test_syncs_ask_the_named_server_alone(
    shop: ShopServer, address: Address, tmp_path: Path, kind: str
) -> None:
    server, port = {
        "grpc": (address.grpc, address.port),
        "http": (address.http, address.http_port),
    }[kind]
    (tmp_path / "root.json").write_bytes(shop.root)
    named = ["--server", server, "--root", str(tmp_path / "root.json")]
    run = "import sys; from pocketlens.cli import main; sys.exit(main(sys.argv[1:]))"
    environment = noting(tmp_path)

    for options in (named, []):  # an install, and a delta
        shop.stock[3] += 1
        shop.publish()
        command = [sys.executable, "-c", run, "sync", str(tmp_path / "store"), *options]
        subprocess.run(command, env=environment, check=True)

    assert contacts(environment) - {"127.0.0.1"} == {f"127.0.0.1:{port}"}  # HTTP looks it up


@pytest.mark.parametrize("kind", ["grpc", "http"])
def test_syncs_say_nothing_of_what_was_searched(
    shop: ShopServer, address: Address, tmp_path: Path, kind: str
) -> None:
    store, port = tmp_path / "store", address.port if kind == "grpc" else address.http_port
    with FaultProxy(port) as proxy:
        at = f"127.0.0.1:{proxy.port}"
        server = at if kind == "grpc" else f"http://{at}/main"
        install(store, server=server, root=shop.root)
        embedder = Embedder.open(next(store.glob("files/*.tflite")))
        device = json.loads((store / "sync.json").read_text())["device"]
        with Lens.open(store) as lens:
            for seed in range(SYNCS // 2):
                photo = canary_photo(seed)
                lens.search(photo)
                if seed % 10 == 0:
                    shop.stock[3] += 1
                    shop.publish()
                proxy.asked.clear()

                lens.sync()

                traces = traces_of(
                    photo, embedder.embed(photo), seed=seed, secrets={"the device's id": device}
                )
                assert 0 < len(proxy.asked) < MOST_SENT_BYTES
                assert found_in(bytes(proxy.asked), traces) == []
        embedder.close()


def test_traces_are_found_where_they_are() -> None:
    photo = canary_photo(1)
    with Embedder.open(colour_bundle()) as embedder:
        embedding = embedder.embed(photo)
    traces = traces_of(photo, embedding, seed=1, secrets={"token": TOKEN})

    for name, trace in traces.items():
        assert name in found_in(b"before " + trace + b" after", traces)
    assert found_in(canary_photo(2), traces) == []
    assert "its EXIF" in found_in(photo, traces)
    assert "the file" in found_in(photo, traces)


def test_logs_and_errors_tell_of_no_token_vector_or_picture(
    shop: ShopServer, address: Address, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    photo = canary_photo(5)  # Pillow logs what it writes into EXIF, and what it reads of it
    caplog.set_level(logging.DEBUG)
    store, token = tmp_path / "store", tmp_path / "token"
    token.write_text(TOKEN)
    told: list[str] = []
    for server, port in (("{}", address.port), ("http://{}/main", address.http_port)):
        for toxic in (Toxic(), Toxic(cut_after=600, heals=False), Toxic(cut_after=0, heals=False)):
            with FaultProxy(port, toxic) as proxy:
                named = server.format(f"127.0.0.1:{proxy.port}")
                try:
                    install(store, server=named, root=shop.root, token_file=token)
                except SyncError as exc:
                    told += [str(exc), *traceback.format_exception(exc)]
    with Lens.open(store) as lens, Embedder.open(next(store.glob("files/*.tflite"))) as embedder:
        lens.search(photo)
        embedding = embedder.embed(photo)
        with pytest.raises(SyncError) as failed:
            following.update(tmp_path / "nothing")
        told += [str(failed.value), repr(lens.facts)]
    told += [caplog.text, *(str(each.__dict__) for each in caplog.records)]

    traces = traces_of(photo, embedding, seed=5, secrets={"the token": TOKEN})
    assert len(told) > 20
    assert found_in("\n".join(told).encode(), traces) == []
    kept = {path.name: found_in(path.read_bytes(), traces) for path in files(store)}
    assert set(map(tuple, kept.values())) == {()}


def files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]

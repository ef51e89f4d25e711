"""A backend in Node, which knows the .proto files alone, and a device that follows what it did."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import io
import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import Any

import grpc
import numpy as np
import pytest
from PIL import Image
from tests.making.certificates import Certificates, make_certificates
from tests.making.serving import Address, serving
from tests.making.shop_servers import ShopServer, tile

from pocketlens import Lens, install
from pocketlens.products import Price
from pocketlens_server.cli import main as pocketlens_server
from pocketlens_server.config import ServerConfig, Tls

ROOT = Path(__file__).resolve().parents[2]
BEFORE = 8  # products of the shop, each with an image
# What npm says where the registry cannot be reached; whatever else it says is a failure.
NO_NETWORK = re.compile(
    r"code (ENOTFOUND|EAI_AGAIN|ECONN\w+|ENETUNREACH|EHOSTUNREACH|ETIMEDOUT|ERR_SOCKET_TIMEOUT)\b"
)
INSTALL_SECONDS = 120


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """examples/node with its modules; skips where there is no Node, or no network to get them."""
    for tool in ("node", "npm"):
        if shutil.which(tool) is None:
            pytest.skip(f"{tool} is needed to run examples/node, and was not found")
    folder = tmp_path_factory.mktemp("node") / "node"
    ignored = shutil.ignore_patterns("node_modules")
    shutil.copytree(ROOT / "examples" / "node", folder, ignore=ignored)
    install_modules = [
        "npm",
        "ci",
        "--ignore-scripts",
        "--prefer-offline",
        "--fetch-retries=1",
        "--no-audit",
        "--no-fund",
    ]
    try:
        done = subprocess.run(
            install_modules,
            cwd=folder,
            capture_output=True,
            text=True,
            check=False,
            timeout=INSTALL_SECONDS,
        )
    except subprocess.TimeoutExpired:  # a network that swallows everything
        pytest.skip(f"npm has not got the modules of examples/node in {INSTALL_SECONDS} s")
    if done.returncode and (found := NO_NETWORK.search(done.stderr)):
        pytest.skip(f"npm cannot reach the modules of examples/node: {found[1]}")
    assert done.returncode == 0, done.stderr
    return folder / "push.js"


@dataclass
class Shop:
    """A server that asks for tokens, behind a certificate of its own.

    Attributes:
        made: The catalogue.
        address: Of the server.
        certificates: Of it.
        folder: Of the tokens, `backend` and `device`.
    """

    made: ShopServer
    address: Address
    certificates: Certificates
    folder: Path

    def run(self, program: Path, *pictures: Path, shown: str = "backend") -> Any:
        """The program, with a token; what it prints, or its error."""
        command = ["node", program, "--server", self.address.grpc, "--ca", self.certificates.ca]
        command += ["--protos", ROOT / "protos", "--token-file", self.folder / shown]
        command += ["--device-token-file", self.folder / "device", *pictures]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
        return done.stderr if done.returncode else json.loads(done.stdout)


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    tmp_path = tmp_path_factory.mktemp("shop")
    made = ShopServer(tmp_path / "shop", products=BEFORE)
    for scope in ("backend", "device"):
        out = ["--data", str(made.data), "--out", str(tmp_path / scope)]
        assert pocketlens_server(["tokens", "make", "--scope", scope, *out]) == 0
    certificates = make_certificates(tmp_path / "tls")
    config = ServerConfig(tls=Tls(certificates.certificate, certificates.key))
    with serving(made.data, config, asks_tokens=True) as address:
        yield Shop(made, address, certificates, tmp_path)


def test_a_backend_in_node_pushes_publishes_and_polls(
    program: Path, shop: Shop, tmp_path: Path
) -> None:
    pictures = {"mug": tile(101), "tea": tile(102), "cup": noise(400)}
    for name, data in pictures.items():
        (tmp_path / f"{name}.png").write_bytes(data)
    assert len(pictures["cup"]) > 256 << 10  # so that it comes in parts

    said = shop.run(program, *(tmp_path / f"{name}.png" for name in pictures))

    assert [each["result"] for each in said["outcomes"]] == [
        *["APPLIED", "WAITING"] * len(pictures),
        *["APPLIED"] * 2,
    ]
    assert [each["is_repeated"] for each in said["outcomes"]] == [False] * 7 + [True]
    assert (said["job"]["state"], said["dead_letters"]) == ("DONE", [])
    counters = said["job"]["counters"]
    assert (counters["expected"], counters["received"], counters["repeated_requests"]) == (8, 8, 1)
    assert (counters["applied"], counters["embedded"]) == (7, 3)
    assert said["published"] == {"version": 2, "is_new": True}
    of_phone = said["phone"]
    assert (of_phone["version"], of_phone["products"], of_phone["images"]) == (2, 11, 11)
    assert of_phone["files"] > of_phone["files_later"] == 0

    install(
        tmp_path / "store",
        server=shop.address.grpc,
        root=shop.made.root,
        ca=shop.certificates.ca,
        token_file=shop.folder / "device",
    )
    with Lens.open(tmp_path / "store") as lens:
        assert (lens.facts.version, lens.facts.products) == (2, 11)
        for number, (name, picture) in enumerate(pictures.items()):
            found = lens.search(picture, k=1).matches[0]
            cents = 900 if number == 0 else 1000 + number
            assert (found.product.id, found.image.id) == (name, f"{name}-front")
            assert (found.product.title, found.product.stock) == (f"Thing {name}", 5)
            assert found.product.price == Price(cents, "EUR")


def test_a_backend_in_node_is_told_why_it_may_not(
    program: Path, shop: Shop, tmp_path: Path
) -> None:
    (tmp_path / "mug.png").write_bytes(tile(1))

    assert "scope" in shop.run(program, tmp_path / "mug.png", shown="device")


class Busy(grpc.GenericRpcHandler):  # type: ignore[misc]
    """Refuses each call with the next of some codes.

    Attributes:
        codes: That are left.
    """

    def __init__(self, *codes: grpc.StatusCode) -> None:
        self.codes = list(codes)

    def service(self, details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler:
        def refuse(request: bytes, context: grpc.ServicerContext) -> bytes:
            code = self.codes.pop(0)
            if code is grpc.StatusCode.RESOURCE_EXHAUSTED:
                context.set_trailing_metadata((("grpc-retry-pushback-ms", "500"),))
            context.abort(code, f"told {code.name}")
            return b""

        return grpc.unary_unary_rpc_method_handler(refuse)


def test_a_backend_in_node_asks_again_where_the_server_has_too_much_to_do(
    program: Path, tmp_path: Path
) -> None:
    codes = grpc.StatusCode
    busy = Busy(codes.CANCELLED, codes.RESOURCE_EXHAUSTED, codes.UNAVAILABLE, codes.NOT_FOUND)
    (tmp_path / "token").write_text("pl_000000000000_nobody")
    server = grpc.server(ThreadPoolExecutor(1), handlers=[busy])
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    began = monotonic()
    command = ["node", program, "--server", f"127.0.0.1:{port}", "--protos", ROOT / "protos"]
    done = subprocess.run(
        [*command, "--token-file", tmp_path / "token", "nothing.png"],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    server.stop(None).wait(10)

    assert (done.returncode, done.stderr.strip()) == (1, "told NOT_FOUND")
    assert busy.codes == []
    assert monotonic() - began > 0.5


def noise(side: int) -> bytes:
    """A picture that does not compress, PNG."""
    file = io.BytesIO()
    pixels = np.random.default_rng(0).integers(0, 256, (side, side, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()

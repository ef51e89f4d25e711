"""`pocketlens-server serve`, as an operator runs it: both ports, and an end that does not hang."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import http.client
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from tests.making.certificates import make_certificates
from tests.making.shop_servers import ShopServer

from pocketlens import Lens, install
from pocketlens.errors import TransportError
from pocketlens_server.cli import main


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> ShopServer:
    return ShopServer(tmp_path_factory.mktemp("shop"), products=8)


class Running:
    """A server in a process of its own.

    Attributes:
        port, http_port: As it says them.
    """

    def __init__(self, shop: ShopServer, *options: str) -> None:
        program = "import sys; from pocketlens_server.cli import main; sys.exit(main())"
        command = [sys.executable, "-c", program, "serve", "--data", str(shop.data), *options]
        self.process = subprocess.Popen(
            [*command, "--port", "0", "--http-port", "0"], stderr=subprocess.PIPE, text=True
        )
        assert self.process.stderr is not None
        files, serving = self.process.stderr.readline(), self.process.stderr.readline()
        self.http_port = int(files.rpartition(":")[2].partition("/")[0])
        self.port = int(serving.rpartition(":")[2])

    def stop(self) -> str:
        """Ends it as a service manager does, and returns what it said on the way."""
        self.process.send_signal(signal.SIGTERM)
        _, said = self.process.communicate(timeout=20)
        assert self.process.returncode == 0
        return said


@pytest.fixture
def running(shop: ShopServer) -> Iterator[Running]:
    made = Running(shop)
    yield made
    if made.process.poll() is None:
        made.stop()


def test_stores_follow_either_port(shop: ShopServer, running: Running, tmp_path: Path) -> None:
    for name, server in (
        ("grpc", f"127.0.0.1:{running.port}"),
        ("http", f"http://127.0.0.1:{running.http_port}/main"),
    ):
        install(tmp_path / name, server=server, root=shop.root)
        with Lens.open(tmp_path / name) as lens:
            assert lens.facts.products == 8


def test_a_server_that_is_stopped_does_not_wait_for_those_who_say_nothing(
    running: Running,
) -> None:
    address = "127.0.0.1", running.http_port
    with (
        closing(http.client.HTTPConnection(*address, timeout=5)) as kept,
        closing(socket.create_connection(address)),
    ):
        kept.request("GET", "/main/metadata/timestamp.json")
        assert kept.getresponse().read()

        said = running.stop()

    assert "http.cut" not in said  # both would have had five seconds


def test_files_are_found_with_a_private_certificate(shop: ShopServer, tmp_path: Path) -> None:
    made = make_certificates(tmp_path / "tls")
    running = Running(shop, "--tls-cert", str(made.certificate), "--tls-key", str(made.key))
    try:
        address = f"https://127.0.0.1:{running.http_port}/main"
        install(tmp_path / "store", server=address, root=shop.root, ca=made.ca)
        with pytest.raises(TransportError, match="Is --ca right"):
            install(tmp_path / "other", server=address, root=shop.root)
    finally:
        running.stop()


def test_options_that_do_not_go_together_are_told(
    shop: ShopServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = ["--data", str(shop.data), "--port", "0"]

    assert main(["serve", *data, "--host", "0.0.0.0"]) == 1  # noqa: S104 # refused
    assert "Expected TLS to listen on 0.0.0.0" in capsys.readouterr().err
    assert main(["serve", *data, "--tls-cert", "cert.pem"]) == 2
    gone = ["--tls-cert", str(tmp_path / "gone"), "--tls-key", str(tmp_path / "gone")]
    assert main(["serve", *data, *gone]) == 1
    assert "cannot be used" in capsys.readouterr().err

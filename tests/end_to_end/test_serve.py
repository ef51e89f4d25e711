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

PROGRAM = "import sys; from pocketlens_server.cli import main; sys.exit(main())"
COMMAND = [sys.executable, "-c", PROGRAM, "serve"]


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> ShopServer:
    return ShopServer(tmp_path_factory.mktemp("shop"), products=8)


class Running:
    """A server in a process of its own.

    Attributes:
        port, http_port, warning: As it says them.
    """

    def __init__(self, shop: ShopServer, *options: str, asks_tokens: bool = False) -> None:
        insecure = [] if asks_tokens else ["--insecure"]
        ports = ["--port", "0", "--http-port", "0"]
        self.process = subprocess.Popen(
            [*COMMAND, "--data", str(shop.data), *ports, *insecure, *options],
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self.process.stderr is not None
        files, serving, self.warning = (self.process.stderr.readline() for _ in range(3))
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


def test_options_that_do_not_go_together_are_told(shop: ShopServer, tmp_path: Path) -> None:
    def told(*options: str) -> tuple[int, str]:
        done = subprocess.run(
            [*COMMAND, "--data", str(shop.data), "--port", "0", *options],
            capture_output=True,
            text=True,
            timeout=20,
        )
        return done.returncode, done.stderr

    gone = ["--tls-cert", str(tmp_path / "gone"), "--tls-key", str(tmp_path / "gone")]
    for options, code, said in (
        (["--host", "0.0.0.0"], 1, "Expected TLS to listen on 0.0.0.0"),  # noqa: S104 # refused
        (["--host", "0.0.0.0", "--insecure"], 1, "Expected tokens to listen on"),  # noqa: S104
        (["--tls-cert", "cert.pem"], 2, "--tls-cert and --tls-key together"),
        (gone, 1, "cannot be used"),
    ):
        found, error = told(*options)
        assert found == code
        assert said in " ".join(error.replace("|", " ").split())


def test_a_server_asks_for_a_token_and_says_how_to_make_one(
    shop: ShopServer, tmp_path: Path
) -> None:
    running = Running(shop, asks_tokens=True)
    try:
        address, token = f"127.0.0.1:{running.port}", tmp_path / "token"
        with pytest.raises(TransportError, match="unauthenticated"):
            install(tmp_path / "store", server=address, root=shop.root)
        make = ["tokens", "make", "--scope", "device", "--data", str(shop.data)]
        assert main([*make, "--out", str(token)]) == 0

        install(tmp_path / "store", server=address, root=shop.root, token_file=token)
    finally:
        said = running.stop()

    assert "WARNING: there is no token" in running.warning
    assert f"pocketlens-server tokens make --scope device --data {shop.data}" in running.warning
    assert token.read_text().strip()[16:] not in said


def test_a_server_that_asks_nobody_says_so(running: Running) -> None:
    assert "WARNING: --insecure asks nobody for a token" in running.warning

"""Certificates that change while a server runs, and authorities whose clients are let in."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import asyncio
import logging
import shutil
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from time import monotonic

import grpc.aio
import pytest
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)
from tests.making.certificates import Certificates, make_certificates

from pocketlens.errors import ServerError
from pocketlens_server.certificates import ServedCertificates
from pocketlens_server.config import Tls
from pocketlens_server.http.connections import listening_on
from pocketlens_server.http.files import PublicFiles
from pocketlens_server.http.server import HttpServer


@pytest.fixture
def first(tmp_path: Path) -> Certificates:
    return make_certificates(tmp_path / "first")


@pytest.fixture
def second(tmp_path: Path) -> Certificates:
    return make_certificates(tmp_path / "second")


@contextmanager
def serving(certificates: ServedCertificates) -> Iterator[list[int]]:
    """Ports of gRPC and HTTP that show a certificate, which is looked at often."""
    loop, until, ready = asyncio.new_event_loop(), asyncio.Event(), threading.Event()
    ports = list[int]()

    async def run() -> None:
        server = grpc.aio.server()
        ports.append(server.add_secure_port("127.0.0.1:0", certificates.for_grpc()))
        await server.start()
        listening = listening_on("127.0.0.1", 0)
        ports.append(listening.getsockname()[1])
        http = HttpServer(PublicFiles(Path("/nowhere")), listening, tls=certificates.for_http)
        tasks = [
            asyncio.create_task(http.run(grace_seconds=1)),
            asyncio.create_task(certificates.follow(look_seconds=0.02)),
        ]
        ready.set()
        await until.wait()
        for task in tasks:
            task.cancel()
        await asyncio.gather(server.stop(None), *tasks, return_exceptions=True)

    thread = threading.Thread(target=lambda: loop.run_until_complete(run()))
    thread.start()
    assert ready.wait(10)
    try:
        yield ports
    finally:
        loop.call_soon_threadsafe(until.set)
        thread.join(10)
        loop.close()


def shown_at(port: int) -> str:
    """The certificate that a server shows, PEM."""
    return ssl.get_server_certificate(("127.0.0.1", port), timeout=10)


def put(source: Path, target: Path) -> None:
    """Puts a file in the place of another, as programs do that fetch certificates."""
    shutil.copy(source, target.with_suffix(".new"))
    target.with_suffix(".new").replace(target)


def test_a_new_certificate_is_shown_without_a_restart(
    first: Certificates, second: Certificates
) -> None:
    served = ServedCertificates(first.certificate, first.key, None)
    before, after = first.certificate.read_text(), second.certificate.read_text()
    with serving(served) as ports:
        assert [shown_at(port) for port in ports] == [before, before]

        put(second.key, first.key)
        put(second.certificate, first.certificate)

        wait_for(ports, after)
        assert [shown_at(port) for port in ports] == [after, after]


def test_files_that_do_not_go_together_change_nothing_until_they_do(
    first: Certificates, second: Certificates, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    served = ServedCertificates(first.certificate, first.key, None)
    before, after = first.certificate.read_text(), second.certificate.read_text()
    with serving(served) as ports:
        put(second.certificate, first.certificate)
        ends = monotonic() + 10
        while "certificates.refused" not in caplog.text:
            assert monotonic() < ends
        assert [shown_at(port) for port in ports] == [before, before]

        put(second.key, first.key)

        wait_for(ports, after)
    assert "certificates.changed" in caplog.text


def wait_for(ports: list[int], certificate: str) -> None:
    ends = monotonic() + 10
    while [shown_at(port) for port in ports] != [certificate] * len(ports):
        assert monotonic() < ends


def test_without_a_certificate_there_is_no_tls() -> None:
    assert ServedCertificates.of(Tls()) is None


def test_clients_must_show_a_certificate_of_the_authority_over_http(
    first: Certificates, second: Certificates
) -> None:
    served = ServedCertificates(first.certificate, first.key, second.ca)
    with serving(served) as (_, port):
        assert said(port, first, second)
        for other in (None, first):
            assert said(port, first, other) == b""


def said(port: int, server: Certificates, client: Certificates | None) -> bytes:
    """What a server answers to a client with a certificate or without; nothing if it closes."""
    context = ssl.create_default_context(cafile=server.ca)
    if client is not None:
        context.load_cert_chain(client.certificate, client.key)
    with (
        suppress(OSError),  # a reset, or an alert
        socket.create_connection(("127.0.0.1", port), 10) as plain,
        context.wrap_socket(plain, server_hostname="127.0.0.1") as connection,
    ):
        connection.sendall(b"GET /x HTTP/1.1\r\nHost: x\r\n\r\n")
        return connection.recv(1000)
    return b""


@pytest.mark.parametrize("what", ["certificate", "key", "client_ca", "another's key", "password"])
@pytest.mark.parametrize("how", ["no PEM", "not there"])
def test_files_that_cannot_be_used_are_told(
    what: str, how: str, first: Certificates, second: Certificates
) -> None:
    files = {"certificate": first.certificate, "key": first.key, "client_ca": second.ca}
    if what == "another's key":
        files["key"] = second.key
    elif what == "password":
        locked = load_pem_private_key(first.key.read_bytes(), None).private_bytes(
            Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret")
        )
        first.key.write_bytes(locked)
    elif how == "no PEM":
        files[what].write_text("nothing")
    else:
        files[what].unlink()

    with pytest.raises(ServerError, match=r"cannot be (used|read)"):
        ServedCertificates(**files)

"""A real server in a process of its own, and the bytes that go to it and come back.

    with Server(folder, tls=True) as server, Wire(server.port) as wire:
        transport = server.transport(wire.port)
        ...
        wire.sent, wire.received            # as TCP carries them: HTTP/2 and TLS included

`messages(transport)` counts the messages alone.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import math
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import grpc
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from pocketlens.closing import Closing
from pocketlens.sync.credentials import Credentials
from pocketlens.sync.grpc_transport import GrpcTransport

# One client asks what many devices would, and nobody reads a line of log about each.
_SETTINGS = {
    "POCKETLENS_SERVER_LIMITS_CLIENT_RATE": "100000",
    "POCKETLENS_SERVER_LIMITS_CLIENT_BURST": "100000",
    "POCKETLENS_SERVER_LOGS_LEVEL": "WARNING",
}


class Server(Closing):
    """`pocketlens-server serve` on the loopback."""

    def __init__(self, folder: Path, work: Path, *, tls: bool, port: int = 0) -> None:
        program = "from pocketlens_server.cli import main; main()"
        command = [sys.executable, "-c", program, "serve", "--insecure", "--data", str(folder)]
        self.certificate: bytes | None = None
        if tls:
            certificate, key = work / "cert.pem", work / "key.pem"
            _write_certificate(certificate, key)
            self.certificate = certificate.read_bytes()
            command += ["--tls-cert", str(certificate), "--tls-key", str(key)]
        self._process = subprocess.Popen(
            [*command, "--port", str(port)],
            stderr=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            text=True,
            env=os.environ | _SETTINGS,
        )
        assert self._process.stderr is not None
        said = self._process.stderr.readline()
        if "serving" not in said:
            raise SystemExit(f"the server does not start: {said}")
        self.port = int(said.rpartition(":")[2])

    def transport(self, port: int) -> GrpcTransport:
        """A device's way to it, by the port of a `Wire`."""
        credentials = Credentials(self.certificate)
        return GrpcTransport(f"127.0.0.1:{port}", "main", credentials=credentials)

    def kill(self) -> None:
        """Ends the server without a word."""
        self._process.kill()
        self._process.wait()

    def close(self) -> None:
        """Ends the server."""
        self._process.terminate()
        self._process.wait(20)


class Wire(Closing):
    """Passes TCP connections on to a port of this machine, and counts what goes by."""

    def __init__(self, to: int, *, lasts: Callable[[], float] = lambda: math.inf) -> None:
        """Opens a port.

        Args:
            to: Where connections go on to.
            lasts: Bytes from the server after which a connection is cut, asked for each anew.
        """
        self._to, self._lasts = to, lasts
        self.sent, self.received = 0, 0
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port = self._listening.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        """Takes no more connections."""
        self._listening.close()

    def _accept(self) -> None:
        while True:
            try:
                device, _ = self._listening.accept()
            except OSError:
                return
            try:
                server = socket.create_connection(("127.0.0.1", self._to))
            except OSError:
                device.close()
                continue
            lasts = self._lasts()
            for way in ((device, server, "sent", math.inf), (server, device, "received", lasts)):
                threading.Thread(target=self._pass, args=way, daemon=True).start()

    def _pass(self, source: socket.socket, target: socket.socket, name: str, lasts: float) -> None:
        try:
            while lasts > 0 and (data := source.recv(int(min(1 << 16, lasts)))):
                lasts -= len(data)
                setattr(self, name, getattr(self, name) + len(data))
                target.sendall(data)
            target.shutdown(socket.SHUT_RDWR if lasts == 0 else socket.SHUT_WR)
        except OSError:
            target.close()


@dataclass
class Messages:
    """Bytes of the messages of one device, without frames and headers."""

    sent: int = 0
    received: int = 0


@contextmanager
def counted() -> Iterator[Messages]:
    """Counts the messages of every channel that is opened inside."""
    found = Messages()

    class Counter(grpc.UnaryUnaryClientInterceptor, grpc.UnaryStreamClientInterceptor):
        def intercept_unary_unary(self, continuation, details, request):  # type: ignore[no-untyped-def]
            found.sent += request.ByteSize()
            answer = continuation(details, request)
            found.received += answer.result().ByteSize()
            return answer

        def intercept_unary_stream(self, continuation, details, request):  # type: ignore[no-untyped-def]
            found.sent += request.ByteSize()
            for message in continuation(details, request):
                found.received += message.ByteSize()
                yield message

    opened = grpc.insecure_channel
    grpc.insecure_channel = lambda *args, **options: grpc.intercept_channel(
        opened(*args, **options), Counter()
    )
    try:
        yield found
    finally:
        grpc.insecure_channel = opened


def _write_certificate(certificate: Path, key: Path) -> None:
    """Of 127.0.0.1, for an hour."""
    private = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(private.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(minutes=5))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), True)
        .sign(private, hashes.SHA256())
    )
    certificate.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    key.write_bytes(
        private.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )

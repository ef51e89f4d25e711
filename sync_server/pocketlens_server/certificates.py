"""The server's certificate, for gRPC and HTTP, read again where its files have changed.

    certificates = ServedCertificates.of(config.tls)
    server.add_secure_port(address, certificates.for_grpc())
    HttpServer(files, listening, tls=certificates.for_http)
    await certificates.follow()             # until it is cancelled

What programs like certbot put there a month before the old one ends is shown to whoever connects
next; connections that are open stay. Which clients are trusted is read once.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import asyncio
import logging
import ssl
from pathlib import Path

import grpc

from pocketlens.errors import ServerError
from pocketlens_server.config import Tls

logger = logging.getLogger(__name__)

LOOK_SECONDS = 10.0  # from one look at the files to the next


class ServedCertificates:
    """A certificate and its key that are shown, and the authority that clients must show one of.

    Attributes:
        for_http: What connections over HTTP are encrypted with.
    """

    def __init__(self, certificate: Path, key: Path, client_ca: Path | None) -> None:
        """Reads the files.

        Raises:
            ServerError: One cannot be read, or is nothing of the kind, or the key is another's.
        """
        self._certificate, self._key = certificate, key
        self._client_ca = None if client_ca is None else _read(client_ca)
        self.for_http = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        if client_ca is not None:
            self.for_http.verify_mode = ssl.CERT_REQUIRED
            try:
                self.for_http.load_verify_locations(client_ca)
            except OSError as exc:  # ssl.SSLError is one
                raise ServerError(f"The authority {client_ca} cannot be used: {exc}.") from exc
        self._loaded = self._stamps()
        self._newer: grpc.ServerCertificateConfiguration | None = None
        self._load()

    @classmethod
    def of(cls, tls: Tls) -> ServedCertificates | None:
        """Those that are set; None where there is no TLS."""
        if tls.certificate is None or tls.key is None:
            return None
        return cls(tls.certificate, tls.key, tls.client_ca)

    def for_grpc(self) -> grpc.ServerCredentials:
        """What connections over gRPC are encrypted with."""
        first, self._newer = self._newer, None
        return grpc.dynamic_ssl_server_credentials(
            first, self._take_newer, require_client_authentication=self._client_ca is not None
        )

    async def follow(self, look_seconds: float = LOOK_SECONDS) -> None:
        """Reads the files again when they have changed, until it is cancelled.

        Files that do not go together, as while they are being replaced, leave what was shown.
        """
        while True:
            await asyncio.sleep(look_seconds)
            stamps = self._stamps()
            if stamps == self._loaded:
                continue
            try:
                self._load()
            except ServerError as exc:
                logger.warning("certificates.refused error=%s", exc)
            else:
                logger.info("certificates.changed certificate=%s", self._certificate)
                self._loaded = stamps

    def _load(self) -> None:
        try:
            # What fails half-way would leave a context that is in use with half of it.
            for context in (ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), self.for_http):
                # A password keeps a key that needs one from asking for it on a terminal.
                context.load_cert_chain(self._certificate, self._key, password="")
        except OSError as exc:  # ssl.SSLError is one
            raise ServerError(
                f"The certificate {self._certificate} and its key cannot be used: {exc}."
            ) from exc
        # gRPC itself says nothing of a key that is another's.
        pair = (_read(self._key), _read(self._certificate))
        self._newer = grpc.ssl_server_certificate_configuration([pair], self._client_ca)

    def _take_newer(self) -> grpc.ServerCertificateConfiguration | None:
        """What gRPC asks for at each handshake; None for what it has."""
        newer, self._newer = self._newer, None
        return newer

    def _stamps(self) -> list[tuple[int, int]]:
        """What tells each file from the one that was there before."""
        return [_stamp(path) for path in (self._certificate, self._key)]


def _stamp(path: Path) -> tuple[int, int]:
    try:
        found = path.stat()
    except OSError:  # it is being replaced
        return 0, 0
    return found.st_ino, found.st_mtime_ns


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as exc:
        raise ServerError(f"The file {path} cannot be read: {exc.strerror}.") from exc

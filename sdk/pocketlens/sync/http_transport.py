"""Files of a catalogue over HTTP: from a server, or any web server or CDN that has a copy.

The only module that imports urllib3.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import socket
from collections.abc import Generator, Iterator
from contextlib import ExitStack, suppress
from http import HTTPStatus
from http.client import RemoteDisconnected
from urllib.parse import urljoin, urlsplit

import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import (
    ConnectTimeoutError,
    HTTPError,
    ProtocolError,
    ReadTimeoutError,
    SSLError,
)

from pocketlens.errors import ServerUnavailable, SyncError, TransportError
from pocketlens.formats.manifest import PIECE_BYTES, Blob
from pocketlens.options import Deadlines
from pocketlens.sync.credentials import Credentials, is_loopback
from pocketlens.sync.deadlines import Cutter
from pocketlens.sync.transports import CHUNK_BYTES, AtHand

_REDIRECTS = 3
_ABSENT = frozenset({HTTPStatus.FORBIDDEN, HTTPStatus.NOT_FOUND})
_PUSHBACK = frozenset({HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE})


class HttpTransport:
    """The catalogue's folder under an address, such as https://cdn.shop.example/public/main."""

    def __init__(
        self,
        address: str,
        *,
        credentials: Credentials | None = None,
        deadlines: Deadlines | None = None,
    ) -> None:
        """Connects when it is first used.

        Args:
            address: http:// or https://.
            credentials: A token goes to this address alone, not to where it redirects.
            deadlines: `Deadlines()` if None.

        Raises:
            SyncError: It is no address, or a token would be sent in the clear.
        """
        self._address = address.rstrip("/")
        self._deadlines = deadlines or Deadlines()
        credentials = credentials or Credentials()
        scheme, host = _parts(address)
        is_private = scheme == "https" or is_loopback(host)
        credentials.check_sent(address, is_private=is_private)
        token = credentials.token
        self._authorization = {"Authorization": f"Bearer {token}"} if token else {}
        self._line = _Line()
        self._whole: _Whole | None = None
        self._pool = self._line.pool(
            timeout=urllib3.Timeout(
                connect=self._deadlines.connect_seconds, read=self._deadlines.idle_seconds
            ),
            ca=credentials.ca,
        )

    def poll(self, have: AtHand) -> None:
        """A server of plain files does not ask."""

    def file(self, name: str) -> Iterator[bytes] | None:
        """See `pocketlens.sync.transports.Transport`."""
        self._end_whole()
        return self._opened(f"{self._address}/{name}")

    def piece(self, blob: Blob, number: int) -> Iterator[bytes]:
        """See `pocketlens.sync.transports.Transport`."""
        first = number * PIECE_BYTES
        size = blob.piece_size(number)
        url = f"{self._address}/blobs/{blob.sha256.hex()}"
        part = range(first, first + size)
        if self._whole is not None and self._whole.has(url, part):
            return self._whole.read(part)
        self._end_whole()
        chunks = self._opened(url, None if size == blob.size else part)
        if chunks is None:
            raise TransportError(f"There is no {url}.")
        return chunks

    def close(self) -> None:
        """Closes connections; closing again is no error."""
        self._end_whole()
        self._pool.clear()

    def _end_whole(self) -> None:
        if self._whole is not None:
            self._whole.close()
            self._whole = None

    def _opened(self, url: str, part: range | None = None) -> Iterator[bytes] | None:
        """A file, or a part of it; None where there is no such file."""
        with ExitStack() as held:
            cutter = held.enter_context(Cutter(self._deadlines.call_seconds, self._line.cut))
            try:
                response = self._response(url, part)
            except (HTTPError, OSError, ValueError) as exc:  # a redirect to what is no address
                raise self._failed(url, exc, cutter) from exc
            held.callback(self._line.done, response)
            if response.status in _ABSENT:
                return None
            body = self._body(url, response, cutter, held.pop_all())
            if part is None or response.status == HTTPStatus.PARTIAL_CONTENT:
                return body
            self._whole = _Whole(url, body)  # not every server sends parts
            return self._whole.read(part)

    def _body(
        self,
        url: str,
        response: urllib3.BaseHTTPResponse,
        cutter: Cutter,
        held: ExitStack,
    ) -> Generator[bytes, None, None]:
        """The body; then what was held is let go."""
        with held:
            try:
                while chunk := response.read1(CHUNK_BYTES, decode_content=False):
                    yield chunk
            except (HTTPError, OSError) as exc:
                raise self._failed(url, exc, cutter) from exc

    def _response(self, url: str, part: range | None) -> urllib3.BaseHTTPResponse:
        """The answer, its body not read yet, wherever it is redirected to."""
        headers = {"Accept-Encoding": "identity"}
        if part is not None:
            headers["Range"] = f"bytes={part[0]}-{part[-1]}"
        place = url
        for _ in range(1 + _REDIRECTS):
            own = self._authorization if place == url else {}
            response = self._asked(place, headers | own)
            location = response.get_redirect_location()
            if not location:
                return self._checked(url, response)
            self._line.done(response)
            place = urljoin(place, location)
            if url.startswith("https:") and not place.startswith("https:"):
                raise TransportError(f"{url} redirects to an address without TLS: {place}.")
        raise TransportError(f"{url} redirects more than {_REDIRECTS} times.")

    def _asked(self, url: str, headers: dict[str, str]) -> urllib3.BaseHTTPResponse:
        """The answer at one place."""
        try:
            return self._pool.request(
                "GET", url, headers=headers, preload_content=False, redirect=False
            )
        except ProtocolError as exc:
            if not (self._line.is_reused and isinstance(exc.args[-1], RemoteDisconnected)):
                raise
        # It closed a connection that had served before, while this request was on its way: a new
        # one is no retry of what failed (RFC 9112, section 9.3.1).
        self._pool.clear()
        return self._pool.request(
            "GET", url, headers=headers, preload_content=False, redirect=False
        )

    def _checked(self, url: str, response: urllib3.BaseHTTPResponse) -> urllib3.BaseHTTPResponse:
        """The answer, if it can be one to what was asked."""
        status, kind = response.status, response.headers.get("Content-Type", "")
        if status in _ABSENT:
            return response
        error: TransportError | None = None
        if status in _PUSHBACK:
            error = ServerUnavailable(f"{url} cannot be reached: it answers {status}.")
        elif status not in (HTTPStatus.OK, HTTPStatus.PARTIAL_CONTENT):
            error = TransportError(f"{url} answers {status}.")
        elif kind.startswith("text/html"):
            error = TransportError(
                f"{url} answers with a page. The network may ask to sign in first."
            )
        elif "Content-Length" not in response.headers and not response.chunked:
            # The library takes a head that was cut for a whole one; without a length, so a body.
            error = ServerUnavailable(f"{url} broke off, or does not say how much it sends.")
        if error is not None:
            self._line.done(response)
            raise error
        return response

    def _failed(self, url: str, exc: Exception, cutter: Cutter) -> TransportError:
        deadlines = self._deadlines
        if cutter.is_late:
            return TransportError(f"{url} took longer than {deadlines.call_seconds:g} s.")
        if isinstance(exc, ReadTimeoutError):
            return TransportError(f"{url} has sent nothing for {deadlines.idle_seconds:g} s.")
        if isinstance(exc, ConnectTimeoutError):
            return TransportError(
                f"{url} cannot be reached within {deadlines.connect_seconds:g} s."
            )
        if isinstance(exc, SSLError):
            return TransportError(f"{url} cannot be trusted: {exc}. Is --ca right, or needed?")
        return ServerUnavailable(f"{url} cannot be reached, or broke off: {exc}.")


def _parts(address: str) -> tuple[str, str]:
    """Scheme and host."""
    with suppress(ValueError):
        url = urlsplit(address)
        _ = url.port  # which says whether it is one
        if url.hostname:
            return url.scheme, url.hostname
    raise SyncError(f"Expected an address such as https://HOST/NAME. Received {address!r}.")


class _Whole:
    """A file that came whole though a part was asked for; later parts are read on from there."""

    def __init__(self, url: str, chunks: Generator[bytes, None, None]) -> None:
        self._url, self._chunks = url, chunks
        self._at, self._left = 0, b""  # place of `_left`, which came and was not asked for yet

    def has(self, url: str, part: range) -> bool:
        """Whether a part of a file is still to come."""
        return url == self._url and self._at <= part.start

    def read(self, part: range) -> Iterator[bytes]:
        """Yields a part."""
        while self._at < part.stop:
            if not self._left:
                url, self._url = self._url, ""  # what ends, or breaks off, has nothing more
                self._left = next(self._chunks, b"")
                if not self._left:
                    return
                self._url = url
            stop = part.stop if self._at >= part.start else part.start
            chunk, self._left = self._left[: stop - self._at], self._left[stop - self._at :]
            self._at += len(chunk)
            if stop == part.stop:
                yield chunk

    def close(self) -> None:
        """Lets the connection go."""
        self._chunks.close()


class _Line:
    """The socket that the call of the moment reads from, which another thread may cut.

    Attributes:
        is_reused: Whether an earlier call read from the same connection.
    """

    def __init__(self) -> None:
        self._socket: socket.socket | None = None
        self._last: socket.socket | None = None
        self.is_reused = False

    def pool(self, *, timeout: urllib3.Timeout, ca: bytes | None) -> urllib3.PoolManager:
        """Connections that tell this line which socket they read from."""
        line = self

        class Plain(HTTPConnection):
            def getresponse(self) -> urllib3.HTTPResponse:  # type: ignore[override] # as there
                line.reads_from(self)
                return super().getresponse()

        class Tls(HTTPSConnection):
            def getresponse(self) -> urllib3.HTTPResponse:  # type: ignore[override] # as there
                line.reads_from(self)
                return super().getresponse()

        class PlainPool(urllib3.HTTPConnectionPool):
            ConnectionCls = Plain

        class TlsPool(urllib3.HTTPSConnectionPool):
            ConnectionCls = Tls

        manager = urllib3.PoolManager(
            retries=False,  # `RetryingTransport` has a budget for them
            timeout=timeout,
            ca_cert_data=None if ca is None else ca.decode("ascii", "replace"),
        )
        manager.pool_classes_by_scheme = {"http": PlainPool, "https": TlsPool}
        return manager

    def reads_from(self, connection: HTTPConnection) -> None:
        """Takes the socket of a connection that has sent its request."""
        self.is_reused = connection.sock is self._last
        self._socket = self._last = connection.sock

    def cut(self) -> None:
        """Ends whatever is read; called from another thread."""
        if self._socket is not None:
            with suppress(OSError):  # it is closed already
                socket.socket.shutdown(self._socket, socket.SHUT_RDWR)

    def done(self, response: urllib3.BaseHTTPResponse) -> None:
        """Keeps the connection of a body that was read or empty, and closes any other."""
        self._socket = None
        if response.headers.get("Content-Length") == "0":
            response.drain_conn()
        response.close()

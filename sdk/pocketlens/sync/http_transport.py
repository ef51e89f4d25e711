"""Files of a catalogue over HTTP: from a server, or any web server or CDN that has a copy."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from collections.abc import Iterator

import urllib3
from urllib3.exceptions import HTTPError

from pocketlens.errors import TransportError
from pocketlens.formats.manifest import PIECE_BYTES, Blob
from pocketlens.sync.transports import CHUNK_BYTES, AtHand

CONNECT_SECONDS, READ_SECONDS = 10, 30
_ATTEMPTS = 3
_REDIRECTS = 3


class HttpTransport:
    """The catalogue's folder under an address, such as https://cdn.shop.example/public/main."""

    def __init__(self, address: str) -> None:
        self._address = address.rstrip("/")
        retries = urllib3.Retry(
            total=_ATTEMPTS, redirect=_REDIRECTS, backoff_factor=0.5, backoff_jitter=0.5
        )
        timeout = urllib3.Timeout(connect=CONNECT_SECONDS, read=READ_SECONDS)
        self._pool = urllib3.PoolManager(retries=retries, timeout=timeout)

    def poll(self, have: AtHand) -> None:
        """A server of plain files does not ask."""

    def file(self, name: str) -> Iterator[bytes] | None:
        """See `pocketlens.sync.transports.Transport`."""
        response = self._get(name, {})
        if response.status in (403, 404):
            response.release_conn()
            return None
        return self._chunks(response, name, 0)

    def piece(self, blob: Blob, number: int) -> Iterator[bytes]:
        """See `pocketlens.sync.transports.Transport`."""
        name = f"blobs/{blob.sha256.hex()}"
        first = number * PIECE_BYTES
        last = first + blob.piece_size(number) - 1
        is_all = last - first + 1 == blob.size
        response = self._get(name, {} if is_all else {"Range": f"bytes={first}-{last}"})
        return self._chunks(response, name, first if response.status == 200 else 0)

    def close(self) -> None:
        """Closes connections; closing again is no error."""
        self._pool.clear()

    def _get(self, name: str, headers: dict[str, str]) -> urllib3.BaseHTTPResponse:
        try:
            return self._pool.request(
                "GET",
                f"{self._address}/{name}",
                headers={"Accept-Encoding": "identity", **headers},
                preload_content=False,
            )
        except HTTPError as exc:
            raise TransportError(f"{self._address} cannot be reached: {exc}.") from exc

    def _chunks(
        self, response: urllib3.BaseHTTPResponse, name: str, skipped: int
    ) -> Iterator[bytes]:
        """The body, without its first `skipped` bytes: not every server sends a part."""
        try:
            if response.status not in (200, 206):
                raise TransportError(f"{self._address}/{name} answers {response.status}.")
            for chunk in response.stream(CHUNK_BYTES):
                passed = min(skipped, len(chunk))
                skipped -= passed
                if chunk[passed:]:
                    yield chunk[passed:]
        except HTTPError as exc:
            raise TransportError(f"{self._address}/{name} broke off: {exc}.") from exc
        finally:
            response.close()

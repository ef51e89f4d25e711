"""Networks and servers that fail, for an app's own tests: each around a transport.

    with pytest.raises(pocketlens.errors.TransportError):
        lens.sync(transport=CutAfter(server, 1000))

A server that stands still at an old version is `MemoryServer.at`.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from collections.abc import Iterator

from pocketlens.errors import ServerUnavailable
from pocketlens.formats.manifest import Blob
from pocketlens.sync.transports import AtHand, Transport


class Unavailable:
    """A server that nobody reaches."""

    def poll(self, have: AtHand) -> None:
        """Raises `ServerUnavailable`."""
        raise _gone()

    def file(self, name: str) -> Iterator[bytes] | None:
        """Raises `ServerUnavailable`."""
        raise _gone()

    def piece(self, blob: Blob, number: int) -> Iterator[bytes]:
        """Raises `ServerUnavailable`."""
        raise _gone()

    def close(self) -> None:
        """Holds nothing."""


class CutAfter:
    """A connection that is cut after so many bytes, and never comes back."""

    def __init__(self, transport: Transport, size_bytes: int) -> None:
        """Takes a transport, which it closes.

        Args:
            transport: That is asked.
            size_bytes: Of files and pieces together, that still come.
        """
        self._transport, self._left = transport, size_bytes

    def poll(self, have: AtHand) -> None:
        """See `pocketlens.sync.transports.Transport`."""
        self._transport.poll(have)

    def file(self, name: str) -> Iterator[bytes] | None:
        """See `pocketlens.sync.transports.Transport`."""
        found = self._transport.file(name)
        return None if found is None else self._cut(found)

    def piece(self, blob: Blob, number: int) -> Iterator[bytes]:
        """See `pocketlens.sync.transports.Transport`."""
        return self._cut(self._transport.piece(blob, number))

    def close(self) -> None:
        """See `pocketlens.sync.transports.Transport`."""
        self._transport.close()

    def _cut(self, chunks: Iterator[bytes]) -> Iterator[bytes]:
        for chunk in chunks:
            passed = chunk[: self._left]
            self._left -= len(passed)
            yield passed
            if len(passed) < len(chunk):
                raise _gone()


class WrongBytes:
    """A way on which the first byte of every piece is changed."""

    def __init__(self, transport: Transport) -> None:
        """Takes a transport, which it closes."""
        self._transport = transport

    def poll(self, have: AtHand) -> None:
        """See `pocketlens.sync.transports.Transport`."""
        self._transport.poll(have)

    def file(self, name: str) -> Iterator[bytes] | None:
        """See `pocketlens.sync.transports.Transport`."""
        return self._transport.file(name)

    def piece(self, blob: Blob, number: int) -> Iterator[bytes]:
        """See `pocketlens.sync.transports.Transport`."""
        data = bytearray(b"".join(self._transport.piece(blob, number)))
        data[0] ^= 1
        yield bytes(data)

    def close(self) -> None:
        """See `pocketlens.sync.transports.Transport`."""
        self._transport.close()


def _gone() -> ServerUnavailable:
    return ServerUnavailable("The server cannot be reached: a test says so.")

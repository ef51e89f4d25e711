"""HTTP/2 by hand, as far as callers of gRPC need it who do what no library lets them do (PURE).

    connection.sendall(opening() + call(1, head("/pkg.Service/Method", {}), message(b"")))
    for each in frames.received(connection.recv(65536)):
        if each.kind == HEADERS and each.ends_stream: grpc_status(each.payload)

Header blocks are written without compression, and the peer is told to write none.
Source: RFC 9113 and 7541; gRPC over HTTP/2 (PROTOCOL-HTTP2.md of gRPC).
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from typing import NamedTuple

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, RST_STREAM, SETTINGS, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = (
    0,
    1,
    3,
    4,
    6,
    7,
    8,
    9,
)
ACK = END_STREAM = 1
END_HEADERS = 4
CANCEL = struct.pack(">I", 8)  # what a caller says who gives up

_TABLE_SIZE, _WINDOW_SIZE = 1, 4  # settings
_MOST_WINDOW = (1 << 31) - 1
_FRAME_BYTES = 1 << 14  # the most of a peer that has not allowed more
_FIRST_WINDOW = (1 << 16) - 1
# POST and http by the static table, and the numbers of names there.
_METHOD_AND_SCHEME, _AUTHORITY, _PATH = b"\x83\x86", b"\x01", b"\x04"


class Frame(NamedTuple):
    """One frame, as it came."""

    kind: int
    flags: int
    stream: int
    payload: bytes

    @property
    def ends_stream(self) -> bool:
        return self.kind in (DATA, HEADERS) and bool(self.flags & END_STREAM)


class Frames:
    """Bytes to frames, wherever they were cut."""

    def __init__(self) -> None:
        self._rest = b""

    def received(self, data: bytes) -> Iterator[Frame]:
        """The frames that are whole with these bytes."""
        data = self._rest + data
        at = 0
        while len(data) - at >= 9:
            end = at + 9 + int.from_bytes(data[at : at + 3], "big")
            if end > len(data):
                break
            stream = int.from_bytes(data[at + 5 : at + 9], "big")
            yield Frame(data[at + 3], data[at + 4], stream, data[at + 9 : end])
            at = end
        self._rest = data[at:]


def frame(kind: int, payload: bytes = b"", *, flags: int = 0, stream: int = 0) -> bytes:
    """The bytes of a frame."""
    return len(payload).to_bytes(3, "big") + struct.pack(">BBI", kind, flags, stream) + payload


def opening(window: int = _MOST_WINDOW) -> bytes:
    """How a connection begins, with room for so many bytes of each answer."""
    settings = struct.pack(">HIHI", _TABLE_SIZE, 0, _WINDOW_SIZE, window)
    more = struct.pack(">I", _MOST_WINDOW - _FIRST_WINDOW)
    return PREFACE + frame(SETTINGS, settings) + frame(WINDOW_UPDATE, more)


def head(path: str, more: Mapping[str, str]) -> bytes:
    """The header block of a call."""
    block = _METHOD_AND_SCHEME + _PATH + _text(path) + _AUTHORITY + _text("localhost")
    return block + fields({"te": "trailers", "content-type": "application/grpc", **more})


def fields(every: Mapping[str, str]) -> bytes:
    """A part of a header block."""
    return b"".join(b"\x00" + _text(name) + _text(each) for name, each in every.items())


def message(data: bytes) -> bytes:
    """A message as gRPC sends it, uncompressed."""
    return struct.pack(">BI", 0, len(data)) + data


def call(stream: int, block: bytes, sent: bytes) -> bytes:
    """The frames of a whole call; more than 4 MiB are not let in at once."""
    frames = [frame(HEADERS, block, flags=END_HEADERS, stream=stream)]
    for at in range(0, len(sent), _FRAME_BYTES):
        frames.append(frame(DATA, sent[at : at + _FRAME_BYTES], stream=stream))
    return b"".join([*frames, frame(DATA, flags=END_STREAM, stream=stream)])


def acknowledged(each: Frame) -> bytes | None:
    """What a peer wants to hear of a frame; None of most."""
    if each.kind == SETTINGS and not each.flags & ACK:
        return frame(SETTINGS, flags=ACK)
    if each.kind == PING and not each.flags & ACK:
        return frame(PING, each.payload, flags=ACK)
    return None


def grpc_status(block: bytes) -> int | None:
    """The status in a header block that ends a call; None where there is none."""
    name = b"grpc-status"
    at = block.find(name)
    if at < 0:
        return None
    at += len(name)
    return int(block[at + 1 : at + 1 + block[at]])


def _text(text: str) -> bytes:
    """A string of a header block: its length, 7 bits and as many more as it needs, and itself."""
    data, size = text.encode(), len(text.encode())
    if size < 127:
        return bytes([size]) + data
    encoded, rest = bytearray([127]), size - 127
    while rest >= 128:
        encoded.append(rest % 128 + 128)
        rest //= 128
    return bytes([*encoded, rest]) + data

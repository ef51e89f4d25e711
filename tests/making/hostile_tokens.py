"""Bytes that lie and are no protobuf: mutants of parts and of HTTP, and what reads them.

    for mutant in READERS["part"].mutants(2_000, random.Random(33)):
        outcome(READERS["part"], mutant)

What is right falls into tokens: lengths and texts, or names, numbers and what is between them. A
mutant has one to four of them doubled, dropped, moved, exchanged, or one that lies in their place.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import random
import re
import socket
import struct
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass

from pocketlens.errors import CatalogError
from pocketlens.formats import parts
from pocketlens.formats.parts import ImagePart, OfferPart, Part, PlacementPart, ProductPart
from pocketlens_server.http import messages
from pocketlens_server.http.messages import Refused
from tests.making.hostile_messages import MOST_SECONDS, NUMBERS, TEXTS, Reader


@dataclass(frozen=True)
class TokenReader(Reader):
    """A reader of ours of what is no protobuf.

    Attributes:
        tokens: Takes what is right apart.
        lies: Tokens to put anywhere.
    """

    tokens: Callable[[bytes], list[bytes]]
    lies: Sequence[bytes]

    def mutants(self, count: int, rng: random.Random) -> Iterator[bytes]:
        seeds = [self.tokens(seed) for seed in self.seeds()]
        for number in range(count):
            made = list(seeds[number % len(seeds)])
            for _ in range(rng.randint(1, 4)):
                self._mutate(made, rng)
            yield b"".join(made)

    def _mutate(self, tokens: list[bytes], rng: random.Random) -> None:
        place, other = rng.randrange(len(tokens)), rng.randrange(len(tokens))
        match rng.randrange(7):
            case 0:
                tokens.insert(other, tokens[place])
            case 1 if len(tokens) > 1:
                del tokens[place]
            case 2:
                tokens[place], tokens[other] = tokens[other], tokens[place]
            case 3:
                tokens[place] = tokens[place][: len(tokens[place]) // 2]
            case 4:
                tokens[place:] = [b"".join(tokens[place:])[: rng.randrange(40)]]
            case 5:
                tokens.insert(place, rng.choice(self.lies))
            case _:
                tokens[place] = rng.choice(self.lies)


# --- parts of a catalogue's state -----------------------------------------------------------------

PARTS: tuple[Part, ...] = (
    ImagePart(7, "tea-007", "https://shop.example/tea-007.jpg", (3, 9, 70_000), bytes(range(16))),
    PlacementPart(7, 12),
    ProductPart(9, "tea", "Green tea", "drinks", "", {"colour": "green", "size": "100 g"}),
    OfferPart(9, 1250, "EUR", 3),
    OfferPart(9, parts.UNKNOWN, "", parts.UNKNOWN),
)
_PART_LIES = (
    *(struct.pack("<I", number) for number in NUMBERS if number < 1 << 32),
    *(struct.pack("<Q", number) for number in NUMBERS),
    *(struct.pack("<I", len(text)) + text for text in TEXTS),
    *TEXTS,
    *(bytes([tag]) for tag in range(6)),
)


def _part_tokens(data: bytes) -> list[bytes]:
    match parts.decode(data):
        case ImagePart(_, id_, url, keys, code):
            sizes = [4, len(id_), 4, len(url), *[4] * (1 + len(keys)), 4, len(code)]
        case ProductPart(_, id_, title, category, url, attributes):
            texts = [each for pair in sorted(attributes.items()) for each in pair]
            sizes = [*_sizes(id_, title, category, url), 4, *_sizes(*texts)]
        case OfferPart():
            sizes = [8, 3, 8]
        case PlacementPart():
            sizes = [4]
    return _cut(data, [1, 4, *sizes])  # after tag and key


def _sizes(*texts: str) -> list[int]:
    return [size for text in texts for size in (4, len(text.encode()))]


def _cut(data: bytes, sizes: list[int]) -> list[bytes]:
    found, at = [], 0
    for size in sizes:
        found.append(data[at : at + size])
        at += size
    assert at == len(data)
    return found


# --- heads of HTTP --------------------------------------------------------------------------------

NAME = "/main/metadata/timestamp.json"
_REQUESTS = (
    f"GET {NAME} HTTP/1.1\r\nHost: shop.example\r\nAccept-Encoding: identity\r\n\r\n",
    f'HEAD {NAME}?v=1 HTTP/1.1\r\nHost: a:80\r\nIf-None-Match: "a", W/"b"\r\n\r\n',
    f'GET {NAME} HTTP/1.1\r\nHost: a\r\nRange: bytes=2-9\r\nIf-Range: "a"\r\n\r\n',
    f"GET {NAME} HTTP/1.0\r\nRange: bytes=-9\r\nConnection: keep-alive\r\n\r\n",
)
HTTP_LIES = (
    b"", b" ", b"\t", b"\0", b":", b"\n", b"\r", b"\r\n", b"\r\n\r\n", b"\r\n folded",
    b"\xff\xfe", b"\xc2\xb2", b"-1", b"+1", b"0", b"0x10", b"4, 5", b"9" * 30, b"9" * 5_000,
    b"18446744073709551616", b"bytes=5-4", b"bytes=0-1,5-6", b"*", b"../../etc/passwd", b"%2e%2e/",
    b"GET", b"POST", b"HTTP/0.9", b"HTTP/2.0", b"HTTP/1.1", b"chunked", b"gzip", b"close",
    b"Host: b\r\n", b"Content-Length: 4\r\n", b"Content-Length: 0\r\n", b"Connection: close\r\n",
    b"Transfer-Encoding: chunked\r\n", b"X: y\r\n" * 200, b"a" * 10_000,
)  # fmt: skip


def _request_tokens(data: bytes) -> list[bytes]:
    return [each for each in re.split(rb"(\r\n|: |[ ,;=?/-])", data) if each]


def http_requests() -> list[bytes]:
    """Of devices and CDNs that ask for a file."""
    return [each.encode() for each in _REQUESTS]


def _read_request(data: bytes) -> object:
    """As the server does, which reads to the first blank line."""
    head, _, _ = data.partition(b"\r\n\r\n")
    request = messages.parse(head + b"\r\n\r\n")
    messages.is_known(request, '"a"')
    return messages.byte_range(request, size=100, etag='"a"')


READERS = {
    "part": TokenReader(
        parts.decode,
        (CatalogError,),
        lambda: [parts.encode(each) for each in PARTS],
        _part_tokens,
        _PART_LIES,
    ),
    "request over HTTP": TokenReader(
        _read_request, (Refused,), http_requests, _request_tokens, HTTP_LIES
    ),
}

# What a hostile request over HTTP may be answered: nothing there has gone wrong.
STATUSES = frozenset({"200", "206", "304", "400", "404", "405", "416", "431"})


def http_answers(port: int, data: bytes) -> list[str]:
    """The statuses that a server answers; "none" where a whole head was not answered."""
    found, is_reset = bytearray(), True
    with socket.create_connection(("127.0.0.1", port), timeout=MOST_SECONDS) as connection:
        with suppress(ConnectionError):  # it has refused, and reads no more
            connection.sendall(data)
            connection.shutdown(socket.SHUT_WR)
        with suppress(ConnectionError):
            while chunk := connection.recv(1 << 16):
                found += chunk
            is_reset = False
    statuses = [each.decode() for each in re.findall(rb"HTTP/1\.1 (\d{3}) ", found)]
    is_unanswered = not (statuses or is_reset) and b"\r\n\r\n" in data
    return ["none"] if is_unanswered else statuses

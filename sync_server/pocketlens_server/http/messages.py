"""The part of HTTP/1.1 that plain files need: a head to a request, an answer to a head (PURE).

    request = parse(data)                      # a head, as it came, with its blank line
    byte_range(request, size=4096, etag='"a"')
    head(200, {"Content-Length": "4096"}, keeps_open=request.keeps_open)

Only GET and HEAD, which have no body: what could be read in two ways (RFC 9112, section 11.2) is
refused.
Source: RFC 9110 and 9112.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus

from pocketlens.errors import InvalidOperation

MAX_HEAD_BYTES = 8 << 10
MAX_HEADERS = 64

_REQUEST_LINE = re.compile(rb"([A-Z]{1,16}) (/[\x21-\x7e]*) HTTP/1\.([01])")
_HEADER = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([\x20-\x7e\x80-\xff\t]*)")
_RANGE = re.compile(r"bytes=([0-9]{0,18})-([0-9]{0,18})")


class Refused(InvalidOperation):
    """A request that is not answered as it asks.

    Attributes:
        status: Of the answer.
    """

    def __init__(self, status: HTTPStatus) -> None:
        self.status = status
        super().__init__(status.phrase)


@dataclass(frozen=True, slots=True)
class Request:
    """What is asked for.

    Attributes:
        method: GET or HEAD.
        path: As sent, without the query; nothing in it is decoded.
        headers: By name in small letters.
        keeps_open: Whether another request may follow.
    """

    method: str
    path: str
    headers: Mapping[str, str]
    keeps_open: bool


def parse(data: bytes) -> Request:
    """Reads a head, up to and including its blank line.

    Raises:
        Refused: It is none, or asks for what plain files do not do.
    """
    first, *lines = data.removesuffix(b"\r\n\r\n").split(b"\r\n")
    line = _REQUEST_LINE.fullmatch(first)
    if line is None:
        raise Refused(HTTPStatus.BAD_REQUEST)
    if len(lines) > MAX_HEADERS:
        raise Refused(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)
    headers: dict[str, str] = {}
    for each in lines:
        found = _HEADER.fullmatch(each)
        name = found[1].decode("ascii").lower() if found else ""
        if found is None or name in headers:
            raise Refused(HTTPStatus.BAD_REQUEST)
        headers[name] = found[2].decode("latin-1").strip()
    method, is_newer = line[1].decode("ascii"), line[3] == b"1"
    if is_newer and "host" not in headers:
        raise Refused(HTTPStatus.BAD_REQUEST)
    if "transfer-encoding" in headers or headers.get("content-length", "0") != "0":
        raise Refused(HTTPStatus.BAD_REQUEST)
    if method not in ("GET", "HEAD"):
        raise Refused(HTTPStatus.METHOD_NOT_ALLOWED)
    path = line[2].decode("ascii").partition("?")[0]
    closes = "close" in headers.get("connection", "").lower()
    return Request(method, path, headers, is_newer and not closes)


def byte_range(request: Request, *, size: int, etag: str) -> range | None:
    """Which bytes of a file are asked for; None for all of it.

    Several parts at once, and what is no range, are answered with the whole file (RFC 9110, 14.2).

    Args:
        request: With or without Range and If-Range.
        size: Of the file.
        etag: Of the file as it is.

    Raises:
        Refused: None of the bytes asked for is in the file.
    """
    found = _RANGE.fullmatch(request.headers.get("range", ""))
    if found is None or found[0] == "bytes=-" or request.headers.get("if-range", etag) != etag:
        return None
    first, last = found[1], found[2]
    if first and last and int(last) < int(first):
        return None
    if first:
        wanted = range(int(first), min(size, int(last) + 1) if last else size)
    else:
        wanted = range(max(0, size - int(last)), size)
    if not wanted:
        raise Refused(HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE)
    return wanted


def is_known(request: Request, etag: str) -> bool:
    """Whether the caller has the file as it is (If-None-Match)."""
    known = request.headers.get("if-none-match", "")
    return known == "*" or etag in (each.strip().removeprefix("W/") for each in known.split(","))


def head(status: HTTPStatus, headers: Mapping[str, str], *, keeps_open: bool) -> bytes:
    """The head of an answer, with its blank line."""
    lines = [f"HTTP/1.1 {status.value} {status.phrase}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    lines.append(f"Connection: {'keep-alive' if keeps_open else 'close'}")
    return "\r\n".join((*lines, "", "")).encode("latin-1")

"""Heads of requests: whole ones are read as they are meant, all others are refused."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from http import HTTPStatus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pocketlens_server.http.messages import Refused, Request, byte_range, head, is_known, parse

ETAG = '"abc"'


def asking(**headers: str) -> Request:
    return Request(
        "GET", "/", {name.replace("_", "-"): text for name, text in headers.items()}, True
    )


def test_a_request_is_read_as_it_is_meant() -> None:
    found = parse(
        b"GET /main/metadata/timestamp.json?v=1 HTTP/1.1\r\nHost: shop.example\r\n"
        b'If-None-Match:\t"a" \r\nConnection: keep-alive\r\n\r\n'
    )

    assert (found.method, found.path) == ("GET", "/main/metadata/timestamp.json")
    assert found.headers["if-none-match"] == '"a"'
    assert found.keeps_open


@pytest.mark.parametrize(
    ("lines", "keeps_open"),
    [
        (b"GET / HTTP/1.1\r\nHost: a", True),
        (b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Close", False),
        (b"GET / HTTP/1.0", False),
        (b"HEAD / HTTP/1.1\r\nHost: a\r\nContent-Length: 0", True),
    ],
)
def test_a_connection_stays_open_if_its_caller_lets_it(lines: bytes, keeps_open: bool) -> None:
    assert parse(lines + b"\r\n\r\n").keeps_open is keeps_open


@pytest.mark.parametrize(
    ("lines", "status"),
    [
        (b"", HTTPStatus.BAD_REQUEST),
        (b"GET /", HTTPStatus.BAD_REQUEST),
        (b"GET main HTTP/1.1\r\nHost: a", HTTPStatus.BAD_REQUEST),
        (b"GET / HTTP/2.0\r\nHost: a", HTTPStatus.BAD_REQUEST),
        (b"get / HTTP/1.1\r\nHost: a", HTTPStatus.BAD_REQUEST),
        (b"GET /\x00 HTTP/1.1\r\nHost: a", HTTPStatus.BAD_REQUEST),
        (b"GET / HTTP/1.1", HTTPStatus.BAD_REQUEST),
        (b"GET / HTTP/1.1\r\nHost: a\r\nHost: b", HTTPStatus.BAD_REQUEST),
        (b"GET / HTTP/1.1\r\nHost: a\r\n folded", HTTPStatus.BAD_REQUEST),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX : y", HTTPStatus.BAD_REQUEST),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX: a\nY: b", HTTPStatus.BAD_REQUEST),
        (b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 4", HTTPStatus.BAD_REQUEST),
        (b"GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked", HTTPStatus.BAD_REQUEST),
        (b"POST / HTTP/1.1\r\nHost: a", HTTPStatus.METHOD_NOT_ALLOWED),
        (
            b"GET / HTTP/1.1\r\nHost: a" + b"".join(b"\r\nX-%d: y" % n for n in range(64)),
            HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE,
        ),
    ],
)
def test_what_could_be_read_in_two_ways_is_refused(lines: bytes, status: HTTPStatus) -> None:
    with pytest.raises(Refused) as refused:
        parse(lines + b"\r\n\r\n")

    assert refused.value.status is status


@given(st.binary(max_size=200))
def test_nothing_but_a_refusal_comes_of_noise(noise: bytes) -> None:
    try:
        found = parse(b"GET /" + noise + b"\r\n\r\n")
    except Refused:
        return
    assert found.method == "GET"
    assert found.path.isprintable()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("bytes=0-0", range(1)),
        ("bytes=90-", range(90, 100)),
        ("bytes=90-1000", range(90, 100)),
        ("bytes=-10", range(90, 100)),
        ("bytes=-1000", range(100)),
        ("bytes=0-99", range(100)),
        ("bytes=5-4", None),
        ("bytes=-", None),
        ("bytes=0-1,5-6", None),
        ("lines=0-1", None),
        ("", None),
    ],
)
def test_a_range_is_what_it_says_or_the_whole_file(text: str, expected: range | None) -> None:
    assert byte_range(asking(range=text), size=100, etag=ETAG) == expected


@pytest.mark.parametrize("text", ["bytes=100-", "bytes=100-200", "bytes=-0"])
def test_a_range_beyond_the_file_is_refused(text: str) -> None:
    with pytest.raises(Refused) as refused:
        byte_range(asking(range=text), size=100, etag=ETAG)

    assert refused.value.status is HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE


def test_a_part_of_another_file_is_not_sent() -> None:
    same = asking(range="bytes=5-", if_range=ETAG)
    other = asking(range="bytes=5-", if_range='"other"')

    assert byte_range(same, size=10, etag=ETAG) == range(5, 10)
    assert byte_range(other, size=10, etag=ETAG) is None


@pytest.mark.parametrize(
    ("text", "known"),
    [(ETAG, True), (f'"x", W/{ETAG}', True), ("*", True), ('"abd"', False), ("", False)],
)
def test_what_is_known_is_not_sent_again(text: str, known: bool) -> None:
    assert is_known(asking(if_none_match=text), ETAG) is known


def test_a_head_ends_with_a_blank_line() -> None:
    made = head(HTTPStatus.OK, {"Content-Length": "3"}, keeps_open=False)

    assert made == b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nConnection: close\r\n\r\n"

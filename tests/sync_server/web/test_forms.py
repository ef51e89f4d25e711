"""Forms, as browsers, curl and attackers send them."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.making.asking import BOUNDARY, FORM, form
from urllib3.filepost import encode_multipart_formdata

from pocketlens.errors import QueryError
from pocketlens_server.web.forms import Form, read

NAMES = st.text(st.characters(categories=("L", "N")), min_size=1, max_size=20).filter(
    lambda name: name != "photo"
)
TEXTS = st.text(max_size=200).filter(lambda text: BOUNDARY not in text)


@given(photo=st.binary(max_size=4000), fields=st.dictionaries(NAMES, TEXTS, max_size=8))
def test_a_form_says_what_was_put_into_it(photo: bytes, fields: dict[str, str]) -> None:
    assert read(form(photo, fields), FORM) == Form(photo, tuple(fields.items()))


@given(photo=st.lists(st.sampled_from([b"\r\n", b"--", b"\r\n--", b"x", BOUNDARY[:9].encode()])))
def test_a_photo_may_hold_what_looks_like_an_edge(photo: list[bytes]) -> None:
    data = b"".join(photo)

    assert read(form(data, {"k": "3"}), FORM).photo == data


def test_a_form_of_another_program_is_read() -> None:
    fields = {"category": "Schöne Dinge", "photo": ("a b.jpg", bytes(range(256)), "image/jpeg")}

    body, content_type = encode_multipart_formdata(fields)

    assert read(body, content_type) == Form(bytes(range(256)), (("category", "Schöne Dinge"),))


def test_a_form_that_is_cut_anywhere_is_refused_or_no_worse() -> None:
    whole = form(b"photo", {"k": "3"})
    for length in range(len(whole) - 4):  # the last four are after the end
        with pytest.raises(QueryError):
            read(whole[:length], FORM)
    assert read(whole[:-2], FORM) == read(whole, FORM) == read(whole + b"more", FORM)


@given(st.binary(max_size=400))
def test_nothing_else_is_a_form(data: bytes) -> None:
    for body in (data, form(data, {})[:-6] + data):
        with suppress(QueryError):
            read(body, FORM)


@pytest.mark.parametrize(
    "content_type",
    [
        "multipart/form-data",
        "multipart/form-data; boundary=",
        "multipart/form-data; boundary=\xff",
        f"multipart/form-data; boundary={'x' * 71}",
        'multipart/form-data; boundary="a ',
    ],
)
def test_a_boundary_that_cannot_be_is_refused(content_type: str) -> None:
    with pytest.raises(QueryError, match="boundary"):
        read(form(b"", {}), content_type)


@pytest.mark.parametrize("said", [BOUNDARY, f'"{BOUNDARY}"', f"{BOUNDARY} ; charset=utf-8"])
def test_a_boundary_may_be_quoted_and_need_not_come_first(said: str) -> None:
    content_type = f'multipart/form-data; note="a;b";Boundary={said}'

    assert read(form(b"p", {}), content_type).photo == b"p"


def test_a_boundary_in_pieces_is_none() -> None:
    """Who puts such together, as Python does, is busy for the square of what came."""
    pieces = f"boundary*0={BOUNDARY[:9]}; boundary*1={BOUNDARY[9:]}"

    with pytest.raises(QueryError, match="boundary"):
        read(form(b"p", {}), f"multipart/form-data; {pieces}")


def test_the_head_of_a_part_ends_in_it() -> None:
    edge = f"--{BOUNDARY}\r\n"
    bare = f'{edge}Content-Disposition: form-data; name="k"\r\n'.encode()

    with pytest.raises(QueryError, match="have a head and an end"):
        read(bare + form(b"p", {}), FORM)


def test_a_name_may_be_quoted() -> None:
    body = form(b"p", {r"a\"b\\c": "1"})

    assert read(body, FORM).fields == (('a"b\\c', "1"),)

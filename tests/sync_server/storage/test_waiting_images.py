"""Images wait once, with what was told of them last; dead letters too."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime

import pytest

from pocketlens.products import Image
from pocketlens_server.storage import migrations
from pocketlens_server.storage.requests import Answered, Requests
from pocketlens_server.storage.waiting_images import DeadLetters, WaitingImage, WaitingImages

NOW = datetime(2026, 11, 25, 10, 0, 0, 123, tzinfo=UTC)
A, B = b"A" * 32, b"B" * 32


@pytest.fixture
def connection() -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as made:
        migrations.create(made)
        yield made


@pytest.fixture
def waiting(connection: sqlite3.Connection) -> WaitingImages:
    return WaitingImages(connection)


@pytest.fixture
def letters(connection: sqlite3.Connection) -> DeadLetters:
    return DeadLetters(connection)


def image(
    id_: str,
    picture: bytes = A,
    *,
    job: int = 1,
    shows: tuple[int, ...] = (1,),
    request: str = "",
) -> WaitingImage:
    shown = Image(id_, f"https://shop.example/{id_}")
    return WaitingImage(shown, picture, job, list(shows), request)


def test_what_is_told_later_takes_the_place_of_what_waits(waiting: WaitingImages) -> None:
    assert waiting.put(image("i", A, job=1, shows=(1, 2))) is None

    assert waiting.put(image("i", B, job=2, shows=(3,))) == 1

    assert waiting.showing(A) == []
    assert waiting.showing(B) == [image("i", B, job=2, shows=(3,))]
    assert waiting.drop("i") == 2
    assert waiting.drop("i") is None
    assert waiting.count() == 0


def test_pictures_come_in_the_order_of_those_who_wait_longest(waiting: WaitingImages) -> None:
    for id_, picture in (("i", A), ("j", B), ("k", A)):
        waiting.put(image(id_, picture))
    assert waiting.pictures(limit=9) == [A, B]
    assert [each.image.id for each in waiting.showing(A)] == ["i", "k"]

    waiting.put(image("i", A))

    assert waiting.pictures(limit=9) == [B, A]
    assert waiting.pictures(limit=1) == [B]
    assert [each.image.id for each in waiting.showing(A)] == ["k", "i"]


def test_images_of_one_picture_are_no_pictures_more(waiting: WaitingImages) -> None:
    """However many they are, there are as many pictures as were asked for, the oldest first."""
    for number in range(200):
        waiting.put(image(f"a{number}", A))
    for number in range(5):
        waiting.put(image(f"b{number}", bytes([number]) * 32))

    assert waiting.pictures(limit=1) == [A]
    assert waiting.pictures(limit=3) == [A, bytes(32), b"\1" * 32]
    assert len(waiting.pictures(limit=9)) == len(waiting.pictures(limit=-1)) == 6


def test_what_asked_for_what_is_dropped_is_forgotten(
    waiting: WaitingImages, letters: DeadLetters, connection: sqlite3.Connection
) -> None:
    requests = Requests(connection)
    for number in range(6):
        requests.remember(f"event {number}", Answered(bytes(16), "waiting", 0))
    waiting.put(image("i", job=1, request="event 0"))
    waiting.put(image("i", job=1, request="event 1"))  # in the place of the one before
    waiting.put(image("j", job=2, request="event 2"))
    waiting.put(image("k", job=1))
    for number in (3, 4, 5):
        letters.put(image(f"d{number}", request=f"event {number}"), [], "none", now=NOW)
    assert [each.request for each in waiting.showing(A)] == ["event 1", "event 2", ""]
    numbers = {each.request: each.number for each in letters.listed(limit=9)}

    def known() -> list[int]:
        return [number for number in range(6) if requests.known(f"event {number}")]

    assert waiting.drop_job(1) == 2
    assert known() == [0, 2, 3, 4, 5]
    assert letters.purge([numbers["event 4"], 2**64 - 1]) == 1
    assert known() == [0, 2, 3, 5]
    waiting.put(image("d3", job=2))  # something newer: it is not what was asked for
    assert letters.purge([]) == 1
    assert known() == [0, 2, 3]


def test_no_image_waits_for_a_product_that_is_gone(waiting: WaitingImages) -> None:
    waiting.put(image("alone", shows=(1,), job=4))
    waiting.put(image("with another", shows=(1, 2)))
    waiting.put(image("of another", shows=(2,)))

    assert waiting.drop_product(1) == [("alone", 4)]

    assert {each.image.id: list(each.product_keys) for each in waiting.showing(A)} == {
        "with another": [2],
        "of another": [2],
    }
    assert waiting.drop_product(1) == []
    assert sorted(id_ for id_, _ in waiting.drop_product(2)) == ["of another", "with another"]


def test_nothing_of_a_cancelled_job_waits(waiting: WaitingImages) -> None:
    for number in range(3):
        waiting.put(image(f"i{number}", job=1))
    waiting.put(image("j", job=2, shows=(1,)))

    assert waiting.drop_job(1) == 3

    assert [each.image.id for each in waiting.showing(A)] == ["j"]
    assert waiting.drop_product(1) == [("j", 2)]  # and no link of the others is left


def test_an_image_is_one_dead_letter(waiting: WaitingImages, letters: DeadLetters) -> None:
    letters.put(image("i", A, job=1), ["mug"], "no picture", now=NOW)
    letters.put(image("i", B, job=2), ["mug", "cup"], "none either", now=NOW)

    (letter,) = letters.listed(limit=9)
    assert (letter.job, letter.picture, letter.reason, letter.at) == (2, B, "none either", NOW)
    assert list(letter.product_ids) == ["mug", "cup"]
    assert letter.image == Image("i", "https://shop.example/i")
    waiting.put(image("i", A))

    assert letters.count() == 0


def test_dead_letters_are_listed_by_pages_and_purged(letters: DeadLetters) -> None:
    for number in range(5):
        letters.put(image(f"i{number}"), ["mug"], "no picture", now=NOW)

    first = letters.listed(limit=2)
    assert [each.image.id for each in first] == ["i0", "i1"]
    rest = letters.listed(limit=9, after=first[-1].number)
    assert [each.image.id for each in rest] == ["i2", "i3", "i4"]
    assert letters.listed(limit=9, after=2**64 - 1) == []

    assert letters.purge([rest[0].number, rest[0].number, 2**64 - 1]) == 1
    assert letters.count() == 4
    assert letters.purge([]) == 4


def test_pictures_are_kept_for_those_who_wait_and_for_the_dead(
    waiting: WaitingImages, letters: DeadLetters
) -> None:
    waiting.put(image("i", A))
    letters.put(image("j", B), ["mug"], "no picture", now=NOW)

    assert waiting.kept_pictures() == {A, B}
    assert waiting.ids() == {"i", "j"}
    assert [waiting.is_kept(each) for each in (A, B, bytes(32))] == [True, True, False]

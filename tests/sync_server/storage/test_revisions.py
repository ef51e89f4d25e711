"""Revisions of items, of their fields, and of single attributes."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing

import pytest

from pocketlens_server.storage import migrations
from pocketlens_server.storage.history import IMAGE, PRODUCT
from pocketlens_server.storage.revisions import MAX_REVISION, FieldRevisions, Revisions


@pytest.fixture
def revisions() -> Iterator[Revisions]:
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        migrations.create(connection)
        yield Revisions(connection)


def test_what_was_never_told_is_0(revisions: Revisions) -> None:
    assert revisions.of(PRODUCT, 1) == FieldRevisions(0, 0, 0)
    assert revisions.attributes(1) == {}


def test_an_item_has_the_newest_that_was_put(revisions: Revisions) -> None:
    revisions.put(PRODUCT, 1, FieldRevisions(1, 2, 3))
    revisions.put(IMAGE, 1, FieldRevisions(9))

    revisions.put(PRODUCT, 1, FieldRevisions(4, 5, MAX_REVISION))

    assert revisions.of(PRODUCT, 1) == FieldRevisions(4, 5, MAX_REVISION)
    assert revisions.of(IMAGE, 1) == FieldRevisions(9, 0, 0)


def test_attributes_are_forgotten_up_to_a_revision(revisions: Revisions) -> None:
    revisions.put_attributes(1, {"colour": 3, "size": 5})
    revisions.put_attributes(1, {"size": 6, "weight": 7})
    revisions.put_attributes(2, {"colour": 1})

    revisions.forget_attributes(1, until=6)

    assert revisions.attributes(1) == {"weight": 7}
    assert revisions.attributes(2) == {"colour": 1}

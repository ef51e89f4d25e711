"""Whatever the order in which queue workers send, the newest of each field holds."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pocketlens.errors import InvalidOperation, NotFound
from pocketlens.products import Image, Price, Product
from pocketlens_server.catalogue import revising
from pocketlens_server.catalogue.operations import (
    DeleteImage,
    DeleteProduct,
    KeepImage,
    Operation,
    PatchProduct,
    PutImage,
    PutProduct,
    apply,
    offer_at,
    product_at,
)
from pocketlens_server.storage import migrations
from pocketlens_server.storage.history import PRODUCT, History
from pocketlens_server.storage.revisions import Revisions

Revised = tuple[int, Operation]
EUR = "EUR"
PICTURE = bytes(32)


class Item:
    """What is known of the product "mug"."""

    def __init__(self) -> None:
        connection = sqlite3.connect(":memory:", isolation_level=None)
        migrations.create(connection)
        self.history, self.revisions = History(connection), Revisions(connection)

    def take(self, revision: int, operation: Operation) -> str:
        """Applied, skipped or refused."""
        left = revising.newer(self.history, self.revisions, operation, revision=revision)
        if left is None:
            return "skipped"
        try:
            apply(self.history, left)
        except (InvalidOperation, NotFound):
            return "refused"
        revising.remember(self.history, self.revisions, left, revision=revision)
        return "applied"

    def take_all(self, came: Iterable[Revised]) -> None:
        """What is refused comes again in the end, as a queue brings it."""
        refused = [(at, each) for at, each in came if self.take(at, each) == "refused"]
        for at, each in refused:
            self.take(at, each)

    @property
    def product(self) -> tuple[object, ...] | None:
        """What is said of it; None where it is not there."""
        key = self.history.known_key(PRODUCT, "mug")
        part = None if key is None else product_at(self.history, key)
        if key is None or part is None:
            return None
        offer = offer_at(self.history, key)
        assert offer is not None
        price = (offer.price_minor_units, offer.currency)
        return part.title, dict(part.attributes), price, offer.stock


def put(title: str = "", **fields: object) -> PutProduct:
    return PutProduct(Product("mug", title, **fields))


def patch(**fields: object) -> PatchProduct:
    return PatchProduct("mug", **fields)


@pytest.fixture
def item() -> Item:
    return Item()


def test_what_is_older_is_skipped_and_what_is_as_old_is_not(item: Item) -> None:
    assert item.take(5, put("five")) == "applied"

    assert item.take(4, put("four")) == "skipped"
    assert item.take(4, DeleteProduct("mug")) == "skipped"
    assert item.take(5, put("five again")) == "applied"

    assert item.product == ("five again", {}, (-1, ""), -1)


def test_fields_are_older_and_newer_by_themselves(item: Item) -> None:
    item.take(1, put("one", price=Price(100, EUR), stock=1))
    item.take(5, patch(price=Price(500, EUR)))
    item.take(3, patch(price=Price(300, EUR), stock=3))

    assert item.product == ("one", {}, (500, EUR), 3)
    item.take(4, put("four", price=Price(400, EUR), stock=4))

    assert item.product == ("four", {}, (500, EUR), 4)
    assert item.take(4, patch(price=Price(400, EUR))) == "skipped"
    assert item.take(2, put("two")) == "skipped"


def test_attributes_are_older_and_newer_by_themselves(item: Item) -> None:
    item.take(1, put(attributes={"colour": "one", "size": "one"}))
    item.take(7, patch(attributes={"colour": "seven"}))
    item.take(8, patch(attributes={"size": None}))

    assert item.take(5, patch(attributes={"weight": "five", "colour": "five"})) == "applied"
    assert item.product == ("", {"colour": "seven", "weight": "five"}, (-1, ""), -1)
    item.take(6, put(attributes={"size": "six", "weight": "six"}))

    assert item.product == ("", {"colour": "seven", "weight": "six"}, (-1, ""), -1)
    item.take(8, put(attributes={"size": "eight"}))
    assert item.product == ("", {"size": "eight"}, (-1, ""), -1)
    assert item.take(7, patch(attributes={"colour": "seven"})) == "skipped"


def test_a_delete_is_remembered_although_nothing_was_there(item: Item) -> None:
    assert item.take(5, DeleteProduct("mug")) == "applied"

    assert item.take(4, put("four")) == "skipped"
    assert item.take(4, patch(stock=4)) == "skipped"
    assert item.take(6, patch(stock=6)) == "refused"
    assert item.product is None
    assert item.take(6, put("six")) == "applied"


def test_after_a_delete_nothing_is_left_of_what_was_told_before(item: Item) -> None:
    item.take(1, put("one", attributes={"colour": "one"}, stock=1))
    item.take(2, patch(stock=2, attributes={"size": "two"}))
    item.take(3, DeleteProduct("mug"))

    item.take(4, put("four"))

    assert item.product == ("four", {}, (-1, ""), -1)
    assert item.take(4, patch(stock=4, attributes={"size": "four"})) == "applied"


def test_without_revisions_the_order_of_coming_holds(item: Item) -> None:
    item.take(9, put("nine", stock=9))

    assert item.take(0, put("none", stock=0)) == "applied"
    assert item.product == ("none", {}, (-1, ""), 0)
    assert item.take(8, patch(stock=8)) == "skipped"
    assert item.take(0, DeleteProduct("mug")) == "applied"
    assert item.product is None


def test_images_are_older_and_newer_as_a_whole(item: Item) -> None:
    item.take(1, put())
    shown = PutImage(Image("i", "five"), PICTURE, ["mug"])

    assert item.take(5, shown) == "applied"
    assert item.take(4, DeleteImage("i")) == "skipped"
    assert item.take(4, replace(shown, image=Image("i", "four"))) == "skipped"
    assert item.take(1, KeepImage("i")) == "applied"  # it says nothing of the image
    assert item.take(6, DeleteImage("i")) == "applied"
    assert item.take(5, shown) == "skipped"


def test_an_image_and_a_product_of_one_name_are_two(item: Item) -> None:
    item.take(1, put())
    item.take(9, PutImage(Image("mug"), PICTURE, ["mug"]))
    item.take(9, patch(attributes={"colour": "nine"}))

    item.take(10, DeleteImage("mug"))

    assert item.take(2, put("two")) == "applied"
    assert item.product == ("two", {"colour": "nine"}, (-1, ""), -1)


# --- any order ------------------------------------------------------------------------------------

NUMBERS, TEXTS = st.integers(0, 5), st.sampled_from("xyz")
NAMES = st.sampled_from(["colour", "size"])
PRICES = st.builds(Price, NUMBERS, st.just(EUR))
PUTS = st.builds(
    put,
    TEXTS,
    price=st.none() | PRICES,
    stock=st.none() | NUMBERS,
    attributes=st.dictionaries(NAMES, TEXTS),
)
PATCHES = st.builds(
    patch,
    price=st.none() | PRICES,
    stock=st.none() | NUMBERS,
    attributes=st.dictionaries(NAMES, st.none() | TEXTS),
)
CHANGES = st.lists(st.one_of(PUTS, PATCHES, PATCHES, st.just(DeleteProduct("mug"))), max_size=9)


def after_older_deletes(came: Sequence[Revised]) -> list[Revised]:
    """The same, where each patch comes after the deletes that are older than it."""
    left, ordered = list(came), list[Revised]()
    while left:
        for each in left:
            deletes = [at for at, other in left if isinstance(other, DeleteProduct)]
            if not isinstance(each[1], PatchProduct) or all(at > each[0] for at in deletes):
                ordered.append(each)
                left.remove(each)
                break
    return ordered


@given(first=PUTS, changes=CHANGES, data=st.data())
@settings(deadline=None)
def test_in_any_order_the_newest_of_each_field_holds(
    first: PutProduct, changes: list[Operation], data: st.DataObject
) -> None:
    """Revisions are distinct, and the first to come is a put: `revising` says what is promised."""
    revised = list(enumerate([first, *changes], start=1))
    by_revision, by_chance = Item(), Item()
    by_revision.take_all(revised)

    begun, *rest = data.draw(st.permutations(revised))
    if not isinstance(begun[1], PutProduct):  # the first put takes its place
        place = next(n for n, (_, each) in enumerate(rest) if isinstance(each, PutProduct))
        begun, rest[place] = rest[place], begun
    by_chance.take_all([begun, *after_older_deletes(rest)])

    assert by_chance.product == by_revision.product


@given(changes=st.lists(st.one_of(PUTS, st.just(DeleteProduct("mug"))), max_size=9), data=st.data())
def test_puts_and_deletes_alone_may_come_in_any_order(
    changes: list[Operation], data: st.DataObject
) -> None:
    revised = list(enumerate(changes, start=1))
    by_revision, by_chance = Item(), Item()

    by_revision.take_all(revised)
    by_chance.take_all(data.draw(st.permutations(revised)))

    assert by_chance.product == by_revision.product


def test_a_patch_that_comes_before_an_older_delete_is_lost(item: Item) -> None:
    """What is not promised: nobody remembers what was said of a product that goes."""
    item.take(1, put(stock=1))
    item.take(9, patch(stock=9))
    item.take(5, DeleteProduct("mug"))

    item.take(7, put(stock=7))

    assert item.product == ("", {}, (-1, ""), 7)
    assert item.take(8, patch(stock=8)) == "applied"

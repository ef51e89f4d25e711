"""Operations say what shall be: twice is once, and nothing is left that nothing shows."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import sqlite3
from datetime import UTC, datetime
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pocketlens.errors import CatalogError, InvalidOperation, NotFound
from pocketlens.formats import parts
from pocketlens.products import Image, Price, Product
from pocketlens_server.catalogue.operations import (
    DeleteImage,
    DeleteProduct,
    Operation,
    PatchProduct,
    PutImage,
    PutProduct,
    apply,
)
from pocketlens_server.storage import migrations
from pocketlens_server.storage.history import IMAGE, OFFER, PRODUCT, History

AS_OF = datetime(2026, 11, 25, tzinfo=UTC)
PICTURE = bytes(range(32))


@pytest.fixture
def history() -> History:
    return new()


def new() -> History:
    connection = sqlite3.connect(":memory:", isolation_level=None)
    migrations.create(connection)
    return History(connection)


def mug() -> Product:
    return Product("mug", "Mug, 0.3 l", price=Price(1250, "EUR"), stock=3)


def parts_of(history: History, kind: int) -> dict[int, parts.Part]:
    return {key: parts.decode(value) for key, value in history.values(kind)}


def test_a_product_has_texts_and_an_offer(history: History) -> None:
    assert apply(history, PutProduct(mug()))
    assert not apply(history, PutProduct(mug()))

    assert parts_of(history, PRODUCT) == {1: parts.ProductPart(1, "mug", "Mug, 0.3 l", "", "")}
    assert parts_of(history, OFFER) == {1: parts.OfferPart(1, 1250, "EUR", 3)}


def test_a_patch_leaves_what_it_does_not_name(history: History) -> None:
    apply(history, PutProduct(mug()))

    assert apply(history, PatchProduct("mug", stock=0))
    assert parts_of(history, OFFER) == {1: parts.OfferPart(1, 1250, "EUR", 0)}
    assert apply(history, PatchProduct("mug", price=Price.from_decimal(Decimal("9.99"), "USD")))
    assert parts_of(history, OFFER) == {1: parts.OfferPart(1, 999, "USD", 0)}
    assert not apply(history, PatchProduct("mug"))


def test_an_image_goes_with_the_last_of_its_products(history: History) -> None:
    for id_ in ("cup", "saucer"):
        apply(history, PutProduct(Product(id_)))
    apply(
        history, PutImage(Image("set", "https://shop.example/set.jpg"), PICTURE, ["saucer", "cup"])
    )

    apply(history, DeleteProduct("cup"))
    assert parts_of(history, IMAGE) == {
        1: parts.ImagePart(1, "set", "https://shop.example/set.jpg", (2,), PICTURE)
    }
    apply(history, DeleteProduct("saucer"))

    assert parts_of(history, IMAGE) == parts_of(history, PRODUCT) == parts_of(history, OFFER) == {}
    assert not apply(history, DeleteProduct("saucer"))
    assert not apply(history, DeleteImage("set"))


def test_attributes_may_all_be_replaced_at_once(history: History) -> None:
    old = {f"old {number}": "" for number in range(100)}
    new = {f"new {number}": "" for number in range(100)}
    apply(history, PutProduct(Product("mug", attributes=old)))

    assert apply(history, PatchProduct("mug", attributes=new | dict.fromkeys(old)))

    (product,) = parts_of(history, PRODUCT).values()
    assert isinstance(product, parts.ProductPart)
    assert product.attributes == new


def test_a_product_is_not_deleted_beside_an_image_that_cannot_be_read(history: History) -> None:
    apply(history, PutProduct(mug()))
    for id_ in ("i", "j"):
        apply(history, PutImage(Image(id_), PICTURE, ["mug"]))
    history.put(IMAGE, 2, b"rotten")
    before = [list(history.values(kind)) for kind in (PRODUCT, OFFER, IMAGE)]

    with pytest.raises(CatalogError):
        apply(history, DeleteProduct("mug"))

    assert [list(history.values(kind)) for kind in (PRODUCT, OFFER, IMAGE)] == before
    assert history.images_of(1) == [1, 2]


def test_an_id_that_comes_back_has_its_key_again(history: History) -> None:
    apply(history, PutProduct(mug()))
    history.publish(AS_OF)
    apply(history, DeleteProduct("mug"))
    history.publish(AS_OF)

    apply(history, PutProduct(Product("mug", "Another")))

    assert parts_of(history, PRODUCT) == {1: parts.ProductPart(1, "mug", "Another", "", "")}


@pytest.mark.parametrize(
    ("operation", "says"),
    [
        (PatchProduct("cup", stock=1), "There is no product 'cup'"),
        (PatchProduct("mug", stock=-1), "stock of 0 or more"),
        (PutImage(Image("i"), PICTURE, ["cup"]), "There is no product 'cup'"),
        (PutImage(Image("i"), PICTURE, []), "1 to 1000 products"),
        (PutImage(Image("i", "x" * 8193), PICTURE, ["mug"]), "8,192 bytes at most. Received 8,193"),
        (PutProduct(Product("a", "x" * 8193)), "Received 8,193 of product 'a'"),
        (PutProduct(Product("a", "\ud800")), "Expected Unicode"),
        (
            PutProduct(Product("a", attributes={str(n): "" for n in range(101)})),
            "100 attributes at most. Received 101",
        ),
        (
            PatchProduct("mug", stock=1, attributes={"x" * 8193: None}),
            "8,192 bytes at most. Received 8,193 of product 'mug'",
        ),
        (
            PatchProduct("mug", stock=1, attributes={str(n): None for n in range(101)}),
            "100 removed attributes at most. Received 101 of product 'mug'",
        ),
    ],
)
def test_what_cannot_be_is_told_and_changes_nothing(
    history: History, operation: Operation, says: str
) -> None:
    apply(history, PutProduct(mug()))
    before = list(history.values(PRODUCT)), list(history.values(OFFER)), list(history.values(IMAGE))

    with pytest.raises((InvalidOperation, NotFound), match=says):
        apply(history, operation)

    after = list(history.values(PRODUCT)), list(history.values(OFFER)), list(history.values(IMAGE))
    assert after == before


IDS = st.sampled_from("abcd")
OPERATIONS = st.one_of(
    st.builds(PutProduct, st.builds(Product, IDS, st.sampled_from(["", "x"]))),
    st.builds(PatchProduct, IDS, stock=st.integers(0, 2)),
    st.builds(DeleteProduct, IDS),
    st.builds(
        PutImage, st.builds(Image, IDS), st.just(PICTURE), st.lists(IDS, min_size=1, max_size=3)
    ),
    st.builds(DeleteImage, IDS),
)


@given(st.lists(OPERATIONS, max_size=40))
def test_whatever_is_asked_images_show_products_that_are_there(asked: list[Operation]) -> None:
    history = new()
    for number, operation in enumerate(asked):
        try:
            apply(history, operation)
            assert not apply(history, operation)  # twice is once
        except (InvalidOperation, NotFound):
            pass
        if number % 7 == 6:
            history.publish(AS_OF)

    products, offers = parts_of(history, PRODUCT), parts_of(history, OFFER)
    assert products.keys() == offers.keys()
    shown: dict[int, list[int]] = {key: [] for key in products}
    for key, image in parts_of(history, IMAGE).items():
        assert isinstance(image, parts.ImagePart)
        assert image.product_keys
        for product in image.product_keys:
            shown[product].append(key)
    assert {key: history.images_of(key) for key in products} == shown

"""Messages of a backend that list more than anything may have; outcomes there and back."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import pytest

from pocketlens.errors import InvalidOperation
from pocketlens_protos.v1 import catalog_pb2 as nouns
from pocketlens_protos.v1 import catalog_service_pb2 as messages
from pocketlens_server.catalogue.item_limits import MAX_ATTRIBUTES, MAX_PRODUCTS
from pocketlens_server.catalogue.results import Outcome, Refusal, Result
from pocketlens_server.services import catalog_messages
from pocketlens_server.storage.history import IMAGE, PRODUCT

SHA256 = bytes(32)


def names(count: int) -> list[str]:
    return [f"{number:x}" for number in range(count)]


def put_product(attributes: int) -> messages.Operation:
    product = nouns.Product(id="p", attributes=dict.fromkeys(names(attributes), "x"))
    return messages.Operation(request_id="r", put_product=messages.PutProduct(product=product))


def patch(attributes: int, removed: int = 0) -> messages.Operation:
    made = messages.PatchProduct(
        product_id="p",
        attributes=dict.fromkeys(names(attributes), "x"),
        removed_attributes=[f"removed {each}" for each in names(removed)],
    )
    return messages.Operation(request_id="r", patch_product=made)


def put_image(products: int) -> messages.Operation:
    image = nouns.Image(id="i")
    put = messages.PutImage(image=image, product_ids=names(products), picture_sha256=SHA256)
    return messages.Operation(request_id="r", put_image=put)


@pytest.mark.parametrize(
    "message",
    [
        put_product(MAX_ATTRIBUTES),
        patch(MAX_ATTRIBUTES),
        patch(MAX_ATTRIBUTES, MAX_ATTRIBUTES),
        put_image(MAX_PRODUCTS),
    ],
)
def test_an_operation_may_list_as_much_as_there_may_be(message: messages.Operation) -> None:
    catalog_messages.operation_of(message)


@pytest.mark.parametrize(
    ("message", "said"),
    [
        (put_product(MAX_ATTRIBUTES + 1), "100 attributes"),
        (patch(MAX_ATTRIBUTES + 1), "100 attributes"),
        (patch(0, MAX_ATTRIBUTES + 1), "100 removed attributes"),
        (put_image(MAX_PRODUCTS + 1), "1,000 products"),
    ],
)
def test_an_operation_that_lists_more_is_none(message: messages.Operation, said: str) -> None:
    with pytest.raises(InvalidOperation, match=f"{said}.* at most"):
        catalog_messages.operation_of(message)


def test_an_operation_names_no_more_products_than_an_image_may_show() -> None:
    named = catalog_messages.named_by(put_image(MAX_PRODUCTS + 1))

    assert named == [(IMAGE, "i"), *((PRODUCT, each) for each in names(MAX_PRODUCTS))]


def test_a_picture_does_not_count_while_an_operation_waits() -> None:
    message = put_image(10)
    before = catalog_messages.waiting_bytes(message)
    message.put_image.picture = bytes(100_000)

    assert before <= catalog_messages.waiting_bytes(message) < before + 10


@pytest.mark.parametrize(
    "outcome",
    [
        Outcome("r", Result.APPLIED, 7, is_embedding_reused=True),
        Outcome("r", Result.SKIPPED, reason="newer", is_repeated=True),
        *(Outcome("r", Result.REFUSED, reason="why", refusal=each) for each in Refusal),
    ],
)
def test_an_outcome_is_told_as_it_is(outcome: Outcome) -> None:
    assert catalog_messages.outcome_of(catalog_messages.outcome_message(outcome)) == outcome


def test_a_refusal_of_a_newer_server_is_one_without_a_word() -> None:
    message = messages.Outcome(request_id="r", result="REFUSED", reason="why", refusal=99)

    assert catalog_messages.outcome_of(message) == Outcome("r", Result.REFUSED, reason="why")

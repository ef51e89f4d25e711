"""An operation and the revision that its backend gives it -> what of it is new.

    left = newer(history, revisions, operation, revision=7)
    if left is not None: apply(history, left)

Queue workers send out of order. Each field of an item, and each attribute of a product, keeps the
newest revision that was applied to it; what an older operation says of it is left out, so that
whatever the order, the newest holds. A revision of 0 is none: such an operation holds in the order
in which it came.

Whether an item is there, and what puts say of it, is the same in any order. What a patch says is
too, where it comes after the deletes that are older than it: a delete takes what there is, and a
put between the two brings its own. A patch that comes before its product is refused, and sent
again.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from dataclasses import replace

from pocketlens.errors import InvalidOperation
from pocketlens.formats import parts
from pocketlens.formats.parts import OfferPart
from pocketlens.products import Price, Product
from pocketlens_server.catalogue.operations import (
    DeleteImage,
    DeleteProduct,
    KeepImage,
    Operation,
    PatchProduct,
    PutImage,
    PutProduct,
    offer_at,
    product_at,
)
from pocketlens_server.storage.history import IMAGE, PRODUCT, History
from pocketlens_server.storage.revisions import MAX_REVISION, FieldRevisions, Revisions


def check_revision(revision: int) -> None:
    """Refuses what is no revision.

    Raises:
        InvalidOperation: It is below 0, or beyond what tables can compare.
    """
    if not 0 <= revision <= MAX_REVISION:
        raise InvalidOperation(
            f"Expected a revision from 0 to {MAX_REVISION}. Received {revision}."
        )


def newer(
    history: History, revisions: Revisions, operation: Operation, *, revision: int
) -> Operation | None:
    """What of an operation is not older than what was applied; None where nothing is.

    An equal revision counts as newer, so that two changes of one second hold in the order in which
    they came.
    """
    if revision == 0 or isinstance(operation, KeepImage):
        return operation
    kind, id_ = item_of(operation)
    key = history.known_key(kind, id_)
    if key is None:
        return operation
    match operation:
        case PutProduct(product):
            return _newer_product(history, revisions, key, product, revision)
        case PatchProduct():
            return _newer_patch(history, revisions, key, operation, revision)
        case _:
            return operation if revision >= revisions.of(kind, key).whole else None


def remember(
    history: History, revisions: Revisions, operation: Operation, *, revision: int
) -> None:
    """Keeps the revision of what `newer` has left of an operation that was applied."""
    if revision == 0 or isinstance(operation, KeepImage):
        return
    kind, id_ = item_of(operation)
    key = history.key(kind, id_)
    known = revisions.of(kind, key)
    match operation:
        case PutProduct():  # what was told later stays as new as it is
            fields = FieldRevisions(
                revision, max(revision, known.price), max(revision, known.stock)
            )
            revisions.forget_attributes(key, until=revision)
        case PatchProduct():
            fields = FieldRevisions(
                known.whole,
                known.price if operation.price is None else revision,
                known.stock if operation.stock is None else revision,
            )
            revisions.put_attributes(key, dict.fromkeys(operation.attributes, revision))
        case DeleteProduct():
            fields = FieldRevisions(revision, revision, revision)
            revisions.forget_attributes(key, until=MAX_REVISION)
        case _:
            fields = FieldRevisions(revision)
    revisions.put(kind, key, fields)


def item_of(operation: Operation) -> tuple[int, str]:
    """Kind and id of what an operation changes."""
    match operation:
        case PutProduct(product):
            return PRODUCT, product.id
        case PatchProduct(product_id=id_) | DeleteProduct(id_):
            return PRODUCT, id_
        case PutImage(image):
            return IMAGE, image.id
        case DeleteImage(id_) | KeepImage(id_):
            return IMAGE, id_


def _newer_product(
    history: History, revisions: Revisions, key: int, product: Product, revision: int
) -> Operation | None:
    """A product with what was told later as it is."""
    known = revisions.of(PRODUCT, key)
    if revision < known.whole:
        return None
    part, offer = product_at(history, key), offer_at(history, key)
    if part is None or offer is None:  # it never was, or was deleted
        return PutProduct(product)
    later = {name for name, told in revisions.attributes(key).items() if told > revision}
    if later:
        named = {name: text for name, text in product.attributes.items() if name not in later}
        kept = {name: text for name, text in part.attributes.items() if name in later}
        product = replace(product, attributes={**named, **kept})
    if revision < known.price:
        product = replace(product, price=_price(offer))
    if revision < known.stock:
        product = replace(product, stock=None if offer.stock == parts.UNKNOWN else offer.stock)
    return PutProduct(product)


def _newer_patch(
    history: History, revisions: Revisions, key: int, patch: PatchProduct, revision: int
) -> Operation | None:
    known = revisions.of(PRODUCT, key)
    if history.value(PRODUCT, key) is None:  # deleted since, or, where this is newer, not put yet
        return patch if revision >= known.whole else None
    told = revisions.attributes(key) if patch.attributes else {}
    left = replace(
        patch,
        price=patch.price if revision >= known.price else None,
        stock=patch.stock if revision >= known.stock else None,
        attributes={
            name: text
            for name, text in patch.attributes.items()
            if revision >= max(known.whole, told.get(name, 0))
        },
    )
    is_nothing = left.price is None and left.stock is None and not left.attributes
    return None if is_nothing and left != patch else left


def _price(offer: OfferPart) -> Price | None:
    if offer.price_minor_units == parts.UNKNOWN:
        return None
    return Price(offer.price_minor_units, offer.currency)

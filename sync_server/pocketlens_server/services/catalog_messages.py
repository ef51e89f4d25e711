"""Messages of CatalogService to values and back, for both of its sides (PURE).

operation = operation_of(message)
message = outcome_message(outcome)
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import asdict
from datetime import datetime
from enum import StrEnum
from typing import TypeVar

from pocketlens.errors import CatalogError, InvalidOperation
from pocketlens.products import MAX_ID_BYTES, Image, Price, Product
from pocketlens_protos.v1 import catalog_pb2 as nouns
from pocketlens_protos.v1 import catalog_service_pb2 as messages
from pocketlens_server.catalogue.item_limits import MAX_ATTRIBUTES, MAX_PRODUCTS
from pocketlens_server.catalogue.operations import (
    DeleteImage,
    DeleteProduct,
    KeepImage,
    Operation,
    PatchProduct,
    PutImage,
    PutProduct,
)
from pocketlens_server.catalogue.results import Outcome, Refusal, Result
from pocketlens_server.publishing.comparing import Changes, Comparison, Status
from pocketlens_server.storage import times
from pocketlens_server.storage.history import IMAGE, PRODUCT
from pocketlens_server.storage.jobs import Counters, Job, JobKind, JobState
from pocketlens_server.storage.waiting_images import DeadLetter

Word = TypeVar("Word", bound=StrEnum)

_RESULTS = {messages.Outcome.Result.Value(each.name): each for each in Result}
_REFUSALS = {messages.Outcome.Refusal.Value(each.name): each for each in Refusal}
_KINDS = {messages.Job.Kind.Value(each.name): each for each in JobKind}
_STATES = {messages.Job.State.Value(each.name): each for each in JobState}
_STATUS_COUNTS = (
    "version",
    "products",
    "images",
    "waiting_products",
    "waiting_offers",
    "waiting_images",
    "waiting_pictures",
    "dead_letters",
)
_COUNTERS = {
    "expected": "expected",
    "received": "received",
    "applied": "applied",
    "unchanged": "unchanged",
    "skipped": "skipped",
    "refused": "refused",
    "repeated": "repeated_requests",
    "waiting": "waiting",
    "embedded": "embedded",
    "reused": "reused",
    "dead": "dead",
}


def operation_of(message: messages.Operation) -> Operation:
    """The change of a message; an image has the hash of its picture.

    Raises:
        InvalidOperation, CatalogError: It names none, or none that can be, or has no request id.
    """
    check_counts(message)
    if not message.request_id:
        raise InvalidOperation("Expected a request id, by which a retry is known as one.")
    kind = message.WhichOneof("change")
    if kind == "put_product":
        return PutProduct(_product_of(message.put_product.product))
    if kind == "patch_product":
        return _patch_of(message.patch_product)
    if kind == "delete_product":
        return DeleteProduct(message.delete_product.product_id)
    if kind == "put_image":
        put = message.put_image
        image = Image(put.image.id, put.image.url)
        if len(put.picture_sha256) != 32:
            raise InvalidOperation("Expected a picture, or its SHA-256 in 32 bytes.")
        return PutImage(image, put.picture_sha256, tuple(put.product_ids))
    if kind == "delete_image":
        return DeleteImage(message.delete_image.image_id)
    if kind == "keep_image":
        return KeepImage(message.keep_image.image_id)
    raise InvalidOperation(
        "Expected an operation that changes something. Received none known here."
    )


def check_counts(message: messages.Operation) -> None:
    """Looks at how much an operation lists, before anything of it is copied or hashed.

    A message of 1 MiB has room for 100,000 attributes, which would hold everybody up.

    Raises:
        InvalidOperation: More than any product or image may have.
    """
    product, patch, put = message.put_product.product, message.patch_product, message.put_image
    for several, most, noun in (
        (product.attributes, MAX_ATTRIBUTES, "attributes"),
        (patch.attributes, MAX_ATTRIBUTES, "attributes"),
        (patch.removed_attributes, MAX_ATTRIBUTES, "removed attributes"),
        (put.product_ids, MAX_PRODUCTS, "products of an image"),
    ):
        if len(several) > most:
            raise InvalidOperation(f"Expected {most:,} {noun} at most. Received {len(several):,}.")


def waiting_bytes(message: messages.Operation) -> int:
    """What an operation holds while it waits: all of it but its picture, which goes to the disk."""
    return message.ByteSize() - len(message.put_image.picture)


def named_by(message: messages.Operation) -> list[tuple[int, str]]:
    """Kinds and ids of what a message says shall be, although it may be no operation that can.

    Of products that an image shows, as many as one may.
    """
    kind, named = message.WhichOneof("change"), list[tuple[int, str]]()
    if kind == "put_product":
        named = [(PRODUCT, message.put_product.product.id)]
    elif kind == "patch_product":
        named = [(PRODUCT, message.patch_product.product_id)]
    elif kind == "keep_image":
        named = [(IMAGE, message.keep_image.image_id)]
    elif kind == "put_image":
        put = message.put_image
        shown = put.product_ids[:MAX_PRODUCTS]
        named = [(IMAGE, put.image.id), *((PRODUCT, each) for each in shown)]
    return [(of, id_) for of, id_ in named if len(id_.encode()) <= MAX_ID_BYTES]


def operation_message(operation: Operation) -> messages.Operation:
    """The message of a change; an image without its picture, but for its hash."""
    match operation:
        case PutProduct(product):
            return messages.Operation(
                put_product=messages.PutProduct(product=_product_message(product))
            )
        case PatchProduct():
            return messages.Operation(patch_product=_patch_message(operation))
        case DeleteProduct(product_id):
            return messages.Operation(delete_product=messages.DeleteProduct(product_id=product_id))
        case PutImage(image, sha256, product_ids):
            put = messages.PutImage(
                image=nouns.Image(id=image.id, url=image.url),
                product_ids=product_ids,
                picture_sha256=sha256,
            )
            return messages.Operation(put_image=put)
        case DeleteImage(image_id):
            return messages.Operation(delete_image=messages.DeleteImage(image_id=image_id))
        case KeepImage(image_id):
            return messages.Operation(keep_image=messages.KeepImage(image_id=image_id))


def digest(message: messages.Operation) -> bytes:
    """Of all that an operation asks for, 16 bytes; a picture counts by its hash."""
    asked = message
    if message.put_image.picture or message.put_image.picture_bytes:
        asked = messages.Operation()
        asked.CopyFrom(message)
        asked.put_image.ClearField("picture")
        asked.put_image.ClearField("picture_bytes")
    return hashlib.sha256(asked.SerializeToString(deterministic=True)).digest()[:16]


def outcome_message(outcome: Outcome) -> messages.Outcome:
    """The answer to an operation."""
    return messages.Outcome(
        request_id=outcome.request_id,
        result=outcome.result.name,
        reason=outcome.reason,
        version=outcome.version,
        is_embedding_reused=outcome.is_embedding_reused,
        is_repeated=outcome.is_repeated,
        refusal=None if outcome.refusal is None else outcome.refusal.name,
    )


def outcome_of(message: messages.Outcome) -> Outcome:
    """What a server answered.

    Raises:
        InvalidOperation: A result that is not known here.
    """
    return Outcome(
        message.request_id,
        _word(_RESULTS, message.result),
        message.version,
        message.reason,
        message.is_embedding_reused,
        message.is_repeated,
        _REFUSALS.get(message.refusal),
    )


def job_message(job: Job) -> messages.Job:
    """A job."""
    counters = messages.Counters(
        **{there: getattr(job.counters, here) for here, there in _COUNTERS.items()}
    )
    return messages.Job(
        number=job.number,
        kind=job.kind.name,
        state=job.state.name,
        caller=job.caller,
        opened_at=times.microseconds(job.opened_at),
        ended_at=0 if job.ended_at is None else times.microseconds(job.ended_at),
        counters=counters,
    )


def job_of(message: messages.Job) -> Job:
    """What a server says of a job.

    Raises:
        InvalidOperation: A kind or state that is not known here.
    """
    return Job(
        message.number,
        _word(_KINDS, message.kind),
        _word(_STATES, message.state),
        message.caller,
        _time(message.opened_at),
        _time(message.ended_at) if message.ended_at else None,
        Counters(**{here: getattr(message.counters, there) for here, there in _COUNTERS.items()}),
    )


def letter_message(letter: DeadLetter) -> messages.DeadLetter:
    """A dead letter."""
    return messages.DeadLetter(
        number=letter.number,
        job=letter.job,
        image_id=letter.image.id,
        product_ids=letter.product_ids,
        picture_sha256=letter.picture,
        reason=letter.reason,
        at=times.microseconds(letter.at),
    )


def letter_of(message: messages.DeadLetter) -> DeadLetter:
    """What a server says of a dead letter, whose url it keeps to itself."""
    return DeadLetter(
        message.number,
        message.job,
        Image(message.image_id),
        message.picture_sha256,
        tuple(message.product_ids),
        message.reason,
        _time(message.at),
    )


def status_message(status: Status) -> messages.GetCatalogueResponse:
    """A catalogue now."""
    counts = {name: getattr(status, name) for name in _STATUS_COUNTS}
    as_of = 0 if status.as_of is None else times.microseconds(status.as_of)
    return messages.GetCatalogueResponse(as_of=as_of, **counts)


def status_of(message: messages.GetCatalogueResponse) -> Status:
    """What a server says of a catalogue."""
    counts = {name: getattr(message, name) for name in _STATUS_COUNTS}
    return Status(as_of=_time(message.as_of) if message.as_of else None, **counts)


def comparison_message(found: Comparison) -> messages.DiffResponse:
    """What differs between two versions."""
    return messages.DiffResponse(
        base=found.base,
        head=found.head,
        products=_changes_message(found.products),
        images=_changes_message(found.images),
        offers_changed=found.offers_changed,
        delta_bytes=found.delta_bytes,
        is_estimated=found.is_estimated,
        is_new_model=found.is_new_model,
    )


def comparison_of(message: messages.DiffResponse) -> Comparison:
    """What a server says that differs."""
    return Comparison(
        message.base,
        message.head,
        _changes_of(message.products),
        _changes_of(message.images),
        message.offers_changed,
        message.delta_bytes,
        message.is_estimated,
        message.is_new_model,
    )


def _changes_message(found: Changes) -> messages.ItemChanges:
    return messages.ItemChanges(**asdict(found))


def _changes_of(message: messages.ItemChanges) -> Changes:
    return Changes(
        message.added,
        message.changed,
        message.deleted,
        tuple(message.added_ids),
        tuple(message.changed_ids),
        tuple(message.deleted_ids),
    )


def _product_of(message: nouns.Product) -> Product:
    return Product(
        message.id,
        message.title,
        message.category,
        message.url,
        _price_of(message.price) if message.HasField("price") else None,
        message.stock if message.HasField("stock") else None,
        dict(message.attributes),
    )


def _product_message(product: Product) -> nouns.Product:
    return nouns.Product(
        id=product.id,
        title=product.title,
        category=product.category,
        url=product.url,
        price=None if product.price is None else _price_message(product.price),
        stock=product.stock,
        attributes=dict(product.attributes),
    )


def _patch_of(message: messages.PatchProduct) -> PatchProduct:
    both = set(message.attributes) & set(message.removed_attributes)
    if both:
        raise InvalidOperation(
            f"Expected an attribute to be set or removed. Received both for {min(both)!r}."
        )
    return PatchProduct(
        message.product_id,
        _price_of(message.price) if message.HasField("price") else None,
        message.stock if message.HasField("stock") else None,
        dict(message.attributes) | dict.fromkeys(message.removed_attributes),
    )


def _patch_message(patch: PatchProduct) -> messages.PatchProduct:
    return messages.PatchProduct(
        product_id=patch.product_id,
        price=None if patch.price is None else _price_message(patch.price),
        stock=patch.stock,
        attributes={name: value for name, value in patch.attributes.items() if value is not None},
        removed_attributes=[name for name, value in patch.attributes.items() if value is None],
    )


def _price_of(message: nouns.Price) -> Price:
    return Price(message.minor_units, message.currency)


def _price_message(price: Price) -> nouns.Price:
    return nouns.Price(minor_units=price.minor_units, currency=price.currency)


def _word(words: Mapping[int, Word], number: int) -> Word:
    if number not in words:
        raise InvalidOperation(
            f"The server says {number}, which is not known here. Update PocketLens."
        )
    return words[number]


def _time(microseconds: int) -> datetime:
    try:
        return times.at(microseconds)
    except OverflowError as exc:
        raise CatalogError(f"Expected a time. Received {microseconds} microseconds.") from exc

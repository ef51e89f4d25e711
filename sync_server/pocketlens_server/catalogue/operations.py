"""One change that a backend asks for -> the values of a catalogue.

    apply(history, PutProduct(product))
    apply(history, PatchProduct("mug", stock=3))

An operation says what shall be, so that the same one twice changes nothing the second time. An
image without products is deleted with the last of them; deleting what is not there is no error.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from pocketlens.errors import InvalidOperation, NotFound
from pocketlens.formats import parts
from pocketlens.formats.parts import ImagePart, OfferPart, ProductPart
from pocketlens.products import Image, Price, Product
from pocketlens.store.rows import offer_part, product_part
from pocketlens_server.catalogue.currencies import CURRENCIES, unknown_currency
from pocketlens_server.catalogue.item_limits import (
    MAX_ATTRIBUTES,
    image_faults,
    product_faults,
    text_fault,
)
from pocketlens_server.storage.history import IMAGE, OFFER, PRODUCT, History


@dataclass(frozen=True, slots=True)
class PutProduct:
    """A product as it shall be, with price and stock."""

    product: Product


@dataclass(frozen=True, slots=True)
class PatchProduct:
    """Some of a product that is there; None leaves what there is.

    Attributes:
        product_id: Of the product.
        price, stock: As they shall be.
        attributes: By name; those with None are removed, those not named stay.
    """

    product_id: str
    price: Price | None = None
    stock: int | None = None
    attributes: Mapping[str, str | None] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class DeleteProduct:
    """A product that shall not be there."""

    product_id: str


@dataclass(frozen=True, slots=True)
class PutImage:
    """An image as it shall be.

    Attributes:
        image: Its id and url.
        picture_sha256: Of its picture, 32 bytes; b"" for a client that sends the picture with it.
        product_ids: Of the products that it shows, one or more, which are there.
    """

    image: Image
    picture_sha256: bytes = b""
    product_ids: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class DeleteImage:
    """An image that shall not be there."""

    image_id: str


@dataclass(frozen=True, slots=True)
class KeepImage:
    """An image that stays as it is: a full feed names it so where its picture is not at hand."""

    image_id: str


Operation = PutProduct | PatchProduct | DeleteProduct | PutImage | DeleteImage | KeepImage


def apply(history: History, operation: Operation) -> bool:
    """Lets an operation hold from the next version on; says whether it changes anything.

    Raises:
        InvalidOperation: It cannot be, such as with a text beyond its limit.
        NotFound: A product is not there.
    """
    match operation:
        case PutProduct(product):
            return _put_product(history, product)
        case PatchProduct():
            return _patch_product(history, operation)
        case DeleteProduct(product_id):
            return _delete_product(history, product_id)
        case PutImage():
            return _put_image(history, operation)
        case DeleteImage(image_id):
            key = history.known_key(IMAGE, image_id)
            return key is not None and _delete_image(history, key)
        case KeepImage():
            return False


def _put_product(history: History, product: Product) -> bool:
    _check_product(product)
    key = history.key(PRODUCT, product.id)
    is_new = history.put(PRODUCT, key, parts.encode(product_part(key, product)))
    return history.put(OFFER, key, parts.encode(offer_part(key, product))) or is_new


def _check_price(price: Price | None) -> None:
    if price is not None and price.currency not in CURRENCIES:
        raise InvalidOperation(unknown_currency(price.currency))


def _check_product(product: Product) -> None:
    for _, why in product_faults(product):
        raise InvalidOperation(why)


def _patch_product(history: History, patch: PatchProduct) -> bool:
    key = history.known_key(PRODUCT, patch.product_id)
    offer = None if key is None else offer_at(history, key)
    if key is None or offer is None:
        raise _unknown(patch.product_id)
    _check_price(patch.price)
    _check_removed(patch)
    if patch.price is not None:
        offer = replace(
            offer, price_minor_units=patch.price.minor_units, currency=patch.price.currency
        )
    if patch.stock is not None:
        if not 0 <= patch.stock <= 2**53:
            raise InvalidOperation(
                f"Expected a stock of 0 or more. Received {patch.stock} of product "
                f"{patch.product_id!r}."
            )
        offer = replace(offer, stock=patch.stock)
    is_new = bool(patch.attributes) and _patch_attributes(history, key, patch)
    return history.put(OFFER, key, parts.encode(offer)) or is_new


def _check_removed(patch: PatchProduct) -> None:
    """Each is remembered with its revision, whether the product has had it or not."""
    removed = [name for name, text in patch.attributes.items() if text is None]
    for name in removed:
        if why := text_fault(name, f"product {patch.product_id!r}"):
            raise InvalidOperation(why)
    if len(removed) > MAX_ATTRIBUTES:
        raise InvalidOperation(
            f"Expected {MAX_ATTRIBUTES} removed attributes at most. Received {len(removed)} of "
            f"product {patch.product_id!r}."
        )


def _patch_attributes(history: History, key: int, patch: PatchProduct) -> bool:
    part = product_at(history, key)
    if part is None:
        raise _unknown(patch.product_id)
    wanted = {**part.attributes, **patch.attributes}
    attributes = {name: value for name, value in wanted.items() if value is not None}
    _check_product(Product(patch.product_id, attributes=attributes))
    return history.put(PRODUCT, key, parts.encode(replace(part, attributes=attributes)))


def product_at(history: History, key: int) -> ProductPart | None:
    """The texts of a product with all that waits; None where it is not there."""
    data = history.value(PRODUCT, key)
    part = None if data is None else parts.decode(data)
    return part if isinstance(part, ProductPart) else None


def offer_at(history: History, key: int) -> OfferPart | None:
    """Price and stock of a product with all that waits; None where it is not there."""
    data = history.value(OFFER, key)
    part = None if data is None else parts.decode(data)
    return part if isinstance(part, OfferPart) else None


def _delete_product(history: History, product_id: str) -> bool:
    key = history.known_key(PRODUCT, product_id)
    if key is None:
        return False
    # All are read before anything changes: one that has rotted ends it here.
    images = [_image_at(history, each) for each in history.images_of(key)]
    if not history.delete(PRODUCT, key):
        return False
    history.delete(OFFER, key)
    for image in images:
        if image is None:
            continue
        left = tuple(each for each in image.product_keys if each != key)
        if left:
            _write_image(history, replace(image, product_keys=left))
        else:
            _delete_image(history, image.key)
    return True


def _image_at(history: History, key: int) -> ImagePart | None:
    data = history.value(IMAGE, key)
    part = None if data is None else parts.decode(data)
    return part if isinstance(part, ImagePart) else None


def _put_image(history: History, put: PutImage) -> bool:
    return show(history, put.image, put.picture_sha256, products_of(history, put))


def show(
    history: History, image: Image, picture_sha256: bytes, product_keys: Sequence[int]
) -> bool:
    """Lets an image show products, by their keys, ascending, which are there."""
    key = history.key(IMAGE, image.id)
    part = ImagePart(key, image.id, image.url, tuple(product_keys), picture_sha256)
    return _write_image(history, part)


def products_of(history: History, put: PutImage) -> tuple[int, ...]:
    """Keys of the products of an image that could be put now, ascending.

    Raises:
        InvalidOperation: It cannot: its url is too long, or it shows too many products or none.
        NotFound: It shows one that is not there.
    """
    for _, why in image_faults(put.image, put.product_ids):
        raise InvalidOperation(why)
    return tuple(sorted({_key_of_product(history, each) for each in put.product_ids}))


def _write_image(history: History, part: ImagePart) -> bool:
    history.link(part.key, part.product_keys)
    return history.put(IMAGE, part.key, parts.encode(part))


def _delete_image(history: History, key: int) -> bool:
    history.link(key, ())
    return history.delete(IMAGE, key)


def _key_of_product(history: History, product_id: str) -> int:
    key = history.known_key(PRODUCT, product_id)
    if key is None or history.value(PRODUCT, key) is None:
        raise _unknown(product_id)
    return key


def _unknown(product_id: str) -> NotFound:
    return NotFound(f"There is no product {product_id!r}. Put it first.")

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

from pocketlens.errors import InvalidOperation
from pocketlens.formats import parts
from pocketlens.formats.parts import ImagePart, OfferPart, ProductPart
from pocketlens.products import Image, Price, Product
from pocketlens.store.rows import offer_part, product_part
from pocketlens_server.catalogue.currencies import CURRENCIES, unknown_currency
from pocketlens_server.storage.history import IMAGE, OFFER, PRODUCT, History

MAX_TEXT_BYTES = 8192  # of a title, a url, a category, or a name or value of an attribute
MAX_ATTRIBUTES = 100
MAX_PRODUCTS = 1000  # that one image shows


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
        InvalidOperation: It cannot be: a text beyond its limit, a product that is not there.
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
    _check_price(product.price)
    texts = [product.title, product.category, product.url]
    for name, value in product.attributes.items():
        texts += [name, value]
    _check_texts(f"product {product.id!r}", texts)
    if len(product.attributes) > MAX_ATTRIBUTES:
        raise InvalidOperation(
            f"Expected {MAX_ATTRIBUTES} attributes at most. Received {len(product.attributes)} of "
            f"product {product.id!r}."
        )


def _patch_product(history: History, patch: PatchProduct) -> bool:
    key = history.known_key(PRODUCT, patch.product_id)
    offer = None if key is None else offer_at(history, key)
    if key is None or offer is None:
        raise _unknown(patch.product_id)
    _check_price(patch.price)
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
    if key is None or not history.delete(PRODUCT, key):
        return False
    history.delete(OFFER, key)
    for image_key in history.images_of(key):
        data = history.value(IMAGE, image_key)
        image = parts.decode(data) if data is not None else None
        if not isinstance(image, ImagePart):
            continue
        left = tuple(each for each in image.product_keys if each != key)
        if left:
            _write_image(history, replace(image, product_keys=left))
        else:
            _delete_image(history, image_key)
    return True


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
        InvalidOperation: It cannot: its url is too long, it shows too many products or none, or one
            that is not there.
    """
    _check_texts(f"image {put.image.id!r}", [put.image.url])
    count = len(set(put.product_ids))
    if not 1 <= count <= MAX_PRODUCTS:
        raise InvalidOperation(
            f"Expected 1 to {MAX_PRODUCTS} products of an image. Received {count} of image "
            f"{put.image.id!r}."
        )
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


def _unknown(product_id: str) -> InvalidOperation:
    return InvalidOperation(f"There is no product {product_id!r}. Put it first.")


def _check_texts(of: str, texts: Sequence[str]) -> None:
    for text in texts:
        try:
            size = len(text.encode())
        except UnicodeEncodeError as exc:
            raise InvalidOperation(f"Expected Unicode. Received {text!r} of {of}.") from exc
        if size > MAX_TEXT_BYTES:
            raise InvalidOperation(
                f"Expected texts of {MAX_TEXT_BYTES:,} bytes at most. Received {size:,} of {of}."
            )

"""What no catalogue takes of a product or an image, by field: the rules of every way in.

    for field, why in product_faults(product): ...

A field is called as a CSV of ours calls it (`pocketlens.image_lists`).
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from collections.abc import Collection, Iterator

from pocketlens.image_lists import ATTRIBUTE_PREFIX
from pocketlens.products import Image, Product
from pocketlens_server.catalogue.currencies import CURRENCIES, unknown_currency

MAX_TEXT_BYTES = 8192  # of a title, a url, a category, or a name or value of an attribute
MAX_ATTRIBUTES = 100  # of a product; a patch removes as many at most
MAX_PRODUCTS = 1000  # that one image shows

ATTRIBUTES = ATTRIBUTE_PREFIX + "*"
"""Field of all attributes together."""


def product_faults(product: Product) -> Iterator[tuple[str, str]]:
    """Fields of a product that cannot be, each with the reason; a field may come twice."""
    of = f"product {product.id!r}"
    if product.price is not None and product.price.currency not in CURRENCIES:
        yield "currency", unknown_currency(product.price.currency)
    texts = [(field, getattr(product, field)) for field in ("title", "category", "url")]
    for name, value in product.attributes.items():
        texts += [(ATTRIBUTE_PREFIX + name, name), (ATTRIBUTE_PREFIX + name, value)]
    for field, text in texts:
        if why := text_fault(text, of):
            yield field, why
    if len(product.attributes) > MAX_ATTRIBUTES:
        yield (
            ATTRIBUTES,
            f"Expected {MAX_ATTRIBUTES} attributes at most. Received {len(product.attributes)} of "
            f"{of}.",
        )


def image_faults(image: Image, product_ids: Collection[str]) -> Iterator[tuple[str, str]]:
    """Fields of an image that cannot be, whatever its picture is, each with the reason."""
    of = f"image {image.id!r}"
    if why := text_fault(image.url, of):
        yield "image_url", why
    count = len(set(product_ids))
    if not 1 <= count <= MAX_PRODUCTS:
        yield (
            "product_id",
            f"Expected 1 to {MAX_PRODUCTS} products of an image. Received {count} of {of}.",
        )


def text_fault(text: str, of: str) -> str | None:
    """Why a text of an item cannot be; None where it can."""
    try:
        size = len(text.encode())
    except UnicodeEncodeError:
        return f"Expected Unicode. Received {text!r} of {of}."
    if size > MAX_TEXT_BYTES:
        return f"Expected texts of {MAX_TEXT_BYTES:,} bytes at most. Received {size:,} of {of}."
    return None

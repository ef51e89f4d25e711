"""A catalogue's nouns: products, their images, their prices. Values, checked when made."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from types import MappingProxyType
from typing import NewType

from pocketlens.errors import CatalogError

ProductKey = NewType("ProductKey", int)
ImageKey = NewType("ImageKey", int)
Version = NewType("Version", int)

MAX_ID_BYTES = 200  # of UTF-8; ids are keys of tables on phones
_CATALOGUE_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")  # names folders, and stands in addresses

# ISO 4217 currencies whose minor unit is not a hundredth.
MINOR_DIGITS = {
    **dict.fromkeys(
        "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF".split(), 0
    ),
    **dict.fromkeys("BHD IQD JOD KWD LYD OMR TND".split(), 3),
    **dict.fromkeys("CLF UYW".split(), 4),
}


def is_catalogue_name(text: str) -> bool:
    """Whether a catalogue may be called that.

    Names have 1 to 63 small letters, digits, - and _, and begin with a letter or digit.
    """
    return _CATALOGUE_NAME.fullmatch(text) is not None


def checked_id(value: str, what: str) -> str:
    """Returns `value` if it can be the id of a `what`.

    Raises:
        CatalogError: It is empty, longer than 200 bytes of UTF-8, or not text.
    """
    try:
        size = len(value.encode())
    except UnicodeEncodeError as exc:
        raise CatalogError(f"Expected a {what} id in Unicode. Received {value!r}.") from exc
    if not 0 < size <= MAX_ID_BYTES:
        raise CatalogError(
            f"Expected a {what} id of 1 to {MAX_ID_BYTES} bytes. Received {size} bytes: "
            f"{value[:40]!r}."
        )
    return value


def is_currency(name: str) -> bool:
    """Whether these are three capital letters, as ISO 4217 has them."""
    return len(name) == 3 and name.isascii() and name.isalpha() and name.isupper()


def minor_digits(currency: str) -> int:
    """Decimals of a currency's minor unit (ISO 4217): 2 for EUR, 0 for JPY, 3 for KWD."""
    return MINOR_DIGITS.get(currency, 2)


@dataclass(frozen=True, slots=True)
class Price:
    """An amount of money.

    Attributes:
        minor_units: Integer amount in the currency's minor unit (cents for EUR), 0 to 2**53.
        currency: Three capital letters, ISO 4217.
    """

    minor_units: int
    currency: str

    def __post_init__(self) -> None:
        if not 0 <= self.minor_units <= 2**53:
            raise CatalogError(f"Expected a price of 0 or more. Received {self.minor_units}.")
        if not is_currency(self.currency):
            raise CatalogError(
                f"Expected a currency of three capital letters (ISO 4217, such as EUR). "
                f"Received {self.currency!r}."
            )

    @classmethod
    def from_decimal(cls, amount: Decimal, currency: str) -> Price:
        """Makes a price of a decimal amount in the major unit.

        Raises:
            CatalogError: The amount is no number, negative, or finer than the minor unit.
        """
        if not amount.is_finite():
            raise CatalogError(f"Expected a price such as 12.50. Received {amount}.")
        scaled = amount.scaleb(minor_digits(currency))
        if scaled != scaled.to_integral_value():
            raise CatalogError(
                f"Expected at most {minor_digits(currency)} decimals in {currency}. "
                f"Received {amount}."
            )
        return cls(int(scaled), currency)

    @property
    def amount(self) -> Decimal:
        """The amount in the currency's major unit."""
        return Decimal(self.minor_units).scaleb(-minor_digits(self.currency))

    def __str__(self) -> str:
        return f"{self.amount} {self.currency}"


@dataclass(frozen=True, slots=True)
class Product:
    """What is sold.

    Attributes:
        id: The shop's own id, at most 200 bytes of UTF-8.
        title, category, url: Text as received; "" where unknown.
        price: None where unknown.
        stock: Pieces at hand; None where unknown.
        attributes: Name to value, both text.
    """

    id: str
    title: str = ""
    category: str = ""
    url: str = ""
    price: Price | None = None
    stock: int | None = None
    attributes: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        checked_id(self.id, "product")
        if self.stock is not None and not 0 <= self.stock <= 2**53:
            raise CatalogError(f"Expected a stock of 0 or more. Received {self.stock}.")
        object.__setattr__(self, "attributes", MappingProxyType(dict(self.attributes)))

    @property
    def name(self) -> str:
        """What people know it by: title and id, or the id alone."""
        return f"{self.title} ({self.id})" if self.title else self.id


class _Shown:
    """Where an image's thumbnail is: a slot that is no field.

    So it is left out of comparing, hashing, printing, copying, pickling and `dataclasses.asdict`:
    an image is its id and url, whatever it can show.
    """

    __slots__ = ("_thumbnails",)

    _thumbnails: Callable[[str], bytes | None]


@dataclass(frozen=True, slots=True)
class Image(_Shown):
    """A catalogue picture.

    Attributes:
        id: Unique in the catalogue, at most 200 bytes of UTF-8.
        url: Where a client may show it from; "" where unknown.
    """

    id: str
    url: str = ""

    def __post_init__(self) -> None:
        checked_id(self.id, "image")

    def thumbnail(self) -> bytes | None:
        """The image drawn small: WebP, at most 3,072 bytes; read when it is asked for.

        It is that of the store as it was searched, also when the `Lens` has moved on or is closed.
        A copy and what came out of a pickle are values alone: ask `Lens.thumbnail(image.id)`.

        Returns:
            None where the store has none of this image, or a damaged one; where the image is of no
            search; and of a copy.
        """
        read = getattr(self, "_thumbnails", None)
        return None if read is None else read(self.id)

    def shown_by(self, thumbnails: Callable[[str], bytes | None]) -> Image:
        """The same image, whose thumbnail is read by `thumbnails`, which takes its id."""
        image = Image(self.id, self.url)
        object.__setattr__(image, "_thumbnails", thumbnails)
        return image

"""Options that narrow a search down, the same for every command that has them."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Annotated

import typer

from pocketlens.cli import output

if TYPE_CHECKING:
    from pocketlens.query.filters import Filter

InStock = Annotated[bool, typer.Option("--in-stock", help="Only products with a stock above 0.")]
MinPrice = Annotated[
    str | None, typer.Option("--min-price", metavar="P", help="Only from this price on.")
]
MaxPrice = Annotated[
    str | None, typer.Option("--max-price", metavar="P", help="Only up to this price.")
]
Currency = Annotated[
    str | None, typer.Option("--currency", metavar="CUR", help="Only prices in it: EUR.")
]
Attributes = Annotated[
    list[str] | None,
    typer.Option("--attribute", metavar="NAME=VALUE", help="Only with it; may come again."),
]


def wanted(
    *,
    category: str | None,
    min_price: str | None,
    max_price: str | None,
    currency: str | None,
    in_stock: bool,
    attributes: Sequence[str] | None,
) -> Filter:
    """The filter that the options ask for; ends the command where one cannot be."""
    from pocketlens.query.filters import Filter

    return Filter(
        category=category,
        min_price=_price("--min-price", min_price),
        max_price=_price("--max-price", max_price),
        currency=currency,
        in_stock=in_stock,
        attributes=dict(_attribute(each) for each in attributes or ()),
    )


def _price(option: str, text: str | None) -> Decimal | None:
    if text is None:
        return None
    try:
        return Decimal(text)
    except InvalidOperation:
        output.usage_error(option, "a price such as 12.50", text)


def _attribute(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not (name and equals):
        output.usage_error("--attribute", "NAME=VALUE, such as colour=red", text)
    return name, value

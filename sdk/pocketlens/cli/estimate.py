"""`pocketlens estimate`: what the item in a photo may sell for, from similar items sold."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pocketlens.cli import output

if TYPE_CHECKING:
    from pocketlens.estimates.estimating import Estimate
    from pocketlens.estimates.prices import PriceEstimate, Sale
    from pocketlens.products import Price

_SHOWN = 10  # items for people; --json gives all of them
_LIKELY = 0.3  # share from which a suggestion is worth a line for people

_EXAMPLES = """\b
Examples:
  pocketlens estimate sold photo.jpg
  pocketlens estimate sold photo.jpg --currency EUR --category chairs --json

Products of the store are taken as items sold at their price. Where the column attr.sold_at says
when (an ISO date), older ones count for less, as far as that tells prices better.

\b
--json prints an object:
  currency       "" where nothing has a price
  band           low, middle, high: amounts at 10, 50 and 90 %; null where items are too few
  items [...]    id, title, price, similarity, age_days or null, weight; heaviest first
  median_age_days, fitted_on, temperature, half_life_days or null
  suggestions    [{name, value, share, votes}], surest first
  generation, version, as_of
"""


def register(app: typer.Typer) -> None:
    """Adds the command to the program."""
    app.command("estimate", epilog=_EXAMPLES)(_estimate)


def _estimate(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="The store.")],
    photo: Annotated[Path, typer.Argument(metavar="PHOTO", help="JPEG, PNG or WebP.")],
    *,
    currency: Annotated[
        str | None,
        typer.Option("--currency", metavar="CUR", help="Of the prices; the commonest if left."),
    ] = None,
    category: Annotated[
        str | None, typer.Option("--category", metavar="C", help="Only items of it.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Say what similar items sold for, and which attributes they share."""
    from pocketlens.lens import Lens
    from pocketlens.query.filters import Filter

    with Lens.open(directory) as lens:
        found = lens.estimate(photo, currency=currency, filter=Filter(category=category))
    if as_json:
        output.show_json(_as_json(found))
        return
    output.show(headline(found.price, category))
    if found.price.items:
        rows = [_row(sale) for sale in found.price.items[:_SHOWN]]
        output.show_table(("item", "price", "sold", "similarity", "weight"), rows)
    likely = [each for each in found.suggestions if each.share >= _LIKELY]
    if likely:
        said = ", ".join(f"{each.name} {each.value} ({each.share:.0%})" for each in likely)
        output.show(f"suggested: {said}")


def headline(price: PriceEstimate, category: str | None) -> str:
    """The price in a line: "About 12.00 EUR, four of five from 9.50 to 15.00; by 40 items"."""
    if not price.currency:
        among = "" if category is None else f" in category {category}"
        return f"No price: nothing like it{among} has one"
    age = price.median_age_days
    items = f"{len(price.items)} items" if len(price.items) != 1 else "1 item"
    if price.band is None:
        return f"Too few to say: {items} like it with a price in {price.currency}"
    sold = "" if age is None else f", sold {age:.0f} days ago at the median"
    ends = f"four of five from {price.band.low.amount} to {price.band.high.amount}"
    return f"About {price.band.middle}, {ends}; by {items}{sold}"


def _row(sale: Sale) -> tuple[str, ...]:
    product = sale.product
    age = "" if sale.age_days is None else f"{sale.age_days:,} days ago"
    return product.name, str(product.price), age, f"{sale.similarity:.3f}", f"{sale.weight:.3f}"


def _as_json(found: Estimate) -> dict[str, object]:
    price, weighting = found.price, found.price.weighting
    half_life = weighting.half_life_days
    return {
        "currency": price.currency,
        "band": price.band
        and {name: _amount(getattr(price.band, name)) for name in ("low", "middle", "high")},
        "items": [
            {
                "id": sale.product.id,
                "title": sale.product.title,
                "price": _amount(sale.product.price),
                "similarity": sale.similarity,
                "age_days": sale.age_days,
                "weight": sale.weight,
            }
            for sale in price.items
        ],
        "median_age_days": price.median_age_days,
        "fitted_on": weighting.fitted_on,
        "temperature": weighting.temperature,
        "half_life_days": None if half_life == float("inf") else half_life,
        "suggestions": [asdict(each) for each in found.suggestions],
        "generation": found.generation,
        "version": found.version,
        "as_of": found.as_of.isoformat(),
    }


def _amount(price: Price | None) -> str | None:
    return None if price is None else str(price.amount)

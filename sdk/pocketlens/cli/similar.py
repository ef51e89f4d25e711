"""`pocketlens similar`: what looks like a product of the store, from the store alone."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pocketlens.cli import answers, filter_options, output

_EXAMPLES = f"""\b
Examples:
  pocketlens similar shop R-1
  pocketlens similar shop R-1 -k 6 --in-stock --variety 0.3
  pocketlens similar shop red-shoe-front.jpg --image --json

No picture is opened and no model is loaded: what is compared is in the store. Images of the product
itself are left out, and products that one picture shows are one match.

\b
--json prints an object:
  product, or image          the id that was given
{answers.MATCH_KEYS}
  and verdict, confidence, best and the other keys of `pocketlens search --json`; the verdict is
  unsure and the confidence null, since nothing was recognised
"""


def register(app: typer.Typer) -> None:
    """Adds the command to the program."""
    app.command("similar", epilog=_EXAMPLES)(_similar)


def _similar(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="The store.")],
    product: Annotated[str, typer.Argument(metavar="PRODUCT", help="Id of a product.")],
    *,
    image: Annotated[
        bool, typer.Option("--image", help="PRODUCT is the id of an image instead.")
    ] = False,
    k: Annotated[int, typer.Option("-k", metavar="K", help="Matches wanted.")] = 10,
    variety: Annotated[
        float,
        typer.Option("--variety", metavar="V", help="From 0, the nearest, to 1: all different."),
    ] = 0.0,
    category: Annotated[
        str | None, typer.Option("--category", metavar="C", help="Only products of it.")
    ] = None,
    in_stock: filter_options.InStock = False,
    min_price: filter_options.MinPrice = None,
    max_price: filter_options.MaxPrice = None,
    currency: filter_options.Currency = None,
    attributes: filter_options.Attributes = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Find products that look like one of the store."""
    from pocketlens.lens import Lens

    wanted = filter_options.wanted(
        category=category,
        min_price=min_price,
        max_price=max_price,
        currency=currency,
        in_stock=in_stock,
        attributes=attributes,
    )
    with Lens.open(directory) as lens:
        found = lens.similar(
            None if image else product,
            k,
            image_id=product if image else None,
            filter=wanted,
            variety=variety,
        )
    if as_json:
        output.show_json({"image" if image else "product": product, **answers.as_json(found)})
    elif found.matches:
        answers.show_matches(found)
    else:
        output.show("no other product" + ("" if wanted.is_empty else " satisfies the filter"))

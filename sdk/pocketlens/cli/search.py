"""`pocketlens search`: photos to products, offline unless a server is named.

`--json` prints an array with an object a photo: see `_EXAMPLES` for its keys.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, get_args

import typer

from pocketlens.cli import output
from pocketlens.errors import MissingExtraError, PictureError, PocketLensError, QueryError
from pocketlens.options import Accelerator
from pocketlens.results import Verdict

if TYPE_CHECKING:
    from pocketlens.fallback.options import Fallback
    from pocketlens.lens import Lens
    from pocketlens.products import Product
    from pocketlens.query.filters import Filter
    from pocketlens.results import FallbackReport, Match, SearchResult

Box = tuple[float, float, float, float]

_MAX_ALTERNATIVES = 3  # rows of a match for people; --json gives all of them

_EXAMPLES = """\b
Examples:
  pocketlens search shop photo.jpg
  pocketlens search shop *.jpg -k 3 --category shoes --in-stock --max-price 80 --json
  pocketlens search shop photo.jpg --server-fallback shop.example:8443 --token-file token

One bad photo among several is reported, the others are answered, and the command exits 1.

With --server-fallback a server looks too where the device is unsure. It gets the numbers that the
model made of the photo, no picture, unless --send-photo says so; DIR/ledger.sqlite lists what was
sent.

\b
--json prints an array with an object a photo:
  photo                      as it was given
  error {type, message}      only where the photo could not be searched; ends the object
  verdict                    match, unsure or no_match
  confidence, threshold      0 to 1; null without a calibration
  margin                     similarity of best less that of the second; null without one
  best                       what the verdict is on: the first match without the filter, in the form
                             of a match; null in an empty store
  matches [...]              best first, each: rank, similarity, product, image {id, url},
                             alternatives [product, ...]
  product                    id, title, category, url, price {amount, currency} or null,
                             stock or null, attributes {...}
  matches_in_filter          products that the filter lets through
  gallery_size               products in the store
  generation, version, as_of, accelerator
  answered_by                device, embedding or photo
  timings                    decode_ms, queue_ms, embed_ms, search_ms
  fallback                   null where no server was named, else: outcome, reason, sent_bytes,
                             waited_ms, generation and version of the store, unknown [id, ...],
                             gone [id, ...]
"""


def register(app: typer.Typer) -> None:
    """Adds the command to the program."""
    app.command("search", epilog=_EXAMPLES)(_search)


def _search(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="The store.")],
    photos: Annotated[list[Path], typer.Argument(metavar="PHOTO", help="JPEG, PNG or WebP.")],
    *,
    k: Annotated[int, typer.Option("-k", metavar="K", help="Matches wanted for a photo.")] = 10,
    category: Annotated[
        str | None, typer.Option("--category", metavar="C", help="Only products of it.")
    ] = None,
    in_stock: Annotated[
        bool, typer.Option("--in-stock", help="Only products with a stock above 0.")
    ] = False,
    min_price: Annotated[
        str | None, typer.Option("--min-price", metavar="P", help="Only from this price on.")
    ] = None,
    max_price: Annotated[
        str | None, typer.Option("--max-price", metavar="P", help="Only up to this price.")
    ] = None,
    currency: Annotated[
        str | None, typer.Option("--currency", metavar="CUR", help="Only prices in it: EUR.")
    ] = None,
    attributes: Annotated[
        list[str] | None,
        typer.Option("--attribute", metavar="NAME=VALUE", help="Only with it; may come again."),
    ] = None,
    box: Annotated[
        str | None,
        typer.Option("--box", metavar="L,T,R,B", help="The part of the upright photo, in pixels."),
    ] = None,
    accelerator: Annotated[
        str, typer.Option("--accelerator", help="auto, cpu, gpu, npu or nnapi.")
    ] = "auto",
    server_fallback: Annotated[
        str,
        typer.Option(
            "--server-fallback",
            metavar="HOST:PORT",
            help="A server that may look too; store for the one that the store follows.",
        ),
    ] = "",
    when: Annotated[
        str, typer.Option("--when", help="To ask the server: unsure (or no match), or always.")
    ] = "unsure",
    deadline: Annotated[
        float, typer.Option("--deadline", metavar="S", help="Seconds to wait for the server.")
    ] = 5.0,
    send_photo: Annotated[
        bool,
        typer.Option("--send-photo", help="Send a small copy of the photo; you have consent to."),
    ] = False,
    catalog: Annotated[
        str, typer.Option("--catalog", metavar="NAME", help="Of the server; the store's if left.")
    ] = "",
    token_file: Annotated[
        Path | None, typer.Option("--token-file", metavar="FILE", help="Token for the server.")
    ] = None,
    ca: Annotated[
        Path | None, typer.Option("--ca", metavar="FILE", help="Certificates to trust, PEM.")
    ] = None,
    ledger: Annotated[
        Path | None,
        typer.Option("--ledger", metavar="FILE", help="Where to list what is sent; else in DIR."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Find the products in photos."""
    from pocketlens.lens import Lens
    from pocketlens.query.filters import Filter

    wanted = Filter(
        category=category,
        min_price=_price("--min-price", min_price),
        max_price=_price("--max-price", max_price),
        currency=currency,
        in_stock=in_stock,
        attributes=dict(_attribute(each) for each in attributes or ()),
    )
    corners = _box(box)
    fallback = None
    if server_fallback:
        fallback = _fallback(
            server_fallback,
            when=when,
            deadline=deadline,
            send_photo=send_photo,
            catalog=catalog,
            token_file=token_file,
            ca=ca,
            ledger=ledger,
        )
    with Lens.open(directory, accelerator=_accelerator(accelerator)) as lens:
        answers = _answers(lens, photos, k=k, wanted=wanted, box=corners, fallback=fallback)
        failed = _show_json(answers) if as_json else _show(answers, several=len(photos) > 1)
    if failed:
        raise typer.Exit(output.EXIT_FAILED)


def _answers(
    lens: Lens,
    photos: list[Path],
    *,
    k: int,
    wanted: Filter,
    box: Box | None,
    fallback: Fallback | None,
) -> Iterator[tuple[Path, SearchResult | PocketLensError]]:
    """Each photo with its answer, or with what is wrong with it."""
    for photo in photos:
        try:
            yield photo, lens.search(photo, k, filter=wanted, box=box, fallback=fallback)
        except (PictureError, QueryError, MissingExtraError) as exc:
            yield photo, exc


def _show(answers: Iterator[tuple[Path, SearchResult | PocketLensError]], *, several: bool) -> int:
    """Prints answers for people as they come; returns how many photos failed."""
    failed = 0
    for photo, answer in answers:
        if isinstance(answer, PocketLensError):
            failed += 1
            output.say(f"error: {photo}: {answer}")
            continue
        if several:
            output.show(str(photo))
        output.show(headline(answer))
        if answer.fallback is not None:
            output.show(_who_answered(answer, answer.fallback))
        if answer.matches:
            rows = [
                row for rank, match in enumerate(answer.matches, 1) for row in _rows(rank, match)
            ]
            output.show_table(("#", "product", "price", "similarity", "image"), rows)
        if several:
            output.show()
    return failed


def headline(found: SearchResult) -> str:
    """The verdict in one line, such as "MATCH 0.97: Red shoe (R-1)"."""
    word = found.verdict.name.replace("_", " ")
    confidence = "" if found.confidence is None else f" {found.confidence:.2f}"
    if found.best is None:
        return f"{word}{confidence}: the store is empty"
    nearest = "nearest is " if found.verdict is Verdict.NO_MATCH else ""
    without = ""
    if found.confidence is None:
        without = f" (the bundle has no {found.answered_by} calibration)"
    filtered = ""
    if not found.matches:
        filtered = "; no product satisfies the filter"
    elif not found.best_is_in_filter:
        filtered = "; it does not satisfy the filter"
    return f"{word}{confidence}: {nearest}{_name(found.best.product)}{without}{filtered}"


def _who_answered(found: SearchResult, report: FallbackReport) -> str:
    """One line, such as "answered by the server (embedding, 560 bytes sent, 12 ms)"."""
    reason = f": {report.reason}" if report.reason else ""
    if found.answered_by == "device":
        word = report.outcome.value.replace("_", " ")
        sent = f", {report.sent_bytes:,} bytes sent" if report.sent_bytes else ""
        return f"answered by the device (server {word}{sent}){reason}"
    told = f"{found.answered_by}, {report.sent_bytes:,} bytes sent, {report.waited_ms:.0f} ms"
    if report.unknown:
        told += f", {len(report.unknown)} products not in the store"
    return f"answered by the server ({told}){reason}"


def _rows(rank: int, match: Match) -> Iterator[tuple[str, ...]]:
    product = match.product
    similarity, image = f"{match.similarity:.3f}", match.image.url or match.image.id
    yield str(rank), _name(product), _price_of(product), similarity, image
    for other in match.alternatives[:_MAX_ALTERNATIVES]:
        yield "", f"or {_name(other)}", _price_of(other), "", ""
    left_out = len(match.alternatives) - _MAX_ALTERNATIVES
    if left_out > 0:
        yield "", f"or {left_out} more that share the picture", "", "", ""


def _name(product: Product) -> str:
    return f"{product.title} ({product.id})" if product.title else product.id


def _price_of(product: Product) -> str:
    return "" if product.price is None else str(product.price)


def _show_json(answers: Iterator[tuple[Path, SearchResult | PocketLensError]]) -> int:
    """Prints all answers as JSON; returns how many photos failed."""
    objects = []
    failed = 0
    for photo, answer in answers:
        if isinstance(answer, PocketLensError):
            failed += 1
            about: dict[str, object] = {
                "error": {"type": type(answer).__name__, "message": str(answer)}
            }
        else:
            about = result_as_json(answer)
        objects.append({"photo": str(photo), **about})
    output.show_json(objects)
    return failed


def result_as_json(found: SearchResult) -> dict[str, object]:
    """What `--json` prints of an answer."""
    return {
        "verdict": found.verdict.value,
        "confidence": found.confidence,
        "threshold": found.threshold,
        "margin": found.margin,
        "best": found.best and _match_as_json(found.best),
        "matches": [
            {"rank": rank, **_match_as_json(match)} for rank, match in enumerate(found.matches, 1)
        ],
        "matches_in_filter": found.matches_in_filter,
        "gallery_size": found.gallery_size,
        "generation": found.generation,
        "version": found.version,
        "as_of": found.as_of.isoformat(),
        "accelerator": found.accelerator,
        "answered_by": found.answered_by,
        "timings": {
            "decode_ms": found.timings.decode_ms,
            "queue_ms": found.timings.queue_ms,
            "embed_ms": found.timings.embed_ms,
            "search_ms": found.timings.search_ms,
        },
        "fallback": found.fallback and _report_as_json(found.fallback),
    }


def _report_as_json(report: FallbackReport) -> dict[str, object]:
    return {**asdict(report), "outcome": report.outcome.value}


def _match_as_json(match: Match) -> dict[str, object]:
    return {
        "similarity": match.similarity,
        "product": _product_as_json(match.product),
        "image": {"id": match.image.id, "url": match.image.url},
        "alternatives": [_product_as_json(other) for other in match.alternatives],
    }


def _product_as_json(product: Product) -> dict[str, object]:
    price = product.price
    return {
        "id": product.id,
        "title": product.title,
        "category": product.category,
        "url": product.url,
        "price": price and {"amount": str(price.amount), "currency": price.currency},
        "stock": product.stock,
        "attributes": dict(product.attributes),
    }


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


def _box(text: str | None) -> Box | None:
    if text is None:
        return None
    try:
        left, top, right, bottom = (float(each) for each in text.split(","))
    except ValueError:
        output.usage_error("--box", "LEFT,TOP,RIGHT,BOTTOM in pixels, such as 10,20,400,300", text)
    return left, top, right, bottom


def _fallback(
    address: str,
    *,
    when: str,
    deadline: float,
    send_photo: bool,
    catalog: str,
    token_file: Path | None,
    ca: Path | None,
    ledger: Path | None,
) -> Fallback:
    from pocketlens.fallback.options import Fallback
    from pocketlens.sync.credentials import Credentials

    if when not in ("unsure", "always"):
        output.usage_error("--when", "unsure or always", when)
    shown = Credentials.read(ca=ca, token_file=token_file)
    return Fallback(
        "" if address == "store" else address,
        catalogue=catalog,
        when="always" if when == "always" else "unsure",
        deadline=deadline,
        send="photo" if send_photo else "embedding",
        photo_consent=send_photo,
        token=shown.token,
        ca=shown.ca,
        ledger=ledger,
    )


def _accelerator(text: str) -> Accelerator:
    for known in get_args(Accelerator):
        if text == known:
            return known  # type: ignore[no-any-return]  # one of the literals
    output.usage_error("--accelerator", f"one of {', '.join(get_args(Accelerator))}", text)

"""`pocketlens search`: photos to products, offline unless a server is named.

`--json` prints an array with an object a photo: see `_EXAMPLES` for its keys.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, get_args

import typer

from pocketlens.cli import answers, explaining, filter_options, output, words
from pocketlens.cli.thumbnails import written
from pocketlens.errors import MissingExtraError, PictureError, PocketLensError, QueryError
from pocketlens.options import Accelerator
from pocketlens.results import SearchResult

if TYPE_CHECKING:
    from pocketlens.answering import Auto
    from pocketlens.fallback.options import Fallback
    from pocketlens.lens import Lens
    from pocketlens.query.filters import Filter

Box = tuple[float, float, float, float]

_AUTO = "auto"

_Answer = tuple[Path | tuple[Path, ...], SearchResult | PocketLensError]
"""A photo, or several that were searched together, and what came of it."""

_EXAMPLES = f"""\b
Examples:
  pocketlens search shop photo.jpg
  pocketlens search shop *.jpg -k 3 --category shoes --in-stock --max-price 80 --json
  pocketlens search shop front.jpg side.jpg label.jpg --together
  pocketlens search shop photo.jpg --category auto
  pocketlens search shop photo.jpg --text blue
  pocketlens search shop --text "blue mug" --in-stock
  pocketlens search shop photo.jpg --explain why.png
  pocketlens search shop photo.jpg --server-fallback shop.example:8443 --token-file token

One bad photo among several is reported, the others are answered, and the command exits 1; among
photos of one thing (--together) it fails all. With --category auto one category is searched where
the photo is surely of it, two where it is of one of these, else all.

Words (--text) settle what a photo leaves open; the verdict stays that of the photo. Without a photo
they are all that is asked.

With --server-fallback a server looks too where the device is unsure. It gets the numbers that the
model made of the photo, no picture, unless --send-photo says so; DIR/ledger.sqlite lists what was
sent. It takes no words: beside --text it is not asked.

\b
--json prints an array with an object a photo:
  photo                      as it was given; with --together photos [...], one object for all
  error {{type, message}}      only where the photo could not be searched; ends the object
  verdict                    match, unsure or no_match
  confidence, threshold      0 to 1; null without a calibration, and where the photo is blank
  margin                     similarity of best less that of the second; null without one
  best                       what the verdict is on: the first match without the filter, in the form
                             of a match; null in an empty store
{answers.MATCH_KEYS}
  matches_in_filter          products that the filter lets through
  gallery_size               products in the store
  generation, version, as_of, accelerator
  answered_by                device, embedding or photo
  timings                    decode_ms, queue_ms, embed_ms, search_ms
  agreement [...]            with --together: of each photo, 1 like the others to 0 like none
  categories [...]           with --category auto, likeliest first: category, probability
  searched [...]             those of them that matches are of; empty where all were searched
  words                      with --text: asked [...], unknown [those that no product has],
                             matching (products that have any); else null
  is_blank                   whether the photo is of one colour: what it is like means nothing
  fallback                   null where no server was named, else: outcome, reason, sent_bytes,
                             waited_ms, generation and version of the store, unknown [id, ...],
                             gone [id, ...]
Without a photo it is one object: text, words, matches [...], each with rank, share (of the words,
0 to 1), product, image or null; matches_in_filter to as_of as above, timings.
"""


def register(app: typer.Typer) -> None:
    """Adds the command to the program."""
    app.command("search", epilog=_EXAMPLES)(_search)


def _search(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="The store.")],
    photos: Annotated[
        list[Path] | None, typer.Argument(metavar="PHOTO", help="JPEG, PNG or WebP.")
    ] = None,
    *,
    k: Annotated[int, typer.Option("-k", metavar="K", help="Matches wanted for a photo.")] = 10,
    text: Annotated[
        str, typer.Option("--text", metavar="WORDS", help="In title, category or attributes.")
    ] = "",
    together: Annotated[
        bool, typer.Option("--together", help="All photos show one thing: one answer to all.")
    ] = False,
    category: Annotated[
        str | None,
        typer.Option(
            "--category",
            metavar="C",
            help="Only products of it. auto finds out which; =auto for one that is called so.",
        ),
    ] = None,
    in_stock: filter_options.InStock = False,
    min_price: filter_options.MinPrice = None,
    max_price: filter_options.MaxPrice = None,
    currency: filter_options.Currency = None,
    attributes: filter_options.Attributes = None,
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
    thumbnails: Annotated[
        Path | None,
        typer.Option(
            "--thumbnails",
            metavar="DIR",
            help="To show matches in: 002-01.webp is photo 2, match 1.",
        ),
    ] = None,
    explain: Annotated[
        Path | None,
        typer.Option("--explain", metavar="FILE.png", help="Draw why the first match is one."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Find the products in photos, with words beside them, or by words alone."""
    from pocketlens.lens import Lens

    is_auto = category == _AUTO
    wanted = filter_options.wanted(
        category=None if is_auto else _AUTO if category == f"={_AUTO}" else category,
        min_price=min_price,
        max_price=max_price,
        currency=currency,
        in_stock=in_stock,
        attributes=attributes,
    )
    if not photos and not text:
        output.usage_error("PHOTO", "a photo, or --text", "")
    if not photos and (together or box or is_auto or server_fallback or thumbnails):
        output.usage_error("PHOTO", "a photo: what was asked for beside --text needs one", "")
    explaining.check(explain, photos or [])
    if together and server_fallback:
        output.usage_error("--together", "no --server-fallback beside it", server_fallback)
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
    asked = _Asked(k, wanted, text, corners, "auto" if is_auto else None, fallback)
    with Lens.open(directory, accelerator=_accelerator(accelerator)) as lens:
        if not photos:
            words.answer(lens, text, k, wanted, as_json=as_json)
            return
        answer = _answer_together if together else _answers
        found: Iterable[_Answer] = written(thumbnails, lens, answer(lens, photos, asked))
        if explain is not None:
            found = list(found)  # one, which is explained when it was shown
        several = len(photos) > 1 and not together
        failed = _show_json(found) if as_json else _show(found, several=several)
        if explain is not None:
            ((_, answered),) = found
            if isinstance(answered, SearchResult):
                explaining.draw(
                    explain, lens, photos[0], answered, wanted, corners, in_words=not as_json
                )
    if failed:
        raise typer.Exit(output.EXIT_FAILED)


@dataclass(frozen=True, slots=True)
class _Asked:
    """What is asked of each photo."""

    k: int
    wanted: Filter
    text: str
    box: Box | None
    category: Auto | None
    fallback: Fallback | None


def _answers(lens: Lens, photos: Sequence[Path], asked: _Asked) -> Iterator[_Answer]:
    """Each photo with its answer, or with what is wrong with it."""
    for photo in photos:
        try:
            found = lens.search(
                photo,
                asked.k,
                filter=asked.wanted,
                text=asked.text,
                box=asked.box,
                category=asked.category,
                fallback=asked.fallback,
            )
        except (PictureError, QueryError, MissingExtraError) as exc:
            yield photo, exc
        else:
            yield photo, found


def _answer_together(lens: Lens, photos: Sequence[Path], asked: _Asked) -> Iterator[_Answer]:
    """All photos with their one answer."""
    boxes = [asked.box] * len(photos)
    yield (
        tuple(photos),
        lens.search_together(
            photos,
            asked.k,
            filter=asked.wanted,
            text=asked.text,
            boxes=boxes,
            category=asked.category,
        ),
    )


def _show(found: Iterable[_Answer], *, several: bool) -> int:
    """Prints answers for people as they come; returns how many photos failed."""
    failed = 0
    for photo, answer in found:
        if isinstance(answer, PocketLensError):
            failed += 1
            output.say(f"error: {photo}: {answer}")
            continue
        if several:
            output.show(str(photo))
        output.show(answers.headline(answer))
        if isinstance(photo, tuple):
            output.show(answers.agreement_line(answer, photo))
        if answer.categories:
            output.show(answers.categories_line(answer))
        if answer.words is not None:
            output.show(words.line(answer.words))
        if answer.fallback is not None:
            output.show(answers.who_answered(answer, answer.fallback))
        answers.show_matches(answer)
        if several:
            output.show()
    return failed


def _show_json(found: Iterable[_Answer]) -> int:
    """Prints all answers as JSON; returns how many photos failed."""
    objects: list[dict[str, object]] = []
    failed = 0
    for photo, answer in found:
        if isinstance(answer, PocketLensError):
            failed += 1
            about: dict[str, object] = {
                "error": {"type": type(answer).__name__, "message": str(answer)}
            }
        else:
            about = answers.as_json(answer)
        if isinstance(photo, tuple):
            objects.append({"photos": [str(each) for each in photo], **about})
        else:
            objects.append({"photo": str(photo), **about})
    output.show_json(objects)
    return failed


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

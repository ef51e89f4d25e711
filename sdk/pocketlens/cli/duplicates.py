"""`pocketlens duplicates`: pictures that are there twice, and photos taken from the catalogue."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pocketlens.cli import output
from pocketlens.cores import usable_cores
from pocketlens.errors import PictureError

if TYPE_CHECKING:
    from pocketlens.duplicates import Copy, Duplicates, Group, Recognised
    from pocketlens.duplicates.options import DuplicateOptions

_MAX_GROUPS, _MAX_COPIES = 10, 6  # for people; --json gives all of them

_EXAMPLES = """\b
Examples:
  pocketlens duplicates shop
  pocketlens duplicates shop catalogue.csv --sheet duplicates.png
  pocketlens duplicates shop catalogue.csv --photo seen_elsewhere.jpg --photo other.jpg

A store holds codes and no pictures: by itself it tells what the model takes for the same thing.
With the LIST that it was made of, pictures are compared: the same bytes (exact), and one picture
saved anew, scaled, cropped, mirrored or tinted (near).

\b
--json prints an object:
  images, pictures           in the store, and of LIST that were looked at
  cosine, version            from which two codes are the same thing; of the catalogue
  exact, near, same          groups, those of the most images first, each: kind, products (how many
                             they show), images [{id, url, product_ids, path}, ...]
  problems                   [{line, column, what}, ...]
and with --photo an array with an object a photo:
  photo                      as it was given
  error {type, message}      only where the photo cannot be used; ends the object
  kind                       exact, near, same; null if it is not one of the catalogue's
  seen                       the likeliest images, each: kind, similarity, is_mirrored, image
"""


def register(app: typer.Typer) -> None:
    """Adds the command to the program."""
    app.command("duplicates", epilog=_EXAMPLES)(_duplicates)


def _duplicates(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="The store.")],
    image_list: Annotated[
        Path | None,
        typer.Argument(metavar="LIST", help="Its pictures: the CSV or folder that it was made of."),
    ] = None,
    *,
    photos: Annotated[
        list[Path] | None,
        typer.Option("--photo", metavar="FILE", help="Ask whether it is ours; may come again."),
    ] = None,
    cosine: Annotated[
        float | None,
        typer.Option(
            "--cosine",
            metavar="C",
            help="Of two codes that are the same thing; the bundle's if left.",
        ),
    ] = None,
    sheet: Annotated[
        Path | None,
        typer.Option("--sheet", metavar="FILE.png", help="Draw the groups; needs LIST."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Find pictures that are there twice.

    With --photo: say whether photos are copies of the catalogue's pictures; exits 1 when one
    cannot be used.
    """
    leave_cores_to_threads()
    from pocketlens.duplicates.options import DuplicateOptions

    if sheet is not None and (image_list is None or photos):
        output.usage_error("--sheet", "a LIST, and no --photo", str(sheet))
    output.check_place("--sheet", sheet)
    options = DuplicateOptions(cosine=cosine)
    if photos:
        _recognise(directory, photos, image_list, options, as_json=as_json)
        return
    from pocketlens.duplicates import find

    with output.progress() as progress:
        found = find(
            directory, image_list, options=options, processes=usable_cores(), progress=progress
        )
    if sheet is not None:
        from pocketlens.durable_files import write_file
        from pocketlens.report import duplicate_sheets

        write_file(sheet, duplicate_sheets.png(found))
    if as_json:
        output.show_json(duplicates_as_json(found))
    else:
        _show(found)


def leave_cores_to_threads() -> None:
    """Gives numpy's BLAS one thread, unless it was told otherwise; read when numpy loads.

    Pictures are compared by threads of their own. Those of BLAS wait in a loop for more to do: with
    5,000 pictures they took a fifth of all processor time (benchmarks/shop_duplicates.py).
    """
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")


def _show(found: Duplicates) -> None:
    output.say_problems(found.problems)
    kinds = [("the same thing to the model", found.same)]
    if found.pictures:
        kinds = [("the same bytes", found.exact), ("one picture, altered", found.near), *kinds]
    for title, groups in kinds:
        images = sum(len(group.copies) for group in groups)
        output.show(f"{title}: {len(groups):,} groups of {images:,} images")
    rows = [row for _, groups in kinds for row in _rows(groups)]
    if rows:
        output.show()
        output.show_table(("", "images", "products", "which"), rows)


def _rows(groups: Sequence[Group]) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = []
    for group in groups[:_MAX_GROUPS]:
        names = ", ".join(copy.image.id for copy in group.copies[:_MAX_COPIES])
        more = len(group.copies) - _MAX_COPIES
        which = f"{names} and {more:,} more" if more > 0 else names
        rows.append((group.kind, f"{len(group.copies):,}", f"{group.products:,}", which))
    if len(groups) > _MAX_GROUPS:
        more = len(groups) - _MAX_GROUPS
        rows.append(("", "", "", f"{more:,} more groups (--json lists them all)"))
    return rows


def _recognise(
    directory: Path,
    photos: Sequence[Path],
    image_list: Path | None,
    options: DuplicateOptions,
    *,
    as_json: bool,
) -> None:
    from pocketlens.duplicates import recognise

    answers: list[dict[str, object]] = []
    failed = 0
    for photo, answer in zip(
        photos, recognise(directory, photos, image_list, options=options), strict=True
    ):
        if isinstance(answer, PictureError):
            failed += 1
            error = {"type": type(answer).__name__, "message": str(answer)}
            answers.append({"photo": str(photo), "error": error})
            if not as_json:
                output.say(f"error: {answer}")
        elif as_json:
            answers.append({"photo": str(photo), **_answer_as_json(answer)})
        else:
            output.show(f"{photo}: {_headline(answer)}")
    if as_json:
        output.show_json(answers)
    if failed:
        raise typer.Exit(output.EXIT_FAILED)


def _headline(answer: Recognised) -> str:
    if not answer.seen:
        return "not ours: the store is empty"
    first = answer.seen[0]
    which = f"{first.copy.image.id} of {', '.join(first.copy.product_ids)}"
    mirrored = ", mirrored" if first.is_mirrored else ""
    match first.kind:
        case "exact":
            return f"OURS, the same file: {which}"
        case "near":
            return f"OURS, altered: {which} (similarity {first.similarity:.3f}{mirrored})"
        case "same":
            return f"SAME THING, by its code: {which} (similarity {first.similarity:.3f}{mirrored})"
    return f"not ours; nearest is {which} (similarity {first.similarity:.3f}{mirrored})"


def duplicates_as_json(found: Duplicates) -> dict[str, object]:
    """What `--json` prints of duplicates."""
    return {
        "images": found.images,
        "pictures": found.pictures,
        "cosine": found.cosine,
        "version": found.version,
        **{
            kind: [
                {
                    "kind": group.kind,
                    "products": group.products,
                    "images": [copy_as_json(copy) for copy in group.copies],
                }
                for group in groups
            ]
            for kind, groups in (("exact", found.exact), ("near", found.near), ("same", found.same))
        },
        "problems": [
            {"line": each.line, "column": each.column, "what": each.what} for each in found.problems
        ],
    }


def _answer_as_json(answer: Recognised) -> dict[str, object]:
    return {
        "kind": answer.kind,
        "seen": [
            {
                "kind": seen.kind,
                "similarity": seen.similarity,
                "is_mirrored": seen.is_mirrored,
                "image": copy_as_json(seen.copy),
            }
            for seen in answer.seen
        ],
    }


def copy_as_json(copy: Copy) -> dict[str, object]:
    """What `--json` prints of an image."""
    return {
        "id": copy.image.id,
        "url": copy.image.url,
        "product_ids": list(copy.product_ids),
        "path": copy.path and str(copy.path),
    }

"""`pocketlens report`: a look at a catalogue, as a page for people or as JSON."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pocketlens.cli import output
from pocketlens.cli.duplicates import copy_as_json, duplicates_as_json, leave_cores_to_threads
from pocketlens.cores import usable_cores

if TYPE_CHECKING:
    from pocketlens.report.survey import PoorPicture, Survey

_EXAMPLES = """\b
Examples:
  pocketlens report shop --out report.html
  pocketlens report shop catalogue.csv --out report.html
  pocketlens report shop catalogue.csv --json

The page needs no network. Without the LIST that the store was made of it tells what codes and rows
tell: counts, categories, things that the model cannot tell apart, images that are everybody's
neighbour, sizes of tables. With it, also pictures that are small, blurred or there twice.

\b
--json prints an object:
  version, as_of, generation, images, products
  without_price, out_of_stock, without_image (products), without_product (images)
  categories                 [{name, products, images}, ...]
  alone                      ids of products that are alone in their category
  hubs                       [{times, image}, ...]; never: share of images that are nobody's
                             neighbour, 0 to 1
  duplicates                 as of pocketlens duplicates
  small, blurred             [{width, height, blur, image}, ...]
  table_bytes                by table; table_bytes_are_estimated
"""


def register(app: typer.Typer) -> None:
    """Adds the command to the program."""
    app.command("report", epilog=_EXAMPLES)(_report)


def _report(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="The store.")],
    image_list: Annotated[
        Path | None,
        typer.Argument(metavar="LIST", help="Its pictures: the CSV or folder that it was made of."),
    ] = None,
    *,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FILE.html", help="The page to write.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Look a catalogue over, and write what is found on a page."""
    leave_cores_to_threads()
    from pocketlens.report.surveying import look_over

    if out is None and not as_json:
        output.usage_error("--out", "a file to write, or --json", "neither")
    output.check_place("--out", out)
    with output.progress() as progress:
        survey = look_over(directory, image_list, processes=usable_cores(), progress=progress)
    if out is not None:
        from pocketlens.durable_files import write_file
        from pocketlens.report import catalogue_page

        # A file's name may hold bytes that are no text.
        write_file(out, catalogue_page.html(survey).encode(errors="backslashreplace"))
    if as_json:
        output.show_json(_as_json(survey))
        return
    output.say_problems(survey.duplicates.problems)
    output.show(f"{out}: {survey.facts.images:,} images, {survey.facts.products:,} products")


def _as_json(survey: Survey) -> dict[str, object]:
    facts = survey.facts
    return {
        "version": facts.version,
        "as_of": facts.as_of.isoformat(),
        "generation": facts.generation,
        "images": facts.images,
        "products": facts.products,
        "without_price": survey.without_price,
        "out_of_stock": survey.out_of_stock,
        "without_image": survey.without_image,
        "without_product": survey.without_product,
        "categories": [
            {"name": each.name, "products": each.products, "images": each.images}
            for each in survey.categories
        ],
        "alone": [each.id for each in survey.alone],
        "hubs": [{"times": each.times, "image": copy_as_json(each.copy)} for each in survey.hubs],
        "never": survey.never,
        "duplicates": duplicates_as_json(survey.duplicates),
        "small": _poor_as_json(survey.small),
        "blurred": _poor_as_json(survey.blurred),
        "table_bytes": survey.table_bytes,
        "table_bytes_are_estimated": survey.is_estimated,
    }


def _poor_as_json(poor: Sequence[PoorPicture]) -> list[dict[str, object]]:
    return [
        {
            "width": each.width,
            "height": each.height,
            "blur": each.blur,
            "image": copy_as_json(each.copy),
        }
        for each in poor
    ]

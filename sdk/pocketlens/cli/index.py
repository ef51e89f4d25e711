"""`pocketlens index`: a list of catalogue pictures, or their vectors, to a store."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pocketlens.cli import output

if TYPE_CHECKING:
    from pocketlens.indexing import IndexReport

_EXAMPLES = """\b
Examples:
  pocketlens index catalogue.csv --model shop.tflite --out shop
  pocketlens index pictures/ --model shop.tflite --out shop
  pocketlens index catalogue.csv --model shop.tflite --vectors vectors.npy --out shop

A LIST is a folder with a folder a product (its name is the product's id), or a UTF-8 CSV whose
header names the columns image and product_id, and optionally title, category, price, currency,
stock, url, image_id, image_url and attr.NAME.
"""


def register(app: typer.Typer) -> None:
    """Adds the command to the program."""
    app.command("index", epilog=_EXAMPLES)(_index)


def _index(
    image_list: Annotated[
        Path, typer.Argument(metavar="LIST", help="Catalogue pictures: a CSV or a folder.")
    ],
    *,
    model: Annotated[Path, typer.Option("--model", metavar="SHOP.tflite", help="The bundle.")],
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="The store; made if missing.")],
    vectors: Annotated[
        Path | None,
        typer.Option(
            "--vectors",
            metavar="FILE.npy",
            help="Embeddings, row i for line i of the CSV; no picture is opened then.",
        ),
    ] = None,
    thumbnails: Annotated[
        bool,
        typer.Option("--thumbnails", help="Keep each picture small, to be shown: 1 to 3 KB each."),
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
) -> None:
    """Make a store of catalogue pictures.

    A store that is already there keeps answering until the new one is whole.
    """
    from pocketlens.indexing import index

    with output.progress() as progress:
        report = index(
            image_list,
            model=model,
            out=out,
            vectors=vectors,
            thumbnails=thumbnails,
            progress=progress,
        )
    if as_json:
        output.show_json(_as_json(report))
        return
    output.say_problems(report.problems)
    output.show(
        f"{report.images:,} images of {report.products:,} products in {out} "
        f"({report.seconds:.1f} s, {len(report.problems):,} problems)"
    )
    if thumbnails:
        size = output.bytes_text(report.thumbnail_bytes)
        output.show(f"{report.thumbnails:,} thumbnails ({size})")


def _as_json(report: IndexReport) -> dict[str, object]:
    return {
        **{name: getattr(report, name) for name in _REPORTED},
        "directory": str(report.directory),
        "problems": [
            {"line": problem.line, "column": problem.column, "what": problem.what}
            for problem in report.problems
        ],
    }


_REPORTED = (
    "images products lists probes probes_estimated saturated_share thumbnails thumbnail_bytes"
    " generation seconds"
).split()

"""`validate`: what a push of an image list would refuse, with nothing changed."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from pocketlens.cli import output
from pocketlens_server.cli.options import AsJson


def register(app: typer.Typer) -> None:
    """Adds the command to the program."""
    app.command("validate")(_validate)


def _validate(
    image_list: Annotated[
        Path,
        typer.Argument(
            metavar="LIST",
            help="A CSV or a folder, or a bulk-import CSV of Vision Product Search.",
        ),
    ],
    *,
    pictures: Annotated[
        Path | None,
        typer.Option(
            "--pictures",
            metavar="DIR",
            help="Pictures of a CSV of Vision Product Search; its own folder if left.",
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Say what a push of this list would refuse or leave out, and change nothing.

    Every picture is decoded. Exits with 1 if anything would be refused, with 0 if there are only
    notices: things that a push takes as they are, though they may not be meant.
    """
    from pocketlens_server.catalogue.validating import validate

    if pictures is not None and not pictures.is_dir():
        output.usage_error("--pictures", "a folder", str(pictures))
    with output.progress() as progress:
        report = validate(image_list, pictures=pictures, progress=progress)
    if as_json:
        output.show_json(asdict(report))
    else:
        found = [("refused", each) for each in report.refused]
        found += [("notice", each) for each in report.notices]
        shown = found[: output.MAX_PROBLEMS]
        if shown:
            output.show_table(
                ["line", "column", "", "what"],
                [
                    [
                        "" if each.line is None else str(each.line),
                        each.column or "",
                        kind,
                        each.what,
                    ]
                    for kind, each in shown
                ],
            )
        if len(found) > len(shown):
            output.say(f"... and {len(found) - len(shown):,} more (--json lists them all)")
        output.show(
            f"{report.images:,} images of {report.products:,} products: {len(report.refused):,} "
            f"refused, {len(report.notices):,} notices"
        )
    if report.refused:
        raise typer.Exit(output.EXIT_FAILED)

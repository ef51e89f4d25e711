"""The `pocketlens-converter` command: train, convert, evaluate, calibrate.

A command parses, calls the library once, and prints; TensorFlow loads when one needs it.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import typer

from pocketlens import __version__
from pocketlens.cli import output
from pocketlens_converter import cli_calibrate, cli_convert, cli_evaluate
from pocketlens_converter.cli_train import train

__all__ = ["app", "main"]

app = typer.Typer(
    name="pocketlens-converter",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    epilog="""\b
Example:
  pocketlens-converter train catalogue.csv photos.csv --weights weights.h5 --out shop.keras
  pocketlens-converter convert shop.keras --catalog catalogue.csv --out shop.tflite
""",
)
app.command("train")(train)
cli_convert.register(app)
cli_evaluate.register(app)
cli_calibrate.register(app)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command and returns its exit code (see `pocketlens.cli.output.run`)."""
    return output.run(app, arguments)


def _print_version(wanted: bool) -> None:
    if wanted:
        output.show(f"pocketlens-converter {__version__}")
        raise typer.Exit


@app.callback()
def _converter(
    *,
    version: Annotated[
        bool,
        typer.Option(
            "--version", help="Print the version.", callback=_print_version, is_eager=True
        ),
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
) -> None:
    """Make the model of a shop, and the bundle that phones run."""

"""The `pocketlens` command: make a store, search it, look into it.

A command parses, calls the library once, and prints; what it needs loads when it runs, so that
help is there at once.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import typer

from pocketlens import __version__
from pocketlens.cli import index, inspect, output, search

__all__ = ["app", "main"]

app = typer.Typer(
    name="pocketlens",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    epilog="""\b
Example:
  pocketlens index catalogue.csv --model shop.tflite --out shop
  pocketlens search shop photo.jpg
""",
)
index.register(app)
search.register(app)
inspect.register(app)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command and returns its exit code (see `pocketlens.cli.output.run`)."""
    return output.run(app, arguments)


def _print_version(wanted: bool) -> None:
    if wanted:
        output.show(f"pocketlens {__version__}")
        raise typer.Exit


@app.callback()
def _pocketlens(
    *,
    version: Annotated[
        bool,
        typer.Option(
            "--version", help="Print the version.", callback=_print_version, is_eager=True
        ),
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
) -> None:
    """Find the product in a photo, with no network."""

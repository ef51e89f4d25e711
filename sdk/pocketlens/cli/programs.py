"""What every PocketLens program shares: its options, and the look of its help.

app = programs.program("pocketlens", "Find the product in a photo.", example="pocketlens ...")
app.command("search")(search)
"""

# SPDX-License-Identifier: Apache-2.0

# No postponed annotations here: the parser evaluates them, and one names a local function.
from typing import Annotated

import typer

from pocketlens import __version__
from pocketlens.cli import output


def program(name: str, summary: str, *, example: str) -> typer.Typer:
    """An app with `--version` and `--debug`, to which commands are added.

    Args:
        name: As it is typed.
        summary: One sentence of help.
        example: Command lines of help, one a line.
    """
    indented = "".join(f"  {line}\n" for line in example.splitlines())
    app = typer.Typer(
        name=name,
        help=summary,
        no_args_is_help=True,
        add_completion=False,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        epilog=f"\b\nExample:\n{indented}",
    )

    def print_version(wanted: bool) -> None:
        if wanted:
            output.show(f"{name} {__version__}")
            raise typer.Exit

    @app.callback(help=summary)
    def options(
        *,
        version: Annotated[
            bool,
            typer.Option(
                "--version", help="Print the version.", callback=print_version, is_eager=True
            ),
        ] = False,
        debug: Annotated[
            bool, typer.Option("--debug", help="Show the traceback of an error.")
        ] = False,
    ) -> None:
        del version, debug  # one acts when parsed, the other is read by `output.run`

    return app

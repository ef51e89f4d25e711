"""`config`: how a server is set."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import typer

from pocketlens.cli import output
from pocketlens_server.cli.options import AsJson, Data

if TYPE_CHECKING:
    from pocketlens_server.config import Setting

_EXAMPLE = "\b\nExample:\n  pocketlens-server config show --data shop-server"


def register(app: typer.Typer) -> None:
    """Adds the commands to the program."""
    config = typer.Typer(help="How the server is set.", no_args_is_help=True)
    config.callback()(_config)
    config.command("show", epilog=_EXAMPLE)(_show)
    app.add_typer(config, name="config")


def _config() -> None:
    """How the server is set."""  # of a group: with one command alone there would be none


def _show(*, data: Data, as_json: AsJson = False) -> None:
    """Print every setting that counts, and whether it is a default, of the file or of a variable.

    The file is server.toml in the server's folder; variables are named like
    POCKETLENS_SERVER_LISTEN_PORT. Options of `serve` count before both. What is set of a catalogue
    alone, as main/gates.lost_share, is in its catalogues/NAME/settings.toml.
    """
    import os

    from pocketlens_server import config, settings
    from pocketlens_server.folders import ServerFolder

    server = ServerFolder(data)
    found: list[tuple[str | None, Setting]]
    found = [(None, each) for each in config.read(server.path, os.environ).settings]
    for name in server.catalogues():
        found += [(name, each) for each in settings.listed(server.catalogue(name).folder)]
    if as_json:
        output.show_json(
            [
                {
                    "catalogue": catalogue,
                    "section": each.section,
                    "name": each.name,
                    "value": str(each.value) if isinstance(each.value, Path) else each.value,
                    "source": each.source,
                }
                for catalogue, each in found
            ]
        )
        return
    output.show_table(
        ["setting", "value", "from"],
        [[_name(catalogue, each), _text(each.value), each.source] for catalogue, each in found],
    )


def _name(catalogue: str | None, setting: Setting) -> str:
    """Of the server, or of a catalogue alone."""
    name = f"{setting.section}.{setting.name}"
    return name if catalogue is None else f"{catalogue}/{name}"


def _text(value: object) -> str:
    """A value as in the file."""
    if value is None:
        return "none"
    return str(value).lower() if isinstance(value, bool) else str(value)

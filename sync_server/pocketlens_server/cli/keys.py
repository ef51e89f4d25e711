"""`keys status`: what is signed, and until when."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import typer

from pocketlens.cli import output
from pocketlens_server.cli.options import MAIN, AsJson, Catalog, Data

WARN = timedelta(days=60)  # before what only offline keys can renew expires


def register(app: typer.Typer) -> None:
    """Adds the commands to the program."""
    keys = typer.Typer(help="Keys and what they signed.", no_args_is_help=True)
    keys.callback()(_keys)
    keys.command("status")(_status)
    app.add_typer(keys, name="keys")


def _keys() -> None:
    """Keys and what they signed."""


def _status(*, data: Data, catalog: Catalog = MAIN, as_json: AsJson = False) -> None:
    """Say what is signed by which key, and when it expires."""
    from pocketlens_server.folders import ServerFolder
    from pocketlens_server.publishing import keys, signing

    now = datetime.now(UTC)
    found = signing.status(ServerFolder(data).catalogue(catalog).public)
    urgent = [each for each in found if each.role in keys.OFFLINE and each.expires - now < WARN]
    if as_json:
        output.show_json(
            [
                {
                    "role": each.role,
                    "version": each.version,
                    "expires": each.expires.isoformat(),
                    "keyids": list(each.keyids),
                    "urgent": each in urgent,
                }
                for each in found
            ]
        )
        return
    output.show_table(
        ["role", "version", "expires", "days", "keys"],
        [
            [
                each.role,
                str(each.version),
                f"{each.expires:%Y-%m-%d}",
                str((each.expires - now).days),
                " ".join(keyid[:12] for keyid in each.keyids),
            ]
            for each in found
        ],
    )
    for each in urgent:
        output.say(f"warning: {each.role} expires in {(each.expires - now).days} days")

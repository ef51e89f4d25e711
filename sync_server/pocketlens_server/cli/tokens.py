"""`tokens`: who may ask a server, for what, and until when."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pocketlens.cli import output
from pocketlens_server.callers import Scope
from pocketlens_server.cli.options import AsJson, Data

if TYPE_CHECKING:
    from pocketlens_server.auth import Token

_EXAMPLES = {
    "make": "  pocketlens-server tokens make --scope device --data shop-server\n"
    "  pocketlens-server tokens make --scope backend --catalog main --label feed --days 365 \\\n"
    "      --out feed.token --data shop-server",
    "list": "  pocketlens-server tokens list --data shop-server",
    "revoke": "  pocketlens-server tokens revoke 0a1b2c3d4e5f --data shop-server",
}


def register(app: typer.Typer) -> None:
    """Adds the commands to the program."""
    tokens = typer.Typer(help="Who may ask, for what, and until when.", no_args_is_help=True)
    commands: dict[str, Callable[..., None]] = {"make": _make, "list": _list, "revoke": _revoke}
    for name, command in commands.items():
        tokens.command(name, epilog=f"\b\nExample:\n{_EXAMPLES[name]}")(command)
    app.add_typer(tokens, name="tokens")


def _make(
    *,
    data: Data,
    scope: Annotated[
        list[Scope], typer.Option("--scope", help="What it is for; may be given several times.")
    ],
    catalog: Annotated[
        list[str] | None,
        typer.Option(
            "--catalog",
            metavar="NAME",
            help="Which catalogue it opens; may be given several times. All if left.",
        ),
    ] = None,
    label: Annotated[
        str, typer.Option("--label", metavar="TEXT", help="To find it by in the list.")
    ] = "",
    days: Annotated[
        int | None,
        typer.Option("--days", metavar="N", min=1, max=36500, help="It holds; for ever if left."),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", metavar="FILE", help="Write it there, for its owner alone, not to stdout."
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Make a token. It is shown this once: the server keeps a hash of it."""
    from pocketlens_server.folders import ServerFolder
    from pocketlens_server.tokens import Tokens

    now = datetime.now(UTC)
    with Tokens(ServerFolder(data)) as tokens:
        text, token = tokens.make(
            scope,
            now=now,
            catalogues=catalog or None,
            label=label,
            expires_at=None if days is None else now + timedelta(days=days),
            into=out,
        )
    if as_json:
        shown = {"token": text} if out is None else {"file": str(out)}
        output.show_json(_as_json(token, now) | shown)
        return
    output.show(text if out is None else f"{out}: token {token.id}")
    output.say(f"token {token.id}: {_scopes(token)}; {_catalogues(token)}; {_until(token)}")


def _list(*, data: Data, as_json: AsJson = False) -> None:
    """List the tokens that were made, oldest first."""
    from pocketlens_server.folders import ServerFolder
    from pocketlens_server.tokens import Tokens

    now = datetime.now(UTC)
    with Tokens(ServerFolder(data)) as tokens:
        found = tokens.all()
    if as_json:
        output.show_json([_as_json(token, now) for token in found])
        return
    output.show_table(
        ["id", "state", "scopes", "catalogues", "made", "expires", "label"],
        [
            [
                token.id,
                token.state(now),
                _scopes(token),
                _catalogues(token),
                f"{token.created_at:%Y-%m-%d}",
                "never" if token.expires_at is None else f"{token.expires_at:%Y-%m-%d}",
                token.label,
            ]
            for token in found
        ],
    )


def _revoke(
    id_: Annotated[str, typer.Argument(metavar="ID", help="As `tokens list` shows it.")],
    *,
    data: Data,
    as_json: AsJson = False,
) -> None:
    """Let a token open nothing more; a server that runs knows it at once."""
    from pocketlens_server.folders import ServerFolder
    from pocketlens_server.tokens import Tokens

    now = datetime.now(UTC)
    with Tokens(ServerFolder(data)) as tokens:
        token = tokens.revoke(id_, now=now)
    if as_json:
        output.show_json(_as_json(token, now))
        return
    output.show(f"token {token.id} is revoked")


def _scopes(token: Token) -> str:
    return " ".join(sorted(token.scopes))


def _catalogues(token: Token) -> str:
    return "all catalogues" if token.catalogues is None else " ".join(sorted(token.catalogues))


def _until(token: Token) -> str:
    return "for ever" if token.expires_at is None else f"until {token.expires_at:%Y-%m-%d}"


def _as_json(token: Token, now: datetime) -> dict[str, object]:
    times = (token.created_at, token.expires_at, token.revoked_at)
    created, expires, revoked = (None if at is None else at.isoformat() for at in times)
    return {
        "id": token.id,
        "state": token.state(now),
        "scopes": sorted(token.scopes),
        "catalogues": None if token.catalogues is None else sorted(token.catalogues),
        "label": token.label,
        "created_at": created,
        "expires_at": expires,
        "revoked_at": revoked,
    }

"""`backup`, `restore`, `fsck`: what keeps a server from being lost."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pocketlens.cli import output
from pocketlens_server.cli.options import AsJson, Data

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pocketlens_server.maintenance.findings import Finding


def register(app: typer.Typer) -> None:
    """Adds the commands to the program."""
    app.command("backup")(_backup)
    app.command("restore")(_restore)
    app.command("fsck")(_fsck)


def _backup(
    *,
    data: Data,
    out: Annotated[
        Path,
        typer.Option(
            "--out",
            metavar="DIR",
            help="A folder of backups, where only what is new is copied.",
        ),
    ],
    as_json: AsJson = False,
) -> None:
    """Copy everything that a server cannot be without, while it serves and changes.

    The copy holds the keys that sign versions: keep it as you keep the server. Cut off, the same
    command goes on. Each file is compared with its hash when it is first copied; what DIR has
    already is not read again, which fsck and restore do. Exits with 1 if a file that it lacks is
    missing or damaged; the rest is in it.
    """
    from pocketlens_server.folders import ServerFolder
    from pocketlens_server.maintenance.backup import backup

    with output.progress() as progress:
        made = backup(ServerFolder(data), out, now=datetime.now(UTC), progress=progress)
    if as_json:
        output.show_json({"out": str(out)} | asdict(made))
    else:
        for name, point in made.catalogues.items():
            output.show(f"{name!r}: version {point.version}")
        output.show(
            f"{out}: {made.files:,} files of {output.bytes_text(made.bytes)}, "
            f"{output.bytes_text(made.copied_bytes)} of them copied now"
        )
        output.say_problems([f"{path} is missing or damaged" for path in made.lacking])
    if made.lacking:
        raise typer.Exit(1)


def _restore(
    backup: Annotated[Path, typer.Argument(metavar="BACKUP", help="Its folder.")],
    *,
    data: Annotated[Path, typer.Option("--data", metavar="DIR", help="New or empty.")],
    offline_keys: Annotated[
        Path | None,
        typer.Option(
            "--offline-keys",
            metavar="DIR",
            help="Where offline keys are now; where the server knew them if left.",
        ),
    ] = None,
    seen: Annotated[
        Path | None,
        typer.Option(
            "--seen",
            metavar="DIR",
            help="A newer copy of public/, such as a CDN's: says which versions devices may have.",
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Make the folder of a server from a backup, and look at everything in it.

    Devices go on with it at once. It publishes nothing before `publish --above VERSION` says which
    version was the highest that was ever published. Exits with 1 if something is damaged.
    """
    from pocketlens_server.maintenance.restoring import restore

    with output.progress() as progress:
        done = restore(
            backup,
            data,
            offline_keys=offline_keys,
            seen=seen,
            now=datetime.now(UTC),
            progress=progress,
        )
    if as_json:
        value = asdict(done) | {
            "data": str(data),
            "made_at": done.made_at.isoformat(),
            "findings": _as_json(done.findings),
        }
        output.show_json(value)
    else:
        output.show(f"{data}: a server as of {done.made_at:%Y-%m-%d %H:%M} UTC")
        _show(done.findings)
    _exit(done.findings)


def _fsck(
    *,
    data: Data,
    catalog: Annotated[
        str | None, typer.Option("--catalog", metavar="NAME", help="Which one; all if left.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Look at everything that a server keeps, which may serve meanwhile; nothing is changed.

    Says what is wrong and what to do. Exits with 1 if something is damaged.
    """
    from pocketlens_server.folders import ServerFolder
    from pocketlens_server.maintenance.fsck import examine

    names = [] if catalog is None else [catalog]
    with output.progress() as progress:
        findings = examine(ServerFolder(data), names, now=datetime.now(UTC), progress=progress)
    if as_json:
        output.show_json({"data": str(data), "findings": _as_json(findings)})
    else:
        _show(findings)
    _exit(findings)


def _show(findings: Sequence[Finding]) -> None:
    if findings:
        output.show_table(
            ["catalogue", "check", "found", "what to do"],
            [[each.catalogue, each.check.value, each.text, each.mend] for each in findings],
        )
    if not any(each.is_damage for each in findings):
        output.show("nothing is damaged")


def _exit(findings: Sequence[Finding]) -> None:
    if any(each.is_damage for each in findings):
        raise typer.Exit(1)


def _as_json(findings: Sequence[Finding]) -> list[dict[str, object]]:
    return [asdict(each) | {"is_damage": each.is_damage} for each in findings]

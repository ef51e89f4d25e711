"""`pocketlens sync`: a store that follows a server is made, or brought up to date."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pocketlens.cli import output

if TYPE_CHECKING:
    from pocketlens.sync.reports import SyncReport, ThumbnailReport

_EXAMPLES = """\b
Examples:
  pocketlens sync shop --server shop.example:8443 --root root.json
  pocketlens sync shop --server https://cdn.shop.example/main --root root.json
  pocketlens sync shop --server 10.0.0.2:8443 --root root.json --ca ca.pem --token-file token
  pocketlens sync shop
  pocketlens sync shop --plan
"""

_WATCH_EXAMPLE = """\b
Example:
  pocketlens watch shop --interval 600
"""


def register(app: typer.Typer) -> None:
    """Adds the command to the program."""
    app.command("sync", epilog=_EXAMPLES)(_sync)
    app.command("watch", epilog=_WATCH_EXAMPLE)(_watch)


def _sync(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="The store; made if missing.")],
    *,
    server: Annotated[
        str,
        typer.Option(
            "--server",
            metavar="ADDRESS",
            help="HOST:PORT, or where the catalogue's public files are: https://... or a folder. "
            "Remembered.",
        ),
    ] = "",
    catalog: Annotated[
        str | None, typer.Option("--catalog", metavar="NAME", help="Of the server; main if left.")
    ] = None,
    root: Annotated[
        Path | None,
        typer.Option("--root", metavar="root.json", help="Whom to trust; remembered."),
    ] = None,
    ca: Annotated[
        Path | None,
        typer.Option(
            "--ca", metavar="FILE", help="Certificates to trust, PEM; its place is remembered."
        ),
    ] = None,
    token_file: Annotated[
        Path | None,
        typer.Option(
            "--token-file", metavar="FILE", help="Token to send; its place is remembered."
        ),
    ] = None,
    thumbnails: Annotated[
        bool | None,
        typer.Option(
            "--thumbnails/--no-thumbnails",
            help="Keep pictures small, to be shown without a network; remembered.",
        ),
    ] = None,
    plan: Annotated[
        bool, typer.Option("--plan", help="Say what it would cost, and change nothing.")
    ] = False,
    metered: Annotated[
        bool, typer.Option("--metered", help="Fetch no more than a mebibyte.")
    ] = False,
    max_bytes: Annotated[
        int | None, typer.Option("--max-bytes", min=0, help="Fetch no more than this.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
) -> None:
    """Bring a store to the newest version of the catalogue that it follows.

    The first time, --server and --root say what to follow. What was fetched when a sync is cut off
    is not fetched again; searches go on all the while.
    """
    from pocketlens import following
    from pocketlens.options import SyncOptions

    options = SyncOptions(is_metered=metered, max_bytes=max_bytes)
    if bool(server) != (root is not None):
        output.usage_error("--server", "--server and --root together, or neither", server)
    for name, given in (("--ca", ca), ("--token-file", token_file), ("--catalog", catalog)):
        if root is None and given:
            output.usage_error(name, f"--server and --root with {name}", "neither")
    with output.progress() as progress:
        if root is None:
            report = following.update(
                directory,
                thumbnails=thumbnails,
                options=options,
                only_plan=plan,
                progress=progress,
            )
        else:
            report = following.install(
                directory,
                server=server,
                root=root,
                catalog=catalog or "main",
                ca=ca,
                token_file=token_file,
                thumbnails=thumbnails,
                options=options,
                only_plan=plan,
                progress=progress,
            )
    if as_json:
        output.show_json(_as_json(report) | {"directory": str(directory), "plan": plan})
        return
    output.show(_summary(directory, report, plan=plan))
    if told := _thumbnails(report.thumbnails, plan=plan):
        output.show(told)


def _watch(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="That `sync` made.")],
    *,
    interval: Annotated[
        float, typer.Option("--interval", min=1, help="Seconds between two syncs, on average.")
    ] = 300,
    metered: Annotated[
        bool, typer.Option("--metered", help="Fetch no more than a mebibyte at once.")
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print every report as a line of JSON.")
    ] = False,
) -> None:
    """Follow a server until Ctrl-C, syncing at random times, and seldom after failures."""
    from pocketlens import following
    from pocketlens.errors import PocketLensError
    from pocketlens.options import SyncOptions

    has_failed = False

    def told(what: SyncReport | PocketLensError) -> None:
        nonlocal has_failed
        if isinstance(what, PocketLensError):
            output.say(f"warning: {what}")
        elif as_json:
            output.show(json.dumps(_as_json(what)))
        elif what.action.value != "nothing" or has_failed:  # that it is well again, too
            output.show(_summary(directory, what, plan=False))
        has_failed = isinstance(what, PocketLensError)

    options = SyncOptions(is_metered=metered)
    following.watch(directory, interval_seconds=interval, options=options, told=told)


def _summary(directory: Path, report: SyncReport, *, plan: bool) -> str:
    done = f"{directory}: {_done(report, plan=plan)}"
    held_back = report.held_back
    if held_back is None:
        return done
    which = "" if report.action.value == "wait" else " of another model"
    return (
        f"{done}; version {held_back.version}{which} is held back until there is a newer one: "
        f"{held_back.reason}"
    )


def _done(report: SyncReport, *, plan: bool) -> str:
    size = output.bytes_text(report.fetched_bytes)
    match report.action.value:
        case "nothing":
            newest = "" if report.held_back else ", which is the newest"
            return f"at version {report.version}{newest}"
        case "wait":
            later = "" if report.held_back else "; a newer one comes to it later"
            return f"at version {report.before}{later}"
        case "repair":
            done = "would be" if plan else "was"
            return f"at version {report.version}; its bundle {done} mended by {size}"
        case action:
            how = "a new install" if action == "install" else "a delta"
            done = "would take" if plan else "took"
            came = f"from version {report.before}" if report.before else "new"
            return f"{came}, version {report.version}; {how} {done} {size}"


def _thumbnails(report: ThumbnailReport, *, plan: bool) -> str:
    waiting = output.bytes_text(report.waiting_bytes)
    if plan:
        return f"thumbnails would take {waiting}" if report.waiting_bytes else ""
    if report.reason:
        return f"thumbnails wait for the next sync ({waiting}): {report.reason}"
    if not report.packs:
        return ""
    return f"thumbnails took {output.bytes_text(report.fetched_bytes)}"


def _as_json(report: SyncReport) -> dict[str, object]:
    return {
        "action": report.action.value,
        "before": report.before,
        "version": report.version,
        "fetched_bytes": report.fetched_bytes,
        "as_of": report.as_of.isoformat(),
        "held_back": report.held_back and asdict(report.held_back),
        "thumbnails": asdict(report.thumbnails),
    }

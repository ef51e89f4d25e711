"""`push`, `jobs`, `dead-letters`: what goes into a catalogue, and what became of it."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pocketlens.cli import output
from pocketlens_server.cli.options import (
    MAIN,
    AsJson,
    Authority,
    Catalog,
    Certificate,
    DataOrNone,
    Key,
    Server,
    Shown,
    TokenFile,
    catalogue_of,
)

if TYPE_CHECKING:
    from pocketlens_server.storage.jobs import Job

_EXAMPLES = {
    "list": "pocketlens-server jobs list --server shop.example:8443 --token-file backend.token",
    "cancel": "pocketlens-server jobs cancel 12 --data shop-server",
}
_LETTER_EXAMPLES = {
    "list": "pocketlens-server dead-letters list --data shop-server",
    "retry": "pocketlens-server dead-letters retry 3 4 --data shop-server",
    "purge": "pocketlens-server dead-letters purge --data shop-server",
}
Numbers = Annotated[
    list[int] | None,
    typer.Argument(metavar="[NUMBER...]", min=1, help="Which; all if none is named."),
]


def register(app: typer.Typer) -> None:
    """Adds the commands to the program."""
    app.command("push")(_push)
    jobs: dict[str, Callable[..., None]] = {"list": _jobs, "cancel": _cancel}
    letters: dict[str, Callable[..., None]] = {"list": _letters, "retry": _retry, "purge": _purge}
    for name, text, commands, examples in (
        ("jobs", "What backends sent, and how far it is.", jobs, _EXAMPLES),
        ("dead-letters", "Images that could not be embedded.", letters, _LETTER_EXAMPLES),
    ):
        group = typer.Typer(help=text, no_args_is_help=True)
        for each, command in commands.items():
            group.command(each, epilog=f"\b\nExample:\n  {examples[each]}")(command)
        app.add_typer(group, name=name)


def _push(
    image_list: Annotated[
        Path, typer.Argument(metavar="LIST", help="Products and pictures: a CSV or a folder.")
    ],
    *,
    data: DataOrNone = None,
    server: Server = None,
    token_file: TokenFile = None,
    ca: Authority = None,
    cert: Certificate = None,
    key: Key = None,
    catalog: Catalog = MAIN,
    pictures: Annotated[
        Path | None,
        typer.Option(
            "--pictures",
            metavar="DIR",
            help="Of a CSV of Vision Product Search: folder of its pictures.",
        ),
    ] = None,
    replace: Annotated[
        bool,
        typer.Option(
            "--replace",
            help="Delete what the list does not name, also what others have put since it was made.",
        ),
    ] = False,
    lost_share: Annotated[
        float | None,
        typer.Option(
            "--lost-share",
            min=0,
            max=1,
            metavar="SHARE",
            help="With --replace: of products, and of images, that may be deleted; 0.2 if left.",
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Put the products and images of a list; they wait until they are published.

    The bulk-import CSV of Google's Vision Product Search is a list, too.

    What is there already and the same costs nothing. Cut off, the same command goes on. Exits with
    1 if something of the list was left out; the rest is in the catalogue.
    """
    from pocketlens_server.catalogue.pushing import push

    with closing(catalogue_of(data, server, catalog, Shown(token_file, ca, cert, key))) as shop:
        target = shop.target()
        with output.progress() as progress:
            report = push(
                target,
                image_list,
                pictures=pictures,
                replace=replace,
                lost_share=lost_share,
                progress=progress,
            )
    if as_json:
        value = asdict(report) | {"problems": [str(problem) for problem in report.problems]}
        output.show_json(value)
    else:
        output.say_problems(report.problems)
        deleted = f", {report.deleted:,} deleted" if replace else ""
        output.show(
            f"{report.images:,} images of {report.products:,} products, {report.changed:,} "
            f"changed{deleted}, {report.embedded:,} pictures embedded "
            f"({len(report.problems):,} problems)"
        )
    if report.left_out:
        raise typer.Exit(1)


def _jobs(
    *,
    data: DataOrNone = None,
    server: Server = None,
    token_file: TokenFile = None,
    ca: Authority = None,
    cert: Certificate = None,
    key: Key = None,
    catalog: Catalog = MAIN,
    limit: Annotated[int, typer.Option("--limit", min=1, max=1000, help="The newest.")] = 20,
    as_json: AsJson = False,
) -> None:
    """Say what backends sent in one go, newest first, and what became of it."""
    with closing(catalogue_of(data, server, catalog, Shown(token_file, ca, cert, key))) as shop:
        found = shop.jobs(limit=limit)
    if as_json:
        output.show_json([_job(each) for each in found])
        return
    output.show_table(
        ["job", "kind", "state", "opened", "received", "applied", "refused", "waiting", "dead"],
        [
            [
                str(each.number),
                each.kind.value,
                each.state.value,
                f"{each.opened_at:%Y-%m-%d %H:%M:%S}",
                f"{each.counters.received:,}",
                f"{each.counters.applied:,}",
                f"{each.counters.refused:,}",
                f"{each.counters.waiting:,}",
                f"{each.counters.dead:,}",
            ]
            for each in found
        ],
    )


def _cancel(
    number: Annotated[int, typer.Argument(metavar="NUMBER", min=1, help="Of the job.")],
    *,
    data: DataOrNone = None,
    server: Server = None,
    token_file: TokenFile = None,
    ca: Authority = None,
    cert: Certificate = None,
    key: Key = None,
    catalog: Catalog = MAIN,
    as_json: AsJson = False,
) -> None:
    """End a job; pictures of it that wait are dropped, what was applied stays."""
    with closing(catalogue_of(data, server, catalog, Shown(token_file, ca, cert, key))) as shop:
        found = shop.cancel(number)
    if as_json:
        output.show_json(_job(found))
        return
    output.show(f"job {number} is {found.state.value}; {found.counters.applied:,} were applied")


def _letters(
    *,
    data: DataOrNone = None,
    server: Server = None,
    token_file: TokenFile = None,
    ca: Authority = None,
    cert: Certificate = None,
    key: Key = None,
    catalog: Catalog = MAIN,
    as_json: AsJson = False,
) -> None:
    """Say which images were accepted and could not be embedded, and why; oldest first."""
    with closing(catalogue_of(data, server, catalog, Shown(token_file, ca, cert, key))) as shop:
        found = shop.dead_letters()
    if as_json:
        output.show_json(
            [
                {
                    "number": each.number,
                    "job": each.job,
                    "image": each.image.id,
                    "products": list(each.product_ids),
                    "picture_sha256": each.picture.hex(),
                    "reason": each.reason,
                    "at": each.at.isoformat(),
                }
                for each in found
            ]
        )
        return
    output.show_table(
        ["number", "job", "image", "at", "reason"],
        [
            [
                str(each.number),
                str(each.job),
                each.image.id,
                f"{each.at:%Y-%m-%d %H:%M:%S}",
                each.reason,
            ]
            for each in found
        ],
    )


def _retry(
    numbers: Numbers = None,
    *,
    data: DataOrNone = None,
    server: Server = None,
    token_file: TokenFile = None,
    ca: Authority = None,
    cert: Certificate = None,
    key: Key = None,
    catalog: Catalog = MAIN,
) -> None:
    """Let dead letters be embedded again, such as after a fault of the server."""
    with closing(catalogue_of(data, server, catalog, Shown(token_file, ca, cert, key))) as shop:
        output.show(f"{shop.retry(numbers or None):,} wait again")


def _purge(
    numbers: Numbers = None,
    *,
    data: DataOrNone = None,
    server: Server = None,
    token_file: TokenFile = None,
    ca: Authority = None,
    cert: Certificate = None,
    key: Key = None,
    catalog: Catalog = MAIN,
) -> None:
    """Forget dead letters; their pictures go when they are collected."""
    with closing(catalogue_of(data, server, catalog, Shown(token_file, ca, cert, key))) as shop:
        output.show(f"{shop.purge(numbers or None):,} forgotten")


def _job(job: Job) -> dict[str, object]:
    return {
        "number": job.number,
        "kind": job.kind.value,
        "state": job.state.value,
        "caller": job.caller,
        "opened_at": job.opened_at.isoformat(),
        "ended_at": job.ended_at and job.ended_at.isoformat(),
        **asdict(job.counters),
    }

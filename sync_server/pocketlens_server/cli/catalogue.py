"""`push`, `publish`, `diff`: a catalogue's changes, waiting and published."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pocketlens.cli import output
from pocketlens_server.cli.options import MAIN, AsJson, Catalog, Data
from pocketlens_server.publishing.gate_limits import Gate

if TYPE_CHECKING:
    from pocketlens.formats.manifest import Manifest


def register(app: typer.Typer) -> None:
    """Adds the commands to the program."""
    app.command("push")(_push)
    app.command("publish")(_publish)
    app.command("diff")(_diff)
    app.command("rollback")(_rollback)
    app.command("export")(_export)
    app.command("collect")(_collect)


def _push(
    image_list: Annotated[
        Path, typer.Argument(metavar="LIST", help="Products and pictures: a CSV or a folder.")
    ],
    *,
    data: Data,
    catalog: Catalog = MAIN,
    replace: Annotated[
        bool, typer.Option("--replace", help="Delete what the list does not name.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Put the products and images of a list; they wait until they are published.

    What is there already and the same costs nothing. Cut off, the same command goes on.
    """
    from pocketlens_server.catalogue.pushing import push
    from pocketlens_server.folders import ServerFolder

    folder = ServerFolder(data).catalogue(catalog)
    with output.progress() as progress:
        report = push(folder, image_list, replace=replace, progress=progress)
    if as_json:
        value = asdict(report) | {"problems": [str(problem) for problem in report.problems]}
        output.show_json(value)
        return
    output.say_problems(report.problems)
    output.show(
        f"{report.images:,} images of {report.products:,} products, {report.changed:,} changed, "
        f"{report.embedded:,} pictures embedded ({len(report.problems):,} problems)"
    )


def _publish(
    *,
    data: Data,
    catalog: Catalog = MAIN,
    allow: Annotated[
        list[Gate] | None,
        typer.Option("--allow", help="Publish although this gate holds it; may be repeated."),
    ] = None,
    rollout: Annotated[
        float | None,
        typer.Option(
            "--rollout",
            metavar="SHARE",
            help="Of devices that may take it, like 0.05; again with a larger share for more.",
        ),
    ] = None,
    new_generation: Annotated[
        bool,
        typer.Option("--new-generation", help="Begin one with the newest model and another scale."),
    ] = False,
    model: Annotated[
        Path | None,
        typer.Option(
            "--model",
            metavar="SHOP.tflite",
            help="With --new-generation: a model that was added before, to go back to it.",
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Make a version of all that waits, and make it visible to devices.

    A version that looks wrong is held: many rows fewer than before, vectors that are none, one
    picture that answers everything or stands on everything, codes that are not found, answers that
    changed.
    """
    if model is not None and not new_generation:
        output.usage_error("--model", "--new-generation with --model", "none")
    if model is not None and not model.is_file():
        output.usage_error("--model", "a file", str(model))
    import hashlib

    import numpy as np

    from pocketlens.formats.manifest import WHOLE_ROLLOUT
    from pocketlens_server.folders import ServerFolder
    from pocketlens_server.publishing import releasing
    from pocketlens_server.publishing.publisher import SATURATED

    folder = ServerFolder(data).catalogue(catalog)
    published = releasing.publish(
        folder,
        now=datetime.now(UTC),
        rng=np.random.default_rng(0),
        terms=releasing.Terms(
            allow or (),
            rollout,
            new_generation,
            hashlib.sha256(model.read_bytes()).digest() if model else None,
        ),
    )
    manifests = list(published.manifests) if published else releasing.newest(folder)
    if as_json:
        output.show_json(
            {
                "catalogue": catalog,
                "version": manifests[-1].version,
                "published": published is not None,
                "saturated_share": published.saturated_share if published else None,
                "generations": [_as_json(each) for each in manifests],
            }
        )
        return
    newest = manifests[-1]
    share = newest.rollout / WHOLE_ROLLOUT
    goes_to = "" if share == 1 else f", for {share:.2%} of devices"
    if published is None:
        output.show(f"nothing waits; {catalog!r} is at version {newest.version}{goes_to}")
        return
    output.show(
        f"{catalog!r} version {newest.version}: {newest.images:,} images of {newest.products:,} "
        f"products{goes_to}"
    )
    if published.saturated_share > SATURATED:
        output.say(
            f"{published.saturated_share:.2%} of all numbers in codes are at their limit: the "
            "scale no longer fits what came. Begin another generation: publish --new-generation"
        )
    for each in manifests:
        deltas = ", ".join(
            f"from {delta.base}: {output.bytes_text(delta.blob.size)}" for delta in each.deltas
        )
        output.show(
            f"  generation {each.generation.hex()[:12]}: snapshot of version "
            f"{each.snapshot.head}: {output.bytes_text(each.snapshot.blob.size)}"
            + (f"; {deltas}" if deltas else "")
        )


def _diff(*, data: Data, catalog: Catalog = MAIN, as_json: AsJson = False) -> None:
    """Say what waits to be published."""
    from pocketlens_server.folders import ServerFolder
    from pocketlens_server.publishing import releasing

    found = releasing.waiting(ServerFolder(data).catalogue(catalog))
    if as_json:
        output.show_json(asdict(found))
        return
    output.show_table(
        ["waiting", "parts"],
        [
            ["products", f"{found.products:,}"],
            ["offers", f"{found.offers:,}"],
            ["images", f"{found.images:,}"],
            ["a new model", "yes" if found.is_new_model else "no"],
        ],
    )


def _rollback(
    version: Annotated[int, typer.Argument(metavar="VERSION", help="That was published before.")],
    *,
    data: Data,
    catalog: Catalog = MAIN,
    as_json: AsJson = False,
) -> None:
    """Let everything be as at an earlier version; it waits to be published as a new one."""
    from pocketlens_server.folders import ServerFolder
    from pocketlens_server.publishing import releasing

    changed = releasing.roll_back(ServerFolder(data).catalogue(catalog), version)
    if as_json:
        output.show_json({"catalogue": catalog, "version": version, "changed": changed})
        return
    if not changed:
        output.show(f"everything is as at version {version} already")
        return
    output.show(f"{changed:,} parts as at version {version}; publish to make it so")


def _export(
    *,
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="The store; new or empty.")],
    data: Data,
    catalog: Catalog = MAIN,
    as_json: AsJson = False,
) -> None:
    """Make a store of the newest version, to put inside an app."""
    from pocketlens_server.folders import ServerFolder
    from pocketlens_server.publishing import releasing

    folder = ServerFolder(data).catalogue(catalog)
    report = releasing.export(folder, out, now=datetime.now(UTC))
    if as_json:
        output.show_json({"out": str(out), "catalogue": catalog, "version": report.version})
        return
    output.show(f"{out}: version {report.version} of the catalogue {catalog!r}")


def _collect(*, data: Data, catalog: Catalog = MAIN, as_json: AsJson = False) -> None:
    """Remove files and pictures that nothing needs any more, as publish does on its way."""
    from pocketlens_server.folders import ServerFolder
    from pocketlens_server.publishing import releasing

    folder = ServerFolder(data).catalogue(catalog)
    collected = releasing.collect(folder, now=datetime.now(UTC))
    if as_json:
        output.show_json({"catalogue": catalog} | asdict(collected))
        return
    output.show(f"{collected.files:,} files and {collected.pictures:,} pictures removed")


def _as_json(manifest: Manifest) -> dict[str, object]:
    return {
        "generation": manifest.generation.hex(),
        "rollout": manifest.rollout / (1 << 16),
        "retires_at": manifest.retires_at and manifest.retires_at.isoformat(),
        "state_hash": manifest.state_hash.hex(),
        "images": manifest.images,
        "products": manifest.products,
        "snapshot": {"version": manifest.snapshot.head, "bytes": manifest.snapshot.blob.size},
        "deltas": [{"base": delta.base, "bytes": delta.blob.size} for delta in manifest.deltas],
    }

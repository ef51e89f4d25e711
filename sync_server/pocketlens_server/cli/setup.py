"""`init`, `catalog add`, `model add`: what a server has before anything is pushed."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from pocketlens.cli import output
from pocketlens_server.cli.options import MAIN, AsJson, Catalog, Data, OfflineKeys, opened


def register(app: typer.Typer) -> None:
    """Adds the commands to the program."""
    app.command("init")(_init)
    catalogues = typer.Typer(help="Catalogues of the server.", no_args_is_help=True)
    catalogues.command("add")(_add_catalogue)
    app.add_typer(catalogues, name="catalog")
    models = typer.Typer(help="Models of a catalogue.", no_args_is_help=True)
    models.command("add")(_add_model)
    app.add_typer(models, name="model")


def _init(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="New or empty.")],
    *,
    offline_keys: Annotated[
        Path | None,
        typer.Option(
            "--offline-keys",
            metavar="DIR",
            help="Folder for the keys to keep away from the server; DIR-offline-keys if left.",
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Make the folder of a server, with the catalogue `main` and its keys.

    Keys that sign models and say whom to trust go to a folder of their own: move it to a safe
    place, and bring it back to add a model. The app is built with root.json.
    """
    from pocketlens_server.folders import ServerFolder

    apart = offline_keys or directory.with_name(f"{directory.name}-offline-keys")
    server = ServerFolder.create(directory, offline_keys=apart, now=datetime.now(UTC))
    made = server.catalogue(MAIN)
    root = made.public / "metadata" / "1.root.json"
    value = {
        "directory": str(directory),
        "catalogue": MAIN,
        "offline_keys": str(apart),
        "root": str(root),
    }
    if as_json:
        output.show_json(value)
        return
    output.show(f"{directory}: a server with the catalogue {MAIN!r}")
    output.show(f"offline keys: {apart} (move them to a safe place)")
    output.show(f"root for the app: {root}")


def _add_catalogue(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Small letters, digits, - and _.")],
    *,
    data: Data,
) -> None:
    """Make another catalogue, with keys of its own."""
    from pocketlens_server.folders import ServerFolder

    made = ServerFolder(data).add_catalogue(name, now=datetime.now(UTC))
    output.show(f"catalogue {name!r}, keys in {made.online_keys} and {made.offline_keys}")


def _add_model(
    bundle: Annotated[Path, typer.Argument(metavar="SHOP.tflite", help="The bundle.")],
    *,
    data: Data,
    catalog: Catalog = MAIN,
    float_model: Annotated[
        Path | None,
        typer.Option(
            "--float",
            metavar="MODEL",
            help="The .keras file that it was made of, or a float32 bundle of the same: answers "
            "photos at full precision.",
        ),
    ] = None,
    offline_keys: OfflineKeys = None,
    as_json: AsJson = False,
) -> None:
    """Add a model, signed with the model key, and embed all pictures by it.

    Cut off, the same command goes on. The next publish begins a generation with it; stores that
    follow an older one go on with that. For a bundle that was added before, --float adds its float
    model alone.
    """
    from pocketlens.formats import bundle as bundles
    from pocketlens_server.publishing import models

    folder, offline = opened(data, catalog, offline_keys)
    with output.progress() as progress:
        sha256 = models.add_model(
            folder,
            bundle,
            float_model=float_model,
            offline=offline,
            now=datetime.now(UTC),
            progress=progress,
        )
    if float_model is not None and bundles.decode(bundle.read_bytes()).calibration("photo") is None:
        output.say(
            f"warning: {bundle} has no thresholds for photos, so that every photo will be UNSURE. "
            "Fit them, and add the bundle that has them: pocketlens-converter calibrate "
            f"{bundle} --float {float_model} --queries LIST --gallery LIST"
        )
    if as_json:
        output.show_json({"catalogue": catalog, "bundle_sha256": sha256})
        return
    output.show(f"{bundle}: model of the catalogue {catalog!r} ({sha256[:12]})")

"""`publish`, `diff`, `rollback` and what follows them: a catalogue's versions."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import hashlib
from contextlib import closing
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pocketlens.cli import output
from pocketlens_server.cli.options import (
    MAIN,
    AsJson,
    Authority,
    Catalog,
    Certificate,
    Data,
    DataOrNone,
    Key,
    OfflineKeys,
    Server,
    Shown,
    TokenFile,
    catalogue_of,
    client_of,
)
from pocketlens_server.publishing.gate_limits import Gate

if TYPE_CHECKING:
    from pocketlens.formats.manifest import Manifest
    from pocketlens_server.client import Published
    from pocketlens_server.folders import CatalogueFolder
    from pocketlens_server.publishing.comparing import Comparison
    from pocketlens_server.publishing.releasing import Terms


def register(app: typer.Typer) -> None:
    """Adds the commands to the program."""
    app.command("publish")(_publish)
    app.command("diff")(_diff)
    app.command("rollback")(_rollback)
    app.command("export")(_export)
    app.command("collect")(_collect)


def _publish(
    *,
    data: DataOrNone = None,
    server: Server = None,
    token_file: TokenFile = None,
    ca: Authority = None,
    cert: Certificate = None,
    key: Key = None,
    catalog: Catalog = MAIN,
    parent: Annotated[
        int | None,
        typer.Option(
            "--parent", min=0, metavar="VERSION", help="Only if this is the newest version so far."
        ),
    ] = None,
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
    above: Annotated[
        int | None,
        typer.Option(
            "--above",
            min=0,
            metavar="VERSION",
            help="After a restore: the highest version that ever was; 0 if the backup has it.",
        ),
    ] = None,
    offline_keys: OfflineKeys = None,
    as_json: AsJson = False,
) -> None:
    """Make a version of all that waits, and make it visible to devices.

    A version that looks wrong is held: many rows fewer than before, vectors that are none, one
    picture that answers everything or stands on everything, codes that are not found, answers that
    changed.
    """
    if server is not None and (new_generation or model is not None or above is not None):
        output.usage_error("--server", "--data with --new-generation, --model and --above", server)
    if offline_keys and above is None:
        output.usage_error("--offline-keys", "--above with --offline-keys", "none")
    if model is not None and not new_generation:
        output.usage_error("--model", "--new-generation with --model", "none")
    if model is not None and not model.is_file():
        output.usage_error("--model", "a file", str(model))
    if (data is None) == (server is None):
        output.usage_error("--data", "--data DIR or --server HOST:PORT", "both" if data else "none")
    if data is None:
        with client_of(server or "", catalog, Shown(token_file, ca, cert, key)) as shop:
            gates = [each.value for each in allow or ()]
            found = shop.publish(allowed_gates=gates, rollout=rollout, parent=parent)
        value = _published_elsewhere(found, catalog)
    else:
        from pocketlens_server.folders import ServerFolder
        from pocketlens_server.publishing.releasing import Terms

        terms = Terms(
            allow or (),
            rollout,
            new_generation,
            hashlib.sha256(model.read_bytes()).digest() if model else None,
            above=above,
            offline=[each / catalog for each in offline_keys or ()],
            parent=parent,
        )
        value = _published_here(ServerFolder(data).catalogue(catalog), terms)
    if as_json:
        output.show_json(value)
    else:
        _show_published(value)


def _published_elsewhere(found: Published, catalog: str) -> dict[str, Any]:
    """What a server published, in the form of --json."""
    return {
        "catalogue": catalog,
        "version": found.version,
        "published": found.is_new,
        "generations": [
            {
                "generation": each.id.hex(),
                "state_hash": each.state_hash.hex(),
                "images": each.images,
                "products": each.products,
                "snapshot": {"version": each.snapshot_version, "bytes": each.snapshot_bytes},
            }
            for each in found.generations
        ],
    }


def _published_here(folder: CatalogueFolder, terms: Terms) -> dict[str, Any]:
    """Publishes; the same form, with what only the folder tells."""
    import numpy as np

    from pocketlens_server.publishing import ahead, releasing

    published = releasing.publish(
        folder, now=datetime.now(UTC), rng=np.random.default_rng(0), terms=terms
    )
    if noted := ahead.seen(folder):
        output.say(
            f"devices are ahead: they said that they have {noted.text}. If that is true: publish "
            "--above VERSION"
        )
    manifests = list(published.manifests) if published else releasing.newest(folder)
    return {
        "catalogue": folder.name,
        "version": manifests[-1].version,
        "published": published is not None,
        "saturated_share": published.saturated_share if published else None,
        "generations": [_as_json(each) for each in manifests],
    }


def _show_published(value: dict[str, Any]) -> None:
    from pocketlens_server.publishing.publisher import SATURATED

    version, newest = value["version"], value["generations"][-1]
    share = newest.get("rollout", 1)
    goes_to = "" if share == 1 else f", for {share:.2%} of devices"
    if not value["published"]:
        output.show(f"nothing waits; {value['catalogue']!r} is at version {version}{goes_to}")
        return
    output.show(
        f"{value['catalogue']!r} version {version}: {newest['images']:,} images of "
        f"{newest['products']:,} products{goes_to}"
    )
    saturated = value.get("saturated_share", 0)
    if saturated > SATURATED:
        output.say(
            f"{saturated:.2%} of all numbers in codes are at their limit: the scale no longer fits "
            "what came. Begin another generation: publish --new-generation"
        )
    for each in value["generations"]:
        snapshot = each["snapshot"]
        deltas = ", ".join(
            f"from {delta['base']}: {output.bytes_text(delta['bytes'])}"
            for delta in each.get("deltas", ())
        )
        output.show(
            f"  generation {each['generation'][:12]}: snapshot of version {snapshot['version']}: "
            f"{output.bytes_text(snapshot['bytes'])}" + (f"; {deltas}" if deltas else "")
        )


def _diff(
    base: Annotated[
        int, typer.Argument(metavar="[BASE", min=0, help="The newest version if left.")
    ] = 0,
    head: Annotated[int, typer.Argument(metavar="[HEAD]]", min=0, help="What waits if left.")] = 0,
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
    """Say what differs between two versions, and what that costs a phone; what waits by default."""
    with closing(catalogue_of(data, server, catalog, Shown(token_file, ca, cert, key))) as shop:
        found = shop.diff(base, head)
    if as_json:
        output.show_json(asdict(found))
        return
    output.show_table(
        [f"from {found.base} to {found.head or 'what waits'}", "added", "changed", "deleted"],
        [
            [what, f"{each.added:,}", f"{each.changed:,}", f"{each.deleted:,}"]
            for what, each in (("products", found.products), ("images", found.images))
        ]
        + [["prices and stocks", "0", f"{found.offers_changed:,}", "0"]],
    )
    if found.is_new_model:
        output.show("a new model: the next version begins a generation")
    output.show(_price(found))


def _price(found: Comparison) -> str:
    """What it costs a phone, in words."""
    if found.delta_bytes:
        about = "about " if found.is_estimated else ""
        phone = f"a phone at version {found.base}" if found.base else "a new phone"
        return f"{phone} pays {about}{found.delta_bytes:,} bytes"
    if found.is_estimated:
        return "what a phone pays is known once the first version is published"
    if found.base == found.head:
        return "a phone pays nothing"
    return f"no phone goes to version {found.head} any more: there is a newer one"


def _rollback(
    version: Annotated[int, typer.Argument(metavar="VERSION", help="That was published before.")],
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
    """Let everything be as at an earlier version; it waits to be published as a new one."""
    with closing(catalogue_of(data, server, catalog, Shown(token_file, ca, cert, key))) as shop:
        changed = shop.roll_back(version)
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
    thumbnails: Annotated[
        bool, typer.Option("--thumbnails", help="With those that the catalogue publishes.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Make a store of the newest version, to put inside an app."""
    from pocketlens_server.folders import ServerFolder
    from pocketlens_server.publishing import releasing

    folder = ServerFolder(data).catalogue(catalog)
    now = datetime.now(UTC)
    report = releasing.export(folder, out, now=now, with_thumbnails=thumbnails)
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

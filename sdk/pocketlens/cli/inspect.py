"""`pocketlens info`, `verify`, `doctor`: what a store holds, whether it is whole, what ails it."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pocketlens.cli import output

if TYPE_CHECKING:
    from pocketlens.description import Description
    from pocketlens.fallback.ledger import Summary

_Directory = Annotated[Path, typer.Argument(metavar="DIR", help="The store.")]
_AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def register(app: typer.Typer) -> None:
    """Adds the commands to the program."""
    app.command("info", epilog="\b\nExample:\n  pocketlens info shop")(_info)
    app.command("verify", epilog="\b\nExample:\n  pocketlens verify shop || echo damaged")(_verify)
    app.command("doctor", epilog="\b\nExample:\n  pocketlens doctor shop")(_doctor)


def _info(
    directory: _Directory,
    *,
    ledger: Annotated[
        Path | None,
        typer.Option("--ledger", metavar="FILE", help="List of what was sent; else that in DIR."),
    ] = None,
    as_json: _AsJson = False,
) -> None:
    """Say what a store holds: counts, version, bundle, codebook, sizes.

    Where a server was asked for photos, it says how often, with how many bytes, and when last.
    """
    from pocketlens.description import describe
    from pocketlens.fallback.ledger import NAME, summary

    description = describe(directory)
    sent = summary(ledger or directory / NAME)
    if as_json:
        output.show_json(_info_as_json(description) | {"sent": sent and _sent_as_json(sent)})
        return
    for name, text in [*_info_lines(description), *_sent_lines(sent)]:
        output.show(f"{name:<12} {text}")
    if description.table_bytes:
        images = max(description.facts.images, 1)
        output.show()
        output.show_table(
            ("table", "bytes", "an image"),
            [
                (name, f"{size:,}", f"{size / images:,.1f}")
                for name, size in description.table_bytes.items()
            ],
        )


def _verify(directory: _Directory, *, as_json: _AsJson = False) -> None:
    """Read a whole store and say what is damaged.

    Exits 1 when something is.
    """
    from pocketlens.store.verification import verify

    found = verify(directory)
    if as_json:
        output.show_json(
            {
                "directory": str(directory),
                "is_whole": found.is_whole,
                "findings": list(found.findings),
                "state_hash": found.facts and found.facts.state_hash.hex(),
            }
        )
    else:
        for finding in found.findings:
            output.show(f"damaged: {finding}")
        if found.is_whole and found.facts is not None:
            output.show(
                f"whole: {found.facts.images:,} images, {found.facts.products:,} products, "
                f"state hash {found.facts.state_hash.hex()}"
            )
    if not found.is_whole:
        raise typer.Exit(output.EXIT_FAILED)


def _doctor(directory: _Directory, *, as_json: _AsJson = False) -> None:
    """Try on this machine all that a search needs.

    Exits 1 when something fails.

    Embeddings are checked in two steps, decoding of pictures and inference of the model, against
    the golden examples in the bundle.
    """
    from pocketlens.doctor import examine, has_failed

    findings = examine(directory)
    if as_json:
        output.show_json([asdict(finding) for finding in findings])
    else:
        rows = [(finding.level, finding.name, finding.what) for finding in findings]
        output.show_table(("", "what", "finding"), rows)
    if has_failed(findings):
        raise typer.Exit(output.EXIT_FAILED)


def _info_lines(description: Description) -> list[tuple[str, str]]:
    facts, spec = description.facts, description.bundle.spec
    calibrations = ", ".join(each.name for each in description.bundle.calibrations)
    return [
        ("images", f"{facts.images:,}"),
        ("products", f"{facts.products:,}"),
        ("catalogue", facts.catalogue or "(made by index)"),
        ("version", f"{facts.version} as of {facts.as_of:%Y-%m-%d %H:%M:%S} UTC"),
        ("generation", facts.generation),
        ("bundle", f"{spec.name} ({facts.bundle_sha256.hex()[:12]}), {_size(description)}"),
        ("input", f"{spec.width} x {spec.height}, {spec.resize_mode}"),
        ("codes", f"{facts.dim} numbers, {facts.saturated_share:.4%} saturated"),
        ("scale", f"{facts.scale.min():.4f} to {facts.scale.max():.4f}"),
        ("lists", f"{facts.lists:,}"),
        ("probes", f"{facts.probes:,}" + (" (estimated)" if facts.probes_estimated else "")),
        ("calibration", calibrations or "none: every verdict is UNSURE"),
        ("database", output.bytes_text(description.database_bytes)),
        ("thumbnails", _thumbnails(description)),
        *_noted_lines(description),
    ]


def _noted_lines(description: Description) -> list[tuple[str, str]]:
    """What is said of few stores."""
    trial, quarantine = description.trial, description.quarantine
    lines = []
    if trial is not None:
        lines.append(("on trial", f"until it answers a search; before it was {trial.former}"))
    if quarantine is not None:
        lines.append(("held back", f"version {quarantine.version}: {quarantine.reason}"))
    return lines


def _sent_lines(sent: Summary | None) -> list[tuple[str, str]]:
    """What left the device; nothing is said where nothing ever did."""
    if sent is None or sent.last is None:
        return []
    last = sent.last
    counts = [
        f"{count:,} {what}s ({output.bytes_text(sent.sent_bytes[what])})"
        for what, count in sent.questions.items()
    ]
    to = f"to {last.address} ({last.catalogue}): {last.outcome.replace('_', ' ')}"
    return [("sent", ", ".join(counts)), ("last sent", f"{last.at:%Y-%m-%d %H:%M:%S} UTC {to}")]


def _sent_as_json(sent: Summary) -> dict[str, object]:
    last = sent.last
    return {
        "questions": sent.questions,
        "bytes": sent.sent_bytes,
        "last": last and {**asdict(last), "at": last.at.isoformat()},
    }


def _thumbnails(description: Description) -> str:
    found = description.thumbnails
    if not found.size_bytes:
        return "none"
    return f"{found.count:,}, {output.bytes_text(found.size_bytes)}"


def _size(description: Description) -> str:
    return output.bytes_text(description.bundle_bytes)


def _info_as_json(description: Description) -> dict[str, object]:
    facts, bundle = description.facts, description.bundle
    return {
        "directory": str(description.directory),
        "install": description.install.name,
        "format": facts.format,
        "images": facts.images,
        "products": facts.products,
        "catalogue": facts.catalogue,
        "version": facts.version,
        "as_of": facts.as_of.isoformat(),
        "generation": facts.generation,
        "state_hash": facts.state_hash.hex(),
        "bundle": {
            "name": bundle.spec.name,
            "sha256": facts.bundle_sha256.hex(),
            "bytes": description.bundle_bytes,
            "input": [bundle.spec.height, bundle.spec.width],
            "resize_mode": bundle.spec.resize_mode,
            "duplicate_cosine": bundle.spec.duplicate_cosine,
            "queries": len(bundle.queries),
            "calibrations": [asdict(each) for each in bundle.calibrations],
        },
        "dim": facts.dim,
        "scale": [float(each) for each in facts.scale],
        "saturated_share": facts.saturated_share,
        "lists": facts.lists,
        "probes": facts.probes,
        "probes_estimated": facts.probes_estimated,
        "codebook_sha256": facts.codebook_sha256.hex(),
        "database_bytes": description.database_bytes,
        "table_bytes": description.table_bytes,
        "thumbnails": asdict(description.thumbnails),
        "on_trial": description.trial and asdict(description.trial),
        "held_back": description.quarantine and asdict(description.quarantine),
    }

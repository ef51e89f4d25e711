"""`pocketlens-converter backbones`: what there is to train, and what each costs."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from pocketlens.cli import output
from pocketlens_converter.silence import tensorflow

_EXAMPLES = """\b
Examples:
  pocketlens-converter backbones
  pocketlens-converter backbones MobileNetV2 EfficientNetV2B0 --measure
  pocketlens-converter backbones VGG16 --layers
"""


def register(app: typer.Typer) -> None:
    """Adds the command to the program."""
    app.command("backbones", epilog=_EXAMPLES)(_backbones)


def _backbones(
    names: Annotated[
        list[str] | None, typer.Argument(metavar="[NAME]...", help="Some of them; else all.")
    ] = None,
    *,
    image_size: Annotated[int, typer.Option("--image-size", help="Side of the input.")] = 224,
    measure: Annotated[
        bool,
        typer.Option("--measure", help="Convert each to int8 and time it; minutes for all."),
    ] = False,
    layers: Annotated[
        bool, typer.Option("--layers", help="List the feature layers instead.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the list as JSON.")] = False,
) -> None:
    """List the backbones that can be trained, with their size, parameters and latency."""
    tensorflow()  # before anything imports it with its greetings
    from pocketlens_converter import backbones
    from pocketlens_converter.backbone_costs import costs

    chosen = names or list(backbones.BACKBONES)
    if layers:
        listed = {name: backbones.feature_layers(name) for name in chosen}
        if as_json:
            output.show_json(listed)
            return
        for name, known in listed.items():
            output.show(f"{name}: avg_pool, flatten, {', '.join(known)}")
        return
    with output.progress() as progress:
        found = []
        for cost in costs(chosen, image_size=image_size, measures=measure):
            found.append(cost)
            progress(f"{cost.name} {cost.alpha:g}", len(found), 0)
    if as_json:
        output.show_json([asdict(cost) for cost in found])
        return
    header = ["backbone", "width", "features", "parameters"]
    if measure:
        header += ["int8 bytes", "ms, 1 thread", "ms, 2 threads"]
    rows = []
    for cost in found:
        row = [cost.name, f"{cost.alpha:g}", f"{cost.features:,}", f"{cost.parameters:,}"]
        if cost.int8_bytes is not None and cost.latency_ms is not None:
            row += [f"{cost.int8_bytes:,}", *(f"{ms:.1f}" for ms in cost.latency_ms.values())]
        rows.append(row)
    output.show_table(header, rows)

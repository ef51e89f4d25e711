"""The `pocketlens-converter` command: backbones, train, convert, evaluate, calibrate.

A command parses, calls the library once, and prints; TensorFlow loads when one needs it.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from collections.abc import Sequence

from pocketlens.cli import output, programs
from pocketlens_converter import (
    allocation,
    cli_backbones,
    cli_calibrate,
    cli_convert,
    cli_evaluate,
    cli_train,
)

__all__ = ["app", "main"]

app = programs.program(
    "pocketlens-converter",
    "Make the model of a shop, and the bundle that phones run.",
    example="pocketlens-converter train catalogue.csv photos.csv --weights weights.h5 "
    "--out shop.keras\n"
    "pocketlens-converter convert shop.keras --catalog catalogue.csv --out shop.tflite",
)
cli_backbones.register(app)
cli_train.register(app)
cli_convert.register(app)
cli_evaluate.register(app)
cli_calibrate.register(app)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command and returns its exit code (see `pocketlens.cli.output.run`)."""
    allocation.keep_freed_memory()
    return output.run(app, arguments)

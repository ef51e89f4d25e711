"""The `pocketlens-server` command: a catalogue's changes in, signed versions out.

A command parses, calls the library once, and prints; what it needs loads when it runs.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from collections.abc import Sequence

from pocketlens.cli import output, programs
from pocketlens_server.cli import (
    catalogue,
    config,
    keys,
    maintain,
    push,
    serve,
    setup,
    tokens,
    validate,
)

__all__ = ["app", "main"]

app = programs.program(
    "pocketlens-server",
    "Publish a catalogue's changes to devices.",
    example="pocketlens-server init shop-server\n"
    "pocketlens-server model add shop.tflite --data shop-server\n"
    "pocketlens-server push catalogue.csv --data shop-server\n"
    "pocketlens-server publish --data shop-server",
)
setup.register(app)
push.register(app)
catalogue.register(app)
serve.register(app)
keys.register(app)
tokens.register(app)
config.register(app)
validate.register(app)
maintain.register(app)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command and returns its exit code (see `pocketlens.cli.output.run`)."""
    return output.run(app, arguments)

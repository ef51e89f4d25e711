"""The `pocketlens` command: make a store, search it, look into it.

A command parses, calls the library once, and prints; what it needs loads when it runs, so that
help is there at once.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from collections.abc import Sequence

from pocketlens.cli import (
    compare,
    duplicates,
    estimate,
    index,
    inspect,
    output,
    programs,
    report,
    search,
    similar,
    sync,
)

__all__ = ["app", "main"]

app = programs.program(
    "pocketlens",
    "Find the product in a photo, with no network.",
    example="pocketlens index catalogue.csv --model shop.tflite --out shop\n"
    "pocketlens search shop photo.jpg",
)
index.register(app)
search.register(app)
similar.register(app)
compare.register(app)
estimate.register(app)
inspect.register(app)
duplicates.register(app)
report.register(app)
sync.register(app)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command and returns its exit code (see `pocketlens.cli.output.run`)."""
    return output.run(app, arguments)

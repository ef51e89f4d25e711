"""Options that several commands have."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from pocketlens_server.folders import CatalogueFolder

MAIN = "main"  # the catalogue that `init` makes

Data = Annotated[Path, typer.Option("--data", metavar="DIR", help="Folder of the server.")]
Catalog = Annotated[str, typer.Option("--catalog", metavar="NAME", help="Which catalogue.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
OfflineKeys = Annotated[
    list[Path] | None,
    typer.Option(
        "--offline-keys",
        metavar="DIR",
        help="Where offline keys are, with a folder a catalogue; may be given several times. Where "
        "`init` put them if left.",
    ),
]


def opened(
    data: Path, catalog: str, offline_keys: list[Path] | None
) -> tuple[CatalogueFolder, list[Path]]:
    """A catalogue, and the folders of its offline keys that are at hand."""
    from pocketlens_server.folders import ServerFolder

    folder = ServerFolder(data).catalogue(catalog)
    return folder, [each / catalog for each in offline_keys or []] or [folder.offline_keys]

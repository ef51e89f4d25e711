"""Options that several commands have."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

MAIN = "main"  # the catalogue that `init` makes

Data = Annotated[Path, typer.Option("--data", metavar="DIR", help="Folder of the server.")]
Catalog = Annotated[str, typer.Option("--catalog", metavar="NAME", help="Which catalogue.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]

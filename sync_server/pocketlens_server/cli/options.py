"""Options that several commands have."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pocketlens.cli import output

if TYPE_CHECKING:
    from pocketlens_server.client import CatalogueClient
    from pocketlens_server.folders import CatalogueFolder
    from pocketlens_server.local import LocalCatalogue

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
DataOrNone = Annotated[
    Path | None,
    typer.Option("--data", metavar="DIR", help="Folder of the server, on this machine."),
]
Server = Annotated[
    str | None,
    typer.Option("--server", metavar="HOST:PORT", help="A server that runs, instead of --data."),
]
TokenFile = Annotated[
    Path | None,
    typer.Option(
        "--token-file", metavar="FILE", help="With --server: a token of the scope `backend`."
    ),
]
Authority = Annotated[
    Path | None,
    typer.Option("--ca", metavar="FILE", help="With --server: certificates to trust, PEM."),
]


Certificate = Annotated[
    Path | None,
    typer.Option(
        "--cert",
        metavar="FILE",
        help="With --server and --key: a certificate to show, PEM, if it asks for one.",
    ),
]
Key = Annotated[
    Path | None, typer.Option("--key", metavar="FILE", help="With --cert: its key, PEM.")
]


@dataclass(frozen=True, slots=True)
class Shown:
    """Files of what a server is shown, and of whom to trust; None for none."""

    token_file: Path | None
    ca: Path | None
    certificate: Path | None
    key: Path | None


def catalogue_of(
    data: Path | None, server: str | None, catalog: str, shown: Shown
) -> LocalCatalogue | CatalogueClient:
    """A catalogue on this machine, or behind an address."""
    from datetime import UTC, datetime

    if (data is None) == (server is None):
        output.usage_error("--data", "--data DIR or --server HOST:PORT", "both" if data else "none")
    if data is not None:
        from pocketlens_server.folders import ServerFolder
        from pocketlens_server.local import LocalCatalogue

        folder = ServerFolder(data).catalogue(catalog)
        return LocalCatalogue(folder, clock=lambda: datetime.now(UTC))
    return client_of(server or "", catalog, shown)


def client_of(server: str, catalog: str, shown: Shown) -> CatalogueClient:
    """A catalogue behind an address."""
    from pocketlens_server.client import CatalogueClient, ClientCertificate, Credentials

    if (shown.certificate is None) != (shown.key is None):
        received = str(shown.certificate or shown.key)
        output.usage_error("--cert", "--cert and --key, or none of them", received)
    certificate = None
    if shown.certificate is not None and shown.key is not None:
        certificate = ClientCertificate.read(shown.certificate, shown.key)
    credentials = Credentials.read(ca=shown.ca, token_file=shown.token_file)
    return CatalogueClient(server, catalog, credentials=credentials, certificate=certificate)


def opened(
    data: Path, catalog: str, offline_keys: list[Path] | None
) -> tuple[CatalogueFolder, list[Path]]:
    """A catalogue, and the folders of its offline keys that are at hand."""
    from pocketlens_server.folders import ServerFolder

    folder = ServerFolder(data).catalogue(catalog)
    return folder, [each / catalog for each in offline_keys or []] or [folder.offline_keys]

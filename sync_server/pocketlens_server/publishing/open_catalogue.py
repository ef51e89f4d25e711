"""A catalogue as publishing sees it: its tables, blobs and bundles, opened."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from pocketlens.formats.bundle import Bundle
from pocketlens.formats.manifest import Blob
from pocketlens_server.storage.blobs import Blobs
from pocketlens_server.storage.history import History
from pocketlens_server.storage.vectors import Vectors


@dataclass(frozen=True, slots=True)
class OpenBundle:
    """A bundle that generations are made by.

    Attributes:
        number: As `Vectors` counts.
        sha256: Of its file.
        facts: What it says.
        blob: Its file, as devices fetch it.
    """

    number: int
    sha256: bytes
    facts: Bundle
    blob: Blob


@dataclass(frozen=True, slots=True)
class Catalogue:
    """What publishing works on.

    Attributes:
        name: Of the catalogue.
        history, vectors: Its tables, in one database, inside a transaction of the caller.
        blobs: Where what devices fetch is kept.
        bundles: By their number; the last is what a first generation is made by.
    """

    name: str
    history: History
    vectors: Vectors
    blobs: Blobs
    bundles: Mapping[int, OpenBundle]

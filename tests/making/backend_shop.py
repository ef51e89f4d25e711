"""A catalogue's folder with a model and without keys: what backends change, made in a moment.

folder = backend_folder(tmp_path)
ingest = Ingest(folder, clock=clock)
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import hashlib
import sqlite3
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

from pocketlens_server.catalogue.batches import Arrived, Request
from pocketlens_server.catalogue.operations import Operation
from pocketlens_server.folders import CatalogueFolder
from pocketlens_server.storage import migrations
from tests.making.colour_bundle import colour_bundle

NOW = datetime(2026, 11, 25, 10, 0, tzinfo=UTC)


def backend_folder(folder: Path, *, has_model: bool = True) -> CatalogueFolder:
    """Makes it in a folder that is not there yet."""
    for name in ("pictures", "bundles"):
        (folder / name).mkdir(parents=True)
    made = CatalogueFolder("main", folder, folder / "public", folder / "offline")
    with closing(sqlite3.connect(made.database, isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        migrations.create(connection)
    if has_model:
        add_model(made)
    return made


def add_model(folder: CatalogueFolder) -> None:
    """The model by which pictures are embedded from now on."""
    sha256 = hashlib.sha256(colour_bundle()).digest()
    folder.bundle(sha256).write_bytes(colour_bundle())
    with folder.changing() as tables:
        tables.vectors.bundle(sha256)


def request_of(operation: Operation, id_: str, revision: int = 0) -> Request:
    """The request of an operation, as a service makes it."""
    body = hashlib.sha256(repr((operation, revision)).encode()).digest()[:16]
    return Request(id_, body)


def sent(
    job: int, operation: Operation, revision: int = 0, id_: str = "", *, has_picture: bool = False
) -> Arrived:
    """An operation that came; without an id it is no request."""
    request = request_of(operation, id_, revision) if id_ else None
    return Arrived(job, operation, revision, request, has_picture)

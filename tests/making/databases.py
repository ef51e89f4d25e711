"""A catalogue's database, new and empty, for folders that tests make by hand."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import sqlite3
from contextlib import closing

from pocketlens_server.folders import CatalogueFolder
from pocketlens_server.storage import migrations


def make_database(catalogue: CatalogueFolder) -> None:
    with closing(sqlite3.connect(catalogue.database, isolation_level=None)) as connection:
        migrations.create(connection)

"""A catalogue's tables change as a whole, or not at all, whatever cuts a change off."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import sqlite3
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest

from pocketlens_server.folders import MAIN, ServerFolder

NOW = datetime(2026, 11, 26, 10, 0, tzinfo=UTC)


@pytest.mark.parametrize("is_kept", [False, True], ids=["a connection each", "one that is kept"])
def test_changes_go_through_a_log(tmp_path: Path, *, is_kept: bool) -> None:
    """Without one a kill in the middle of a commit leaves half of it: a few kills may miss that."""
    server = ServerFolder.create(tmp_path / "server", offline_keys=tmp_path / "keys", now=NOW)
    catalogue = server.catalogue(MAIN)
    if is_kept:
        catalogue = catalogue.keeping(busy_seconds=1)

    with catalogue.changing(), closing(sqlite3.connect(catalogue.database)) as beside:
        assert beside.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    if catalogue.kept is not None:
        catalogue.kept.close()

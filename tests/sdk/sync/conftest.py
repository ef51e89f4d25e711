"""A server with one version, and a store that follows it."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from pathlib import Path

import pytest
from tests.making import followers
from tests.making.servers import Server


@pytest.fixture
def server(tmp_path: Path) -> Server:
    return Server.published(tmp_path)


@pytest.fixture
def store(server: Server, tmp_path: Path) -> Path:
    """At version 1; it has not answered yet."""
    directory = tmp_path / "store"
    followers.install(server, directory)
    return directory

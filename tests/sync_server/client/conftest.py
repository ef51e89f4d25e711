"""A server without pictures, on the loopback, and a client of it."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from tests.making.serving import Address, serving

from pocketlens_server.client import CatalogueClient
from pocketlens_server.folders import ServerFolder


@pytest.fixture
def server(tmp_path: Path) -> ServerFolder:
    return ServerFolder.create(
        tmp_path / "server", offline_keys=tmp_path / "keys", now=datetime.now(UTC)
    )


@pytest.fixture
def address(server: ServerFolder) -> Iterator[Address]:
    with serving(server.path) as found:
        yield found


@pytest.fixture
def client(address: Address) -> Iterator[CatalogueClient]:
    with CatalogueClient(address.grpc) as made:
        yield made

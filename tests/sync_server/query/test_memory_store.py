"""The naive store passes the suite too; compared with itself only where it must be."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from tests.sync_server.query.vector_store_suite import VectorStoreSuite

from pocketlens_server.query.memory_store import MemoryStore
from pocketlens_server.query.vector_store import VectorStore


class TestMemoryStore(VectorStoreSuite):
    def made(self, dim: int) -> VectorStore:
        return MemoryStore(dim)

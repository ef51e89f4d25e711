"""Stores that follow a server in memory through its public folder, at the server's time."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from pocketlens import Lens, following
from pocketlens.sync.reports import SyncReport
from tests.making.servers import Server


def install(server: Server, store: Path, **choices: Any) -> SyncReport:
    """A first store; `choices` are those of `following.install`."""
    return following.install(
        store, server=str(server.public), root=server.root, clock=lambda: server.now, **choices
    )


def sync(server: Server, store: Path, **choices: Any) -> SyncReport:
    """A sync of a store that is there; `choices` are those of `following.update`."""
    return following.update(store, clock=lambda: server.now, **choices)


def answer(server: Server, store: Path) -> int:
    """Searches in a Lens of its own, by the model that the store has; the version that answered."""
    with Lens.open(store) as lens:
        used = lens.facts.bundle_sha256
        (number,) = [n for n, bundle in server.bundles.items() if bundle.sha256 == used]
        found = lens.search_vector(np.roll(server.shop.embeddings[4], number - 1))
    assert found.matches[0].product.id == "sku-4"
    return found.version

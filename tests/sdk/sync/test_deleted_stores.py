"""Somebody deletes a store that is open: it answers on, and says how to come by another."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from tests.making.followers import answer, install, sync
from tests.making.servers import Server
from tests.making.shops import bare_bundle

from pocketlens import Lens
from pocketlens.errors import StoreNotFound, SyncError

SAYS = r"pocketlens sync .* --server ADDRESS --root root\.json"


def best(server: Server, lens: Lens) -> str:
    """What is found by the embedding of sku-4, as the newest model has it."""
    query = np.roll(server.shop.embeddings[4], len(server.bundles) - 1)
    return lens.search_vector(query).matches[0].product.id


@pytest.mark.parametrize("has_answered", [True, False])
def test_searches_go_on_and_all_else_says_what_to_do(
    server: Server, store: Path, has_answered: bool
) -> None:
    server.add_model(bare_bundle(16, name="second"))  # an install that is on trial
    server.publish()
    sync(server, store)
    if has_answered:
        answer(server, store)

    with Lens.open(store) as lens:
        shutil.rmtree(store)

        for _ in range(2):
            assert best(server, lens) == "sku-4"
            with pytest.raises(StoreNotFound, match=SAYS):
                lens.refresh()
            with pytest.raises(SyncError, match=SAYS):
                lens.sync()

    assert not store.exists()


def test_a_store_that_is_installed_again_is_moved_to(server: Server, store: Path) -> None:
    with Lens.open(store) as lens:
        shutil.rmtree(store)
        install(server, store)

        assert lens.refresh()

        assert best(server, lens) == "sku-4"
        assert not lens.refresh()

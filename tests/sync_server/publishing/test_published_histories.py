"""Whatever a catalogue went through, every delta leads to head from every version it is for."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from pathlib import Path

import pytest
from tests.making.published_histories import DIM, SINGLE_LIST_IMAGES, PublishedHistory
from tests.making.shops import make_shop

from pocketlens.query import clustering


@pytest.mark.parametrize("seed", range(3))
def test_every_delta_leads_to_head_from_every_version(
    tmp_path: Path, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clustering, "SINGLE_LIST_IMAGES", SINGLE_LIST_IMAGES)
    shop = make_shop(tmp_path / "shop", products=2, dim=DIM)
    history = PublishedHistory(shop, tmp_path, seed)

    for _ in range(8):
        history.go_on()

    assert history.wrong == []
    assert history.relisted > 0
    assert history.checked > 50

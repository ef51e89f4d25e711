"""Keys are changed, lost and stolen: devices follow their owner and nobody else.

The short form; benchmarks/faults has the long one, which tells every story to stores that sync too.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from pathlib import Path

import pytest
from tests.making.key_stories import STORIES
from tests.making.scenes import MetadataScene, ShopScene
from tests.making.shops import make_shop

WITH_STORES = (
    "all keys changed in one step",
    "two of three root keys",
    "stolen online keys bring a model",
    "stolen online keys run ahead",
    "stolen online keys at the same version",
    "stolen online keys of another time",
    "online keys lost",
    "renewed too late",
)


@pytest.mark.parametrize("name", list(STORIES))
def test_devices_believe_the_owner_alone(name: str, tmp_path: Path) -> None:
    STORIES[name](MetadataScene(tmp_path / "server"))


@pytest.mark.parametrize("name", WITH_STORES)
def test_stores_follow_the_owner_alone(name: str, tmp_path: Path) -> None:
    shop = make_shop(tmp_path / "shop", products=8)
    STORIES[name](ShopScene(tmp_path / "server", shop))

"""What apps use in their own tests: a sample shop of generated pictures, and a server in memory.

from pocketlens.testing import MemoryServer, ShopSize, make_sample_shop

shop = make_sample_shop(tmp_path / "shop", seed=1, size=ShopSize(products=8))
server = MemoryServer("shop.tflite")
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from typing import TYPE_CHECKING

from pocketlens.errors import MissingExtraError
from pocketlens.testing.assortment import Article, assortment
from pocketlens.testing.faults import CutAfter, Unavailable, WrongBytes
from pocketlens.testing.photography import catalogue_picture, photo
from pocketlens.testing.sample_shop import SampleShop, ShopSize, make_sample_shop

if TYPE_CHECKING:
    from pocketlens.testing.memory_server import MemoryServer

__all__ = [
    "Article",
    "CutAfter",
    "MemoryServer",
    "SampleShop",
    "ShopSize",
    "Unavailable",
    "WrongBytes",
    "assortment",
    "catalogue_picture",
    "make_sample_shop",
    "photo",
]


def __getattr__(name: str) -> object:
    if name != "MemoryServer":
        raise AttributeError(f"module 'pocketlens.testing' has no attribute {name!r}")
    try:
        from pocketlens.testing.memory_server import MemoryServer
    except ModuleNotFoundError as exc:
        raise MissingExtraError(
            "A server in memory needs an extra. Install it: pip install 'pocketlens[sync]'"
        ) from exc
    return MemoryServer

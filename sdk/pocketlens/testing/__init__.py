"""What apps use in their own tests: a sample shop of generated pictures, the same for a seed.

from pocketlens.testing import ShopSize, make_sample_shop

shop = make_sample_shop(tmp_path / "shop", seed=1, size=ShopSize(products=8))
"""

# SPDX-License-Identifier: Apache-2.0

from pocketlens.testing.assortment import Article, assortment
from pocketlens.testing.photography import catalogue_picture, photo
from pocketlens.testing.sample_shop import SampleShop, ShopSize, make_sample_shop

__all__ = [
    "Article",
    "SampleShop",
    "ShopSize",
    "assortment",
    "catalogue_picture",
    "make_sample_shop",
    "photo",
]

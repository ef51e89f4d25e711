"""Every product of a store as dense columns: what the store reads and filters ask. Values only."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True, slots=True)
class ProductColumns:
    """Every product of a store, and which images show it.

    Attributes:
        keys: uint32 (n,), product keys, ascending.
        categories: int32 (n,), place in `category_names`.
        category_names: Text of each category; "" for products without one.
        prices: int64 (n,), minor units; -1 where unknown.
        currencies: int32 (n,), `pocketlens.query.filters.currency_number` of each price's
            currency; 0 where unknown.
        stock: int64 (n,), pieces; -1 where unknown.
        link_image_keys: uint32 (m,), ascending: link i says that this image ...
        link_product_keys: uint32 (m,): ... shows this product.
    """

    keys: npt.NDArray[np.uint32]
    categories: npt.NDArray[np.int32]
    category_names: tuple[str, ...]
    prices: npt.NDArray[np.int64]
    currencies: npt.NDArray[np.int32]
    stock: npt.NDArray[np.int64]
    link_image_keys: npt.NDArray[np.uint32]
    link_product_keys: npt.NDArray[np.uint32]

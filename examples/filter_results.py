"""What looks like this photo, is in stock, and costs no more than that?

python examples/filter_results.py shop/ photo.jpg 50
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import sys
from decimal import Decimal

import pocketlens


def main(store: str, photo: str, max_price: str) -> None:
    """Searches a store for a photo among the products that a shopper can and will buy."""
    affordable = pocketlens.Filter(max_price=Decimal(max_price), in_stock=True)
    with pocketlens.Lens.open(store) as lens:
        found = lens.search(photo, k=5, filter=affordable)
        print(f"{found.matches_in_filter} of {found.gallery_size} products are affordable")
        for match in found.matches:
            print(f"{match.similarity:.3f}", match.product.id, match.product.price)


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    main(*sys.argv[1:])

"""Which product of the shop is in this photo?

python examples/search_a_photo.py shop/ photo.jpg
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import sys

import pocketlens


def main(store: str, photo: str) -> None:
    """Searches a store for a photo and prints what was found."""
    with pocketlens.Lens.open(store) as lens:
        found = lens.search(photo, k=5)
        print(found.verdict.name, found.confidence, "catalogue of", found.as_of.date())
        for match in found.matches:
            product = match.product
            print(f"{match.similarity:.3f}", product.id, product.title, product.price or "")


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    main(*sys.argv[1:])

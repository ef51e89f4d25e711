"""What a product's parts may be."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import pytest

from pocketlens.errors import CatalogError
from pocketlens.products import Price


@pytest.mark.parametrize("currency", ["", "EU", "EURO", "eur", "E1R", "EÜR", "12A"])
def test_a_currency_is_three_capital_letters(currency: str) -> None:
    with pytest.raises(CatalogError, match="three capital letters"):
        Price(100, currency)

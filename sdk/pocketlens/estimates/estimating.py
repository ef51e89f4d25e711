"""A photo of an item to what it may sell for and what it may be, from the items of a store.

found = Appraiser(install).estimate("photo.jpg")
found.price.band, found.suggestions
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING

from pocketlens.estimates.attributes import Suggestion, suggested
from pocketlens.estimates.backtest import weighting_of
from pocketlens.estimates.neighbours import Neighbourhood
from pocketlens.estimates.prices import PriceEstimate, commonest_currency, priced
from pocketlens.estimates.weighting import Weighting
from pocketlens.query.filters import Filter

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from pocketlens.open_install import OpenInstall
    from pocketlens.query.pictures import Box, Picture


@dataclass(frozen=True, slots=True)
class Estimate:
    """What similar items say of one.

    Attributes:
        price: What they went for.
        suggestions: Attributes that they share, surest first.
    """

    price: PriceEstimate
    suggestions: tuple[Suggestion, ...]


def _today() -> date:
    return datetime.now(UTC).date()


class Appraiser:
    """Estimates from one install. Thread-safe; an error leaves it as it was.

    The first estimate in a currency looks through the store for how much similarity and age count
    there (2 s at 100,000 items); later ones take a search or two.
    """

    def __init__(self, install: OpenInstall, *, today: Callable[[], date] = _today) -> None:
        """Takes an open install, which outlives it; reads nothing yet."""
        self.install = install
        self._today = today
        self._near: Neighbourhood | None = None
        self._weightings: dict[str, Weighting] = {}
        self._lock = threading.Lock()

    def estimate(
        self,
        photo: Picture,
        *,
        currency: str | None = None,
        filter: Filter | None = None,
        box: Box | None = None,
    ) -> Estimate:
        """Estimates what the item in a photo may sell for.

        Args:
            photo: As for `Lens.search`.
            currency: Of the items asked; the commonest among those most alike if None.
            filter: Only items that satisfy it, such as those of a category.
            box: As for `Lens.search`.

        Raises:
            PictureError: The photo cannot be used as one.
            QueryError: `box` or `currency` cannot be.
            BundleError: The model cannot run here.
            StoreError: The store is damaged.
        """
        embedding = self.install.embedder().embed(photo, box=box)
        return self.estimate_vector(embedding, currency=currency, filter=filter)

    def estimate_vector(
        self,
        embedding: npt.NDArray[np.float32],
        *,
        currency: str | None = None,
        filter: Filter | None = None,
    ) -> Estimate:
        """The same of an embedding, float32 (dim,) of unit length."""
        wanted, near = filter or Filter(), self._neighbourhood()
        nearest = near.of(embedding, wanted)
        currency = currency or wanted.currency or commonest_currency(nearest)
        if not currency:
            return Estimate(PriceEstimate("", None, (), Weighting()), suggested(nearest))
        neighbours = near.of(embedding, replace(wanted, currency=currency))
        price = priced(neighbours, currency, self._weighting(near, currency), self._today())
        return Estimate(price, suggested(nearest))

    def _neighbourhood(self) -> Neighbourhood:
        with self._lock:
            if self._near is None:
                self._near = Neighbourhood(self.install.reader, self.install.bundle())
            return self._near

    def _weighting(self, near: Neighbourhood, currency: str) -> Weighting:
        with self._lock:
            if currency not in self._weightings:
                self._weightings[currency] = weighting_of(near, currency)
            return self._weightings[currency]

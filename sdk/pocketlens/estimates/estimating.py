"""A photo of an item to what it may sell for and what it may be, from the items of a store.

found = Appraiser(install).estimate("photo.jpg")
found.price.band, found.suggestions
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime
from functools import partial
from typing import TYPE_CHECKING

from pocketlens.errors import QueryError
from pocketlens.estimates.attributes import Suggestion, suggested
from pocketlens.estimates.backtest import weighting_of
from pocketlens.estimates.neighbours import Items, StoreItems
from pocketlens.estimates.prices import PriceEstimate, commonest_currency, priced, with_price
from pocketlens.estimates.weighting import Weighting
from pocketlens.query.filters import Filter

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from pocketlens.open_install import OpenInstall
    from pocketlens.query.pictures import Box, Picture


@dataclass(frozen=True, slots=True)
class Appraisal:
    """What similar items say of one.

    Attributes:
        price: What they went for.
        suggestions: Attributes that they share, surest first.
    """

    price: PriceEstimate
    suggestions: tuple[Suggestion, ...]


@dataclass(frozen=True, slots=True)
class Estimate(Appraisal):
    """What the items of a store say of one.

    Attributes:
        generation: Hex id of the store's generation.
        version: Version of the catalogue.
        as_of: When that version was made, UTC.
    """

    generation: str
    version: int
    as_of: datetime


def estimated(
    items: Items,
    embedding: npt.NDArray[np.float32],
    wanted: Filter,
    currency: str | None,
    weighting: Callable[[str], Weighting],
    today: date,
) -> Appraisal:
    """Estimates what an item may sell for.

    Args:
        items: What was sold.
        embedding: float32 (dim,) of unit length.
        wanted: Only such items.
        currency: Of the items asked; that of the filter, or else the commonest, if None.
        weighting: That of a currency.
        today: From which ages are counted.

    Raises:
        QueryError: The currency cannot be, or is another than the filter's.
    """
    if currency and wanted.currency not in (None, currency):
        raise QueryError(
            "Expected one currency, asked for or in the filter. "
            f"Received {currency!r} and {wanted.currency!r}."
        )
    (nearest,) = items.nearest(embedding[None], wanted)
    currency = currency or wanted.currency or commonest_currency(nearest)
    if not currency:
        return Appraisal(PriceEstimate("", None, (), Weighting()), suggested(nearest))
    (neighbours,) = items.nearest(embedding[None], with_price(wanted, currency))
    return Appraisal(priced(neighbours, currency, weighting(currency), today), suggested(nearest))


def today() -> date:
    """By the clock, UTC."""
    return datetime.now(UTC).date()


class Appraiser:
    """Estimates from one install. Thread-safe; an error leaves it as it was.

    The first estimate in a currency looks through the store for how much similarity and age count
    there (2 s at 100,000 items); later ones take a search or two.
    """

    def __init__(self, install: OpenInstall, *, today: Callable[[], date] = today) -> None:
        """Takes an open install, which outlives it; reads nothing yet."""
        self.install = install
        self._today = today
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
            currency: As for `Lens.estimate`.
            filter: Only items that satisfy it, such as those of a category.
            box: As for `Lens.search`.

        Raises:
            PictureError: The photo cannot be used as one.
            QueryError: `box` or `currency` cannot be, or the filter has another currency.
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
        items = StoreItems(self.install.reader, self.install.answering().searcher)
        weighting = partial(self._weighting, items)
        wanted = filter or Filter()
        found = estimated(items, embedding, wanted, currency, weighting, self._today())
        facts = self.install.reader.facts
        return Estimate(
            found.price, found.suggestions, facts.generation, facts.version, facts.as_of
        )

    def _weighting(self, items: Items, currency: str) -> Weighting:
        if currency not in self._weightings:  # what is known is told while another is fitted
            with self._lock:
                if currency not in self._weightings:
                    self._weightings[currency] = weighting_of(items, currency)
        return self._weightings[currency]

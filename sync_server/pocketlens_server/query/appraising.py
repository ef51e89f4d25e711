"""What things may sell for, by the items of a gallery that are like them.

    appraising = Appraising(gallery)
    (found,) = appraising.estimates([Wish(vector, Filter(category="chairs"))])
    found.estimate.price.band, found.version

How much similarity and age count is fitted to each currency when it is first asked for, and waited
for by that estimate and those behind it; after that beside the answers, once a version.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import date
from functools import partial

import numpy as np
import numpy.typing as npt

from pocketlens.errors import PocketLensError, ServerUnavailable
from pocketlens.estimates.backtest import weighting_of
from pocketlens.estimates.estimating import Appraisal, estimated, today
from pocketlens.estimates.neighbours import IMAGES, items_shown
from pocketlens.estimates.prices import Neighbour
from pocketlens.estimates.weighting import Weighting
from pocketlens.product_columns import ProductColumns
from pocketlens.products import Product
from pocketlens.query.filters import Filter, currency_number
from pocketlens_server.folders import CatalogueFolder
from pocketlens_server.query.galleries import Gallery
from pocketlens_server.query.shown import Shown
from pocketlens_server.query.vector_store import View

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Wish:
    """One question.

    Attributes:
        vector: float32 (dim,), of unit length.
        wanted: Only such items; its currency is that of the price.
    """

    vector: npt.NDArray[np.float32]
    wanted: Filter


@dataclass(frozen=True, slots=True)
class Appraised:
    """An answer, and the version that it is of."""

    estimate: Appraisal
    version: int


class Appraising:
    """Of one gallery. Threads: any number."""

    def __init__(self, gallery: Gallery, *, today: Callable[[], date] = today) -> None:
        """Fits nothing yet."""
        self._gallery, self._today = gallery, today
        # Apart from what answers show: a fit reads thousands.
        self._shown = Shown()
        self._fitting = threading.Lock()
        self._fitted: dict[str, tuple[int, Weighting]] = {}  # by currency, with the version
        self._coming = set[str]()
        self._beside = ThreadPoolExecutor(1, thread_name_prefix="pocketlens-weighting")
        self._ending = threading.Event()

    def estimates(self, wishes: Sequence[Wish]) -> list[Appraised]:
        """Answers some questions.

        Raises:
            ServerError: The tables cannot be read.
            ServerUnavailable: They have forgotten the version already, or the server is to end.
        """
        return [self._estimate(wish) for wish in wishes]

    def end(self) -> None:
        """Refuses what is not done yet: a fit may take long."""
        self._ending.set()

    def close(self) -> None:
        """Ends, once nobody estimates any more; closing again is no error."""
        self._beside.shutdown()

    def _estimate(self, wish: Wish) -> Appraised:
        with self._gallery.store.view() as view:
            items = _ViewItems(view, self._gallery.folder, self._shown, self._ending)
            weighting = partial(self._weighting, items)
            found = estimated(items, wish.vector, wish.wanted, None, weighting, self._today())
            return Appraised(found, view.version)

    def _weighting(self, items: _ViewItems, currency: str) -> Weighting:
        if currency_number(currency) not in items.columns().currencies:
            return Weighting()  # of a currency that nothing is priced in nothing is kept
        with self._fitting:
            known = self._fitted.get(currency)
            if known is None:
                known = self._fitted[currency] = items.version, weighting_of(items, currency)
            elif known[0] != items.version and currency not in self._coming:
                self._coming.add(currency)
                self._beside.submit(self._fit, currency)
        return known[1]

    def _fit(self, currency: str) -> None:
        try:
            with self._gallery.store.view() as view:
                items = _ViewItems(view, self._gallery.folder, Shown(), self._ending)
                self._fitted[currency] = view.version, weighting_of(items, currency)
        except PocketLensError as exc:  # the next estimate tries again
            logger.warning("query.weighting.failed currency=%s error=%s", currency, exc)
        finally:
            self._coming.discard(currency)


class _ViewItems:
    """Items of a version: a `pocketlens.estimates.neighbours.Items`."""

    def __init__(
        self, view: View, folder: CatalogueFolder, shown: Shown, ending: threading.Event
    ) -> None:
        self.version = view.version
        self._view, self._folder, self._shown, self._ending = view, folder, shown, ending

    def nearest(
        self, vectors: npt.NDArray[np.float32], wanted: Filter
    ) -> list[tuple[Neighbour, ...]]:
        """See `Items.nearest`."""
        if self._ending.is_set():
            raise ServerUnavailable("The server is about to end. Try again.")
        allowed = self._view.satisfying(wanted)
        is_allowed = np.zeros(int(allowed.max(initial=0)) + 1, np.bool_)
        is_allowed[allowed] = True
        found = [
            items_shown(
                each.similarities,
                self._view.product_keys(each.keys.tolist()),
                lambda key: key < len(is_allowed) and bool(is_allowed[key]),
            )
            for each in self._view.search(vectors, IMAGES, wanted=wanted)
        ]
        products = self.products([key for each in found for key in each])
        return [
            tuple(Neighbour(products[key], similarity) for key, similarity in each.items())
            for each in found
        ]

    def columns(self) -> ProductColumns:
        """See `Items.columns`."""
        return self._view.columns()

    def values_of(self, name: str) -> Iterable[tuple[str, npt.NDArray[np.uint32]]]:
        """See `Items.values_of`."""
        return self._view.values_of(name)

    def units_of(self, image_keys: npt.NDArray[np.uint32]) -> npt.NDArray[np.float32]:
        """See `Items.units_of`."""
        return self._view.vectors(image_keys.tolist())

    def products(self, keys: Sequence[int]) -> Mapping[int, Product]:
        """See `Items.products`."""
        try:
            rows = self._shown.of(self._folder, self.version, images=set(), products=set(keys))
        except KeyError as exc:
            raise ServerUnavailable("The catalogue has moved on. Try again.") from exc
        return rows.products

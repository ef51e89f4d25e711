"""Questions to a store that is open: photos, words, vectors and products to products.

`Lens` has them: this is what it is asked, and `lens` how it is opened, moved on and closed.

    photo -> `query.pictures` -> `query.embedder` (`open_install`) -> `query.searcher` over
    `store.reader` -> `query.verdict` (`answering`) -> `SearchResult` -> `fallback`, where an app
    allows a server to look.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy.typing as npt

from pocketlens.answering import Auto
from pocketlens.errors import PictureError, QueryError
from pocketlens.fallback.steps import PhotoSearch, Steps, generated
from pocketlens.install_in_use import InstallInUse
from pocketlens.open_install import Asked, OpenInstall, Settings
from pocketlens.query.filters import Filter
from pocketlens.query.query_vectors import unit
from pocketlens.results import Match, SearchResult, TextResult

if TYPE_CHECKING:
    from pocketlens.estimates.estimating import Appraiser, Estimate
    from pocketlens.explaining.comparing import Comparison
    from pocketlens.explaining.explanation import Explanation
    from pocketlens.fallback.asking import Asking
    from pocketlens.fallback.options import Fallback
    from pocketlens.query.pictures import Box, Picture


class Searching:
    """What a `Lens` is asked. Threads: any number at once."""

    def __init__(self, directory: Path, settings: Settings) -> None:
        """See `Lens.open`."""
        self._directory = directory
        self._in_use = InstallInUse(directory, settings)
        self._lock = threading.Lock()  # held for moments: guards what follows
        self._asking: Asking | None = None
        self._appraiser: Appraiser | None = None

    def search(
        self,
        photo: Picture,
        k: int = 10,
        *,
        filter: Filter | None = None,
        text: str = "",
        box: Box | None = None,
        category: Auto | None = None,
        fallback: Fallback | None = None,
    ) -> SearchResult:
        """Finds the products that a photo may show. An error leaves the Lens as it was.

        Args:
            photo: Path, bytes, file object, Pillow image, or uint8 array (height, width, 3).
            k: Matches wanted, 1 or more; as many as there are where the store has fewer.
            filter: Only products that satisfy it; the verdict is that of the unfiltered search.
            text: Words, such as "blue", that lift products with them in title, category or
                attributes; the verdict is that of the photo. A server takes no words, and
                is not asked beside them.
            box: (left, top, right, bottom) in pixels of the upright photo: the part to search.
            category: "auto" searches the category that the photo is of if that is sure, two if it
                is one of these, else all: see `SearchResult.categories` and `searched`. Where none
                of these satisfies the filter, all are searched. A category of your own choice, also
                one that is called auto, belongs into the filter.
            fallback: A server that may look too, if it comes to that; it is waited for until its
                deadline. None asks nobody.

        Returns:
            The server's answer if one was asked and came, else the device's; `answered_by` says
            which, and `fallback` why.

        Raises:
            PictureError: The photo cannot be used as one.
            QueryError: `k`, `box` or `category` cannot be.
            MissingExtraError: There are words, and SQLite has no FTS5.
            BundleError: The model cannot run here, or not on the accelerator asked for.
            StoreError: The store is damaged, or this Lens is closed or of another process.
        """
        if fallback is None:
            with self._in_use.held() as install:
                return install.answer(install.embedded(photo, box), k, filter, category, text)
        steps = self.search_in_steps(
            photo, k, filter=filter, text=text, box=box, category=category, fallback=fallback
        )
        *_, found = steps
        return replace(found, fallback=steps.fallback)

    def search_in_steps(
        self,
        photo: Picture,
        k: int = 10,
        *,
        fallback: Fallback,
        filter: Filter | None = None,
        text: str = "",
        box: Box | None = None,
        category: Auto | None = None,
    ) -> Steps:
        """Finds as `search` does; gives the device's answer at once, and then the server's.

        Args:
            photo: As for `search`; it stays as it is until the last step.
            k: As for `search`.
            fallback: The server, and what it may be asked. Nothing is done about it before the
                second step is asked for.
            filter: As for `search`.
            text: As for `search`.
            box: As for `search`.
            category: As for `search`.

        Returns:
            An iterator of one result, or of two if the server was asked and answered in time;
            afterwards its `fallback` says what came of that. Errors as of `search`, in the first
            step.
        """
        search = PhotoSearch(photo, k, filter, text, box, category)
        return Steps(generated(search, fallback, self._in_use, self._servers))

    def search_together(
        self,
        photos: Sequence[Picture],
        k: int = 10,
        *,
        filter: Filter | None = None,
        text: str = "",
        boxes: Sequence[Box | None] | None = None,
        category: Auto | None = None,
    ) -> SearchResult:
        """Finds the products that several photos of one thing may show; one answer to all.

        Args:
            photos: One or more, each as for `search`.
            k: As for `search`.
            filter: As for `search`.
            text: As for `search`.
            boxes: The part of each photo to search, None for all of it; None searches all whole.
            category: As for `search`.

        Returns:
            As of `search`. A similarity is the mean of the photos', in which those that are nearest
            to some image count most. In the verdict all count the same, so that photos of different
            things come to no match; `agreement` tells how much each says the same as the others,
            and `disagreeing` which do not.

        Raises:
            QueryError: There is no photo, or not a box for each; and as `search`.
            PictureError, BundleError, StoreError: As `search`; one bad photo fails all, and the
                text says which.
        """
        if not isinstance(photos, Sequence) or isinstance(photos, (str, bytes)) or not photos:
            raise QueryError("Expected a list of one photo or more. For one alone there is search.")
        if boxes is not None and len(boxes) != len(photos):
            raise QueryError(
                f"Expected a box, or None, for each of {len(photos)} photos. Received {len(boxes)}."
            )
        with self._in_use.held() as install:
            each = []
            for number, photo in enumerate(photos):
                try:
                    each.append(install.embedded(photo, boxes[number] if boxes else None))
                except (PictureError, QueryError) as exc:
                    raise type(exc)(f"Photo {number + 1} of {len(photos)}: {exc}") from exc
            return install.answer_together(each, k, filter, category, text)

    def similar(
        self,
        product_id: str | None = None,
        k: int = 10,
        *,
        image_id: str | None = None,
        filter: Filter | None = None,
        variety: float = 0.0,
    ) -> SearchResult:
        """Finds what looks like a product of the store. No picture is opened, no model loaded.

        Args:
            product_id: Of the product; all its images together are what is looked for.
            k: As for `search`.
            image_id: Of one image, in place of a product.
            filter: As for `search`.
            variety: From 0, the nearest, to 1: the nearest, and then those that are least like
                what was found already, out of the 5 k nearest (k up to 100; of more, the k nearest
                or 500).

        Returns:
            Matches in the order they were chosen, without images of the product itself (of an
            image, of any product that it shows). `verdict` is UNSURE and `confidence` None:
            nothing was recognised.

        Raises:
            NotFound: The store has no such product with an image, or no such image.
            QueryError: Both or neither are given, or `k` or `variety` cannot be.
            BundleError, StoreError: As for `search_vector`.
        """
        with self._in_use.held() as install:
            found = install.answering().similar(
                k, filter, product_id=product_id, image_id=image_id, variety=variety
            )
            install.has_answered()
            return found

    def search_text(self, text: str, k: int = 10, *, filter: Filter | None = None) -> TextResult:
        """Finds products by words in title, category and attributes; no photo, and no verdict.

        Args:
            text: Words, such as "blue mug"; the last may be the beginning of one.
            k: Products wanted, 1 or more.
            filter: As for `search`.

        Raises:
            QueryError: `k` cannot be.
            MissingExtraError: SQLite has no FTS5.
            StoreError, BundleError: As for `search_vector`.
        """
        with self._in_use.held() as install:
            return install.answer_words(text, k, filter)

    def search_vector(
        self,
        embedding: npt.ArrayLike,
        k: int = 10,
        *,
        filter: Filter | None = None,
        text: str = "",
        category: Auto | None = None,
    ) -> SearchResult:
        """Finds the products nearest an embedding by the store's model; no picture is opened.

        Args:
            embedding: Float (dim,), finite, not zero; normalised here.
            k: As for `search`.
            filter: As for `search`.
            text: As for `search`.
            category: As for `search`.

        Raises:
            QueryError: `embedding`, `k` or `category` cannot be.
            StoreError: As for `search`.
            BundleError: The bundle is not the one that the store was made with.
        """
        with self._in_use.held() as install:
            return install.answer(Asked(unit(embedding)), k, filter, category, text)

    def thumbnail(self, image_id: str) -> bytes | None:
        """A catalogue image drawn small, as the store has it now; see `Image.thumbnail`.

        Args:
            image_id: Of any image; it need not have been found.

        Returns:
            WebP, at most 3,072 bytes; None where the store has none of it, or a damaged one.

        Raises:
            StoreError: This Lens is closed or of another process.
        """
        with self._in_use.held() as install:
            return install.reader.thumbnails.of(image_id)

    def explain(
        self,
        photo: Picture,
        *,
        filter: Filter | None = None,
        box: Box | None = None,
        match: Match | None = None,
    ) -> Explanation:
        """Tells why a photo matches, and where in it the evidence lies; some 81 embeddings.

        Args:
            photo: As for `search`.
            filter: As for `search`.
            box: As for `search`.
            match: What to explain, of an earlier search, such as one with words or with photos
                together; the first for the photo alone if None.

        Raises:
            PictureError, BundleError, StoreError: As for `search`.
            QueryError: `box` cannot be, or there is no match to explain.
        """
        from pocketlens.explaining.explanation import explain

        with self._in_use.held() as install:
            return explain(install, photo, filter=filter, box=box, match=match)

    def compare(self, first: Picture, second: Picture) -> Comparison:
        """Tells how alike two pictures are to the store's model; what it sells plays no part.

        Args:
            first: As a photo for `search`.
            second: The other one; it does not matter which comes first.

        Raises:
            PictureError, BundleError, StoreError: As for `search`.
        """
        from pocketlens.explaining.comparing import compare

        with self._in_use.held() as install:
            return compare(first, second, install.embedder())

    def estimate(
        self,
        photo: Picture,
        *,
        currency: str | None = None,
        filter: Filter | None = None,
        box: Box | None = None,
    ) -> Estimate:
        """Tells what a thing may sell for, by similar items sold, and suggests its attributes.

        Args:
            photo: As for `search`.
            currency: Of the items asked; the filter's if None, or else the commonest among those
                most alike.
            filter: As for `search`.
            box: As for `search`.

        Raises:
            PictureError, BundleError, StoreError: As for `search`.
            QueryError: `box` or `currency` cannot be, or the filter has another currency.
        """
        with self._in_use.held() as install:
            appraiser = self._appraiser_of(install)
            found = appraiser.estimate(photo, currency=currency, filter=filter, box=box)
            install.has_answered()
            return found

    def _appraiser_of(self, install: OpenInstall) -> Appraiser:
        """That of an install, which learns from its items once."""
        from pocketlens.estimates.estimating import Appraiser

        with self._lock:
            if self._appraiser is None or self._appraiser.install is not install:
                self._appraiser = Appraiser(install)
            return self._appraiser

    def _servers(self) -> Asking:
        """Those that may be asked; loaded with the first fallback."""
        from pocketlens.fallback.asking import Asking

        with self._lock:
            if self._asking is None:
                self._asking = Asking(self._directory)
                if self._in_use.is_closed:
                    self._asking.close()
            return self._asking

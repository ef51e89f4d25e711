"""Questions about the catalogues of one server: a photo, a vector or a product to products.

    queries = Queries(server_folder)
    found = await queries.search("main", Photo(data), k=5)
    await queries.close()

photo -> a process that decodes -> a batch that is embedded -> a batch that is searched. Whoever
would not be answered in time is refused before that; whoever gives up leaves the queue that it is
in. A photo is in memory only, and in no log.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Sequence
from dataclasses import replace
from time import perf_counter
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from pocketlens.errors import QueryError
from pocketlens.fallback.messages import embedding_of
from pocketlens.formats.bundle import Spec
from pocketlens.query.blank import is_blank
from pocketlens.query.filters import Filter
from pocketlens.query.likely_categories import LikelyCategories
from pocketlens.query.variety import to_choose_from
from pocketlens.query.verdict import of_blank
from pocketlens.results import SearchResult, Timings
from pocketlens_server.catalogue.decoders import Decoders
from pocketlens_server.folders import ServerFolder
from pocketlens_server.models.photo_models import PhotoModel
from pocketlens_server.query.appraising import Appraised, Wish
from pocketlens_server.query.asked_catalogues import AskedCatalogues
from pocketlens_server.query.matching import Asked
from pocketlens_server.query.micro_batches import MicroBatches
from pocketlens_server.query.open_catalogues import Searched
from pocketlens_server.query.places import Places
from pocketlens_server.query.questions import (
    MATCHES,
    MOST_MATCHES,
    AutoCategory,
    CatalogueFacts,
    Embedded,
    Photo,
    Valued,
    Vector,
)
from pocketlens_server.query.settings import QuerySettings
from pocketlens_server.query.thumbnails import Thumbnails
from pocketlens_server.telemetry import Telemetry

__all__ = ["MATCHES", "MOST_MATCHES", "CatalogueFacts", "Embedded", "Photo", "Queries", "Vector"]

Value = TypeVar("Value")


class Queries:
    """Of one server; used from one loop.

    Attributes:
        catalogues: Those that are asked about.
    """

    def __init__(
        self,
        server: ServerFolder,
        settings: QuerySettings | None = None,
        *,
        telemetry: Telemetry | None = None,
    ) -> None:
        """Opens no catalogue yet.

        Args:
            server: The server.
            settings: `QuerySettings()` if None.
            telemetry: What happens is counted there; nobody looks if None.
        """
        self._settings = settings or QuerySettings()
        self._telemetry = telemetry or Telemetry()
        self._decoders = Decoders(workers=self._settings.decoders or None)
        self._decoding = MicroBatches(
            self._decoded,
            most=1,
            waiting=self._settings.waiting,
            name="decode",
            workers=self._decoders.workers,
            worked=self._telemetry.query_batches.labels(stage="decode").observe,
        )
        most, size_bytes = self._settings.waiting, self._settings.waiting_bytes
        self._photos = Places(most, size_bytes=size_bytes, name="photos")
        self._vectors = Places(most, size_bytes=size_bytes, name="questions")
        self._thumbnails = Thumbnails(self._decoders, waiting=self._settings.waiting)
        self.catalogues = AskedCatalogues(server, self._settings, self._telemetry)

    async def search(
        self,
        catalogue: str,
        query: Photo | Vector,
        *,
        k: int = MATCHES,
        wanted: Filter | None = None,
        auto_category: AutoCategory | None = None,
        within: float | None = None,
    ) -> SearchResult:
        """Finds the products that a photo may show, or those nearest a vector.

        Args:
            catalogue: Its name.
            query: What is looked for.
            k: Matches wanted, 1 to 100.
            wanted: Only products that satisfy it; the verdict is that of the unfiltered search.
            auto_category: Whether likely categories are told, or searched too, as a device does for
                category "auto": never beside a filter that names one.
            within: Seconds that the caller waits, who is refused at once where the answer would
                come later; None for as long as it takes.

        Raises:
            PictureError: The photo cannot be used as one.
            QueryError: `k`, the box or the vector cannot be, or there are two categories.
            NotFound: There is no such catalogue, or no such generation.
            QuotaExceeded: As many wait as may, or too many to be answered in time.
            ServerUnavailable: The server is about to end.
        """
        _check_k(k)
        is_narrowed = auto_category == "search"
        if is_narrowed and wanted is not None and wanted.category is not None:
            raise QueryError(
                "Expected auto_category or a filter with a category. Received both: "
                f"{wanted.category[:64]!r}."
            )
        opened = await self.catalogues.of(catalogue)
        if isinstance(query, Vector):
            searched = opened.by_bundle(query.generation)
            likely = await _likely(searched, auto_category)
            with self._vectors.taken(within=within):
                vector = embedding_of(query.values, searched.dim)
                asked = Asked(vector, k, wanted, likely=likely, is_narrowed=is_narrowed)
                found, queued, searching = await searched.matches(asked)
            return self._told(found, Timings(), queued, searching, "")

        async def looked(searched: Searched) -> SearchResult:
            model = await self._model(searched, query)
            likely = await _likely(searched, auto_category)
            with self._photos.taken(size_bytes=len(query.data), within=within):
                vector, spent, tensor = await self._embedded(searched, model, query)
                asked = Asked(vector, k, wanted, likely=likely, is_narrowed=is_narrowed)
                found, queued, searching = await searched.matches(asked)
            found = of_blank(found) if is_blank(tensor, model.spec) else found
            return self._told(found, spent, queued, searching, model.accelerator)

        return await opened.seen(looked)

    async def estimate(
        self,
        catalogue: str,
        query: Photo | Vector,
        *,
        wanted: Filter | None = None,
        within: float | None = None,
    ) -> Valued:
        """Tells what a thing may sell for, by similar items sold, and suggests its attributes.

        Args:
            catalogue: Its name.
            query: The thing.
            wanted: Only such items; where it has no currency, the commonest of those most alike.
            within: As for `search`.

        Raises:
            As `search`.
        """
        opened = await self.catalogues.of(catalogue)
        wanted = wanted or Filter()
        if isinstance(query, Vector):
            searched = opened.by_bundle(query.generation)
            with self._vectors.taken(within=within):
                vector = embedding_of(query.values, searched.dim)
                found, queued, working = await searched.estimate(Wish(vector, wanted))
            return _valued(searched, found, Timings(), queued, working, "")

        async def looked(searched: Searched) -> Valued:
            model = await self._model(searched, query)
            with self._photos.taken(size_bytes=len(query.data), within=within):
                vector, spent, _ = await self._embedded(searched, model, query)
                found, queued, working = await searched.estimate(Wish(vector, wanted))
            return _valued(searched, found, spent, queued, working, model.accelerator)

        return await opened.seen(looked)

    async def similar(
        self,
        catalogue: str,
        *,
        product: str | None = None,
        image: str | None = None,
        k: int = MATCHES,
        wanted: Filter | None = None,
        variety: float = 0.0,
        within: float | None = None,
    ) -> SearchResult:
        """Finds the products that look like one of the catalogue, without itself.

        Args:
            catalogue: Its name.
            product: Its id; all its images together are what is looked for. Or else ...
            image: ... an image's id; no image of a product that it shows is an answer.
            k: As for `search`.
            wanted: As for `search`.
            variety: From 0, the nearest, to 1, as a device has it (`Lens.similar`).
            within: As for `search`.

        Raises:
            QueryError: Neither or both are given, or `k` or `variety` cannot be.
            NotFound: There is no such catalogue, product or image, or the product has no image.
            QuotaExceeded, ServerUnavailable: As for `search`.
        """
        _check_k(k)
        if (product is None) == (image is None):
            raise QueryError("Expected a product or an image.")
        to_choose_from(k, variety)  # which refuses what cannot be
        searched = (await self.catalogues.of(catalogue)).best
        with self._vectors.taken(within=within):
            vector, without = await searched.known(product=product, image=image)
            asked = Asked(vector, k, wanted, without, variety)
            found, queued, searching = await searched.matches(asked)
        return self._told(found, Timings(), queued, searching, "")

    async def embed(
        self,
        catalogue: str,
        photo: Photo,
        *,
        by_bundle: bool = False,
        within: float | None = None,
    ) -> Embedded:
        """Embeds a photo by the best model there is, or by that of phones; errors as `search`."""
        opened = await self.catalogues.of(catalogue)

        async def looked(searched: Searched) -> Embedded:
            model = await self._model(searched, photo)
            with self._photos.taken(size_bytes=len(photo.data), within=within):
                vector, spent, _ = await self._embedded(searched, model, photo)
            accelerator = model.accelerator
            return Embedded(vector, searched.pipeline, searched.generation, accelerator, spent)

        return await (looked(opened.by_bundle(b"")) if by_bundle else opened.seen(looked))

    async def facts(self, catalogue: str) -> CatalogueFacts:
        """What a catalogue has.

        Raises:
            NotFound: There is none of that name.
        """
        return await (await self.catalogues.of(catalogue)).best.facts()

    async def thumbnail(self, catalogue: str, image: str) -> bytes:
        """A JPEG of at most 320 pixels a side of a picture that the catalogue keeps.

        Raises:
            NotFound: There is no such catalogue, or image.
        """
        searched = (await self.catalogues.of(catalogue)).best
        path = await searched.picture(image)
        return await self._thumbnails.of(path)

    @property
    def waiting(self) -> int:
        """Photos that no decoder has begun with."""
        return self._decoding.waiting

    async def close(self) -> None:
        """Ends; what is worked on is finished."""
        self.catalogues.end()
        await self._decoding.close()
        await self._thumbnails.close()
        await self.catalogues.close()
        await asyncio.to_thread(self._decoders.close)

    async def _model(self, searched: Searched, photo: Photo) -> PhotoModel:
        """What embeds a photo, if that is not too large; to load it is no part of a pace."""
        most = self._settings.photo_bytes
        if not 0 < len(photo.data) <= most:
            raise QueryError(
                f"Expected a photo of at most {most:,} bytes. Received {len(photo.data):,}."
            )
        return await searched.model()

    async def _embedded(
        self, searched: Searched, model: PhotoModel, photo: Photo
    ) -> tuple[npt.NDArray[np.float32], Timings, npt.NDArray[np.uint8]]:
        """Its embedding, what that took, and what the model was given."""
        decoding = self._decoding.done((photo, model.spec))
        tensor, decode_queue, decode_seconds = await _timed(decoding)
        embedding, embed_queue, embed_seconds = await _timed(searched.embedded(tensor))
        spent = Timings(
            decode_ms=decode_seconds * 1e3,
            embed_ms=embed_seconds * 1e3,
            queue_ms=(decode_queue + embed_queue) * 1e3,
        )
        return embedding, spent, tensor

    def _decoded(
        self, asked: Sequence[tuple[Photo, Spec]]
    ) -> list[npt.NDArray[np.uint8] | Exception]:
        return [self._decoders.decoded(photo.data, spec, box=photo.box) for photo, spec in asked]

    def _told(
        self,
        found: SearchResult,
        spent: Timings,
        queued: float,
        searching: float,
        accelerator: str,
    ) -> SearchResult:
        timings = replace(spent, search_ms=searching * 1e3, queue_ms=spent.queue_ms + queued * 1e3)
        for stage in ("decode", "queue", "embed", "search"):
            seconds = getattr(timings, f"{stage}_ms") / 1e3
            self._telemetry.query_seconds.labels(stage=stage).observe(seconds)
        self._telemetry.queries.labels(
            pipeline=found.answered_by, verdict=found.verdict.value
        ).inc()
        return replace(found, timings=timings, accelerator=accelerator)


async def _timed(
    work: Awaitable[tuple[Value, float]],
) -> tuple[Value, float, float]:
    """What work gives, the seconds that it waited, and those that it took."""
    began = perf_counter()
    value, waited = await work
    return value, waited, perf_counter() - began - waited


async def _likely(
    searched: Searched, auto_category: AutoCategory | None
) -> LikelyCategories | None:
    """What tells likely categories; to fit it, once, is no part of a pace."""
    return None if auto_category is None else await searched.categories.newest()


def _valued(
    searched: Searched,
    found: Appraised,
    spent: Timings,
    queued: float,
    working: float,
    accelerator: str,
) -> Valued:
    return Valued(
        estimate=found.estimate,
        pipeline=searched.pipeline,
        generation=searched.generation,
        version=found.version,
        accelerator=accelerator,
        timings=replace(spent, search_ms=working * 1e3, queue_ms=spent.queue_ms + queued * 1e3),
    )


def _check_k(k: int) -> None:
    if not 1 <= k <= MOST_MATCHES:
        raise QueryError(f"Expected k of 1 to {MOST_MATCHES}. Received {k}.")

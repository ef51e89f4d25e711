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
import logging
from collections.abc import Awaitable, Iterable, Sequence
from contextlib import suppress
from dataclasses import replace
from time import perf_counter
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from pocketlens.errors import NotFound, PocketLensError, QueryError, ServerUnavailable
from pocketlens.fallback.messages import embedding_of
from pocketlens.formats.bundle import Spec
from pocketlens.query.filters import Filter
from pocketlens.query.variety import to_choose_from
from pocketlens.results import SearchResult, Timings
from pocketlens_server.catalogue.decoders import Decoders
from pocketlens_server.folders import CatalogueFolder, ServerFolder
from pocketlens_server.models.photo_models import PhotoModel
from pocketlens_server.query.matching import Asked
from pocketlens_server.query.micro_batches import MicroBatches
from pocketlens_server.query.open_catalogues import OpenCatalogue, Searched
from pocketlens_server.query.places import Places
from pocketlens_server.query.questions import (
    MATCHES,
    MOST_MATCHES,
    CatalogueFacts,
    Embedded,
    Photo,
    Vector,
)
from pocketlens_server.query.settings import QuerySettings
from pocketlens_server.query.thumbnails import Thumbnails
from pocketlens_server.telemetry import Telemetry

__all__ = ["MATCHES", "MOST_MATCHES", "CatalogueFacts", "Embedded", "Photo", "Queries", "Vector"]

logger = logging.getLogger(__name__)

FOLLOW_SECONDS = 1.0  # between looks for versions that were published
_LEAVE_SECONDS = 5.0  # from one stage of an answer to the next, at most

Value = TypeVar("Value")


class Queries:
    """Of one server; used from one loop."""

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
        self._server, self._settings = server, settings or QuerySettings()
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
        self._open: dict[str, asyncio.Task[OpenCatalogue]] = {}
        self._coming: dict[str, asyncio.Task[OpenCatalogue]] = {}  # to take their places
        self._leaving = set[asyncio.Task[None]]()
        self._ahead: asyncio.Task[None] | None = None
        self._ending = asyncio.Event()

    def open_ahead(self, catalogues: Iterable[str]) -> None:
        """Begins to read the vectors of catalogues, so that no question waits for that.

        One after the other: a server that starts has phones to answer, too.
        """
        self._ahead = asyncio.create_task(self._open_each(sorted(catalogues)))

    async def search(
        self,
        catalogue: str,
        query: Photo | Vector,
        *,
        k: int = MATCHES,
        wanted: Filter | None = None,
        within: float | None = None,
    ) -> SearchResult:
        """Finds the products that a photo may show, or those nearest a vector.

        Args:
            catalogue: Its name.
            query: What is looked for.
            k: Matches wanted, 1 to 100.
            wanted: Only products that satisfy it; the verdict is that of the unfiltered search.
            within: Seconds that the caller waits, who is refused at once where the answer would
                come later; None for as long as it takes.

        Raises:
            PictureError: The photo cannot be used as one.
            QueryError: `k`, the box or the vector cannot be.
            NotFound: There is no such catalogue, or no such generation.
            QuotaExceeded: As many wait as may, or too many to be answered in time.
            ServerUnavailable: The server is about to end.
        """
        _check_k(k)
        opened = await self._catalogue(catalogue)
        if isinstance(query, Vector):
            searched = opened.by_bundle(query.generation)
            with self._vectors.taken(within=within):
                vector = embedding_of(query.values, searched.dim)
                found, queued, searching = await searched.matches(Asked(vector, k, wanted))
            return self._told(found, Timings(), queued, searching, "")

        async def looked(searched: Searched) -> SearchResult:
            model = await self._model(searched, query)
            with self._photos.taken(size_bytes=len(query.data), within=within):
                vector, spent = await self._embedded(searched, model, query)
                found, queued, searching = await searched.matches(Asked(vector, k, wanted))
            return self._told(found, spent, queued, searching, model.accelerator)

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
        searched = (await self._catalogue(catalogue)).best
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
        opened = await self._catalogue(catalogue)

        async def looked(searched: Searched) -> Embedded:
            model = await self._model(searched, photo)
            with self._photos.taken(size_bytes=len(photo.data), within=within):
                vector, spent = await self._embedded(searched, model, photo)
            accelerator = model.accelerator
            return Embedded(vector, searched.pipeline, searched.generation, accelerator, spent)

        return await (looked(opened.by_bundle(b"")) if by_bundle else opened.seen(looked))

    async def facts(self, catalogue: str) -> CatalogueFacts:
        """What a catalogue has.

        Raises:
            NotFound: There is none of that name.
        """
        return await (await self._catalogue(catalogue)).best.facts()

    async def thumbnail(self, catalogue: str, image: str) -> bytes:
        """A JPEG of at most 320 pixels a side of a picture that the catalogue keeps.

        Raises:
            NotFound: There is no such catalogue, or image.
        """
        searched = (await self._catalogue(catalogue)).best
        path = await searched.picture(image)
        return await self._thumbnails.of(path)

    @property
    def waiting(self) -> int:
        """Photos that no decoder has begun with."""
        return self._decoding.waiting

    async def follow(self) -> None:
        """Lets catalogues that were asked about follow their versions, for ever."""
        while True:
            await asyncio.sleep(FOLLOW_SECONDS)
            for name, task in list(self._open.items()):
                if not _has_opened(task):
                    continue
                try:
                    await self._follow(name, task.result())
                except PocketLensError as exc:
                    logger.warning("query.follow.failed catalogue=%s error=%s", name, exc)
                except Exception:  # a bug, or a system out of files: later it may do better
                    logger.exception("query.follow.failed catalogue=%s", name)

    async def close(self) -> None:
        """Ends; what is worked on is finished."""
        self._ending.set()
        if self._ahead is not None:
            self._ahead.cancel()
        await self._decoding.close()
        await self._thumbnails.close()
        for task in (*self._open.values(), *self._coming.values()):
            task.cancel()
            if _has_opened(task):
                await task.result().close()
        self._open, self._coming = {}, {}
        await asyncio.gather(*self._leaving, return_exceptions=True)
        await asyncio.to_thread(self._decoders.close)

    async def _follow(self, name: str, opened: OpenCatalogue) -> None:
        """Lets a catalogue be what is published; meanwhile it answers as it is."""
        if not opened.folder.folder.is_dir():  # nobody has it any more
            del self._open[name]
            self._leave(opened)
            if (coming := self._coming.pop(name, None)) is not None:
                coming.cancel()
        elif (coming := self._coming.get(name)) is not None:
            if coming.done():
                del self._coming[name]
                coming.result()
                self._open[name] = coming
                self._leave(opened)
        elif not await opened.follow():  # of a model that is new, all vectors are read
            self._coming[name] = asyncio.create_task(self._opened(opened.folder))

    def _leave(self, opened: OpenCatalogue) -> None:
        """Closes a catalogue that nobody finds any more, once who came before is done."""

        async def leave() -> None:
            with suppress(TimeoutError):
                async with asyncio.timeout(_LEAVE_SECONDS):
                    await self._ending.wait()
            await opened.close()

        task = asyncio.create_task(leave())
        self._leaving.add(task)
        task.add_done_callback(self._leaving.discard)

    async def _opened(self, folder: CatalogueFolder) -> OpenCatalogue:
        return await OpenCatalogue.open(folder, self._settings, self._telemetry)

    async def _catalogue(self, name: str) -> OpenCatalogue:
        """A catalogue, opened once; whoever gives up does not stop what others wait for."""
        if self._ending.is_set():
            raise ServerUnavailable("The server is about to end. Try again.")
        if name not in self._open:
            try:
                folder = self._server.catalogue(name)
            except NotFound as exc:  # whose text names the others
                raise NotFound(f"There is no catalogue {name[:64]!r}.") from exc
            self._open[name] = asyncio.create_task(self._opened(folder))
        task = self._open[name]
        try:
            return await asyncio.shield(task)
        except Exception:
            if self._open.get(name) is task:  # the next one tries again
                del self._open[name]
            raise

    async def _open_each(self, names: Iterable[str]) -> None:
        for name in names:
            try:
                await (await self._catalogue(name)).best.model()
            except NotFound as exc:  # nothing was published yet
                logger.debug("query.ahead.absent catalogue=%s error=%s", name, exc)
            except PocketLensError as exc:  # whoever asks is told
                logger.warning("query.ahead.failed catalogue=%s error=%s", name, exc)
            except Exception:  # a bug, or a system out of files: the next one may do better
                logger.exception("query.ahead.failed catalogue=%s", name)

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
    ) -> tuple[npt.NDArray[np.float32], Timings]:
        decoding = self._decoding.done((photo, model.spec))
        tensor, decode_queue, decode_seconds = await _timed(decoding)
        embedding, embed_queue, embed_seconds = await _timed(searched.embedded(tensor))
        spent = Timings(
            decode_ms=decode_seconds * 1e3,
            embed_ms=embed_seconds * 1e3,
            queue_ms=(decode_queue + embed_queue) * 1e3,
        )
        return embedding, spent

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


def _has_opened(task: asyncio.Task[OpenCatalogue]) -> bool:
    return task.done() and not task.cancelled() and task.exception() is None


def _check_k(k: int) -> None:
    if not 1 <= k <= MOST_MATCHES:
        raise QueryError(f"Expected k of 1 to {MOST_MATCHES}. Received {k}.")

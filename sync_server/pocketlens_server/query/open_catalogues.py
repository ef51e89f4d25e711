"""One catalogue that is asked about: its galleries, the models of photos, and what is published.

    opened = await OpenCatalogue.open(folder, settings, telemetry)
    found, queued, seconds = await opened.best.matches(vector, 10, None)

A device's vector is answered by the vectors of the bundle that made it, as long as a generation of
that is served; a photo by the newest one.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from pocketlens.errors import BundleError, NotFound, ServerError, ServerUnavailable
from pocketlens.formats import bundle as bundles
from pocketlens.formats.bundle import Bundle
from pocketlens.progress import Progress
from pocketlens.query import query_vectors
from pocketlens.results import Pipeline, SearchResult
from pocketlens_server.catalogue.float_siblings import Sibling
from pocketlens_server.folders import CatalogueFolder
from pocketlens_server.models.float_models import open_sibling
from pocketlens_server.models.photo_models import BundleModel, Found, PhotoModel, Tensor
from pocketlens_server.publishing.images import picture_of
from pocketlens_server.query import matching
from pocketlens_server.query.appraising import Appraised, Appraising, Wish
from pocketlens_server.query.exact_store import ExactStore
from pocketlens_server.query.fitted_categories import FittedCategories
from pocketlens_server.query.galleries import BundleVectors, FloatVectors, Gallery
from pocketlens_server.query.matching import Asked, Terms
from pocketlens_server.query.micro_batches import MicroBatches
from pocketlens_server.query.precise import Precise
from pocketlens_server.query.questions import CatalogueFacts
from pocketlens_server.query.scorers import Scorer, scorer_at_hand
from pocketlens_server.query.settings import QuerySettings
from pocketlens_server.query.shared_models import SharedModel
from pocketlens_server.storage.history import IMAGE, PRODUCT
from pocketlens_server.storage.vectors import Generation
from pocketlens_server.telemetry import Telemetry

_CATEGORIES = 200

Value = TypeVar("Value")


class Searched:
    """A gallery, and the model whose vectors it has; used from one loop.

    Attributes:
        gallery: That is searched.
        generation: Hex id of the newest one that the bundle made.
        pipeline: What answers of it are called.
        dim: Numbers of a vector.
        categories: Likely ones.
    """

    def __init__(
        self,
        gallery: Gallery,
        model: SharedModel,
        terms: Terms,
        settings: QuerySettings,
        telemetry: Telemetry,
    ) -> None:
        self.gallery, self.dim = gallery, gallery.store.dim
        self.generation: str = terms.generation
        self.pipeline: Pipeline = terms.pipeline
        self._terms, self._model = terms, model
        self.categories = FittedCategories(gallery, duplicate_cosine=terms.duplicate_cosine)
        self._reading = ThreadPoolExecutor(1, thread_name_prefix="pocketlens-query")
        sizes = telemetry.query_batches
        self._embedding = MicroBatches(
            self._embed,
            most=settings.batch,
            waiting=settings.waiting,
            name="embed",
            worked=sizes.labels(stage="embed").observe,
        )
        self._appraising = Appraising(gallery)
        self._estimating = MicroBatches(
            self._appraising.estimates, most=1, waiting=settings.waiting, name="estimate"
        )
        self._searching = MicroBatches(
            self._search,
            most=settings.batch,
            waiting=settings.waiting,
            name="search",
            worked=sizes.labels(stage="search").observe,
        )

    async def model(self) -> PhotoModel:
        """What embeds photos, loaded at the first.

        Raises:
            BundleError: It cannot be.
        """
        opened = self._model.opened
        return await self._read(self._model.get) if opened is None else opened

    async def embedded(self, tensor: Tensor) -> tuple[npt.NDArray[np.float32], float]:
        """The unit embedding of a photo, and the seconds that it waited."""
        return await self._embedding.done(tensor)

    async def matches(
        self,
        asked: Asked,
    ) -> tuple[SearchResult, float, float]:
        """The answer to a question, the seconds that it waited, and those that it took."""
        began = perf_counter()
        found, waited = await self._searching.done(asked)
        return found, waited, perf_counter() - began - waited

    async def estimate(self, wish: Wish) -> tuple[Appraised, float, float]:
        """What a thing may sell for, the seconds that it waited, and those that it took."""
        began = perf_counter()
        found, waited = await self._estimating.done(wish)
        return found, waited, perf_counter() - began - waited

    async def known(
        self, *, product: str | None, image: str | None
    ) -> tuple[npt.NDArray[np.float32], frozenset[int]]:
        """What looks for more like a product or an image, and the images that are no answer.

        Args:
            product: Id of a product, whose images are pooled as a device pools them.
            image: Id of an image; none of a product that it shows is an answer.

        Raises:
            NotFound: There is none in this version, or the product has no image.
        """
        return await self._read(lambda: self._known(product, image))

    async def picture(self, image: str) -> Path:
        """Where the picture of an image is kept.

        Raises:
            NotFound: There is no such image.
        """
        return await self._read(lambda: self._picture(image))

    async def facts(self) -> CatalogueFacts:
        """What the newest version has."""
        return await self._read(self._facts)

    async def close(self) -> None:
        """Ends; what is worked on is finished."""
        await self._embedding.close()
        await self._searching.close()
        await self.categories.close()
        self._appraising.end()
        await self._estimating.close()
        await asyncio.to_thread(self._appraising.close)
        await asyncio.to_thread(self._reading.shutdown)
        await asyncio.to_thread(self._model.close)
        self.gallery.store.close()

    async def _read(self, work: Callable[[], Value]) -> Value:
        try:
            reading = asyncio.get_running_loop().run_in_executor(self._reading, work)
        except RuntimeError as exc:  # whoever asks came before it was closed
            raise ServerUnavailable("The server is about to end. Try again.") from exc
        return await reading

    def _embed(self, tensors: Sequence[Tensor]) -> Sequence[Found]:
        return self._model.get().embed(tensors)

    def _search(self, asked: Sequence[Asked]) -> Sequence[SearchResult]:
        return matching.answered(self.gallery, asked, self._terms)

    def _known(
        self, product: str | None, image: str | None
    ) -> tuple[npt.NDArray[np.float32], frozenset[int]]:
        with self.gallery.store.view() as view, self.gallery.folder.reading() as tables:
            kind, id_ = (PRODUCT, product) if product is not None else (IMAGE, image or "")
            key = tables.history.known_key(kind, id_)
            images: list[int] = []
            shown: tuple[int, ...] = ()
            if key is not None and kind == PRODUCT:
                images, shown = view.images_of(key).tolist(), (key,)
            elif key is not None:
                (shown,) = view.product_keys([key])
                images = [key] if shown else []  # one that was deleted shows none
            if not images:
                what = "product" if kind == PRODUCT else "image"
                raise NotFound(f"There is no {what} {id_[:64]!r} with a picture.")
            vector = query_vectors.pooled(view.vectors(images[: query_vectors.MOST_IMAGES]))
            return vector, frozenset(
                image for each in shown for image in view.images_of(each).tolist()
            )

    def _picture(self, image: str) -> Path:
        with self.gallery.store.view() as view, self.gallery.folder.reading() as tables:
            key = tables.history.known_key(IMAGE, image)
            value = None if key is None else tables.history.value(IMAGE, key, view.version)
            if value is None:
                raise NotFound(f"There is no image {image[:64]!r}.")
            return self.gallery.folder.picture(picture_of(value))

    def _facts(self) -> CatalogueFacts:
        with self.gallery.store.view() as view, self.gallery.folder.reading() as tables:
            return CatalogueFacts(
                name=self.gallery.folder.name,
                version=view.version,
                generation=self.generation,
                as_of=tables.history.as_of(view.version),
                products=view.products,
                images=view.images,
                categories=view.categories()[:_CATEGORIES],
            )


@dataclass(frozen=True, slots=True)
class OpenCatalogue:
    """Everything of one catalogue that is asked about.

    Attributes:
        folder: Of the catalogue.
        served: Ids of the generations that are served, newest first, with the number of the bundle.
        searched: By the number of the bundle.
        precise: The float model of the newest bundle, with a gallery of its own, if there is one.
    """

    folder: CatalogueFolder
    served: dict[bytes, int]
    searched: dict[int, Searched]
    precise: Precise

    @classmethod
    async def open(
        cls, folder: CatalogueFolder, settings: QuerySettings, telemetry: Telemetry
    ) -> OpenCatalogue:
        """Reads a catalogue's vectors.

        Raises:
            NotFound: Nothing was published yet.
            ServerError: It cannot be read.
        """
        generations, found = await asyncio.to_thread(_read_bundles, folder)
        scorer = await asyncio.to_thread(scorer_at_hand)  # it may load CuPy, and try a GPU
        if not generations:
            raise NotFound(f"The catalogue {folder.name!r} has no version yet.")
        searched = {}
        for number, (sha256, bundle) in found.items():
            newest = max(each.number for each in generations if each.bundle == number)
            terms = Terms(
                next(each.id.hex() for each in generations if each.number == newest),
                "embedding",
                bundle.calibration("embedding"),
                bundle.spec.duplicate_cosine,
            )
            model = SharedModel(partial(BundleModel.open, folder.bundle(sha256), sha256))
            store = ExactStore(bundle.spec.dim, scorer)
            gallery = Gallery(folder, BundleVectors(number), store)
            await asyncio.to_thread(gallery.follow)
            searched[number] = Searched(gallery, model, terms, settings, telemetry)
        served = {each.id: each.bundle for each in reversed(generations)}
        last = generations[-1]
        _, bundle = found[last.bundle]
        make = partial(_precise, folder, last, bundle, scorer, settings, telemetry)
        made = cls(folder, served, searched, Precise(folder, bundle, make))
        made.precise.follow()
        return made

    @property
    def best(self) -> Searched:
        """What answers photos: the newest generation's float model, once it has the version."""
        bundles = self.by_bundle(b"")
        return self.precise.at(bundles.gallery.store.version) or bundles

    async def seen(self, look: Callable[[Searched], Awaitable[Value]]) -> Value:
        """What the best model gives for a photo; where that fails, what the bundle gives.

        Args:
            look: Asks a model; may be called again, with another.

        Raises:
            BundleError: The bundle failed, too.
        """
        best = self.best
        try:
            return await look(best)
        except BundleError as exc:
            if best is self.by_bundle(b""):
                raise
            self.precise.rest(exc)
        return await look(self.by_bundle(b""))

    def by_bundle(self, generation: bytes) -> Searched:
        """What answers the vectors of a generation's bundle; of the newest if empty.

        Raises:
            NotFound: It is not served, or not any more.
        """
        if not generation:
            return self.searched[next(iter(self.served.values()))]
        if generation not in self.served:
            raise NotFound(
                f"The generation {generation.hex()[:16]} is not served here. Sync, and ask again."
            )
        return self.searched[self.served[generation]]

    async def follow(self) -> bool:
        """Moves to the newest version; False where it must be opened anew, for a new generation."""
        generations = await asyncio.to_thread(_generations, self.folder)
        if {each.id: each.bundle for each in reversed(generations)} != self.served:
            return False
        for searched in self.searched.values():
            await asyncio.to_thread(searched.gallery.follow)
        self.precise.follow()
        return True

    async def close(self) -> None:
        """Ends all."""
        bundles = (each.close() for each in self.searched.values())
        await asyncio.gather(self.precise.close(), *bundles)


def _precise(
    folder: CatalogueFolder,
    newest: Generation,
    bundle: Bundle,
    scorer: Scorer,
    settings: QuerySettings,
    telemetry: Telemetry,
    sibling: Sibling,
    progress: Progress,
) -> Searched:
    """A float model of the newest bundle, which is opened, and its gallery.

    Raises:
        BundleError: It cannot be used.
        MissingExtraError: TensorFlow is not installed.
    """
    model = SharedModel(partial(open_sibling, sibling.model, bundle))
    dim = model.get().spec.dim
    terms = Terms(
        newest.id.hex(), "photo", bundle.calibration("photo"), bundle.spec.duplicate_cosine
    )
    vectors = FloatVectors(folder, sibling, model.get, progress)
    gallery = Gallery(folder, vectors, ExactStore(dim, scorer))
    return Searched(gallery, model, terms, settings, telemetry)


def _generations(folder: CatalogueFolder) -> list[Generation]:
    with folder.reading() as tables:
        return tables.vectors.generations()


def _read_bundles(
    folder: CatalogueFolder,
) -> tuple[list[Generation], dict[int, tuple[bytes, bundles.Bundle]]]:
    with folder.reading() as tables:
        generations, known = tables.vectors.generations(), tables.vectors.bundles()
    found = {}
    for number in {each.bundle for each in generations}:
        try:
            data = folder.bundle(known[number]).read_bytes()
        except OSError as exc:
            raise ServerError(f"The bundle {known[number].hex()} cannot be read: {exc}.") from exc
        found[number] = (known[number], bundles.decode(data))
    return generations, found

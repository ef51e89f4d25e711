"""A small catalogue server for an app's own tests: in memory, with no network, signed all the same.

    server = MemoryServer("shop.tflite")
    server.put(Product("mug", "Mug", price=Price(1250, "EUR")), picture)
    server.publish()
    pocketlens.install(store, server="memory", root=server.root, transport=server)

    server.put(Product("mug", "Mug", price=Price(990, "EUR")))
    server.publish()
    with pocketlens.Lens.open(store) as lens:
        lens.sync(transport=server)

Stores verify, fetch and apply what it serves as they do what `pocketlens-server` publishes: the
formats, signatures and checks are the same, for some thousand products. It publishes no thumbnails:
a store that wants some has none. The transports of `pocketlens.testing.faults` let it fail.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from pocketlens.errors import InvalidOperation
from pocketlens.formats import parts
from pocketlens.formats.delta import DeltaStream, Header
from pocketlens.formats.manifest import Blob, Changes, Manifest, encode
from pocketlens.formats.parts import ImagePart, OfferPart, PlacementPart, ProductPart
from pocketlens.formats.state_hash import Identity
from pocketlens.products import Product
from pocketlens.query import codes
from pocketlens.query.codebook import Codebook
from pocketlens.query.embedder import Embedder
from pocketlens.sync.transports import AtHand, MemoryTransport
from pocketlens.testing.signed_files import SignedFiles
from pocketlens.testing.versions import Parts, Versions

if TYPE_CHECKING:
    from pocketlens.query.pictures import Picture

_ONE_LIST = 1  # every image is in it: a search looks at all of them


@dataclass(frozen=True, slots=True)
class _Generation:
    """What codes are made by, fixed at the first publish."""

    id: bytes
    scale: npt.NDArray[np.float32]
    feedback: npt.NDArray[np.float32] | None
    codebook: bytes
    codebook_sha256: bytes


class MemoryServer:
    """A catalogue, and the transport to it. Used by one thread at a time.

    Attributes:
        root: What an app comes with.
    """

    def __init__(
        self,
        bundle: str | Path | bytes,
        *,
        catalog: str = "main",
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """Makes an empty catalogue.

        Args:
            bundle: The model that the app uses: a `.tflite` file, or its bytes.
            catalog: Its name.
            clock: When versions are published, in UTC.

        Raises:
            BundleError: It is no bundle that can run here.
        """
        self._bundle = bundle if isinstance(bundle, bytes) else Path(bundle).read_bytes()
        self._embedder = Embedder.open(self._bundle)
        self._catalogue, self._clock = catalog, clock
        blob = Blob.of(self._bundle)
        self._signed = SignedFiles(blob, now=clock())
        self.root = self._signed.root
        self._blobs = {blob.sha256: self._bundle}
        self._products: dict[str, Product] = {}
        self._embeddings: dict[str, list[npt.NDArray[np.float32]]] = {}
        self._product_keys: dict[str, int] = {}
        self._image_keys: dict[str, int] = {}
        self._generation: _Generation | None = None
        self._versions = Versions()
        self._served: list[MemoryTransport] = [MemoryTransport({})]

    @property
    def version(self) -> int:
        """The newest; 0 before the first `publish`."""
        return self._versions.head

    def put(self, product: Product, *pictures: Picture) -> None:
        """Adds a product, or changes what is said of it; devices see it after `publish`.

        Args:
            product: All of it.
            pictures: Of it, in the place of those that it has; none leaves them.

        Raises:
            PictureError: One cannot be used; nothing has changed.
        """
        if pictures:
            self._embeddings[product.id] = [self._embedder.embed(each) for each in pictures]
        self._products[product.id] = product

    def delete(self, product_id: str) -> None:
        """Takes a product and its pictures away.

        Raises:
            InvalidOperation: There is no such product.
        """
        if product_id not in self._products:
            raise InvalidOperation(f"There is no product {product_id!r} to delete.")
        del self._products[product_id]
        self._embeddings.pop(product_id, None)

    def publish(self) -> int:
        """Makes a version of everything as it is now, and returns its number.

        Raises:
            InvalidOperation: There is no picture yet.
        """
        now = self._clock()
        generation = self._generation or self._begin()
        version = self._versions.add(self._parts(generation))
        bases = sorted({1, version - 1} - {0, version}, reverse=True)
        manifest = self._manifest(generation, version, now, bases)
        data = encode(manifest)
        files = self._signed.publish({"newest": data, manifest.generation.hex(): data}, now=now)
        blobs = {f"blobs/{sha256.hex()}": blob for sha256, blob in self._blobs.items()}
        self._served.append(MemoryTransport(files | blobs))
        return version

    def at(self, version: int) -> MemoryTransport:
        """What a server that stands still at a version, 1 or more, would send."""
        return self._served[version]

    # --- the transport ---------------------------------------------------------------------------

    def poll(self, have: AtHand) -> None:
        """See `pocketlens.sync.transports.Transport`."""

    def file(self, name: str) -> Iterator[bytes] | None:
        """See `pocketlens.sync.transports.Transport`."""
        return self._served[-1].file(name)

    def piece(self, blob: Blob, number: int) -> Iterator[bytes]:
        """See `pocketlens.sync.transports.Transport`."""
        return self._served[-1].piece(blob, number)

    def close(self) -> None:
        """It serves on: a sync closes what it was given."""

    # --- versions --------------------------------------------------------------------------------

    def _begin(self) -> _Generation:
        """The generation of all versions."""
        embeddings = [each for some in self._embeddings.values() for each in some]
        if not embeddings:
            raise InvalidOperation("Expected a product with a picture. Put one: server.put(...)")
        facts = self._embedder.bundle
        scale = codes.scale_of(np.abs(np.stack([*facts.representative, *embeddings])).max(axis=0))
        feedback = codes.feedback_of(scale, facts.representative, facts.queries)
        centroids = np.zeros((_ONE_LIST, len(scale)), np.float16)
        self._generation = _Generation(
            codes.generation_id(Blob.of(self._bundle).sha256, scale),
            scale,
            feedback,
            struct.pack("<II", *centroids.shape) + centroids.astype("<f2").tobytes(),
            Codebook(centroids).sha256,
        )
        return self._generation

    def _parts(self, generation: _Generation) -> Parts:
        """Every part as it is now; keys are given in the order of first appearance."""
        products, offers = {}, {}
        images, placements = {}, {}
        for product in self._products.values():
            key = self._product_keys.setdefault(product.id, len(self._product_keys) + 1)
            products[key] = ProductPart(
                key,
                product.id,
                product.title,
                product.category,
                product.url,
                dict(product.attributes),
            )
            offers[key] = _offer(key, product)
            for number, embedding in enumerate(self._embeddings.get(product.id, [])):
                id_ = f"{key}/{number}"
                image_key = self._image_keys.setdefault(id_, len(self._image_keys) + 1)
                (code,) = codes.encode(embedding[None], generation.scale, generation.feedback)
                images[image_key] = ImagePart(image_key, id_, "", (key,), code.tobytes())
                placements[image_key] = PlacementPart(image_key, 0)
        return Parts(products, offers, images, placements)

    def _manifest(
        self, generation: _Generation, version: int, now: datetime, bases: list[int]
    ) -> Manifest:
        state = self._versions.parts(version)
        identity = Identity(self._catalogue, generation.id, generation.codebook_sha256)
        return Manifest(
            catalogue=self._catalogue,
            generation=generation.id,
            version=version,
            as_of=now,
            signed_at=now,
            state_hash=state.state_hash(identity),
            images=len(state.images),
            products=len(state.products),
            scale=generation.scale,
            bundle=Blob.of(self._bundle),
            codebook=self._kept(generation.codebook),
            probes=_ONE_LIST,
            probes_estimated=False,
            saturated_share=0.0,
            snapshot=self._changes(generation, 0, version, now),
            deltas=tuple(self._changes(generation, base, version, now) for base in bases),
        )

    def _changes(self, generation: _Generation, base: int, head: int, now: datetime) -> Changes:
        header = Header(
            self._catalogue,
            generation.id,
            generation.codebook_sha256,
            base,
            head,
            now,
            len(generation.scale),
        )
        stream = DeltaStream(header, [self._versions.changes(base, head)])
        blob = self._kept(b"".join(stream))
        return Changes(base, head, stream.inflated_size, blob)

    def _kept(self, data: bytes) -> Blob:
        blob = Blob.of(data)
        self._blobs[blob.sha256] = data
        return blob


def _offer(key: int, product: Product) -> OfferPart:
    price, stock = product.price, product.stock
    return OfferPart(
        key,
        parts.UNKNOWN if price is None else price.minor_units,
        "" if price is None else price.currency,
        parts.UNKNOWN if stock is None else stock,
    )

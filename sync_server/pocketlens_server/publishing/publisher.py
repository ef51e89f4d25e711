"""All that waits in a catalogue -> a version: places, deltas, snapshot, manifest; each replayed.

    published = publish(catalogue, now=clock(), rng=rng)
    published.version, published.manifests

One transaction of the catalogue's database: what goes wrong before its end leaves no version, and
blobs that nothing names. Signing comes after it (`publishing.signing`) and makes it visible.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import struct
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

import numpy as np

from pocketlens.errors import CatalogError, StateMismatch
from pocketlens.formats import state_hash
from pocketlens.formats.delta import DeltaReader, DeltaStream, Header
from pocketlens.formats.delta_blocks import Block
from pocketlens.formats.manifest import WHOLE_ROLLOUT, Changes, Manifest, encode
from pocketlens.formats.state_hash import Counts, Identity
from pocketlens.query.codebook import Codebook
from pocketlens_server.publishing import (
    encoding,
    keeping,
    planner,
    relisting,
    states,
    thumbnails,
)
from pocketlens_server.publishing.changes import changes_since, lists_since
from pocketlens_server.publishing.gate_limits import Gate
from pocketlens_server.publishing.gates import Gates
from pocketlens_server.publishing.images import picture_of
from pocketlens_server.publishing.inspection import Inspection
from pocketlens_server.publishing.keeping import Keeping
from pocketlens_server.publishing.open_catalogue import Catalogue, OpenBundle
from pocketlens_server.storage.history import HOLDS, IMAGE
from pocketlens_server.storage.vectors import Generation, State, Vectors

SATURATED = 0.001  # share of components; a generation with another scale is worth its bytes
_READ_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Published:
    """A version.

    Attributes:
        version: Its number.
        manifests: Of each generation that is served, oldest first.
        saturated_share: Components of the newest generation's codes at their limit, 0 to 1, if
            images came and gates looked at them; beyond `SATURATED` its scale no longer fits.
    """

    version: int
    manifests: tuple[Manifest, ...]
    saturated_share: float = 0.0


def publish(
    catalogue: Catalogue,
    *,
    now: datetime,
    rng: np.random.Generator,
    gates: Gates | None = None,
    kept: Keeping | None = None,
    rollout: int = WHOLE_ROLLOUT,
    begin_again: int | None = None,
    above: int = 0,
    thumbnail_of: Callable[[bytes], bytes | None] | None = None,
) -> Published:
    """Makes a version of all that waits.

    Args:
        catalogue: Every picture of its images is embedded by every bundle that is served.
        now: When it is published.
        rng: Draws what a first generation draws.
        gates: That hold what looks wrong; None lets everything pass.
        kept: How long old versions and generations are; `Keeping()` if None.
        rollout: Of 65,536 devices, how many may take it.
        begin_again: Number of a bundle that begins another generation, with a scale that fits what
            there is now; None for none.
        above: The version that it is above at least; see `History.publish`.
        thumbnail_of: SHA-256 of a picture to its thumbnail, None where that cannot be drawn; None
            where none are published.

    Raises:
        CatalogError: There is no model, or no image yet, or the generation to begin is there.
        PublishHeld: A gate holds it.
        StateMismatch: A delta does not lead to the state that history has; a defect of ours.
        StoreFull: The disk has no room.
    """
    history, vectors = catalogue.history, catalogue.vectors
    if not catalogue.bundles:
        raise CatalogError("Expected a model. Add one: pocketlens-server model add SHOP.tflite")
    if next(history.values(IMAGE), None) is None and history.head == 0:
        raise CatalogError("Expected images. Push some: pocketlens-server push LIST")
    to_begin, saturated = bundles_to_begin(catalogue), 0.0
    if begin_again is not None:  # the last that begins is the newest
        to_begin = [each for each in to_begin if each.number != begin_again]
        to_begin.append(catalogue.bundles[begin_again])
    inspection = (
        None if gates is None else Inspection(catalogue, gates.limits, begins=bool(to_begin))
    )
    if gates and inspection:
        found = inspection.of_waiting(to_begin)
        if any(each.gate is Gate.VECTORS for each in found):  # it cannot be placed
            gates.hold(found, version=max(history.head, above) + 1)
    for generation in vectors.generations():
        facts = catalogue.bundles[generation.bundle].facts
        encoding.place_waiting(history, vectors, generation, facts)
        relisting.renewed(history, vectors, generation, facts, rng=rng)
    for bundle in to_begin:
        _begin(catalogue, bundle, rng)
    if gates and inspection:
        for generation in vectors.generations():
            found += inspection.of_generation(generation, rng)
        gates.hold(found, version=max(history.head, above) + 1)
        saturated = inspection.saturated_share(vectors.generations()[-1])
    base, packs = history.head, thumbnails.published_packs(catalogue)
    version = history.publish(now, above=above)
    for generation in vectors.generations():
        if base < generation.listed_at < version:  # the number that would have come next
            vectors.put_generation(replace(generation, listed_at=version))
    kept = kept or Keeping()
    keeping.name_the_day(vectors, now=now, days=kept.generation_days)
    keeping.prune(history, vectors, kept.versions)
    shown = None
    if thumbnail_of is not None:
        shown = thumbnails.publish(catalogue, packs, thumbnail_of, version=version)
    manifests = []
    for generation in vectors.generations():
        made = _published(catalogue, generation, base, version, now)
        manifests.append(replace(made, rollout=rollout, thumbnails=shown))
        vectors.put_manifest(generation.number, encode(manifests[-1]))
    return Published(version, tuple(manifests), saturated)


def bundles_to_begin(catalogue: Catalogue) -> list[OpenBundle]:
    """Bundles that have embedded every picture and have no generation yet."""
    begun = {generation.bundle for generation in catalogue.vectors.generations()}
    if begun.issuperset(catalogue.bundles):
        return []
    pictures = [picture_of(value) for _, value in catalogue.history.values(IMAGE)]
    return [
        bundle
        for number, bundle in sorted(catalogue.bundles.items())
        if number not in begun
        and pictures
        and not catalogue.vectors.without_embedding(number, pictures)
    ]


def _begin(catalogue: Catalogue, bundle: OpenBundle, rng: np.random.Generator) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        encoding.begin(
            catalogue.history,
            catalogue.vectors,
            bundle=bundle.number,
            facts=bundle.facts,
            sha256=bundle.sha256,
            scratch=Path(scratch),
            rng=rng,
        )


@dataclass(frozen=True, slots=True)
class _Work:
    """What is made for one generation at a new version.

    Attributes:
        after: The state at that version.
    """

    catalogue: Catalogue
    generation: Generation
    version: int
    now: datetime
    after: State

    @property
    def listed_at(self) -> int:
        """The version that brought the codebook."""
        return self.generation.listed_at

    @property
    def state_hash(self) -> bytes:
        """32 bytes."""
        identity = Identity(self.catalogue.name, self.generation.id, self._codebook_sha256)
        images, products = self.after.images, self.after.products
        counts = Counts(images, images, products, products)
        return state_hash.digest(identity, counts, self.after.state_sum)

    def changes(self, base: int) -> Changes:
        """The delta from a version to this one, replayed; from 0 the snapshot.

        Raises:
            StateMismatch: It leads to another state.
        """
        catalogue, number = self.catalogue, self.generation.number
        code_of = codes_of(catalogue.vectors, number)
        blocks = changes_since(
            base,
            catalogue.history,
            generation=number,
            code_of=code_of,
            listed_at=self.listed_at,
        )
        changes = self._kept(base, blocks)
        with self._reading(changes) as read:
            replayed = states.replayed(
                self._before(base),
                read,
                catalogue.history,
                generation=number,
                code_of=code_of,
                listed_at=self.listed_at,
            )
        if replayed != self.after:
            raise StateMismatch(
                f"The delta from version {base} to {self.version} leads to another state than "
                "history has. Nothing was published."
            )
        return changes

    def relist(self) -> Changes:
        """The list of every image at this version, read back.

        Raises:
            StateMismatch: It says something else than history.
        """
        changes = self._kept(
            0, lists_since(0, self.catalogue.history, generation=self.generation.number)
        )
        with self._reading(changes) as read:
            if states.listed(read) != self.after.placed_sum:
                raise StateMismatch(
                    f"The lists of version {self.version} are others than history has. Nothing "
                    "was published."
                )
        return changes

    def _before(self, base: int) -> State:
        """The state that a delta from `base` begins with, the device having the codebook."""
        number, vectors = self.generation.number, self.catalogue.vectors
        before = (vectors.state(number, base) if base else None) or states.NOTHING
        if not 0 < base < self.listed_at:
            return before
        listed = vectors.state(number, self.listed_at) or states.NOTHING
        return replace(before, placed_sum=listed.placed_sum)

    def _kept(self, base: int, blocks: Iterable[Block]) -> Changes:
        stream = DeltaStream(self._header(base), blocks)
        blob = self.catalogue.blobs.put(stream)
        return Changes(base, self.version, stream.inflated_size, blob)

    @contextmanager
    def _reading(self, changes: Changes) -> Iterator[DeltaReader]:
        with self.catalogue.blobs.path(changes.blob.sha256).open("rb") as file:
            yield DeltaReader(iter(lambda: file.read(_READ_BYTES), b""), changes.inflated_size)

    @property
    def _codebook_sha256(self) -> bytes:
        return Codebook(self.generation.centroids, index="exact").sha256

    def _header(self, base: int) -> Header:
        generation = self.generation
        return Header(
            catalogue=self.catalogue.name,
            generation=generation.id,
            codebook_sha256=self._codebook_sha256,
            base=base,
            head=self.version,
            as_of=self.now,
            dim=len(generation.scale),
        )


def codes_of(vectors: Vectors, generation: int) -> Callable[[bytes], bytes]:
    """SHA-256 of a picture to its code in a generation."""

    def code_of(picture: bytes) -> bytes:
        return vectors.codes(generation, [picture])[picture]

    return code_of


def _published(
    catalogue: Catalogue, generation: Generation, base: int, version: int, now: datetime
) -> Manifest:
    """The manifest of a generation at a version that history has."""
    number, vectors = generation.number, catalogue.vectors
    before = vectors.state(number, base)
    after = states.advanced(
        before or states.NOTHING,
        base if before else 0,
        catalogue.history,
        generation=number,
        code_of=codes_of(vectors, number),
    )
    vectors.put_state(number, version, after)
    work = _Work(catalogue, generation, version, now, after)
    oldest = vectors.oldest_state(number)
    # Between versions that are known there may be numbers of some that are lost.
    bases = {catalogue.history.newest_until(each): None for each in planner.bases(version, oldest)}
    deltas = tuple(work.changes(each) for each in bases)
    snapshot, relist = vectors.snapshot(number), vectors.relist(number)
    if snapshot is not None and generation.listed_at == version:
        snapshot, relist = None, work.relist()  # that snapshot's lists are of another codebook
        vectors.put_relist(number, relist)
    if snapshot is None or planner.is_snapshot_due(
        version,
        snapshot.head,
        snapshot_bytes=snapshot.blob.size,
        delta_bytes=next((each.blob.size for each in deltas if each.base <= snapshot.head), HOLDS),
    ):
        snapshot = work.changes(0)
        vectors.put_snapshot(number, snapshot)
    bundle = catalogue.bundles[generation.bundle]
    centroids = generation.centroids
    codebook = struct.pack("<II", *centroids.shape) + centroids.astype("<f2").tobytes()
    return Manifest(
        catalogue=catalogue.name,
        generation=generation.id,
        version=version,
        as_of=now,
        signed_at=now,
        state_hash=work.state_hash,
        images=after.images,
        products=after.products,
        scale=generation.scale,
        bundle=bundle.blob,
        codebook=catalogue.blobs.put([codebook]),
        probes=generation.probes,
        probes_estimated=generation.probes_estimated,
        saturated_share=generation.saturated_share,
        snapshot=snapshot,
        deltas=deltas,
        retires_at=generation.retires_at,
        relist=relist if relist and any(each.base < relist.head for each in deltas) else None,
    )

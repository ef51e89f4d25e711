"""Two versions of a catalogue -> what differs, and what that costs a phone.

    found = compare(folder, base=41, head=0)      # with all that waits
    found.products.added_ids, found.delta_bytes

What a phone pays is what its own planner, the SDK's, says for one that has fetched nothing ahead
and follows the newest generation.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from pocketlens.errors import InvalidOperation
from pocketlens.formats import manifest as manifests
from pocketlens.formats.delta import DeltaStream, Header
from pocketlens.formats.manifest import PIECE_BYTES, WHOLE_ROLLOUT, Blob, Manifest
from pocketlens.sync.planner import Have, make_plan
from pocketlens_server.folders import CatalogueFolder, Tables
from pocketlens_server.publishing import holdings, signing
from pocketlens_server.publishing.changes import changes_since
from pocketlens_server.storage.history import IMAGE, OFFER, PRODUCT, History
from pocketlens_server.storage.vectors import Generation, Vectors


@dataclass(frozen=True, slots=True)
class Changes:
    """What differs of one kind of items; counts are whole, lists may be cut.

    Attributes:
        added, changed, deleted: How many.
        added_ids, changed_ids, deleted_ids: Which, the first of them.
    """

    added: int
    changed: int
    deleted: int
    added_ids: Sequence[str]
    changed_ids: Sequence[str]
    deleted_ids: Sequence[str]


@dataclass(frozen=True, slots=True)
class Comparison:
    """What differs between two versions.

    Attributes:
        base, head: The versions; head 0 is all that waits.
        products, images: By their texts and what they show.
        offers_changed: Products that are in both and of which price or stock differs.
        delta_bytes: Of all files that a phone at `base` fetches for `head`, a new one where that is
            0; 0 where none can go there any more.
        is_estimated: Whether that is of what is not published, and so not to the byte.
        is_new_model: Whether the next version begins a generation, with a model that was added.
    """

    base: int
    head: int
    products: Changes
    images: Changes
    offers_changed: int
    delta_bytes: int
    is_estimated: bool
    is_new_model: bool


@dataclass(frozen=True, slots=True)
class Status:
    """A catalogue now.

    Attributes:
        version: The newest that devices find; 0 before the first.
        as_of: When that was; None before the first.
        products, images: In it.
        waiting_products, waiting_offers, waiting_images: What the next version would change.
        waiting_pictures: Images whose picture is not embedded yet.
        dead_letters: Images whose picture could not be.
    """

    version: int
    as_of: datetime | None
    products: int
    images: int
    waiting_products: int
    waiting_offers: int
    waiting_images: int
    waiting_pictures: int
    dead_letters: int


def status(folder: CatalogueFolder) -> Status:
    """What there is, and what waits."""
    visible = holdings.read_visible(folder.public)  # first: the tables are never behind it
    with folder.reading() as tables:
        history = tables.history
        version = min(visible.version, history.head)  # unless they are an older copy
        return Status(
            version=version,
            as_of=history.as_of(version) if version else None,
            products=history.count(PRODUCT, version),
            images=history.count(IMAGE, version),
            waiting_products=history.waiting(PRODUCT),
            waiting_offers=history.waiting(OFFER),
            waiting_images=history.waiting(IMAGE),
            waiting_pictures=tables.waiting.count(),
            dead_letters=tables.dead_letters.count(),
        )


def compare(folder: CatalogueFolder, base: int, head: int, *, listed: int) -> Comparison:
    """What differs between two versions.

    Args:
        folder: Of the catalogue.
        base: The older one; where both are 0, the newest that is published.
        head: The newer one; 0 for all that waits.
        listed: Ids in each list at most.

    Raises:
        InvalidOperation: There is no such version, any more or yet, or the newer one is older.
    """
    with folder.reading() as tables:
        history = tables.history
        newest = history.head
        base = base or (newest if not head else 0)
        for version in (base, head):
            if version and not history.is_known(version):
                raise InvalidOperation(
                    f"Expected a version that is kept, {newest} at most. Received {version}."
                )
        if head and head < base:
            raise InvalidOperation(f"Expected versions in their order. Received {base} and {head}.")
        at = head or None
        products = _changes(history, PRODUCT, base, at, listed)
        images = _changes(history, IMAGE, base, at, listed)
        offers = sum(
            old is not None and new is not None
            for _, old, new in history.changed_between(OFFER, base, at)
        )
        manifest = _manifest(folder.name, tables, base, head)
        paid = make_plan(_having(tables, base), manifest).fetch_bytes if manifest else 0
        return Comparison(
            base,
            head,
            products,
            images,
            offers,
            paid,
            is_estimated=not head,
            is_new_model=not head and _has_new_model(folder, tables),
        )


def _has_new_model(folder: CatalogueFolder, tables: Tables) -> bool:
    begun = {generation.bundle for generation in tables.vectors.generations()}
    signed = signing.models(folder.public)
    bundles = tables.vectors.bundles()
    return any(number not in begun and sha256 in signed for number, sha256 in bundles.items())


def _changes(history: History, kind: int, base: int, head: int | None, listed: int) -> Changes:
    counts = {"added": 0, "changed": 0, "deleted": 0}
    ids: dict[str, list[str]] = {word: [] for word in counts}
    for key, old, new in history.changed_between(kind, base, head):
        word = "added" if old is None else "deleted" if new is None else "changed"
        counts[word] += 1
        if len(ids[word]) < listed:
            ids[word].append(history.id(kind, key))
    return Changes(
        counts["added"],
        counts["changed"],
        counts["deleted"],
        ids["added"],
        ids["changed"],
        ids["deleted"],
    )


def _having(tables: Tables, base: int) -> Have | None:
    """What a phone has that followed the newest generation to a version; None where it has none."""
    if base == 0:
        return None
    vectors, signed = tables.vectors, tables.vectors.manifests()
    have = Have(b"", base, b"", b"")  # of a generation that has retired
    for generation in vectors.generations():
        if vectors.state(generation.number, base) is not None:
            manifest = manifests.decode(signed[generation.id])
            codebook = manifest.codebook.sha256 if base >= generation.listed_at else b""
            have = Have(generation.id, base, b"", codebook, [manifest.bundle.sha256])
    return have


def _manifest(name: str, tables: Tables, base: int, head: int) -> Manifest | None:
    """What leads a phone to a version, or to all that waits; None where nothing does."""
    signed = list(tables.vectors.manifests().values())
    if not signed or (head and base == head):
        return None
    newest = replace(manifests.decode(signed[-1]), rollout=WHOLE_ROLLOUT)
    if head:
        return newest if newest.version == head else None
    generation = tables.vectors.generations()[-1]
    bases = {newest.snapshot.head}
    if tables.vectors.state(generation.number, base) is not None:
        bases.add(base)
    return replace(
        newest,
        version=newest.version + 1,
        deltas=tuple(
            _estimated(name, tables, generation, each) for each in sorted(bases, reverse=True)
        ),
    )


def _estimated(name: str, tables: Tables, generation: Generation, base: int) -> manifests.Changes:
    """About what a delta to all that waits will be; lists of new images are not in it yet."""
    dim = len(generation.scale)
    header = Header(
        catalogue=name,
        generation=generation.id,
        codebook_sha256=hashlib.sha256(generation.id).digest(),  # any: it is as long
        base=base,
        head=tables.history.head + 1,
        as_of=datetime(1970, 1, 1, tzinfo=UTC),
        dim=dim,
    )
    blocks = changes_since(
        base,
        tables.history,
        generation=generation.number,
        code_of=_codes(tables.vectors, generation, dim),
        listed_at=generation.listed_at,
    )
    stream = DeltaStream(header, blocks)
    size = sum(map(len, stream))
    blob = Blob(b"", size, (b"",) * -(-size // PIECE_BYTES))
    return manifests.Changes(base, header.head, stream.inflated_size, blob)


def _codes(vectors: Vectors, generation: Generation, dim: int) -> Callable[[bytes], bytes]:
    """Codes; in the place of one that is not made yet, as many bytes that compress as badly."""

    def code_of(picture: bytes) -> bytes:
        found = vectors.codes(generation.number, [picture]).get(picture)
        return hashlib.shake_128(picture).digest(dim) if found is None else found

    return code_of

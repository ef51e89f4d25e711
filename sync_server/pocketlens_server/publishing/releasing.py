"""A catalogue on disk: what waits is published, signed and made visible.

    published = publish(folder, now=clock(), rng=rng)

A version is a row of the database before it is signed: where signing was cut off, the next call
signs it again.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import shutil
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from pathlib import Path

import numpy as np

from pocketlens.errors import Conflict, InvalidOperation, ServerError
from pocketlens.formats import bundle as bundles
from pocketlens.formats.manifest import WHOLE_ROLLOUT, Blob, Manifest, decode, encode
from pocketlens.store import database, installs, marks
from pocketlens.store.marks import Verified
from pocketlens.sync.reports import SyncReport
from pocketlens.sync.session import sync
from pocketlens.sync.transports import FolderTransport
from pocketlens_server import settings
from pocketlens_server.catalogue.missing import embed_missing, unreadable_pictures
from pocketlens_server.catalogue.thumbnails import draw_missing, drawn
from pocketlens_server.folders import CatalogueFolder, Tables
from pocketlens_server.publishing import (
    collecting,
    holdings,
    keeping,
    keys,
    publisher,
    raising,
    restored,
    signing,
    thumbnails,
)
from pocketlens_server.publishing.collecting import Collected
from pocketlens_server.publishing.gate_limits import Gate
from pocketlens_server.publishing.gates import Gates
from pocketlens_server.publishing.images import image_of, picture_of
from pocketlens_server.publishing.open_catalogue import Catalogue, OpenBundle
from pocketlens_server.publishing.publisher import Published
from pocketlens_server.storage.blobs import Blobs
from pocketlens_server.storage.history import IMAGE, OFFER, PRODUCT


@dataclass(frozen=True, slots=True)
class Terms:
    """How a version is published.

    Attributes:
        allowed: Gates whose findings the operator has seen and means.
        rollout: Share of devices that may take it, above 0 to 1; None for all of them, and for as
            many as before where nothing waits.
        begin_again: Whether the newest bundle begins another generation, whatever waits.
        model: SHA-256 of the bundle that does so in place of the newest; None for that.
        above: The highest version that was ever published, where this catalogue was restored from
            a backup and lacks it; 0 where it lacks none; None where it was not restored.
        parent: The version that is to be the newest so far; None for whatever it is.
        offline: Folders of offline keys that are at hand: with `above`, where devices have seen
            metadata of targets or models that is lost.
    """

    allowed: Collection[Gate] = ()
    rollout: float | None = None
    begin_again: bool = False
    model: bytes | None = None
    above: int | None = None
    offline: Sequence[Path] = ()
    parent: int | None = None

    def __post_init__(self) -> None:
        if self.rollout is not None and not 0 < self.rollout <= 1:
            raise InvalidOperation(f"Expected a share above 0, 1 at most. Received {self.rollout}.")
        if Gate.VECTORS in self.allowed:
            raise InvalidOperation(
                "What the gate 'vectors' holds cannot be placed, and so not be allowed. Push other "
                "pictures, or delete the images."
            )

    @property
    def rollout_devices(self) -> int | None:
        """Of 65,536 devices, how many; one at least."""
        return None if self.rollout is None else max(1, round(self.rollout * WHOLE_ROLLOUT))


def publish(
    folder: CatalogueFolder,
    *,
    now: datetime,
    rng: np.random.Generator,
    terms: Terms | None = None,
) -> Published | None:
    """Publishes what waits and makes it visible.

    What is no longer needed is forgotten on the way: generations whose day has come, old versions,
    files that nothing names.

    Args:
        folder: Of the catalogue.
        now: When it is published and signed.
        rng: Draws what a new generation draws.
        terms: `Terms()` if None.

    Returns:
        None where nothing waits; what is visible is then signed again if it was not yet, if it goes
        to more devices, or is getting old.

    Raises:
        CatalogError: There is no model, or no image yet.
        PublishHeld: A gate holds it; nothing has changed.
        Conflict: The newest version, which is visible, is not the parent that its terms name;
            nothing has changed.
        ServerError: A key is missing, the root has expired, another process is writing, fewer
            devices than before would get what is published already, or the catalogue was restored
            and its terms do not say above what it publishes.
    """
    signing.check_root(folder.public, now)
    keys.load([folder.online_keys], keys.ONLINE)  # before anything changes
    terms = terms or Terms()
    chosen = settings.read(folder.folder)
    published = None
    with folder.reading() as tables:
        head = tables.history.head
        restored.check(folder, head=head, above=terms.above)
        unshown = collecting.unshown(folder, tables, now=now)
    if terms.parent not in (None, head):
        _sign(folder, now)  # the newest may be that of an earlier try, whose signing failed
    _check_parent(head, terms.parent)
    _embed_waiting(folder, terms.model)
    if chosen.pictures.thumbnails:
        with folder.reading() as tables:
            waiting = thumbnails.waiting_pictures(_catalogue(folder, tables))
        draw_missing(folder, waiting)
    with folder.changing() as tables:
        if _not_embedded(folder, tables):
            raise Conflict("Pictures came in while others were embedded. Publish again.")
        _check_parent(tables.history.head, terms.parent)  # or another has published meanwhile
        collecting.collect(folder, tables, unshown, hours=chosen.keeping.file_hours, now=now)
        keeping.retire(tables.history, tables.vectors, now=now)
        opened = _catalogue(folder, tables)
        is_due = tables.history.head == 0 or terms.begin_again
        is_due = is_due or tables.history.head < (terms.above or 0)
        if is_due or _has_news(opened):
            published = publisher.publish(
                opened,
                now=now,
                rng=rng,
                gates=Gates(chosen.gates, terms.allowed),
                kept=chosen.keeping,
                rollout=terms.rollout_devices or WHOLE_ROLLOUT,
                begin_again=_bundle_of(opened, terms) if terms.begin_again else None,
                above=terms.above or 0,
                thumbnail_of=partial(drawn, folder) if chosen.pictures.thumbnails else None,
            )
        elif terms.rollout_devices is not None:
            _widen(tables, terms.rollout_devices, now)
    if terms.above is not None:
        _sign_above(folder, terms.offline, now)
    _sign(folder, now)
    if terms.above is not None:
        restored.forget(folder)
    if published is not None:
        shutil.rmtree(folder.thumbnails, ignore_errors=True)  # they are in packs now
    return published


def refresh(folder: CatalogueFolder, *, now: datetime) -> bool:
    """Signs again what is getting old, without generations whose day has come.

    Args:
        folder: Of the catalogue.
        now: When it is signed.

    Returns:
        Whether anything was signed.

    Raises:
        ServerError: A key is missing, the root has expired, or another process is writing.
    """
    signing.check_root(folder.public, now)
    with folder.changing() as tables:
        keeping.retire(tables.history, tables.vectors, now=now)
    return _sign(folder, now)


def collect(folder: CatalogueFolder, *, now: datetime) -> Collected:
    """Removes files and pictures that nothing needs any more; `publish` does so too, once a day.

    Args:
        folder: Of the catalogue.
        now: The clock.

    Raises:
        ServerError: Another process is writing, the root has expired, or the public files are
            damaged.
    """
    signing.check_root(folder.public, now)
    hours = settings.read(folder.folder).keeping.file_hours
    with folder.reading() as tables:
        unshown = collecting.unshown(folder, tables, now=now, all_images=True)
    with folder.changing() as tables:
        return collecting.collect(folder, tables, unshown, hours=hours, now=now)


def _widen(tables: Tables, rollout: int, now: datetime) -> None:
    """Lets more devices take what is published already."""
    numbers = {each.id: each.number for each in tables.vectors.generations()}
    for id_, data in tables.vectors.manifests().items():
        manifest = decode(data)
        if rollout < manifest.rollout:
            raise InvalidOperation(
                f"Version {manifest.version} goes to {manifest.rollout / WHOLE_ROLLOUT:.2%} of "
                f"devices already. Received {rollout / WHOLE_ROLLOUT:.2%}. What a device has "
                "cannot be taken back: roll back and publish."
            )
        if rollout > manifest.rollout:
            wider = replace(manifest, rollout=rollout, signed_at=now)
            tables.vectors.put_manifest(numbers[id_], encode(wider))


def _embed_waiting(folder: CatalogueFolder, model: bytes | None) -> None:
    """Embeds what waits by every model that is served, and all pictures by one that begins again.

    A push does, but not by a model that came beside it, nor a rollback to what an earlier one knew.

    Raises:
        ServerError: A picture cannot be read any more.
    """
    with folder.reading() as tables:
        missing = _not_embedded(folder, tables)
        if model is not None:
            missing += [picture_of(value) for _, value in tables.history.values(IMAGE)]
    if not missing:
        return
    _, unreadable = embed_missing(folder, missing)
    if unreadable:
        raise unreadable_pictures(folder, unreadable)


def _not_embedded(folder: CatalogueFolder, tables: Tables) -> list[bytes]:
    """Pictures that wait, and that a model which is served, or begins, has not embedded."""
    history, vectors = tables.history, tables.vectors
    if not vectors.generations():
        return []
    waiting = [picture_of(value) for _, value in history.begun_since(IMAGE, history.head)]
    signed = signing.models(folder.public)
    served = {each.bundle for each in vectors.generations()}
    served |= {number for number, sha256 in vectors.bundles().items() if sha256 in signed}
    return [picture for bundle in served for picture in vectors.without_embedding(bundle, waiting)]


def _bundle_of(opened: Catalogue, terms: Terms) -> int | None:
    """Number of the bundle that begins again; None where one begins anyway.

    Raises:
        ServerError: It was not added, or is not served any more.
    """
    if terms.model is None:
        generations = opened.vectors.generations()
        begins_anyway = not generations or publisher.bundles_to_begin(opened)
        return None if begins_anyway else generations[-1].bundle
    numbers = {each.sha256: number for number, each in opened.bundles.items()}
    if terms.model not in numbers:
        raise ServerError(
            "Expected a model of the catalogue. Received another. Add it: "
            "pocketlens-server model add SHOP.tflite"
        )
    return numbers[terms.model]


def _sign(folder: CatalogueFolder, now: datetime) -> bool:
    """Makes visible what the tables say; whether anything was signed."""
    with folder.changing() as tables:  # one signs at a time
        signers = keys.load([folder.online_keys], keys.ONLINE)
        manifests = tables.vectors.manifests()
        if not manifests or holdings.read_visible(folder.public).manifests == manifests:
            return signing.refresh(folder.public, signers, now=now)
        signing.publish(folder.public, manifests, signers, now=now)
        return True


def _sign_above(folder: CatalogueFolder, offline: Sequence[Path], now: datetime) -> None:
    """Lets the metadata that is visible be newer than any that a lost server signed."""
    with folder.changing():  # one signs at a time
        signers = keys.load([folder.online_keys], keys.ONLINE)
        signers |= keys.load(offline, (keys.TARGETS, keys.MODELS))
        raising.sign_above(folder.public, signers, now=now)


def _check_parent(head: int, parent: int | None) -> None:
    if parent is not None and parent != head:
        raise Conflict(
            f"Expected version {parent} to be the newest. It is {head}: look at what changed, and "
            "say so again."
        )


def roll_back(folder: CatalogueFolder, version: int, *, parent: int | None = None) -> int:
    """Lets everything that held at an earlier version hold again; it waits to be published.

    Args:
        folder: Of the catalogue.
        version: That was published, and that history still knows.
        parent: The version that is to be the newest so far; None for whatever it is.

    Returns:
        How many products, offers and images change.

    Raises:
        Conflict: The newest version is not `parent`.
        ServerError: There is no such version any more, or never was.
    """
    with folder.changing() as tables:
        history = tables.history
        _check_parent(history.head, parent)
        generations = tables.vectors.generations()
        oldest = min((tables.vectors.oldest_state(each.number) for each in generations), default=0)
        is_known = history.is_known(version)  # some numbers may be those of lost ones
        if not generations or not (oldest <= version <= history.head and is_known):
            raise InvalidOperation(
                f"Expected a version from {oldest} to {history.head}. Received {version}."
            )
        changed = sum(history.restore(kind, version) for kind in (PRODUCT, OFFER, IMAGE))
        images = [(key, image_of(value).product_keys) for key, value in history.values(IMAGE)]
        history.relink(images)
    return changed


def export(
    folder: CatalogueFolder, out: Path, *, now: datetime, with_thumbnails: bool = False
) -> SyncReport:
    """Makes a store of the newest version, to put inside an app.

    It opens from a read-only folder, and `pocketlens.install(..., start_from=...)` follows the
    server from there.

    Args:
        folder: Of the catalogue.
        out: New or empty.
        now: The clock.
        with_thumbnails: Whether it has those that the catalogue publishes.

    Raises:
        ServerError: `out` holds something.
        TrustError: Nothing was published yet.
    """
    if out.exists() and any(out.iterdir()):
        raise ServerError(f"Expected a folder that is new or empty. Received {out}.")
    root = (folder.public / "metadata" / "1.root.json").read_bytes()
    report = sync(
        out,
        FolderTransport(folder.public),
        catalogue=folder.name,
        root=root,
        now=now,
        with_thumbnails=with_thumbnails,
    )
    install = installs.current(out)
    database.settle(install / database.FILE_NAME)
    marks.remove(install, Verified)  # of this copy, not of those that are made of it
    return report


def newest(folder: CatalogueFolder) -> list[Manifest]:
    """Manifests of the newest version, oldest generation first; none before the first version."""
    with folder.reading() as tables:
        return [decode(data) for data in tables.vectors.manifests().values()]


def _has_news(opened: Catalogue) -> bool:
    """Whether anything waits, or a model has no generation yet."""
    has_waiting = any(opened.history.waiting(kind) for kind in (PRODUCT, OFFER, IMAGE))
    return has_waiting or bool(publisher.bundles_to_begin(opened))


def _catalogue(folder: CatalogueFolder, tables: Tables) -> Catalogue:
    blobs = Blobs(folder.public / "blobs")
    opened = {}
    begun = {generation.bundle for generation in tables.vectors.generations()}
    signed = signing.models(folder.public)
    for number, sha256 in tables.vectors.bundles().items():
        if number not in begun and sha256 not in signed:
            continue  # its `model add` has not ended, or too few keys were at hand
        data = folder.bundle(sha256).read_bytes()
        opened[number] = OpenBundle(number, sha256, bundles.decode(data), Blob.of(data))
    return Catalogue(folder.name, tables.history, tables.vectors, blobs, opened)

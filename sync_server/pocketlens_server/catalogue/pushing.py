"""An image list on this machine -> a catalogue: pictures kept and embedded, then its operations.

    report = push(folder, Path("catalogue.csv"))

Pictures come first, each kept and embedded once, so that a push that was cut off goes on; the
operations follow in one transaction.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from pocketlens import image_lists
from pocketlens.durable_files import translated, write_file
from pocketlens.errors import PictureError, ServerError
from pocketlens.image_lists import Entry, ImageList, Problem
from pocketlens.query.embedder import Embedder
from pocketlens_server.catalogue.embedding import embedded
from pocketlens_server.catalogue.operations import (
    DeleteImage,
    DeleteProduct,
    Operation,
    PutImage,
    PutProduct,
    apply,
)
from pocketlens_server.folders import CatalogueFolder
from pocketlens_server.storage.history import IMAGE, PRODUCT, History

Progress = Callable[[str, int, int], None]
"""Called with a stage, what is done of it, and what there is to do."""


@dataclass(frozen=True, slots=True)
class PushReport:
    """What a push did; it waits to be published.

    Attributes:
        products, images: Of the list.
        changed: Operations that changed anything.
        embedded: Pictures that were not known before.
        problems: Lines and pictures that were left out or ignored.
    """

    products: int
    images: int
    changed: int
    embedded: int
    problems: tuple[Problem, ...]


def push(
    folder: CatalogueFolder,
    image_list: Path,
    *,
    replace: bool = False,
    progress: Progress = lambda stage, done, total: None,
) -> PushReport:
    """Puts the products and images of a list.

    Args:
        folder: Of the catalogue, which has a model.
        image_list: CSV or folder, see `pocketlens.image_lists`.
        replace: Whether what the list does not name is deleted.
        progress: Called with "reading", "embedding" or "changing", done and total.

    Raises:
        ImageListError: The list is wrong.
        ServerError: The catalogue has no model yet, or another process is changing it.
        InvalidOperation: A text of the list is beyond its limit; nothing has changed.
        StoreFull: The disk has no room; the same push goes on when it has.
    """
    listed = image_lists.read(image_list)
    named = image_lists.read(image_list, need_files=False) if replace else listed
    problems = list(listed.problems)
    kept = _keep(folder, listed, problems, progress)
    new, unreadable = embed_missing(folder, kept.values(), progress=progress)
    good: list[Entry] = []
    for entry in listed.entries:
        if entry.image.id not in kept:
            continue
        error = unreadable.get(kept[entry.image.id])
        if error is None:
            good.append(entry)
        else:
            text = f"{entry.path}: {error} The image is left out."
            problems.append(Problem(entry.line, "image", text))
    changed = 0
    with folder.changing() as tables:
        wanted = list(_operations(listed, good, kept))
        if replace:
            wanted += _deletions(tables.history, named)
        for number, operation in enumerate(wanted):
            changed += apply(tables.history, operation)
            if number % 1000 == 0:
                progress("changing", number, len(wanted))
        progress("changing", len(wanted), len(wanted))
    return PushReport(len(listed.products), len(good), changed, new, tuple(problems))


def embed_missing(
    folder: CatalogueFolder,
    pictures: Iterable[bytes],
    *,
    progress: Progress = lambda stage, done, total: None,
) -> tuple[int, dict[bytes, PictureError]]:
    """Embeds pictures that are kept by every bundle of the catalogue that has not.

    Returns:
        How many were embedded, and why others are no pictures.

    Raises:
        ServerError: The catalogue has no model yet.
    """
    wanted = list(dict.fromkeys(pictures))
    with folder.reading() as tables:
        bundles = tables.vectors.bundles()
        missing = {number: tables.vectors.without_embedding(number, wanted) for number in bundles}
    if not bundles:
        raise ServerError("Expected a model. Add one: pocketlens-server model add SHOP.tflite")
    total, done = sum(map(len, missing.values())), 0
    unreadable: dict[bytes, PictureError] = {}
    for number, sha256 in bundles.items():
        if not missing[number]:
            continue
        files = {picture: folder.picture(picture) for picture in missing[number]}
        with Embedder.open(folder.bundle(sha256), expected_sha256=sha256) as embedder:
            for batch in embedded(embedder, files):
                with folder.changing() as tables:
                    tables.vectors.put_embeddings(number, batch.embeddings)
                unreadable |= batch.unreadable
                done += len(batch.embeddings) + len(batch.unreadable)
                progress("embedding", done, total)
    return done - len(unreadable), unreadable


def unreadable_pictures(
    folder: CatalogueFolder, unreadable: Mapping[bytes, PictureError]
) -> ServerError:
    """The error that pictures which images show cannot be embedded."""
    picture, error = next(iter(unreadable.items()))
    return ServerError(
        f"{len(unreadable)} pictures of the catalogue cannot be embedded, such as "
        f"{folder.picture(picture)}: {error} Push their images again, with pictures that can be "
        "read, or delete them; then try again."
    )


def _keep(
    folder: CatalogueFolder, listed: ImageList, problems: list[Problem], progress: Progress
) -> Mapping[str, bytes]:
    """Copies pictures that are new; the SHA-256 of each image's that can be read, by its id."""
    kept: dict[str, bytes] = {}
    for number, entry in enumerate(listed.entries):
        try:
            data = entry.path.read_bytes()
        except OSError as exc:
            text = f"{entry.path} cannot be read: {exc.strerror}. The image is left out."
            problems.append(Problem(entry.line, "image", text))
        else:
            kept[entry.image.id] = _kept(folder, data)
        progress("reading", number + 1, len(listed.entries))
    return kept


def _kept(folder: CatalogueFolder, picture: bytes) -> bytes:
    """The SHA-256 of a picture, which is in the folder afterwards."""
    digest = hashlib.sha256(picture).digest()
    place = folder.picture(digest)
    try:
        with suppress(FileNotFoundError):
            os.utime(place)  # so that it is not collected before an image names it
            return digest
        place.parent.mkdir(exist_ok=True)
    except OSError as exc:
        raise translated(exc, place) from exc
    write_file(place, picture)
    return digest


def _operations(
    listed: ImageList, good: list[Entry], kept: Mapping[str, bytes]
) -> Iterator[Operation]:
    for product in listed.products.values():
        yield PutProduct(product)
    for entry in good:
        yield PutImage(entry.image, kept[entry.image.id], entry.product_ids)


def _deletions(history: History, named: ImageList) -> Iterator[Operation]:
    """Of what the list does not name; a picture that is missing or damaged deletes nothing."""
    images, products = {entry.image.id for entry in named.entries}, set(named.products)
    for id_ in history.ids(IMAGE):
        if id_ not in images:
            yield DeleteImage(id_)
    for id_ in history.ids(PRODUCT):
        if id_ not in products:
            yield DeleteProduct(id_)

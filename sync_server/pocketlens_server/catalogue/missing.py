"""Pictures that are kept and not embedded yet -> embeddings by every bundle of the catalogue.

    embedded, unreadable = embed_missing(folder, pictures)

Each batch is kept before the next begins: cut off, the same call goes on.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Mapping
from contextlib import ExitStack, closing

from pocketlens.errors import ModelUnsupported, PictureError, PocketLensError, ServerError
from pocketlens.progress import Progress
from pocketlens_server.catalogue.decoders import Decoders
from pocketlens_server.catalogue.embedders import Embedders
from pocketlens_server.catalogue.embedding import embedded
from pocketlens_server.folders import CatalogueFolder

logger = logging.getLogger(__name__)

OF_NO_PICTURE = (PocketLensError, OSError, MemoryError)
"""Errors that the next picture would meet too, but for `ModelUnsupported` by a proven model."""


def embed_missing(
    folder: CatalogueFolder,
    pictures: Iterable[bytes],
    *,
    decoders: Decoders | None = None,
    embedders: Embedders | None = None,
    progress: Progress = lambda stage, done, total: None,
) -> tuple[int, dict[bytes, PictureError]]:
    """Embeds pictures that are kept by every bundle of the catalogue that has not.

    Args:
        folder: Of the catalogue.
        pictures: By SHA-256.
        decoders: Of the caller; None starts some for this call.
        embedders: Of the caller, and of this folder; None opens some for this call.
        progress: Called with "embedding", done and total.

    Returns:
        How many embeddings were made, of a picture one by each bundle; and why others are no
        pictures.

    Raises:
        BundleError: A model failed; what it has made before is kept.
        ServerError: The catalogue has no model yet, or no picture can be decoded now.
    """
    wanted = list(dict.fromkeys(pictures))
    with folder.reading() as tables:
        bundles = tables.vectors.bundles()
        missing = {number: tables.vectors.without_embedding(number, wanted) for number in bundles}
    if not bundles:
        raise ServerError("Expected a model. Add one: pocketlens-server model add SHOP.tflite")
    total, done, made = sum(map(len, missing.values())), 0, 0
    unreadable: dict[bytes, PictureError] = {}
    for number, sha256 in bundles.items():
        if not missing[number]:
            continue
        files = {picture: folder.picture(picture) for picture in missing[number]}
        with ExitStack() as stack:
            opening = embedders or stack.enter_context(Embedders(folder))
            embedder = stack.enter_context(opening.opened(sha256))
            batches = embedded(embedder, files, decoders=decoders)
            for batch in stack.enter_context(closing(batches)):  # an error keeps no thread
                with folder.changing() as tables:
                    tables.vectors.put_embeddings(number, batch.embeddings)
                unreadable |= batch.unreadable
                made += len(batch.embeddings)
                done += len(batch.embeddings) + len(batch.unreadable)
                progress("embedding", done, total)
    return made, unreadable


def embed_each(
    folder: CatalogueFolder,
    pictures: Collection[bytes],
    *,
    decoders: Decoders,
    embedders: Embedders,
) -> tuple[int, dict[bytes, PictureError]]:
    """As `embed_missing`, one after the other: a picture that alone fails holds up no other.

    A model counts as failing on a picture where it is right on its golden examples just before.

    Raises:
        BundleError, ServerError: As there.
        Exception: A bug that each of several pictures meets.
    """
    made, unreadable, bugs = 0, dict[bytes, PictureError](), dict[bytes, Exception]()
    with folder.reading() as tables:
        bundles = tables.vectors.bundles()
    for picture in pictures:
        for sha256 in bundles.values():
            with embedders.opened(sha256):
                pass  # anew, and proven, after an error
        try:
            count, found = embed_missing(folder, [picture], decoders=decoders, embedders=embedders)
        except ModelUnsupported as exc:
            unreadable[picture] = PictureError(f"The model cannot embed it: {exc}")
        except OF_NO_PICTURE:
            raise
        except Exception as exc:  # told below
            bugs[picture] = exc
        else:
            made += count
            unreadable |= found
    if len(bugs) == len(pictures) > 1:
        raise next(iter(bugs.values()))
    for picture, bug in bugs.items():
        logger.error(
            "embedding.failed catalogue=%s picture=%s", folder.name, picture.hex(), exc_info=bug
        )
        unreadable[picture] = PictureError(
            "The server failed on it, and its log says by what. Try it again with a newer one."
        )
    return made, unreadable


def reason(folder: CatalogueFolder, picture: bytes, error: PictureError) -> str:
    """Why a picture cannot be embedded, for backends: without the name of its file."""
    path = str(folder.picture(picture))
    return str(error).removeprefix(f"{path}: ").replace(path, "the picture")


def unreadable_pictures(
    folder: CatalogueFolder, unreadable: Mapping[bytes, PictureError]
) -> ServerError:
    """The error that pictures which images show cannot be embedded."""
    picture, error = next(iter(unreadable.items()))
    return ServerError(
        f"{len(unreadable)} pictures of the catalogue cannot be embedded, such as "
        f"{folder.picture(picture)}: {reason(folder, picture, error)} Push their images again, "
        "with pictures that can be read, or delete them; then try again."
    )

"""Pictures that are kept and not embedded yet -> embeddings by every bundle of the catalogue.

    embedded, unreadable = embed_missing(folder, pictures)

Each batch is kept before the next begins: cut off, the same call goes on.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack

from pocketlens.errors import PictureError, ServerError
from pocketlens_server.catalogue.decoding import Decoders
from pocketlens_server.catalogue.embedders import Embedders
from pocketlens_server.catalogue.embedding import embedded
from pocketlens_server.folders import CatalogueFolder

Progress = Callable[[str, int, int], None]
"""Called with a stage, what is done of it, and what there is to do."""


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
        with ExitStack() as stack:
            opening = embedders or stack.enter_context(Embedders(folder))
            embedder = stack.enter_context(opening.opened(sha256))
            for batch in embedded(embedder, files, decoders=decoders):
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

"""Pictures that are kept -> thumbnails for devices, each in a file until it is published.

draw_missing(folder, pictures)
drawn(folder, picture)              # bytes, or None

Cut off, the same call goes on. Pictures are strangers': they are decoded by `Decoders`.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import logging
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from PIL import Image

from pocketlens.durable_files import translated, write_file
from pocketlens.errors import PictureError
from pocketlens.formats.bundle import Spec
from pocketlens.query import picture_headers, thumbnails
from pocketlens_server.catalogue.decoders import Decoders
from pocketlens_server.folders import CatalogueFolder

logger = logging.getLogger(__name__)

_LEAST_SIDE = 8  # of what decoders make


def draw_missing(folder: CatalogueFolder, pictures: Iterable[bytes]) -> int:
    """Draws thumbnails of pictures that have none waiting.

    Args:
        folder: Of the catalogue.
        pictures: By SHA-256; one that cannot be read has no thumbnail.

    Returns:
        How many were drawn.

    Raises:
        StoreFull, StoreReadOnly: They cannot be written.
        ServerError: No process that decodes can be started.
    """
    wanted = [each for each in dict.fromkeys(pictures) if not folder.thumbnail(each).exists()]
    if not wanted:
        return 0
    try:
        folder.thumbnails.mkdir(exist_ok=True)
    except OSError as exc:
        raise translated(exc, folder.thumbnails) from exc
    with Decoders() as decoders, ThreadPoolExecutor(decoders.workers) as threads:
        return sum(threads.map(partial(_draw, folder, decoders), wanted))


def drawn(folder: CatalogueFolder, picture: bytes) -> bytes | None:
    """The thumbnail of a picture, drawn now if it was not yet; None where it cannot be read."""
    path = folder.thumbnail(picture)
    if not path.exists():  # its image came while others were drawn
        draw_missing(folder, [picture])
    return path.read_bytes() if path.exists() else None


def _draw(folder: CatalogueFolder, decoders: Decoders, picture: bytes) -> bool:
    path = folder.picture(picture)
    try:
        header = picture_headers.read(path.read_bytes())
        width, height = header.width, header.height
        if header.orientation >= 5:
            width, height = height, width
        scale = min(1.0, thumbnails.SIDE / max(width, height))
        height, width = (max(_LEAST_SIDE, round(side * scale)) for side in (height, width))
        spec = Spec("thumbnail", height, width, 2, resize_mode="squash")
        data = thumbnails.encoded(Image.fromarray(decoders.decoded(path, spec)))
    except (OSError, PictureError) as exc:
        logger.warning("thumbnails.undrawn catalogue=%s error=%s", folder.name, type(exc).__name__)
        return False
    write_file(folder.thumbnail(picture), data)
    return True

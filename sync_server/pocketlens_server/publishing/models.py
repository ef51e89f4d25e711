"""Models of a catalogue: a bundle comes in, embeds every picture, and is signed.

add_model(folder, Path("shop.tflite"), now=clock())
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path

from pocketlens.durable_files import write_file
from pocketlens.errors import BundleError, ServerError
from pocketlens.query.embedder import Embedder
from pocketlens_server.catalogue.pushing import embed_missing, unreadable_pictures
from pocketlens_server.folders import CatalogueFolder
from pocketlens_server.publishing import keys, signing
from pocketlens_server.publishing.images import picture_of
from pocketlens_server.storage.blobs import Blobs
from pocketlens_server.storage.history import IMAGE

Progress = Callable[[str, int, int], None]
"""Called with a stage, what is done of it, and what there is to do."""


def add_model(
    folder: CatalogueFolder,
    path: Path,
    *,
    offline: Sequence[Path] = (),
    now: datetime,
    progress: Progress = lambda stage, done, total: None,
) -> str:
    """Adds a bundle and embeds every picture by it; cut off, the same call goes on.

    Args:
        folder: Of the catalogue.
        path: The bundle.
        offline: Folders of the offline keys that are at hand; where `init` put them if empty.
        now: When it is signed.
        progress: Called with "embedding", done and total.

    Returns:
        SHA-256 of the bundle, hex.

    Raises:
        BundleError: It is no bundle, or none that runs here.
        ServerError: The model key is missing, a later model was added since, or a picture of the
            catalogue cannot be read any more.
    """
    try:
        data = path.read_bytes()
    except OSError as exc:
        raise BundleError(f"The bundle {path} cannot be read: {exc.strerror}.") from exc
    with Embedder.open(data):
        pass  # what does not run here would end every push from now on
    sha256 = hashlib.sha256(data).digest()
    keys.load(offline or [folder.offline_keys], [keys.MODELS])  # before minutes of embedding
    with folder.changing() as tables:
        known = tables.vectors.bundles()
        later = [number for number, each in known.items() if each == sha256][:1]
        if later and later[0] != max(known) and sha256 in signing.models(folder.public):
            raise ServerError(
                f"This bundle is model {later[0]} of the catalogue already, and {max(known)} came "
                "after it. To go back to it: pocketlens-server publish --new-generation --model "
                f"{path}"
            )
        if not folder.bundle(sha256).exists():
            write_file(folder.bundle(sha256), data)
        blob = Blobs(folder.public / "blobs").put([data])
        tables.vectors.bundle(sha256)
        pictures = [picture_of(value) for _, value in tables.history.values(IMAGE)]
    _, unreadable = embed_missing(folder, pictures, progress=progress)
    if unreadable:
        raise unreadable_pictures(folder, unreadable)
    with folder.changing():  # one signs at a time
        signers = keys.load(offline or [folder.offline_keys], [keys.MODELS])
        signers |= keys.load([folder.online_keys], keys.ONLINE)
        signing.add_model(folder.public, blob, signers, now=now)
    return sha256.hex()

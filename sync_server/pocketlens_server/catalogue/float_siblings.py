"""The float models of a catalogue's bundles, and what they make of its pictures.

    sibling = add_sibling(folder, Path("shop.keras"), bundle)
    siblings_of(folder, bundle)                  # none, one, or a .keras and a .tflite
    embed_all(sibling, folder, pictures)         # cut off, the same call goes on

A model is kept by its hash beside the file of its embeddings. It serves photos that are asked about
over QueryService; nothing that is published waits for it.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from pocketlens.durable_files import write_file
from pocketlens.errors import BundleError, PictureError
from pocketlens.formats import bundle as bundles
from pocketlens.formats.bundle import Bundle
from pocketlens.progress import Progress
from pocketlens_server.catalogue.decoders import Decoders
from pocketlens_server.folders import CatalogueFolder
from pocketlens_server.models.float_models import SUFFIXES, is_bundle, open_sibling
from pocketlens_server.models.photo_models import PhotoModel, Tensor
from pocketlens_server.storage.float_embeddings import FloatEmbeddings

_BATCH = 32  # pictures that are kept at once, and lost at an interruption


@dataclass(frozen=True, slots=True)
class Sibling:
    """A float model that is kept.

    Attributes:
        model: Its file.
        embeddings: Of pictures by it.
    """

    model: Path
    embeddings: Path

    @classmethod
    def of(cls, model: Path) -> Sibling:
        """That of a file in the folder of float models."""
        return cls(model, model.with_suffix(".sqlite"))


def add_sibling(folder: CatalogueFolder, path: Path, bundle: Bundle) -> Sibling:
    """Keeps the float model of a bundle.

    Args:
        folder: Of the catalogue.
        path: A `.keras` file, or a float32 bundle.
        bundle: That was made of it.

    Raises:
        BundleError: It is not the model that the bundle was made of, or does not run here.
        MissingExtraError: TensorFlow is not installed.
    """
    with open_sibling(path, bundle):
        pass
    data = path.read_bytes()
    place = folder.floats / (hashlib.sha256(data).hexdigest() + SUFFIXES[is_bundle(data)])
    place.parent.mkdir(exist_ok=True)
    write_file(place, data)  # what is there may be damaged
    return Sibling.of(place)


def siblings_of(folder: CatalogueFolder, bundle: Bundle) -> list[Sibling]:
    """The files that are kept of a bundle's float model; the first that runs here is the best."""
    origin = bundle.float_model_sha256
    if not origin or not folder.floats.is_dir():
        return []
    keras = folder.floats / f"{origin.hex()}.keras"
    found = [Sibling.of(keras)] if keras.exists() else []
    for path in sorted(folder.floats.glob("*.tflite")):
        with suppress(OSError, BundleError):  # damaged: fsck tells of it
            if bundles.decode(path.read_bytes()).float_model_sha256 == origin:
                found.append(Sibling.of(path))
    return found


def embed_all(
    sibling: Sibling,
    folder: CatalogueFolder,
    pictures: Iterable[bytes],
    model: PhotoModel,
    *,
    decoders: Decoders | None = None,
    progress: Progress = lambda stage, done, total: None,
) -> dict[bytes, PictureError]:
    """Embeds the pictures that are kept and not embedded yet; cut off, the same call goes on.

    Args:
        sibling: Whose embeddings these are.
        folder: Of the catalogue.
        pictures: By SHA-256.
        model: The sibling's, opened.
        decoders: Of the caller; None starts some for this call.
        progress: Called with "embedding at full precision", done and total.

    Returns:
        Why others are no pictures.

    Raises:
        BundleError: The model failed; what it has made before is kept.
        ServerError: No picture can be decoded now, or the embeddings cannot be kept.
    """
    with FloatEmbeddings.opened(sibling.embeddings) as floats:
        missing = floats.missing(pictures)
    unreadable: dict[bytes, PictureError] = {}
    if not missing:
        return unreadable
    with ExitStack() as stack:
        decoding = decoders or stack.enter_context(Decoders())
        threads = ThreadPoolExecutor(decoding.workers, thread_name_prefix="pocketlens-floats")
        stack.callback(threads.shutdown, cancel_futures=True)

        def decoded(picture: bytes) -> Tensor | PictureError:
            try:
                return decoding.decoded(folder.picture(picture), model.spec)
            except PictureError as exc:
                return exc

        for start in range(0, len(missing), _BATCH):
            batch, tensors = missing[start : start + _BATCH], dict[bytes, Tensor]()
            with FloatEmbeddings.opened(sibling.embeddings) as floats:
                some = floats.missing(batch)  # another process may be at it
            for picture, found in zip(some, threads.map(decoded, some), strict=True):
                if isinstance(found, PictureError):
                    unreadable[picture] = found
                else:
                    tensors[picture] = found
            if tensors:
                made = {}
                for picture, row in zip(tensors, model.embed(list(tensors.values())), strict=True):
                    if isinstance(row, PictureError):
                        unreadable[picture] = row
                    else:
                        made[picture] = row
                with FloatEmbeddings.opened(sibling.embeddings) as floats:
                    floats.put(made)
            progress("embedding at full precision", start + len(batch), len(missing))
    return unreadable


def needed(folder: CatalogueFolder, kept: Iterable[Bundle]) -> Iterator[Path]:
    """Yields the files of float models that some bundles need."""
    for bundle in kept:
        for sibling in siblings_of(folder, bundle):
            yield sibling.model
            for suffix in ("", "-wal", "-shm"):
                yield Path(f"{sibling.embeddings}{suffix}")


def vectors_of(sibling: Sibling, pictures: list[bytes], dim: int) -> npt.NDArray[np.float32]:
    """Embeddings float32 (n, dim) of pictures, in their order.

    Raises:
        KeyError: One is not embedded.
    """
    with FloatEmbeddings.opened(sibling.embeddings) as floats:
        return floats.of(pictures, dim)

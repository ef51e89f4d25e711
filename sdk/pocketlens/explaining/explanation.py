"""Why a photo was found to show a product, and where in the photo the evidence lies.

    why = explain(install, "photo.jpg")
    why.result.verdict, why.match.similarity, why.heat          # and why.png() to look at

photo -> `query.pictures` -> search -> the photo with one window after the other covered ->
embeddings -> similarities to the image of the match -> `occlusion`. The device's own answer is
what is explained, whatever a server said of the photo.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from time import perf_counter
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from pocketlens.errors import PictureError, QueryError
from pocketlens.explaining import occlusion
from pocketlens.fallback.crops import kept
from pocketlens.query import codes
from pocketlens.query.blank import is_blank
from pocketlens.results import Match, SearchResult, Timings

if TYPE_CHECKING:
    from pocketlens.open_install import OpenInstall
    from pocketlens.query.embedder import Embedder
    from pocketlens.query.filters import Filter
    from pocketlens.query.pictures import Box, Picture

PHOTO_SIDE = 448  # pixels of the longer side of a photo as it is kept to be drawn
FAINT = 0.01  # similarity lost by no cell: a photo saved again loses as much


@dataclass(frozen=True, slots=True)
class Explanation:
    """What speaks for one match.

    Attributes:
        result: Of the search: verdict, confidence, threshold, margin.
        match: What is explained; its similarity is that of this photo.
        heat: float32 (rows, columns), similarity lost where a cell of the photo is covered;
            below 0 where covering it makes the match better.
        part: Left, top, right, bottom, in upright pixels of the photo: what the cells are of.
        photo: uint8 (height, width, 3), that part, made smaller.
        mirrored_similarity: Of the photo mirrored to the image of the match.
        seconds: That it took, the search included.
    """

    result: SearchResult
    match: Match
    heat: npt.NDArray[np.float32]
    part: Box
    photo: npt.NDArray[np.uint8]
    mirrored_similarity: float
    seconds: float

    @property
    def is_faint(self) -> bool:
        """Whether no part of the photo matters by itself."""
        return self.result.is_blank or float(self.heat.max()) < FAINT

    def png(self, catalogue_picture: Picture | None = None) -> bytes:
        """A picture for people: photo, heat over it, the catalogue's picture, a legend.

        Args:
            catalogue_picture: Of `match.image`, where it is at hand.

        Raises:
            PictureError: That cannot be used as a picture.
        """
        from pocketlens.explaining import drawings

        return drawings.of_explanation(self, catalogue_picture)


def explain(
    install: OpenInstall,
    photo: Picture,
    *,
    filter: Filter | None = None,
    box: Box | None = None,
    match: Match | None = None,
) -> Explanation:
    """Searches, and explains a match.

    Args:
        install: An open one; a Lens has it.
        photo: As for `Lens.search`.
        filter: As for `Lens.search`.
        box: As for `Lens.search`.
        match: One of the install's products by an image of it; the first for the photo if None.

    Raises:
        PictureError: The photo cannot be used as one.
        QueryError: `box` cannot be, there is no match to explain, or the store does not have it.
        BundleError: The model cannot run here.
        StoreError: The store is damaged.
    """
    from pocketlens.open_install import Asked
    from pocketlens.query import pictures

    started = perf_counter()
    embedder = install.embedder()
    spec, limits = embedder.spec, embedder.limits
    photo = kept(photo, limits)
    tensor = pictures.tensor(photo, spec, limits=limits, box=box)
    placed = pictures.placement(photo, spec, limits=limits, box=box)
    decoded = perf_counter()
    embedding = embedder.embed_tensor(tensor)
    spent = Timings((decoded - started) * 1e3, (perf_counter() - decoded) * 1e3)
    asked = Asked(embedding, spent, embedder.accelerator, is_blank(tensor, spec))
    found = install.answer(asked, 1, filter)
    match = match or (found.matches[0] if found.matches else None)
    if match is None:
        why = "no product satisfies the filter" if found.best else "the store is empty"
        raise QueryError(f"Expected a match to explain. Received none: {why}.")
    target = _embedding_of(install, match)
    match = replace(match, similarity=float(embedding @ target))
    (mirrored,) = _similarities(embedder, [tensor[:, ::-1]], target)
    return Explanation(
        result=found,
        match=match,
        heat=_heat(embedder, tensor, placed.content, target, match.similarity),
        part=placed.part,
        photo=_shown(photo, embedder, box),
        mirrored_similarity=mirrored,
        seconds=perf_counter() - started,
    )


def _heat(
    embedder: Embedder,
    tensor: npt.NDArray[np.uint8],
    content: tuple[int, int, int, int],
    target: npt.NDArray[np.float32],
    similarity: float,
) -> npt.NDArray[np.float32]:
    """Similarity to `target` lost at each cell, covered with the picture's mean colour."""
    left, top, right, bottom = content
    cover = tensor[top:bottom, left:right].mean(axis=(0, 1)).round().astype(np.uint8)
    shape = occlusion.shape_of(content)
    windows = occlusion.windows_over(shape)
    changed = [occlusion.covered(tensor, cover, content, shape, window) for window in windows]
    left_over = np.array(_similarities(embedder, changed, target))
    return occlusion.heat_of(shape, windows, similarity - left_over)


def _embedding_of(install: OpenInstall, match: Match) -> npt.NDArray[np.float32]:
    """What the code of a match's image stands for: float32 (dim,), as searches score it."""
    key = install.reader.image_keys([match.image.id]).get(match.image.id)
    if key is None:
        raise QueryError(
            f"Expected a match of this store. Received image {match.image.id!r}: search again."
        )
    code = install.reader.codes_of(np.array([key], np.uint32))
    return codes.decode(code, install.reader.facts.scale).reshape(-1)


def _similarities(
    embedder: Embedder,
    tensors: Sequence[npt.NDArray[np.uint8]],
    target: npt.NDArray[np.float32],
) -> list[float]:
    """Of each tensor to an embedding.

    Several interpreters side by side: a batch in one was no faster a picture (4.9 ms against 4.2).
    """

    def similarity(tensor: npt.NDArray[np.uint8]) -> float:
        try:
            return float(embedder.embed_tensor(tensor) @ target)
        except PictureError:  # the model sees nothing in it, so nothing of the match either
            return 0.0

    with ThreadPoolExecutor(embedder.interpreters) as pool:
        return list(pool.map(similarity, tensors))


def _shown(photo: Picture, embedder: Embedder, box: Box | None) -> npt.NDArray[np.uint8]:
    """What is searched of a photo, at a size to look at, without margins."""
    from pocketlens.query import pictures

    spec, limits = embedder.spec, embedder.limits
    scale = PHOTO_SIDE / max(spec.width, spec.height)
    larger = replace(spec, width=round(spec.width * scale), height=round(spec.height * scale))
    left, top, right, bottom = pictures.placement(photo, larger, limits=limits, box=box).content
    return pictures.tensor(photo, larger, limits=limits, box=box)[top:bottom, left:right]

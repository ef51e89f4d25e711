"""One face for float models and bundles: pictures in, unit embeddings out.

    with opened(Path("shop.tflite")) as model:
        embedded = embed_entries(model, image_list.entries)

A bundle runs as it does on the device (the SDK's embedder), a float model on TensorFlow with the
same pictures-to-tensors.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt

from pocketlens.errors import ModelUnsupported, PictureError, TrainingError
from pocketlens.formats.bundle import Bundle, ResizeMode, Spec
from pocketlens.image_lists import Entry, Problem
from pocketlens.progress import Progress
from pocketlens.query import pictures
from pocketlens.query.embedder import Embedder
from pocketlens_converter.convert_options import InputScale
from pocketlens_converter.float_models import FloatModel, at_layer, load

BATCH = 32


class EmbeddingModel(Protocol):
    """What turns tensors into embeddings."""

    @property
    def spec(self) -> Spec:
        """How a picture becomes its tensor."""

    @property
    def bundle(self) -> Bundle | None:
        """What the device knows of it; None for a float model."""

    def embed_tensors(self, tensors: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """Unit embeddings, float32 (n, dim), of uint8 (n, height, width, 3)."""


@dataclass(frozen=True, slots=True)
class FloatEmbedding:
    """A float model as an `EmbeddingModel`."""

    model: FloatModel
    spec: Spec

    @property
    def bundle(self) -> Bundle | None:
        """None: no device runs it."""
        return None

    def embed_tensors(self, tensors: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """Unit embeddings by TensorFlow."""
        return self.model.embed_tensors(tensors)


@dataclass(frozen=True, slots=True)
class BundleEmbedding:
    """A bundle as an `EmbeddingModel`, on the CPU."""

    embedder: Embedder

    @property
    def spec(self) -> Spec:
        """As the bundle says."""
        return self.embedder.spec

    @property
    def bundle(self) -> Bundle | None:
        """What the file says of its model."""
        return self.embedder.bundle

    def embed_tensors(self, tensors: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """Unit embeddings by the device's runtime."""
        rows = [self.embedder.embed_tensor(tensor) for tensor in tensors]
        return np.stack(rows) if rows else np.zeros((0, self.spec.dim), np.float32)


@dataclass(frozen=True, slots=True)
class Embedded:
    """Pictures of a list that could be read, with their embeddings.

    Attributes:
        entries: In the order of the list.
        embeddings: float32 (n, dim), unit rows, one an entry.
        problems: Pictures that could not be read.
    """

    entries: tuple[Entry, ...]
    embeddings: npt.NDArray[np.float32]
    problems: tuple[Problem, ...]


@dataclass(frozen=True, slots=True)
class FloatFacts:
    """What the file of a float model may leave open, and what of the model is wanted.

    Attributes:
        image_size: Side of the input in pixels, for a model that leaves it open.
        input_scale: For a model that does not scale pixels itself.
        resize_mode, pad_level: How a picture becomes the input; None for the way the model was
            trained where that is known, letterboxed on white otherwise.
        layer: Name of the layer whose output is taken instead of a .keras model's own; "" for its
            own.
    """

    image_size: int | None = None
    input_scale: InputScale | None = None
    resize_mode: ResizeMode | None = None
    pad_level: int | None = None
    layer: str = ""


NOTHING_MORE = FloatFacts()


@contextmanager
def opened(path: Path, facts: FloatFacts = NOTHING_MORE) -> Iterator[EmbeddingModel]:
    """Opens a bundle (a file that ends in .tflite) or a float model.

    Args:
        path: Of the model.
        facts: About a float model; a bundle says all of itself.

    Raises:
        BundleError: It is neither, or a damaged one, or has no such layer.
    """
    if path.suffix == ".tflite":
        if facts.layer:
            raise ModelUnsupported(f"{path} is a bundle: only a .keras model has named layers.")
        with closing(Embedder.open(path, accelerator="cpu")) as embedder:
            yield BundleEmbedding(embedder)
        return
    model = load(path, image_size=facts.image_size, input_scale=facts.input_scale)
    embedding = float_embedding(at_layer(model, facts.layer) if facts.layer else model)
    spec = embedding.spec
    yield replace(
        embedding,
        spec=replace(
            spec,
            resize_mode=facts.resize_mode or spec.resize_mode,
            pad_level=spec.pad_level if facts.pad_level is None else facts.pad_level,
        ),
    )


def float_embedding(model: FloatModel) -> FloatEmbedding:
    """A float model with pictures as it was trained with, letterboxed on white if unknown."""
    spec = Spec(
        name=model.path.stem,
        height=model.height,
        width=model.width,
        dim=model.dim,
        resize_mode=model.resize_mode or "pad",
        pad_level=255 if model.pad_level is None else model.pad_level,
    )
    return FloatEmbedding(model, spec)


def embed_entries(
    model: EmbeddingModel,
    entries: Sequence[Entry],
    *,
    stage: str = "embedding",
    progress: Progress = lambda stage, done, total: None,
) -> Embedded:
    """Embeds the pictures of a list; one that cannot be read becomes a problem.

    Raises:
        TrainingError: None of them can be read.
    """
    kept: list[Entry] = []
    problems: list[Problem] = []
    rows: list[npt.NDArray[np.float32]] = []
    for start in range(0, len(entries), BATCH):
        batch = read_tensors(entries[start : start + BATCH], model.spec, problems)
        for entry, row in _embedded(model, batch, problems):
            kept.append(entry)
            rows.append(row)
        progress(stage, min(start + BATCH, len(entries)), len(entries))
    if not rows:
        raise TrainingError(
            "Expected a list with pictures that can be read. Received none: "
            f"{problems[0] if problems else 'the list has no pictures'}"
        )
    return Embedded(tuple(kept), np.stack(rows), tuple(problems))


def _embedded(
    model: EmbeddingModel,
    batch: Sequence[tuple[Entry, npt.NDArray[np.uint8]]],
    problems: list[Problem],
) -> list[tuple[Entry, npt.NDArray[np.float32]]]:
    """Entries with their embeddings; one of which the model says nothing becomes a problem.

    An almost blank picture may be such a one: all that int8 keeps of it is zero.
    """
    if not batch:
        return []
    try:
        rows = model.embed_tensors(np.stack([tensor for _, tensor in batch]))
    except ModelUnsupported as exc:
        if len(batch) == 1:
            problems.append(Problem(batch[0][0].line, "image", f"{batch[0][0].path}: {exc}"))
            return []
        return [found for each in batch for found in _embedded(model, [each], problems)]
    return [(entry, row) for (entry, _), row in zip(batch, rows, strict=True)]


def read_tensors(
    entries: Sequence[Entry], spec: Spec, problems: list[Problem]
) -> list[tuple[Entry, npt.NDArray[np.uint8]]]:
    """Entries whose pictures can be read, with their tensors uint8 (height, width, 3)."""
    read: list[tuple[Entry, npt.NDArray[np.uint8]]] = []
    for entry in entries:
        try:
            read.append((entry, pictures.tensor(entry.path, spec)))
        except PictureError as exc:
            problems.append(Problem(entry.line, "image", str(exc)))
    return read

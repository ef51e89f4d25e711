"""A float model and a catalogue -> a bundle: wires reading, quantizing, measuring and bundling.

converted = convert(Path("shop.keras"), catalogue=Path("catalogue.csv"))
durable_files.write_file(Path("shop.tflite"), converted.data)
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

import pocketlens
from pocketlens import image_lists
from pocketlens.errors import TrainingError
from pocketlens.formats.bundle import Bundle, GoldenExample, Spec
from pocketlens.image_lists import Entry, Problem
from pocketlens.query import runtimes
from pocketlens_converter import float_models, golden, metrics
from pocketlens_converter.bundling import bundle_bytes
from pocketlens_converter.convert_options import ConvertOptions
from pocketlens_converter.embedding_models import (
    Embedded,
    EmbeddingModel,
    Progress,
    embed_entries,
    float_embedding,
    read_tensors,
)
from pocketlens_converter.quantization import quantize

DEFAULTS = ConvertOptions()
MAX_TENSOR_BYTES = 1 << 30  # of the pictures that quantization looks at, which are held at once


@dataclass(frozen=True, slots=True)
class Converted:
    """A bundle, and what became of the float model in it.

    Attributes:
        data: The file.
        bundle: What it says of its model.
        quantized_with: Pictures that quantization looked at.
        pictures: Pictures that float and int8 were compared on: the photos given, else the
            catalogue's.
        cosine_mean, cosine_p01: Of the float and the int8 embedding of one picture.
        top1_agreement: Share of the photos whose first match is the same; None without photos.
        problems: Lines and pictures left out.
    """

    data: bytes
    bundle: Bundle
    quantized_with: int
    pictures: int
    cosine_mean: float
    cosine_p01: float
    top1_agreement: float | None
    problems: tuple[Problem, ...]


@dataclass(frozen=True, slots=True)
class _Int8Embedding:
    """A .tflite that is no bundle yet, as an `EmbeddingModel` on the reference CPU kernel."""

    runtime: runtimes.Runtime
    spec: Spec

    @property
    def bundle(self) -> Bundle | None:
        return None

    def embed_tensors(self, tensors: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        return float_models.unit_rows(np.stack([self.runtime.run(each) for each in tensors]))


def convert(
    path: Path,
    *,
    catalogue: Path,
    queries: Path | None = None,
    distractors: Path | None = None,
    options: ConvertOptions = DEFAULTS,
    progress: Progress = lambda stage, done, total: None,
) -> Converted:
    """Quantizes the model at `path` and puts into the file what a device must know about it.

    Args:
        path: A .keras file or the folder of a SavedModel.
        catalogue: Image list of catalogue pictures.
        queries: Image list of photos that the model was not trained on.
        distractors: Image list of further catalogue pictures, which only make the gallery
            larger that drift is measured against.
        options: See there.
        progress: Called with stage, done and total.

    Raises:
        BundleError: The model cannot become a bundle.
        ImageListError: A list is wrong.
        TrainingError: No picture of a list can be read.
    """
    lists = _Lists.read(catalogue, queries, distractors, options)
    model = float_models.load(path, image_size=options.image_size, input_scale=options.input_scale)
    original = float_embedding(model)
    original = replace(original, spec=_spec(original.spec, options))
    problems = list(lists.problems)

    seen = _quantization_tensors(lists.shown, original.spec, options.catalogue_pictures)
    progress("quantizing", 0, 1)
    tflite = quantize(model, seen, corrects_means=options.corrects_means)
    progress("quantizing", 1, 1)
    runtime = runtimes.interpreter(tflite, accelerator="cpu", threads=1)
    int8 = _Int8Embedding(runtime, original.spec)

    shown = embed_entries(int8, lists.shown, stage="embedding catalogue", progress=progress)
    asked, others = None, None
    if lists.asked:
        asked = embed_entries(int8, lists.asked, stage="embedding photos", progress=progress)
    if lists.others:
        others = embed_entries(int8, lists.others, stage="embedding distractors", progress=progress)
    bundle = Bundle(
        spec=original.spec,
        golden_examples=_golden_examples(int8, shown.entries, options.golden_examples),
        golden_bound=_golden_bound(shown, asked, others, options.seed),
        representative=shown.embeddings,
        queries=asked.embeddings if asked else np.zeros((0, model.dim), np.float32),
        float_model_sha256=model.sha256,
        converter_version=pocketlens.__version__,
        representative_pictures=len(seen),
    )
    for embedded in (shown, asked, others):
        problems += embedded.problems if embedded else ()
    cosines, agreement = _fidelity(original, shown, asked, progress)
    return Converted(
        data=bundle_bytes(tflite, bundle),
        bundle=bundle,
        quantized_with=len(seen),
        pictures=len(cosines),
        cosine_mean=float(cosines.mean()),
        cosine_p01=float(np.quantile(cosines, 0.01)),
        top1_agreement=agreement,
        problems=tuple(problems),
    )


@dataclass(frozen=True, slots=True)
class _Lists:
    """The pictures that a conversion looks at, chosen by the seed.

    Attributes:
        shown: Of the catalogue.
        asked: Photos; empty where none are given.
        others: Distractors; empty where none are given.
    """

    shown: tuple[Entry, ...]
    asked: tuple[Entry, ...]
    others: tuple[Entry, ...]
    problems: tuple[Problem, ...]

    @classmethod
    def read(
        cls,
        catalogue: Path,
        queries: Path | None,
        distractors: Path | None,
        options: ConvertOptions,
    ) -> _Lists:
        rng = np.random.default_rng(options.seed)
        problems: list[Problem] = []

        def chosen(path: Path | None, at_most: int) -> tuple[Entry, ...]:
            if path is None:
                return ()
            read = image_lists.read(path)
            problems.extend(read.problems)
            if not read.entries:
                raise TrainingError(
                    f"Expected pictures in {path}. Received none that exist: {read.problems[0]}"
                )
            picked = rng.permutation(len(read.entries))[:at_most]
            return tuple(read.entries[index] for index in sorted(picked))

        shown = chosen(catalogue, options.embeddings)
        asked = chosen(queries, options.queries)
        others = chosen(distractors, options.distractors)
        return cls(shown, asked, others, tuple(problems))


def _spec(spec: Spec, options: ConvertOptions) -> Spec:
    """The float model's spec with what the options say instead."""
    return replace(
        spec,
        name=options.name or spec.name,
        resize_mode=options.resize_mode or spec.resize_mode,
        pad_level=spec.pad_level if options.pad_level is None else options.pad_level,
        duplicate_cosine=options.duplicate_cosine,
    )


def _quantization_tensors(
    entries: Sequence[Entry], spec: Spec, at_most: int
) -> npt.NDArray[np.uint8]:
    """The pictures that quantization looks at: uint8 (n, height, width, 3), n of 1 or more."""
    fitting = max(1, MAX_TENSOR_BYTES // (spec.height * spec.width * 3))
    problems: list[Problem] = []  # each is reported when the picture is embedded
    read = read_tensors(_spread(entries, min(at_most, fitting)), spec, problems)
    if not read:
        raise TrainingError(f"Expected pictures that can be read. Received none: {problems[0]}")
    return np.stack([tensor for _, tensor in read])


def _spread(entries: Sequence[Entry], at_most: int) -> tuple[Entry, ...]:
    """`at_most` entries, evenly from the whole list."""
    places = np.linspace(0, len(entries) - 1, min(at_most, len(entries))).round().astype(int)
    return tuple(entries[place] for place in places)


def _golden_examples(
    model: EmbeddingModel, entries: Sequence[Entry], count: int
) -> tuple[GoldenExample, ...]:
    return tuple(golden.example(model, entry.path) for entry in _spread(entries, count))


def _golden_bound(
    shown: Embedded, asked: Embedded | None, others: Embedded | None, seed: int
) -> float:
    rng = np.random.default_rng(seed)
    queries = asked.embeddings if asked else golden.imagined_queries(shown.embeddings, rng)
    galleries = [each.embeddings for each in (shown, others) if each]
    return golden.bound(queries, np.concatenate(galleries), rng)


def _fidelity(
    original: EmbeddingModel, shown: Embedded, asked: Embedded | None, progress: Progress
) -> tuple[npt.NDArray[np.float32], float | None]:
    """Cosines of float and int8 embeddings, and the agreement of first matches."""
    stage = "comparing with float"
    gallery = embed_entries(original, shown.entries, stage=stage, progress=progress)
    if asked is None:
        return metrics.cosines(gallery.embeddings, shown.embeddings), None
    photos = embed_entries(original, asked.entries, stage=stage, progress=progress)
    agreement = metrics.agreement(
        (photos.embeddings @ gallery.embeddings.T).argmax(axis=1),
        (asked.embeddings @ shown.embeddings.T).argmax(axis=1),
    )
    return metrics.cosines(photos.embeddings, asked.embeddings), agreement

"""A float model and a catalogue -> a bundle: wires reading, quantizing, measuring and bundling.

    converted = convert(Path("shop.keras"), catalogue=Path("catalogue.csv"))
    durable_files.write_file(Path("shop.tflite"), converted.data)

A precision that breaks a budget is given up for the next safer one; what was lost is in the
receipt.
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
from pocketlens.errors import BudgetBroken, TrainingError
from pocketlens.formats.bundle import Bundle, GoldenExample, Spec
from pocketlens.image_lists import Entry, Problem
from pocketlens.query import runtimes
from pocketlens_converter import float_models, galleries, golden, latency, metrics, operators
from pocketlens_converter.bundling import bundle_bytes
from pocketlens_converter.convert_options import ConvertOptions, Precision
from pocketlens_converter.embedding_models import (
    Embedded,
    EmbeddingModel,
    Progress,
    embed_entries,
    float_embedding,
    read_tensors,
)
from pocketlens_converter.evaluation import (
    EmbeddedLists,
    EvaluationLists,
    compare,
    embed_lists,
    search_lists,
)
from pocketlens_converter.float_models import FloatModel
from pocketlens_converter.quantization import quantize
from pocketlens_converter.receipt import (
    Attempt,
    Fidelity,
    Receipt,
    Search,
    broken,
    searched,
)

DEFAULTS = ConvertOptions()
MAX_TENSOR_BYTES = 1 << 30  # of the pictures that quantization looks at, which are held at once


@dataclass(frozen=True, slots=True)
class Converted:
    """A bundle, and what became of the float model in it.

    Attributes:
        data: The file.
        bundle: What it says of its model.
        receipt: What was won and lost.
        problems: Lines and pictures left out.
    """

    data: bytes
    bundle: Bundle
    receipt: Receipt
    problems: tuple[Problem, ...]


@dataclass(frozen=True, slots=True)
class _QuantizedEmbedding:
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
        BudgetBroken: Every precision that was allowed loses too much.
        ImageListError: A list is wrong.
        TrainingError: No picture of a list can be read.
    """
    lists = _Lists.read(catalogue, queries, distractors, options)
    model = float_models.load(path, image_size=options.image_size, input_scale=options.input_scale)
    original = float_embedding(model)
    original = replace(original, spec=_spec(original.spec, options))
    seen = _quantization_tensors(lists.shown, original.spec, options.catalogue_pictures)
    source = _Source(
        model=model,
        seen=seen,
        float_size_bytes=len(quantize(model, seen, precision="float32")),
        embedded=_Embeddings.by(original, lists, progress),
    )
    given_up: list[Attempt] = []
    for precision in options.precisions():
        converted = _converted(source, original.spec, precision, lists, options, progress)
        losses = broken(converted.receipt, options.budgets)
        if not losses:
            return replace(converted, receipt=replace(converted.receipt, given_up=tuple(given_up)))
        given_up.append(Attempt(precision, losses))
    tried = "; ".join(f"{each.precision}: {each.losses()}" for each in given_up)
    raise BudgetBroken(
        f"No bundle was made of {path}, it would lose more than is allowed. {tried}. Allow more, "
        "or train a model that loses less."
    )


@dataclass(frozen=True, slots=True)
class _Lists:
    """The pictures that a conversion looks at, chosen by the seed.

    Attributes:
        shown: Of the catalogue: what the bundle carries embeddings of.
        others: Distractors; empty where none are given.
        searched: All photos and all they are searched in; None where no photos are given.
    """

    shown: tuple[Entry, ...]
    others: tuple[Entry, ...]
    searched: EvaluationLists | None
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
        others = chosen(distractors, options.distractors)
        if queries is None:
            return cls(shown, others, None, tuple(problems))
        read = EvaluationLists.read(queries, catalogue, distractors)
        return cls(shown, others, read, read.problems)


@dataclass(frozen=True, slots=True)
class _Embeddings:
    """What one model makes of the lists.

    Attributes:
        shown: The catalogue pictures of `_Lists.shown`.
        gallery: float32 (n, dim): what photos are searched in, distractors included.
        searched: Photos and all they are searched in; None where no photos are given.
        problems: Pictures that could not be read or embedded.
    """

    shown: Embedded
    gallery: npt.NDArray[np.float32]
    searched: EmbeddedLists | None
    problems: tuple[Problem, ...]

    @classmethod
    def by(cls, model: EmbeddingModel, lists: _Lists, progress: Progress) -> _Embeddings:
        shown = embed_entries(model, lists.shown, stage="embedding catalogue", progress=progress)
        if lists.searched is not None:
            found = embed_lists(model, lists.searched, progress=progress)
            problems = (*shown.problems, *found.gallery.problems, *found.asked.problems)
            unique = tuple(dict.fromkeys(problems))
            return cls(shown, found.gallery.embeddings, found, unique)
        if not lists.others:
            return cls(shown, shown.embeddings, None, shown.problems)
        others = embed_entries(
            model, lists.others, stage="embedding distractors", progress=progress
        )
        gallery = np.concatenate([shown.embeddings, others.embeddings])
        return cls(shown, gallery, None, (*shown.problems, *others.problems))


@dataclass(frozen=True, slots=True)
class _Source:
    """A float model, and what every conversion of it is made from and compared with.

    Attributes:
        model: The float model.
        seen: uint8 (n, height, width, 3), what ranges are taken from.
        float_size_bytes: Of it as a float32 .tflite.
        embedded: What it makes of the lists.
    """

    model: FloatModel
    seen: npt.NDArray[np.uint8]
    float_size_bytes: int
    embedded: _Embeddings


def _converted(
    source: _Source,
    spec: Spec,
    precision: Precision,
    lists: _Lists,
    options: ConvertOptions,
    progress: Progress,
) -> Converted:
    """The bundle in one precision, whatever it loses."""
    progress(f"converting to {precision}", 0, 1)
    tflite = quantize(
        source.model, source.seen, precision=precision, corrects_means=options.corrects_means
    )
    progress(f"converting to {precision}", 1, 1)
    runtime = runtimes.interpreter(tflite, accelerator="cpu", threads=1)
    candidate = _QuantizedEmbedding(runtime, spec)
    embedded = _Embeddings.by(candidate, lists, progress)
    rng = np.random.default_rng(options.seed)
    asked = None
    if embedded.searched is not None:
        photos = embedded.searched.asked.embeddings
        asked = photos[np.sort(rng.permutation(len(photos))[: options.queries])]
    bundle = Bundle(
        spec=spec,
        golden_examples=_golden_examples(candidate, embedded.shown.entries, options),
        golden_bound=_golden_bound(embedded, asked, options.seed),
        representative=embedded.shown.embeddings,
        queries=np.zeros((0, spec.dim), np.float32) if asked is None else asked,
        float_model_sha256=source.model.sha256,
        converter_version=pocketlens.__version__,
        representative_pictures=len(source.seen),
    )
    data = bundle_bytes(tflite, bundle)
    progress("measuring latency", 0, 1)
    timed = latency.measured(tflite)
    progress("measuring latency", 1, 1)
    fidelity, search = _compared(source.embedded, embedded, bundle, rng)
    receipt = Receipt(
        model=spec.name,
        float_model_sha256=source.model.sha256.hex(),
        precision=precision,
        quantized_with=len(source.seen),
        size_bytes=len(data),
        float_size_bytes=source.float_size_bytes,
        fidelity=fidelity,
        search=search,
        latency_ms=timed.median_ms,
        runtime=timed.runtime,
        xnnpack_partitions=timed.xnnpack_partitions,
        operators=dict(operators.operators(tflite)),
        refused={name: dict(found) for name, found in operators.refused(tflite).items()},
    )
    return Converted(data, bundle, receipt, (*lists.problems, *embedded.problems))


def _compared(
    wanted: _Embeddings, found: _Embeddings, bundle: Bundle, rng: np.random.Generator
) -> tuple[Fidelity, Search | None]:
    """What the quantized model keeps of the float model, in embeddings and in searches."""
    if wanted.searched is None or found.searched is None:
        cosines = _cosines(wanted.shown, found.shown)
        return _fidelity(cosines, None), None
    in_codes = galleries.in_codes(found.searched.gallery, bundle)
    pipelines = {
        "float": search_lists(wanted.searched),
        "quantized": search_lists(found.searched),
        "device": search_lists(replace(found.searched, gallery=in_codes)),
    }
    agreement = compare(pipelines["device"], pipelines["float"], rng).top1_agreement
    cosines = _cosines(wanted.searched.asked, found.searched.asked)
    return _fidelity(cosines, agreement), searched(pipelines, "float", rng)


def _fidelity(cosines: npt.NDArray[np.float32], agreement: float | None) -> Fidelity:
    return Fidelity(
        pictures=len(cosines),
        cosine_mean=float(cosines.mean()),
        cosine_p01=float(np.quantile(cosines, 0.01)),
        top1_agreement=agreement,
    )


def _cosines(one: Embedded, other: Embedded) -> npt.NDArray[np.float32]:
    """Of the pictures that both models could embed."""
    rows = {entry.image.id: row for row, entry in enumerate(other.entries)}
    mine = [row for row, entry in enumerate(one.entries) if entry.image.id in rows]
    its = [rows[one.entries[row].image.id] for row in mine]
    return metrics.cosines(one.embeddings[mine], other.embeddings[its])


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
    model: EmbeddingModel, entries: Sequence[Entry], options: ConvertOptions
) -> tuple[GoldenExample, ...]:
    chosen = _spread(entries, options.golden_examples)
    return tuple(golden.example(model, entry.path) for entry in chosen)


def _golden_bound(embedded: _Embeddings, asked: npt.NDArray[np.float32] | None, seed: int) -> float:
    rng = np.random.default_rng(seed)
    queries = golden.imagined_queries(embedded.shown.embeddings, rng) if asked is None else asked
    return golden.bound(queries, embedded.gallery, rng)

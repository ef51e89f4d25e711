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
from PIL import Image

import pocketlens
from pocketlens.errors import BudgetBroken, ModelUnsupported, TrainingError
from pocketlens.formats.bundle import Bundle, GoldenExample, Spec, decode
from pocketlens.image_lists import Entry, Problem
from pocketlens.progress import Progress
from pocketlens.query import runtimes
from pocketlens_converter import (
    augmentation,
    float_models,
    galleries,
    golden,
    latency,
    metrics,
    operators,
)
from pocketlens_converter.bundling import bundle_bytes
from pocketlens_converter.conversion_lists import ConversionLists, ListEmbeddings
from pocketlens_converter.convert_options import ConvertOptions, Precision
from pocketlens_converter.embedding_models import (
    Embedded,
    EmbeddingModel,
    float_embedding,
    read_tensors,
)
from pocketlens_converter.evaluation import (
    compare,
    search_lists,
)
from pocketlens_converter.float_models import FloatModel
from pocketlens_converter.quantization import quantize
from pocketlens_converter.quantization_aware import adapted
from pocketlens_converter.receipt import (
    Attempt,
    Fidelity,
    Receipt,
    Search,
    broken,
    embeddings_sha256,
    searched,
)

DEFAULTS = ConvertOptions()
VARIANTS = 3  # of a picture, that fine-tuning sees beside it
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
        ModelUnsupported: Fine-tuning was asked for of a model without layers.
        BudgetBroken: Every precision that was allowed loses too much.
        ImageListError: A list is wrong.
        TrainingError: No picture of a list can be read, or a budget has no photos to measure it.
    """
    if options.budgets.asks_for_photos and queries is None:
        raise TrainingError(
            "A budget of recall or agreement is measured on photos. Give some: --queries LIST."
        )
    lists = ConversionLists.read(catalogue, queries, distractors, options)
    model = float_models.load(path, image_size=options.image_size, input_scale=options.input_scale)
    if options.adapting_steps and model.keras_model is None:
        raise ModelUnsupported(
            f"Fine-tuning needs layers, which the SavedModel {path} does not have. Give the "
            ".keras file, or leave --adapt out."
        )
    original = float_embedding(model)
    original = replace(original, spec=_spec(original.spec, options))
    seen = _quantization_tensors(lists.shown, original.spec, options.catalogue_pictures)
    source = _Source(
        model=model,
        seen=seen,
        float_size_bytes=len(quantize(model, seen, precision="float32")),
        embedded=ListEmbeddings.by(original, lists, progress),
    )
    given_up: list[Attempt] = []
    for precision, steps in options.attempts():
        tflite = _quantized(source, precision, steps, options, progress)
        made = _Made(tflite, precision, steps)
        converted = _converted(made, source, original.spec, lists, options, progress)
        losses = broken(converted.receipt, options.budgets)
        if not losses:
            return replace(converted, receipt=replace(converted.receipt, given_up=tuple(given_up)))
        given_up.append(Attempt(precision, steps, losses))
    tried = "; ".join(f"{each}: {each.losses()}" for each in given_up)
    raise BudgetBroken(
        f"No bundle was made of {path}, it would lose more than is allowed. {tried}. Allow more, "
        "or train a model that loses less."
    )


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
    embedded: ListEmbeddings


@dataclass(frozen=True, slots=True)
class _Made:
    """A .tflite in one precision, after some steps of fine-tuning."""

    tflite: bytes
    precision: Precision
    adapted_steps: int


def _quantized(
    source: _Source,
    precision: Precision,
    steps: int,
    options: ConvertOptions,
    progress: Progress,
) -> bytes:
    """The model in one precision; what rounding costs is made up for by steps or by biases."""
    progress(f"converting to {precision}", 0, 1)
    if steps and source.model.keras_model is not None:
        pictures = _varied(source.seen, options.seed)
        told = f"adapting to {precision}"
        with adapted(
            source.model.keras_model,
            pictures,
            steps=steps,
            seed=options.seed,
            progress=lambda done, total: progress(told, done, total),
        ):
            tflite = quantize(source.model, source.seen, precision=precision, corrects_means=False)
    else:
        tflite = quantize(
            source.model, source.seen, precision=precision, corrects_means=options.corrects_means
        )
    progress(f"converting to {precision}", 1, 1)
    return tflite


def _varied(pictures: npt.NDArray[np.uint8], seed: int) -> npt.NDArray[np.uint8]:
    """The pictures, and as they would look in photos: what the device will see, too."""
    rng = np.random.default_rng(seed)
    varied = [
        np.asarray(
            augmentation.photo(Image.fromarray(picture), rng, picture.shape[1]).resize(
                (picture.shape[1], picture.shape[0])
            )
        )
        for _ in range(VARIANTS)
        for picture in pictures
    ]
    return np.concatenate([pictures, np.stack(varied)])


def _converted(
    made: _Made,
    source: _Source,
    spec: Spec,
    lists: ConversionLists,
    options: ConvertOptions,
    progress: Progress,
) -> Converted:
    """The bundle of what was made, whatever it loses."""
    tflite = made.tflite
    runtime = runtimes.interpreter(tflite, accelerator="cpu", threads=1)
    candidate = _QuantizedEmbedding(runtime, spec)
    embedded = ListEmbeddings.by(candidate, lists, progress)
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
        precision=made.precision,
        adapted_steps=made.adapted_steps,
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
        embeddings_sha256=embeddings_sha256(decode(data)),
    )
    return Converted(data, bundle, receipt, (*lists.problems, *embedded.problems))


def _compared(
    wanted: ListEmbeddings, found: ListEmbeddings, bundle: Bundle, rng: np.random.Generator
) -> tuple[Fidelity, Search | None]:
    """What the quantized model keeps of the float model, in embeddings and in searches."""
    if wanted.searched is None or found.searched is None:
        cosines = _cosines(wanted.shown, found.shown)
        return _fidelity(cosines, None), None
    in_codes = galleries.in_codes(found.searched.gallery, bundle)
    embedded = {
        "float": wanted.searched,
        "quantized": found.searched,
        "device": replace(found.searched, gallery=in_codes),
    }
    pipelines = {name: search_lists(each) for name, each in embedded.items()}
    alone = {
        name: search_lists(replace(each, gallery=each.gallery.without_distractors()))
        for name, each in embedded.items()
        if each.gallery.distractors
    }
    agreement = compare(pipelines["device"], pipelines["float"], rng).top1_agreement
    cosines = _cosines(wanted.searched.asked, found.searched.asked)
    return _fidelity(cosines, agreement), searched(pipelines, "float", rng, alone)


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


def _golden_bound(
    embedded: ListEmbeddings, asked: npt.NDArray[np.float32] | None, seed: int
) -> float:
    rng = np.random.default_rng(seed)
    queries = golden.imagined_queries(embedded.shown.embeddings, rng) if asked is None else asked
    return golden.bound(queries, embedded.gallery, rng)

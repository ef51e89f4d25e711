"""Photos with known answers -> a bundle with the calibrations of its pipelines.

    made = calibrated_bundle(Path("shop.tflite"), lists, float_model=Path("shop.keras"))
    durable_files.write_file(Path("shop.tflite"), made.data)

Three pipelines have a calibration of their own: "device" (the bundle's model, codes), "embedding"
(the bundle's model, float rows: a server given an embedding) and "photo" (the float model, its own
float rows: a server given a photo).
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from pocketlens import image_lists
from pocketlens.errors import BundleError, TrainingError
from pocketlens.formats.bundle import Bundle, Spec, decode
from pocketlens.image_lists import Entry, ImageList, Problem
from pocketlens.progress import Progress
from pocketlens_converter.bundling import with_calibration
from pocketlens_converter.calibration import (
    MIN_PHOTOS,
    Calibrated,
    CalibrationOptions,
    Pipeline,
    calibrate,
)
from pocketlens_converter.convert_options import InputScale
from pocketlens_converter.embedding_models import (
    NOTHING_MORE,
    Embedded,
    EmbeddingModel,
    FloatFacts,
    embed_entries,
    opened,
)
from pocketlens_converter.galleries import Gallery, embedded_gallery, in_codes, in_float
from pocketlens_converter.simulation import simulate

DEFAULTS = CalibrationOptions()


@dataclass(frozen=True, slots=True)
class CalibrationLists:
    """What is known.

    Attributes:
        queries: Image list of photos that the model was not trained on.
        gallery: Image list of catalogue pictures.
        absent: Image list of photos of things that neither gallery nor training had; if None, the
            photos of `queries` are searched with their products left out.
        distractors: Image list of further catalogue pictures, which are never right.
    """

    queries: Path
    gallery: Path
    absent: Path | None = None
    distractors: Path | None = None


@dataclass(frozen=True, slots=True)
class CalibratedBundle:
    """A bundle with its calibrations.

    Attributes:
        data: The file.
        calibrated: What was put into it, by pipeline.
        problems: Lines and pictures left out.
    """

    data: bytes
    calibrated: dict[Pipeline, Calibrated]
    problems: tuple[Problem, ...]


def calibrated_bundle(
    path: Path,
    lists: CalibrationLists,
    *,
    float_model: Path | None = None,
    input_scale: InputScale | None = None,
    options: CalibrationOptions = DEFAULTS,
    progress: Progress = lambda stage, done, total: None,
) -> CalibratedBundle:
    """Fits the calibrations of the pipelines and puts them into the bundle at `path`.

    Args:
        path: A bundle; it is read only.
        lists: Photos and catalogue pictures.
        float_model: What the bundle was made of, for the pipeline "photo", which is left out
            without it: a .keras file, or a float bundle of it.
        input_scale: What the float model takes for black and white, if it does not say so.
        options: Error rates to keep to.
        progress: Called with stage, done and total.

    Raises:
        BundleError: It is no bundle, or the float model is not the one it was made of.
        ImageListError: A list is wrong.
        TrainingError: There are too few photos, or none that can be read.
    """
    read = _Read.lists(lists)
    with opened(path) as model:
        if model.bundle is None:
            raise BundleError(
                f"Expected a bundle (SHOP.tflite). Received {path}. Make one of it: "
                "pocketlens-converter convert MODEL --catalog LIST --out SHOP.tflite"
            )
        bundle = model.bundle
        known = _Known.by(model, read, progress)
    pipelines: dict[Pipeline, _Known] = {
        "device": replace(known, gallery=in_codes(known.gallery, bundle)),
        "embedding": replace(known, gallery=in_float(known.gallery, bundle)),
    }
    if float_model is not None:
        _check_origin(float_model, bundle)
        with opened(float_model, _facts(float_model, bundle.spec, input_scale)) as model:
            whole = _Known.by(model, read, progress)
        pipelines["photo"] = replace(whole, gallery=in_float(whole.gallery, bundle))
    data, calibrated = path.read_bytes(), {}
    for number, (name, each) in enumerate(pipelines.items()):
        progress("searching", number, len(pipelines))
        found = _calibrated(each, bundle.spec.duplicate_cosine, options, name)
        data, calibrated[name] = with_calibration(data, found.calibration), found
    progress("searching", len(pipelines), len(pipelines))
    return CalibratedBundle(data, calibrated, (*read.problems, *known.problems))


@dataclass(frozen=True, slots=True)
class _Read:
    """The lists, read."""

    asked: ImageList
    shown: ImageList
    absent: ImageList | None
    others: ImageList | None

    @classmethod
    def lists(cls, lists: CalibrationLists) -> _Read:
        absent, others = (
            image_lists.read(path) if path else None for path in (lists.absent, lists.distractors)
        )
        return cls(image_lists.read(lists.queries), image_lists.read(lists.gallery), absent, others)

    @property
    def problems(self) -> tuple[Problem, ...]:
        read = (self.asked, self.absent, self.shown, self.others)
        return tuple(problem for each in read if each for problem in each.problems)


@dataclass(frozen=True, slots=True)
class _Known:
    """The lists as one model embeds them."""

    gallery: Gallery
    photos: Embedded
    foreign: Embedded | None

    @classmethod
    def by(cls, model: EmbeddingModel, read: _Read, progress: Progress) -> _Known:
        gallery = embedded_gallery(
            model, read.shown, read.others, codes_too=False, progress=progress
        )
        photos = embed_entries(
            model, read.asked.entries, stage="embedding photos", progress=progress
        )
        if read.absent is None:
            return cls(gallery, photos, None)
        foreign = embed_entries(
            model, read.absent.entries, stage="embedding others", progress=progress
        )
        if len(foreign.entries) < MIN_PHOTOS:
            raise TrainingError(
                f"Expected {MIN_PHOTOS} photos of absent things or more. Received "
                f"{len(foreign.entries)} in --absent. Give more, or leave the list out."
            )
        return cls(gallery, photos, foreign)

    @property
    def problems(self) -> tuple[Problem, ...]:
        foreign = self.foreign.problems if self.foreign else ()
        return (*self.gallery.problems, *self.photos.problems, *foreign)


def _calibrated(
    known: _Known, duplicate_cosine: float, options: CalibrationOptions, name: Pipeline
) -> Calibrated:
    embeddings = known.photos.embeddings
    foreign: tuple[Entry, ...] = ()
    if known.foreign is not None:
        foreign = known.foreign.entries
        embeddings = np.concatenate([embeddings, known.foreign.embeddings])
    shown = known.gallery.shows(known.photos.entries)
    searches = simulate(
        embeddings,
        np.pad(shown, ((0, len(foreign)), (0, 0))),
        known.gallery,
        duplicate_cosine,
        np.random.default_rng(options.seed),
        leaves_out=known.foreign is None,
    )
    # An id of one list may be another thing in the other.
    names = [("photo", entry.product_ids[0]) for entry in known.photos.entries]
    names += [("absent", entry.product_ids[0]) for entry in foreign]
    numbers = {each: number for number, each in enumerate(dict.fromkeys(names))}
    groups = np.array([numbers[each] for each in names], np.int64)
    categories = [known.gallery.categories[row.argmax()] if row.any() else "" for row in shown] + [
        ""
    ] * len(foreign)
    return calibrate(searches, groups, options, name=name, categories=categories)


def _facts(path: Path, spec: Spec, input_scale: InputScale | None) -> FloatFacts:
    """Of the float model that a bundle with `spec` was made of: photos go into both alike."""
    if path.suffix == ".tflite":
        return NOTHING_MORE
    return FloatFacts(
        image_size=spec.height if spec.height == spec.width else None,
        input_scale=input_scale,
        resize_mode=spec.resize_mode,
        pad_level=spec.pad_level,
    )


def _check_origin(path: Path, bundle: Bundle) -> None:
    if path.suffix == ".tflite":
        origin = decode(path.read_bytes()).float_model_sha256
    else:
        origin = hashlib.sha256(path.read_bytes()).digest() if path.is_file() else b""
    if origin and bundle.float_model_sha256 and origin != bundle.float_model_sha256:
        raise BundleError(
            f"The bundle was made of another float model than {path}. Give the one it was "
            "converted from, or convert this one."
        )

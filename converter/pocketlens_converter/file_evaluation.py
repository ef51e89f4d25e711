"""Model files and image lists -> everything that a report tells.

reported = evaluate_files([Path("shop.tflite")], EvaluationLists.read(photos, catalogue))
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from pocketlens.errors import TrainingError
from pocketlens.formats.bundle import Bundle
from pocketlens.progress import Progress
from pocketlens_converter import evaluation
from pocketlens_converter.cli_files import receipt_path
from pocketlens_converter.embedding_models import NOTHING_MORE, EmbeddingModel, FloatFacts, opened
from pocketlens_converter.evaluation import EmbeddedLists, Evaluation, EvaluationLists
from pocketlens_converter.feature_cache import cached
from pocketlens_converter.floors import FLOORS
from pocketlens_converter.judging import Judged, judged
from pocketlens_converter.receipt import Receipt
from pocketlens_converter.report import Reported
from pocketlens_converter.trunks import part


def evaluate_files(
    paths: Sequence[Path],
    lists: EvaluationLists,
    *,
    facts: FloatFacts = NOTHING_MORE,
    held_out: Collection[str] = (),
    cache: Path | None = None,
    seed: int = 0,
    progress: Progress = lambda stage, done, total: None,
) -> Reported:
    """Evaluates each model and the floors, and compares the first model with the second.

    Args:
        paths: One model or two.
        lists: What they are evaluated on.
        facts: About float models among them.
        held_out: Categories whose figures are told apart, see `evaluation.held_apart`.
        cache: Folder in which embeddings are kept; None for none.
        seed: Of the bootstrap.
        progress: Called with stage, done and total.

    Raises:
        BundleError: A model cannot be opened.
        TrainingError: No picture of a list can be read, or no photo is of a held-out category.
    """
    unknown = set(held_out) - lists.categories
    if unknown:
        raise TrainingError(
            f"Expected categories of products that photos show. Received {min(unknown)!r}. "
            f"There are: {', '.join(sorted(lists.categories - {''})) or 'none'}."
        )
    embedded: list[EmbeddedLists] = []
    evaluations: list[Evaluation] = []
    judgements: list[Judged | None] = []
    receipts: list[Receipt | None] = []
    for path in paths:
        with _opened(path, facts, cache) as model:
            found = evaluation.embed_lists(model, lists, progress=_named(progress, path.name))
            embedded.append(found)
            evaluations.append(evaluation.search_lists(found))
            judgements.append(_judged(model, found, evaluations[-1]))
            receipts.append(_receipt(path, model.bundle))
    comparison = None
    if len(evaluations) > 1:
        rng = np.random.default_rng(seed)
        comparison = evaluation.compare(evaluations[0], evaluations[1], rng)
    return Reported(
        evaluations=evaluations,
        gallery=embedded[0].gallery,
        comparison=comparison,
        floors=[
            evaluation.evaluate(floor, lists, progress=_named(progress, floor.spec.name))
            for floor in FLOORS
        ],
        judged=judgements[0],
        held_apart=evaluation.held_apart(evaluations[0], held_out) if held_out else {},
        receipt=receipts[0],
    )


@contextmanager
def _opened(path: Path, facts: FloatFacts, cache: Path | None) -> Iterator[EmbeddingModel]:
    with opened(path, facts) as model:
        if cache is None:
            yield model
            return
        # How a picture becomes a tensor does not matter: rows are found by their tensors.
        parted = part(model)
        if parted is not None:
            with cached(parted.trunk, cache, parted.trunk.digest, facts.layer) as features:
                yield parted.headed(features)
            return
        choices = f"{facts.layer} {facts.image_size} {facts.input_scale}"
        with cached(model, cache, _digest(path), choices) as remembering:
            yield remembering


def _judged(model: EmbeddingModel, embedded: EmbeddedLists, found: Evaluation) -> Judged | None:
    if model.bundle is None:
        return None
    calibration = model.bundle.calibration("device")
    if calibration is None:
        return None
    return judged(embedded, found, calibration, model.bundle.spec.duplicate_cosine)


def _receipt(path: Path, bundle: Bundle | None) -> Receipt | None:
    """The receipt beside a bundle, if it is there, of this format, and of this bundle."""
    beside = receipt_path(path)
    if bundle is None or not beside.is_file():
        return None
    try:
        receipt = Receipt.from_json(json.loads(beside.read_text()))
    except (ValueError, TypeError, KeyError):
        return None
    return receipt if receipt.belongs_to(bundle) else None


def _digest(path: Path) -> bytes:
    """Of a file, or of all files of a SavedModel."""
    files = sorted(each for each in path.rglob("*") if each.is_file()) if path.is_dir() else [path]
    digest = hashlib.sha256()
    for each in files:
        digest.update(hashlib.sha256(each.read_bytes()).digest())
    return digest.digest()


def _named(progress: Progress, name: str) -> Progress:
    return lambda stage, done, total: progress(f"{name}: {stage}", done, total)

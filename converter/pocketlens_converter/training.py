"""The loop: image lists to a trained model, with checkpoints from which a killed run goes on.

    report = train([Path("catalogue.csv"), Path("photos.csv")], Path("shop.keras"), TrainOptions(),
                   weights=Path("mobilenet_v2.weights.h5"))

Batches depend on the seed and the step only (`batches`), all that learns is in the checkpoint
(`learner`): a run that was killed and started again sees and does what it would have done.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import hashlib
import json
import logging
import math
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import keras
import numpy as np

from pocketlens.errors import TrainingError
from pocketlens_converter import batches, checkpoints, models
from pocketlens_converter.batches import TrainingPictures
from pocketlens_converter.learner import Learner
from pocketlens_converter.options import TrainOptions

logger = logging.getLogger(__name__)

CHECKPOINT_SECONDS = 60.0
EXAMINATIONS = 8  # times that the validation photos are searched in a run
LAST_LOSSES = 50  # steps over which the reported loss is a mean
TIMED_FROM = 0.1  # share of the time that a slow start may take without counting as slow


@dataclass(frozen=True, slots=True)
class StepReport:
    """What is told after each step.

    Attributes:
        step: Steps done.
        share: Of the schedule, 0 to 1.
        loss: Of this step.
        seconds: Since the run began, over all of its processes.
        is_examined: Whether validation photos, if any, are searched after this step.
        recall: recall@1 of the validation photos in the first list, where they were.
    """

    step: int
    share: float
    loss: float
    seconds: float
    is_examined: bool = False
    recall: float | None = None


@dataclass(frozen=True, slots=True)
class TrainingReport:
    """What came of a run.

    Attributes:
        path: Of the model.
        steps: Steps done, those before a kill included.
        resumed_at: Step from which this process went on, 0 if it began.
        seconds: Time of all steps.
        loss: Mean of the last steps.
        pictures, products: What was learned from.
        problems: What was left out of the lists, and why.
        recall: recall@1 of the validation photos in the first list; None without any.
    """

    path: Path
    steps: int
    resumed_at: int
    seconds: float
    loss: float
    pictures: int
    products: int
    problems: tuple[str, ...] = field(default=())
    recall: float | None = None


def train(
    lists: Sequence[Path],
    out: Path,
    options: TrainOptions,
    *,
    weights: Path | None = None,
    validation: Path | None = None,
    progress: Callable[[StepReport], None] = lambda report: None,
    clock: Callable[[], float] = time.monotonic,
) -> TrainingReport:
    """Trains a model and writes it to `out`, its description beside it.

    While it runs, `out` plus `.checkpoint` holds the state of at most a minute ago; the same call
    after a kill goes on from there. It is deleted once the model is written.

    Args:
        lists: The catalogue first, then photos; a product id means one product in all of them.
        out: Where the model goes, `.keras`.
        options: How it learns.
        weights: Of the backbone; None starts from random ones.
        validation: A list of photos, never learned from, that are searched in the first list.
        progress: Called after each step.
        clock: Seconds that only grow.

    Raises:
        ImageListError: A list cannot be understood.
        TrainingError: The lists, weights or options do not make a run, or the loss is no number.
        StoreFull: The disk has no room; the last checkpoint stays.
    """
    _check_out(out)
    logger.debug("read.started lists=%d", len(lists))
    size = options.learned_size(is_pretrained=weights is not None)
    pictures = batches.read(lists, round(size * batches.KEPT_SCALE))
    logger.debug("read.complete pictures=%d", len(pictures.entries))
    examiner = _Examiner(lists[0], validation, options.image_size) if validation else None
    learner = Learner(replace(options, image_size=size), weights=weights)
    run = run_digest(pictures, options, weights)
    checkpoint = out.with_name(f"{out.name}.checkpoint")
    start = checkpoints.Progress(run, 0, 0.0)
    found = checkpoints.read(checkpoint, run)
    if found is not None:
        start, state = found
        learner.restore(state)
        logger.info("resuming at step %d", start.step)

    losses: deque[float] = deque(maxlen=LAST_LOSSES)
    end, saved = start, clock()
    for report in _learned(learner, pictures, start, clock):
        losses.append(report.loss)
        end = checkpoints.Progress(run, report.step, report.seconds)
        if examiner and report.is_examined:
            report = replace(
                report, recall=examiner.recall(learner.averaged_model(options.image_size))
            )
        progress(report)
        if clock() - saved >= CHECKPOINT_SECONDS:
            checkpoints.write(checkpoint, end, learner.state())
            saved = clock()

    model = learner.averaged_model(options.image_size)
    spec = models.ModelSpec(options.image_size, options.image_size, options.dim)
    training = {"steps": end.step, "seconds": round(end.seconds, 1), "run": run}
    models.save(model, out, spec, facts={"options": asdict(options), "training": training})
    checkpoint.unlink(missing_ok=True)
    return TrainingReport(
        path=out,
        steps=end.step,
        resumed_at=start.step,
        seconds=end.seconds,
        loss=float(np.mean(losses)) if losses else math.nan,
        pictures=len(pictures.entries),
        products=pictures.product_count,
        problems=tuple(pictures.problems),
        recall=examiner.recall(model) if examiner else None,
    )


def run_digest(pictures: TrainingPictures, options: TrainOptions, weights: Path | None) -> str:
    """SHA-256 (hex) of what makes a run what it is: options, pictures by path, weights."""
    digest = hashlib.sha256(json.dumps(asdict(options), sort_keys=True).encode())
    for entry in pictures.entries:
        digest.update(f"{entry.path}\0{entry.product}\0{entry.slot}\n".encode())
    if weights is not None:
        digest.update(hashlib.sha256(weights.read_bytes()).digest())
    return digest.hexdigest()


def _learned(
    learner: Learner,
    pictures: TrainingPictures,
    start: checkpoints.Progress,
    clock: Callable[[], float],
) -> Iterator[StepReport]:
    """Takes steps until the schedule is over; the time between two of them counts too."""
    options = learner.options
    began = clock() - start.seconds
    step, share = start.step, _share(start.step, start.seconds, options)
    with closing(batches.prepared(pictures, options, first_step=step)) as source:
        while share < 1:
            loss = learner.learn(
                next(source),
                learning_rate=options.learning_rate * _pace(share, options.warm_up),
                is_warm=share >= options.semi_hard_share,
            )
            step += 1
            if not math.isfinite(loss):
                raise TrainingError(f"The loss is {loss} at step {step}. Lower --learning-rate.")
            seconds = clock() - began
            earlier, share = share, _share(step, seconds, options)
            is_examined = int(share * EXAMINATIONS) > int(earlier * EXAMINATIONS)
            yield StepReport(step, share, loss, seconds, is_examined=is_examined)


def _share(step: int, seconds: float, options: TrainOptions) -> float:
    """How much of the schedule is over: by steps or by time, whichever is further.

    Time does not count at first, when the graph is traced: a machine that is fast enough for the
    steps follows them alone, and learns the same model as any other with the same seed.
    """
    by_time = 0.0 if options.minutes is None else seconds / (60 * options.minutes)
    return min(1.0, max(step / options.steps, by_time if by_time >= TIMED_FROM else 0.0))


def _pace(share: float, warm_up: float) -> float:
    """The learning rate's part of its highest: a straight rise, then half a cosine to zero."""
    if share < warm_up:
        return max(share, 0.02 * warm_up) / warm_up
    return 0.5 * (1 + math.cos(math.pi * (share - warm_up) / (1 - warm_up)))


def _check_out(out: Path) -> None:
    if out.suffix != ".keras":
        raise TrainingError(f"Expected a name that ends in .keras. Received {out}.")
    if not out.parent.is_dir():
        raise TrainingError(f"There is no folder {out.parent}. Make it first.")


class _Examiner:
    """Searches validation photos in a catalogue: recall@1 by product."""

    def __init__(self, catalogue: Path, photos: Path, size: int) -> None:
        pictures = batches.read([catalogue, photos], size)
        squares = [np.asarray(pictures.square(number)) for number in range(len(pictures.entries))]
        self._tensors = np.stack(squares)
        self._products = np.array([entry.product for entry in pictures.entries])
        self._is_photo = np.array([entry.slot < 0 for entry in pictures.entries])

    def recall(self, model: keras.Model) -> float:
        embeddings = models.embed(model, self._tensors)
        photos, gallery = embeddings[self._is_photo], embeddings[~self._is_photo]
        nearest = self._products[~self._is_photo][(photos @ gallery.T).argmax(axis=1)]
        return float((nearest == self._products[self._is_photo]).mean())

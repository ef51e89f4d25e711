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
import os
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import keras
import numpy as np
import numpy.typing as npt

from pocketlens.errors import PictureError, TrainingError
from pocketlens_converter import (
    backbones,
    batches,
    checkpoints,
    mining,
    models,
    training_pictures,
)
from pocketlens_converter.backbones import IMAGENET
from pocketlens_converter.curriculum import Curriculum
from pocketlens_converter.examining import Examiner
from pocketlens_converter.heads import PICTURES as HEAD_PICTURES
from pocketlens_converter.learner import Learner
from pocketlens_converter.objectives import PROXIES_MISSING
from pocketlens_converter.options import TrainOptions
from pocketlens_converter.synthesis.backgrounds import Backgrounds, read_backgrounds
from pocketlens_converter.synthesis.scenes import Scenes
from pocketlens_converter.training_log import TrainingLog
from pocketlens_converter.training_pictures import TrainingPictures

logger = logging.getLogger(__name__)

CHECKPOINT_SECONDS = 60.0
THREADS = min(8, max(1, (os.cpu_count() or 2) // 2))  # that make batches; the rest computes
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
        waited: Seconds of it that this step waited for its batch.
        pictures: Of the batch.
        learning_rate: Of this step.
        is_examined: Whether validation photos, if any, are searched after this step.
        recall: recall@1 of the validation photos in the first list, where they were.
    """

    step: int
    share: float
    loss: float
    seconds: float
    waited: float
    pictures: int
    learning_rate: float
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
        dropped: Photos left out because the network saw nothing of their product in them.
        pictures_per_second: That were learned from, mining and examining included.
        waited_share: Share of the time in which the network waited for pictures: what bounds it.
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
    dropped: tuple[str, ...] = ()
    pictures_per_second: float = 0.0
    waited_share: float = 0.0


def train(
    lists: Sequence[Path],
    out: Path,
    options: TrainOptions,
    *,
    weights: Path | None = None,
    validation: Path | None = None,
    backgrounds: Path | None = None,
    logs: Path | None = None,
    preview: Path | None = None,
    told: Callable[[str], None] = lambda problem: None,
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
        backgrounds: A folder of pictures of places, for synthesised queries.
        logs: A folder for TensorBoard's event files.
        preview: Where a sheet of the first batch goes, as PNG: what is learned from.
        told: Called before the first step with what was left out of the lists, and with what the
            options ask for and the lists do not have.
        progress: Called after each step.
        clock: Seconds that only grow.

    Raises:
        ImageListError: A list cannot be understood.
        TrainingError: The lists, weights or options do not make a run, or the loss is no number.
        PictureError: A picture that could be read cannot be any more; the last checkpoint stays.
        StoreFull: The disk has no room; the last checkpoint stays.
    """
    _check_out(out)
    if options.learned_layers is not None and weights is None:
        raise TrainingError(
            "Layers may stay as they are only where they know something: give --weights, or leave "
            "--learn out."
        )
    logger.debug("read.started lists=%d", len(lists))
    size = backbones.learned_size(options, is_pretrained=weights is not None)
    kept = round(size * batches.KEPT_SCALE)
    pictures = training_pictures.read(lists, kept, held_out=options.held_out)
    places = read_backgrounds(backgrounds, kept) if backgrounds else Backgrounds()
    logger.debug("read.complete pictures=%d", len(pictures.entries))
    examiner = Examiner(lists[0], validation, options.image_size) if validation else None
    problems = (
        *pictures.problems,
        *places.problems,
        *(examiner.problems if examiner else ()),
    )
    for note in _small(pictures, options):
        told(note)
    for problem in dict.fromkeys(problems):  # a list may be both the catalogue and learned from
        told(problem)
    learned = replace(options, image_size=size)
    shown = [number for of_product in pictures.catalogue for number in of_product]
    shown.sort(key=lambda number: pictures.entries[number].slot)
    if options.loss == "proxy" and not shown:
        raise TrainingError(PROXIES_MISSING)
    proxies = [pictures.entries[number].product for number in shown]
    learner = Learner(learned, weights=weights, proxy_products=proxies)
    curriculum = Curriculum(pictures, Scenes(places.pictures), learned)
    run = run_digest(pictures, options, weights, backgrounds=len(places.pictures))
    checkpoint = checkpoint_path(out)
    start = checkpoints.Progress(run, 0, 0.0)
    found = checkpoints.read(checkpoint, run)
    if found is None:
        learner.begin(_sample(pictures, size, options.seed))
        if shown:
            learner.show(mining.embedded(learner.model, pictures, shown))
    else:
        start, state = found
        try:
            learner.restore(state)
            curriculum.restore(state)
        except (KeyError, ValueError) as exc:
            raise TrainingError(
                f"The checkpoint is of another version. Delete it to start anew: {checkpoint}"
            ) from exc
        logger.info("resuming at step %d", start.step)

    log = TrainingLog(logs, preview, logger.warning)
    losses: deque[float] = deque(maxlen=LAST_LOSSES)
    end, saved, waited, seen = start, clock(), 0.0, 0
    with closing(log):
        log.begin(lambda: curriculum.batch(start.step))
        for report in _learned(learner, curriculum, start, clock):
            losses.append(report.loss)
            waited += report.waited
            seen += report.pictures
            end = checkpoints.Progress(run, report.step, report.seconds)
            if examiner and report.is_examined:
                model = learner.averaged_model(options.image_size)
                report = replace(report, recall=_recall(examiner, model))
            log.step(report)
            progress(report)
            if clock() - saved >= CHECKPOINT_SECONDS:
                state = {**learner.state(), **curriculum.state()}
                _check_finite(state, report.step)
                checkpoints.write(checkpoint, end, state)
                saved = clock()

    _check_finite(learner.state(), end.step)
    model = learner.averaged_model(options.image_size)
    spec = models.ModelSpec(options.image_size, options.image_size, options.dim)
    dropped = [str(pictures.entries[number].path) for number in curriculum.dropped]
    training = {"steps": end.step, "seconds": round(end.seconds, 1), "run": run}
    facts = {
        "options": asdict(options),
        "training": training,
        "dropped": dropped,
    }
    models.save(model, out, spec, facts=facts)
    checkpoint.unlink(missing_ok=True)
    seconds = max(end.seconds - start.seconds, 1e-9)
    return TrainingReport(
        path=out,
        steps=end.step,
        resumed_at=start.step,
        seconds=end.seconds,
        loss=float(np.mean(losses)) if losses else math.nan,
        pictures=len(pictures.entries),
        products=pictures.product_count,
        problems=tuple(dict.fromkeys(problems)),
        recall=_recall(examiner, model) if examiner else None,
        dropped=tuple(dropped),
        pictures_per_second=seen / seconds,
        waited_share=waited / seconds,
    )


def _recall(examiner: Examiner, model: keras.Model) -> float | None:
    """recall@1 of the validation photos; None where it cannot be told."""
    try:
        return examiner.recall(model)
    except (PictureError, OSError) as exc:  # a run is not lost with a look at it
        logger.warning("the validation photos could not be searched: %s", exc)
        return None


def _small(pictures: TrainingPictures, options: TrainOptions) -> Iterator[str]:
    """What a batch cannot have of what the options ask for."""
    if pictures.product_count < options.products:
        yield (
            f"There are {pictures.product_count} products, fewer than the {options.products} of a "
            "batch: every batch has all of them."
        )
    negatives = options.in_class + options.out_of_class
    if negatives >= options.products and options.neighbourhood_share > 0:
        yield (
            f"A batch of {options.products} products has fewer than {negatives} negatives for "
            "each: raise --products, or lower --in-class."
        )


def _check_finite(state: Mapping[str, npt.NDArray[np.generic]], step: int) -> None:
    """A step may break the weights although its own loss was a number.

    Raises:
        TrainingError: There is a weight that is none; the last checkpoint has none such.
    """
    for value in state.values():
        if np.issubdtype(value.dtype, np.floating) and not np.isfinite(value).all():
            raise TrainingError(_diverged("A weight is no number", step))


def _diverged(what: str, step: int) -> str:
    return (
        f"{what} at step {step}. Lower --learning-rate and delete the checkpoint beside the "
        "model, which is of the last good minute and would go on at the same rate."
    )


def _sample(pictures: TrainingPictures, size: int, seed: int) -> npt.NDArray[np.uint8]:
    """Some of all pictures, as many as a head is fitted to."""
    order = np.random.default_rng([seed, 4]).permutation(len(pictures.entries))
    return pictures.squares(order[:HEAD_PICTURES].tolist(), size)


def checkpoint_path(out: Path) -> Path:
    """Where the checkpoint of a run that writes to `out` is."""
    return out.with_name(f"{out.name}.checkpoint")


def run_digest(
    pictures: TrainingPictures, options: TrainOptions, weights: Path | None, *, backgrounds: int
) -> str:
    """SHA-256 (hex) of what makes a run what it is: options, pictures by path, weights."""
    choices = {**asdict(options), "backgrounds": backgrounds}
    digest = hashlib.sha256(json.dumps(choices, sort_keys=True).encode())
    for entry in pictures.entries:
        digest.update(f"{entry.path}\0{entry.product}\0{entry.slot}\n".encode())
    if weights is not None:
        named = weights.name.encode() if weights == IMAGENET else weights.read_bytes()
        digest.update(hashlib.sha256(named).digest())
    return digest.hexdigest()


def _learned(
    learner: Learner,
    curriculum: Curriculum,
    start: checkpoints.Progress,
    clock: Callable[[], float],
) -> Iterator[StepReport]:
    """Takes steps until the schedule is over; the time between two of them counts too."""
    options = learner.options
    began = clock() - start.seconds
    step, share = start.step, _share(start.step, start.seconds, options)
    while share < 1:
        if curriculum.is_due(share):
            curriculum.mine(learner.model, share)
        with closing(batches.prepared(curriculum.batch, step, threads=THREADS)) as source:
            while share < 1 and not curriculum.is_due(share):
                asked = clock()
                batch = next(source)
                waited = clock() - asked
                learning_rate = options.learning_rate * _pace(share, options.warm_up)
                loss = learner.learn(
                    batch,
                    learning_rate=learning_rate,
                    is_warm=share >= options.semi_hard_share,
                )
                step += 1
                if not math.isfinite(loss):
                    raise TrainingError(_diverged(f"The loss is {loss}", step))
                seconds = clock() - began
                earlier, share = share, _share(step, seconds, options)
                is_examined = int(share * EXAMINATIONS) > int(earlier * EXAMINATIONS)
                yield StepReport(
                    step,
                    share,
                    loss,
                    seconds,
                    waited,
                    len(batch.pictures),
                    learning_rate,
                    is_examined,
                )


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
    if out.is_dir():
        raise TrainingError(f"Expected a file to write. {out} is a folder.")
    if not out.parent.is_dir():
        raise TrainingError(f"There is no folder {out.parent}. Make it first.")

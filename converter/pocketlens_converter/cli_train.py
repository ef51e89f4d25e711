"""The command `pocketlens-converter train`: options in, a model and a line about it out."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from pocketlens_converter.options import Loss, Miner, TrainOptions
from pocketlens_converter.silence import tensorflow

if TYPE_CHECKING:
    from pocketlens_converter.training import StepReport, TrainingReport

# Where there is no terminal, a plain line comes this often.
PLAIN_LINE_SECONDS = 30.0
DEFAULTS = TrainOptions()


def train(
    lists: Annotated[
        list[Path],
        typer.Argument(help="Image lists (CSV or folder): the catalogue first, then photos."),
    ],
    out: Annotated[Path, typer.Option(help="Model to write, MODEL.keras.")],
    weights: Annotated[
        Path | None, typer.Option(help="Weights of the backbone; without, it starts random.")
    ] = None,
    validation: Annotated[
        Path | None, typer.Option(help="List of photos to search in the first list, for the log.")
    ] = None,
    backgrounds: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", help="Pictures of real places: queries that are synthesised lie there."
        ),
    ] = None,
    backbone: Annotated[
        str, typer.Option(help="Name of the backbone in keras.applications.")
    ] = DEFAULTS.backbone,
    alpha: Annotated[float, typer.Option(help="Width of the backbone.")] = DEFAULTS.alpha,
    image_size: Annotated[
        int, typer.Option(help="Side of the model's input, pixels.")
    ] = DEFAULTS.image_size,
    dim: Annotated[int, typer.Option(help="Numbers of an embedding.")] = DEFAULTS.dim,
    loss: Annotated[str, typer.Option(help="softmax or triplet.")] = DEFAULTS.loss,
    miner: Annotated[
        str, typer.Option(help="Of the triplet loss: batch-hard or semi-hard.")
    ] = DEFAULTS.miner,
    steps: Annotated[int, typer.Option(help="Batches to learn from.")] = DEFAULTS.steps,
    minutes: Annotated[
        float | None, typer.Option(help="End after this time although steps are left.")
    ] = DEFAULTS.minutes,
    products: Annotated[int, typer.Option(help="Products a batch.")] = DEFAULTS.products,
    pictures: Annotated[int, typer.Option(help="Pictures a product.")] = DEFAULTS.pictures,
    learning_rate: Annotated[
        float, typer.Option(help="Of Adam, at its highest.")
    ] = DEFAULTS.learning_rate,
    seed: Annotated[int, typer.Option(help="Of everything random.")] = DEFAULTS.seed,
) -> None:
    """Train an embedding model on a catalogue and photos of its products.

    A run that was killed goes on when the same command is given again.

    Example: pocketlens-converter train catalogue.csv photos.csv --weights mobilenet_v2.weights.h5
    --out shop.keras
    """
    options = TrainOptions(
        backbone=backbone,
        alpha=alpha,
        image_size=image_size,
        dim=dim,
        loss=cast(Loss, loss),  # checked by TrainOptions
        miner=cast(Miner, miner),
        steps=steps,
        minutes=minutes,
        seed=seed,
        products=products,
        pictures=pictures,
        learning_rate=learning_rate,
    )
    tensorflow()  # before anything imports it with its greetings
    from pocketlens_converter import training

    console = Console(stderr=True)
    with _shown_progress(console) as progress:
        report = training.train(
            lists,
            out,
            options,
            weights=weights,
            validation=validation,
            backgrounds=backgrounds,
            progress=progress,
        )
    for problem in report.problems:
        console.print(problem, markup=False, highlight=False, soft_wrap=True)
    typer.echo(_summary(report))


def _summary(report: TrainingReport) -> str:
    resumed = f" (from step {report.resumed_at} on)" if report.resumed_at else ""
    recall = "" if report.recall is None else f", recall@1 of the validation {report.recall:.3f}"
    return (
        f"{report.path}: {report.steps} steps{resumed} in {report.seconds / 60:.1f} minutes on "
        f"{report.pictures} pictures of {report.products} products, loss {report.loss:.3f}{recall}"
    )


@contextmanager
def _shown_progress(console: Console) -> Iterator[Callable[[StepReport], None]]:
    """A bar on a terminal, a plain line now and then elsewhere."""
    if not console.is_terminal:
        yield _plain_lines(console)
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console) as bar:
        task = bar.add_task("reading pictures", total=1.0)

        def show(report: StepReport) -> None:
            text = f"step {report.step} loss {report.loss:.3f}"
            bar.update(task, completed=report.share, description=text)
            if report.recall is not None:
                bar.console.print(f"step {report.step}: recall@1 {report.recall:.3f}")

        yield show


def _plain_lines(console: Console) -> Callable[[StepReport], None]:
    last_line = -PLAIN_LINE_SECONDS

    def show(report: StepReport) -> None:
        nonlocal last_line
        is_due = report.seconds - last_line >= PLAIN_LINE_SECONDS or report.share >= 1
        if is_due or report.recall is not None:
            recall = "" if report.recall is None else f", recall@1 {report.recall:.3f}"
            console.print(
                f"{report.share:4.0%}  step {report.step}, loss {report.loss:.3f}, "
                f"{report.seconds / 60:.1f} minutes{recall}",
                highlight=False,
                soft_wrap=True,
            )
            last_line = report.seconds

    return show

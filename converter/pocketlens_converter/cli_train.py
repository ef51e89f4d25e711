"""The command `pocketlens-converter train`: options in, a model and a line about it out."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast, get_args

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from pocketlens.cli import output
from pocketlens_converter.cli_files import check_place
from pocketlens_converter.options import Loss, Miner, TrainOptions
from pocketlens_converter.silence import tensorflow

if TYPE_CHECKING:
    from pocketlens_converter.training import StepReport, TrainingReport

# Where there is no terminal, a plain line comes this often.
PLAIN_LINE_SECONDS = 30.0
EVERY_LAYER = 1_000_000
DEFAULTS = TrainOptions()
NETWORK, LOSS, BATCHES = "Network", "Loss", "Batches"

_EXAMPLES = """\b
Examples:
  pocketlens-converter train catalogue.csv photos.csv --weights mobilenet_v2.weights.h5 \\
      --out shop.keras
  pocketlens-converter train catalogue.csv --weights mobilenet_v2.weights.h5 \\
      --backgrounds places/ --preview batch.png --out shop.keras
"""


def register(app: typer.Typer) -> None:
    """Adds the command to the program."""
    app.command("train", epilog=_EXAMPLES)(_train)


def _train(
    lists: Annotated[
        list[Path],
        typer.Argument(help="Image lists (CSV or folder): the catalogue first, then photos."),
    ],
    out: Annotated[Path, typer.Option(help="Model to write, MODEL.keras.")],
    weights: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE|imagenet",
            help="Weights of the backbone; without, it starts random. imagenet: Keras' own.",
        ),
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
    hold_out: Annotated[
        list[str] | None,
        typer.Option(metavar="CATEGORY", help="Learn nothing of this category; may be repeated."),
    ] = None,
    logs: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Write TensorBoard's event files there.")
    ] = None,
    preview: Annotated[
        Path | None, typer.Option(metavar="FILE.png", help="Write a sheet of the first batch.")
    ] = None,
    steps: Annotated[int, typer.Option(help="Batches to learn from.")] = DEFAULTS.steps,
    minutes: Annotated[
        float | None, typer.Option(help="End after this time although steps are left.")
    ] = DEFAULTS.minutes,
    learning_rate: Annotated[
        float | None,
        typer.Option(
            help="Of Adam, at its highest; without, 4e-4, or 1.5e-4 where most queries are "
            "synthesised."
        ),
    ] = DEFAULTS.learning_rate,
    seed: Annotated[int, typer.Option(help="Of everything random.")] = DEFAULTS.seed,
    backbone: Annotated[
        str,
        typer.Option(
            help="Name of the backbone: pocketlens-converter backbones.", rich_help_panel=NETWORK
        ),
    ] = DEFAULTS.backbone,
    alpha: Annotated[
        float, typer.Option(help="Width of the backbone.", rich_help_panel=NETWORK)
    ] = DEFAULTS.alpha,
    features: Annotated[
        str,
        typer.Option(
            help="Feature layer: avg_pool, flatten, or a layer's name.", rich_help_panel=NETWORK
        ),
    ] = DEFAULTS.features,
    shallow: Annotated[
        bool,
        typer.Option(
            "--shallow", help="Add a shallow branch beside the backbone.", rich_help_panel=NETWORK
        ),
    ] = DEFAULTS.shallow,
    learn: Annotated[
        str,
        typer.Option(
            metavar="head|all|N",
            help="Which layers learn: the head alone, all, or the last N; without, three quarters.",
            rich_help_panel=NETWORK,
        ),
    ] = "",
    trained_share: Annotated[
        float | None,
        typer.Option(
            help="Of the weights that are saved; the rest is what the run started from. Without, "
            "1, or 0.7 where most queries are synthesised.",
            rich_help_panel=NETWORK,
        ),
    ] = DEFAULTS.trained_share,
    image_size: Annotated[
        int, typer.Option(help="Side of the model's input, pixels.", rich_help_panel=NETWORK)
    ] = DEFAULTS.image_size,
    dim: Annotated[
        int, typer.Option(help="Numbers of an embedding.", rich_help_panel=NETWORK)
    ] = DEFAULTS.dim,
    loss: Annotated[
        str, typer.Option(help=", ".join(get_args(Loss)) + ".", rich_help_panel=LOSS)
    ] = DEFAULTS.loss,
    miner: Annotated[
        str,
        typer.Option(help="Of the triplet loss: batch-hard or semi-hard.", rich_help_panel=LOSS),
    ] = DEFAULTS.miner,
    margin: Annotated[
        float,
        typer.Option(help="Of the triplet and the contrastive loss.", rich_help_panel=LOSS),
    ] = DEFAULTS.margin,
    temperature: Annotated[
        float, typer.Option(help="Of softmax, proxy and n-pair.", rich_help_panel=LOSS)
    ] = DEFAULTS.temperature,
    proxy_weight: Annotated[
        float,
        typer.Option(help="Of the whole catalogue beside the batch.", rich_help_panel=LOSS),
    ] = DEFAULTS.proxy_weight,
    products: Annotated[
        int, typer.Option(help="Products a batch.", rich_help_panel=BATCHES)
    ] = DEFAULTS.products,
    pictures: Annotated[
        int, typer.Option(help="Pictures a product.", rich_help_panel=BATCHES)
    ] = DEFAULTS.pictures,
    in_class: Annotated[
        int,
        typer.Option(help="Negatives of a pair's own category.", rich_help_panel=BATCHES),
    ] = DEFAULTS.in_class,
    out_of_class: Annotated[
        int, typer.Option(help="Negatives of other categories.", rich_help_panel=BATCHES)
    ] = DEFAULTS.out_of_class,
    neighbourhoods: Annotated[
        float,
        typer.Option(help="Share of batches of products alike.", rich_help_panel=BATCHES),
    ] = DEFAULTS.neighbourhood_share,
    mining_pool: Annotated[
        int,
        typer.Option(help="Nearest products that negatives come from.", rich_help_panel=BATCHES),
    ] = DEFAULTS.mining_pool,
    mining_rounds: Annotated[
        int,
        typer.Option(help="How often in a run they are looked for.", rich_help_panel=BATCHES),
    ] = DEFAULTS.mining_rounds,
    synthesised: Annotated[
        float,
        typer.Option(
            help="Share of synthesised queries of products with photos.", rich_help_panel=BATCHES
        ),
    ] = DEFAULTS.synthesised_share,
    visible: Annotated[
        float,
        typer.Option(
            help="Leave out a photo when more than this share of the products is nearer to it "
            "than its own; 1 keeps all.",
            rich_help_panel=BATCHES,
        ),
    ] = DEFAULTS.visible_share,
) -> None:
    """Train an embedding model on a catalogue and photos of its products.

    Products without photos are learned from queries that are synthesised from their one picture. A
    run that was killed goes on when the same command is given again.
    """
    options = TrainOptions(
        backbone=backbone,
        alpha=alpha,
        features=features,
        shallow=shallow,
        learned_layers=_learned_layers(learn),
        image_size=image_size,
        dim=dim,
        loss=cast(Loss, loss),  # checked by TrainOptions
        miner=cast(Miner, miner),
        margin=margin,
        temperature=temperature,
        proxy_weight=proxy_weight,
        steps=steps,
        minutes=minutes,
        seed=seed,
        products=products,
        pictures=pictures,
        in_class=in_class,
        out_of_class=out_of_class,
        neighbourhood_share=neighbourhoods,
        mining_pool=mining_pool,
        mining_rounds=mining_rounds,
        synthesised_share=synthesised,
        visible_share=visible,
        held_out=tuple(hold_out or ()),
        learning_rate=learning_rate,
        trained_share=trained_share,
    )
    if preview is not None:
        check_place(preview)
    tensorflow()  # before anything imports it with its greetings
    from pocketlens_converter import training

    console = Console(stderr=True)
    with _shown_progress(console) as progress:
        try:
            report = training.train(
                lists,
                out,
                options,
                weights=weights,
                validation=validation,
                backgrounds=backgrounds,
                logs=logs,
                preview=preview,
                progress=progress,
            )
        except KeyboardInterrupt:
            if training.checkpoint_path(out).exists():
                console.print("The same command goes on from the last minute's checkpoint.")
            raise
    for problem in report.problems:
        console.print(problem, markup=False, highlight=False, soft_wrap=True)
    for path in report.dropped:
        console.print(
            f"{path} shows nothing of its product. Left out half way.",
            markup=False,
            highlight=False,
            soft_wrap=True,
        )
    typer.echo(_summary(report))


def _learned_layers(text: str) -> int | None:
    """How many last layers `--learn` means; None for the default."""
    known = {"": None, "head": 0, "all": EVERY_LAYER}
    if text in known:
        return known[text]
    if not text.isdecimal():
        output.usage_error("--learn", "head, all or a number of layers", text)
    return int(text)


def _summary(report: TrainingReport) -> str:
    resumed = f" (from step {report.resumed_at} on)" if report.resumed_at else ""
    recall = "" if report.recall is None else f", recall@1 of the validation {report.recall:.3f}"
    return (
        f"{report.path}: {report.steps} steps{resumed} in {report.seconds / 60:.1f} minutes on "
        f"{report.pictures} pictures of {report.products} products, loss {report.loss:.3f}{recall}"
        f"; {report.pictures_per_second:.0f} pictures a second, bound by "
        + ("making them" if report.waited_share > 0.5 else "the network")
        + f" ({report.waited_share:.0%} waited for)"
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

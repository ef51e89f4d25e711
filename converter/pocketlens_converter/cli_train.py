"""The command `pocketlens-converter train`: options in, a model and a line about it out."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast, get_args

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from pocketlens.cli import output
from pocketlens.errors import PictureError
from pocketlens_converter.cli_files import check_place
from pocketlens_converter.options import Loss, Miner, TrainOptions, suited
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
    steps: Annotated[
        int | None,
        typer.Option(help="Batches to learn from [default: 1400; without photos 600]."),
    ] = None,
    minutes: Annotated[
        float | None, typer.Option(help="End after this time although steps are left.")
    ] = DEFAULTS.minutes,
    learning_rate: Annotated[
        float | None,
        typer.Option(help="Of Adam, at its highest [default: 4e-4; without photos 1.5e-4]."),
    ] = None,
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
            help="Of the weights that are saved; the rest is what the run started from "
            "[default: 1; without photos 0.5].",
            rich_help_panel=NETWORK,
        ),
    ] = None,
    image_size: Annotated[
        int | None,
        typer.Option(
            help="Side of the model's input, pixels [default: 224; without photos 288].",
            rich_help_panel=NETWORK,
        ),
    ] = None,
    learned_scale: Annotated[
        float | None,
        typer.Option(
            help="Side of the pictures that a pretrained backbone learns from, as a share of that "
            "[default: 6/7; without photos 7/9].",
            rich_help_panel=NETWORK,
        ),
    ] = None,
    dim: Annotated[
        int | None,
        typer.Option(
            help="Numbers of an embedding [default: 128; without photos 256].",
            rich_help_panel=NETWORK,
        ),
    ] = None,
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
        int | None,
        typer.Option(
            help="Pictures a product in a batch [default: 4; without photos 3].",
            rich_help_panel=BATCHES,
        ),
    ] = None,
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
    augmentation: Annotated[
        float,
        typer.Option(
            help="How much pictures are changed, 0 to 1.4; 0 mirrors them only.",
            rich_help_panel=BATCHES,
        ),
    ] = DEFAULTS.augmentation,
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

    Products without photos are learned from queries that are synthesised from their one picture;
    where most are such and --weights are given, some defaults are others. A run that was killed
    goes on when the same command is given again.
    """
    chosen = {
        "steps": steps,
        "learning_rate": learning_rate,
        "trained_share": trained_share,
        "image_size": image_size,
        "learned_scale": learned_scale,
        "dim": dim,
        "pictures": pictures,
    }
    given = {name: value for name, value in chosen.items() if value is not None}
    from pocketlens_converter.training_pictures import photo_share

    base = suited(photo_share(lists, hold_out or ()), is_pretrained=weights is not None)
    options = replace(
        base,
        **given,  # type: ignore[arg-type]  # each of its own type, by its name
        backbone=backbone,
        alpha=alpha,
        features=features,
        shallow=shallow,
        learned_layers=_learned_layers(learn, is_pretrained=weights is not None),
        loss=cast(Loss, loss),  # checked by TrainOptions
        miner=cast(Miner, miner),
        margin=margin,
        temperature=temperature,
        proxy_weight=proxy_weight,
        minutes=minutes,
        seed=seed,
        products=products,
        in_class=in_class,
        out_of_class=out_of_class,
        neighbourhood_share=neighbourhoods,
        mining_pool=mining_pool,
        mining_rounds=mining_rounds,
        synthesised_share=synthesised,
        augmentation=augmentation,
        visible_share=visible,
        held_out=tuple(hold_out or ()),
    )
    if preview is not None:
        check_place(preview)
    tensorflow()  # before anything imports it with its greetings
    from pocketlens_converter import training

    console = Console(stderr=True)

    def told(text: str) -> None:
        console.print(text, markup=False, highlight=False, soft_wrap=True)

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
                told=told,
                progress=progress,
            )
        except PictureError:  # it could be read at first
            told("Put the picture back, and the same command goes on; without it, it starts anew.")
            raise
        except KeyboardInterrupt:
            if training.checkpoint_path(out).exists():
                console.print("The same command goes on from the last minute's checkpoint.")
            raise
    for path in report.dropped:
        told(f"{path} shows nothing of its product. Left out half way.")
    typer.echo(_summary(report))


def _learned_layers(text: str, *, is_pretrained: bool) -> int | None:
    """How many last layers `--learn` means; None for the default, which is all of a random one."""
    known = {"": None, "head": 0, "all": EVERY_LAYER if is_pretrained else None}
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

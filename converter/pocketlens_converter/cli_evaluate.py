"""`pocketlens-converter evaluate`: a model, or two, on lists of photos and catalogue pictures."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pocketlens import durable_files
from pocketlens.cli import output
from pocketlens.errors import TrainingError
from pocketlens_converter import cli_choices
from pocketlens_converter.cli_files import check_place

if TYPE_CHECKING:
    from pocketlens_converter.evaluation import Comparison, Evaluation
    from pocketlens_converter.report import Reported

_EXAMPLES = """\b
Examples:
  pocketlens-converter evaluate shop.tflite --queries photos.csv --gallery catalogue.csv
  pocketlens-converter evaluate shop.tflite --queries photos.csv --gallery catalogue.csv \\
      --distractors others.csv --against shop.keras --json result.json --pictures report/
"""
SEED = 0  # of the bootstrap


def register(app: typer.Typer) -> None:
    """Adds the command to the program."""
    app.command("evaluate", epilog=_EXAMPLES)(_evaluate)


def _evaluate(
    model: Annotated[
        Path, typer.Argument(metavar="MODEL", help="A bundle, a .keras file or a SavedModel.")
    ],
    *,
    queries: Annotated[Path, typer.Option("--queries", metavar="LIST", help="Photos.")],
    gallery: Annotated[Path, typer.Option("--gallery", metavar="LIST", help="Catalogue pictures.")],
    distractors: Annotated[
        Path | None,
        typer.Option("--distractors", metavar="LIST", help="Catalogue pictures that are wrong."),
    ] = None,
    against: Annotated[
        Path | None,
        typer.Option("--against", metavar="OTHER", help="Another model, to compare with."),
    ] = None,
    hold_out: Annotated[
        list[str] | None,
        typer.Option(
            "--hold-out",
            metavar="CATEGORY",
            help="Tell the figures of this category apart, which was not learned from; "
            "may be repeated.",
        ),
    ] = None,
    image_size: Annotated[
        int | None,
        typer.Option("--image-size", help="Side of the input, for a model that leaves it open."),
    ] = None,
    input_scale: Annotated[
        str | None,
        typer.Option(
            "--input-scale", metavar="BLACK..WHITE", help="What a foreign model takes: -1..1."
        ),
    ] = None,
    resize: Annotated[
        str | None,
        typer.Option(
            "--resize",
            metavar="pad|crop|squash",
            help="How a picture becomes square for a foreign model; pad if left.",
        ),
    ] = None,
    layer: Annotated[
        str,
        typer.Option("--layer", help="Evaluate this layer's output of a .keras model instead."),
    ] = "",
    cache: Annotated[
        Path | None,
        typer.Option(
            "--cache", metavar="DIR", help="Keep features there: a picture is embedded once."
        ),
    ] = None,
    pictures: Annotated[
        Path | None,
        typer.Option(
            "--pictures", metavar="DIR", help="Write charts, a contact sheet and report.html there."
        ),
    ] = None,
    json_file: Annotated[
        str | None,
        typer.Option("--json", metavar="FILE|-", help="Write the result as JSON; - is stdout."),
    ] = None,
) -> None:
    """Measure how often the right product is found.

    A bundle is measured as a device searches: int8 model, catalogue in int8 codes. Beside the
    models stand what needs no network: a colour histogram and a perceptual hash.
    """
    result = None if json_file in (None, "-") else check_place(Path(str(json_file)))
    if pictures is not None and pictures.is_file():
        raise TrainingError(f"Expected a folder for --pictures. Received the file {pictures}.")
    from pocketlens_converter import report
    from pocketlens_converter.embedding_models import FloatFacts
    from pocketlens_converter.evaluation import EvaluationLists
    from pocketlens_converter.file_evaluation import evaluate_files

    lists = EvaluationLists.read(queries, gallery, distractors)
    facts = FloatFacts(
        image_size=image_size,
        input_scale=cli_choices.input_scale(input_scale),
        resize_mode=cli_choices.resize_mode(resize),
        layer=layer,
    )
    with output.progress() as progress:
        reported = evaluate_files(
            [model] if against is None else [model, against],
            lists,
            facts=facts,
            held_out=hold_out or (),
            cache=cache,
            seed=SEED,
            progress=progress,
        )
    value = _as_json(reported)
    # The figures first: they must not be lost with a picture.
    if result is not None:
        text = json.dumps(value, ensure_ascii=False, indent=2) + "\n"
        durable_files.write_file(result, text.encode())
    if json_file == "-":
        output.show_json(value)
    else:
        output.say_problems(reported.evaluations[0].problems)
        _show(reported)
    if pictures is None:
        return
    for problem in report.write(pictures, reported):
        typer.secho(f"warning: {problem}", err=True)
    if json_file != "-":
        output.show(f"report: {pictures / report.PAGE}")


def _show(reported: Reported) -> None:
    evaluations, comparison = [*reported.evaluations, *reported.floors], reported.comparison
    first = evaluations[0]
    output.show(
        f"{first.figures['photos']:,.0f} photos in {first.products:,} products "
        f"({first.images:,} images, {first.distractors:,} distractors); "
        f"{first.absent:,} photos left out, their product is not in the gallery"
    )
    names = [name for name in first.figures if name != "photos"]
    header = ["", *(f"{each.model} ({each.pipeline})" for each in evaluations)]
    output.show_table(
        header,
        [[name, *(f"{each.figures[name]:.4f}" for each in evaluations)] for name in names],
    )
    if comparison is not None:
        output.show("")
        output.show_table(["the first against the other", ""], _differences(comparison))
    if reported.held_apart:
        output.show("")
        groups = reported.held_apart
        rows = [[name, *(f"{of[name]:.4g}" for of in groups.values())] for name in first.figures]
        output.show_table(["", *groups], rows)


def _differences(comparison: Comparison) -> list[list[str]]:
    rows = [["top1_agreement", f"{comparison.top1_agreement:.4f}"]]
    if comparison.cosine_mean is not None and comparison.cosine_p01 is not None:
        rows.append(["cosine_mean", f"{comparison.cosine_mean:.4f}"])
        rows.append(["cosine_p01", f"{comparison.cosine_p01:.4f}"])
    rows += [
        [f"{name}, difference [95 % interval]", str(interval)]
        for name, interval in comparison.differences.items()
    ]
    return rows


def _as_json(reported: Reported) -> dict[str, object]:
    from pocketlens_converter.report import worst_products

    models = [_evaluation_as_json(each) for each in reported.evaluations]
    value: dict[str, object] = dict(models[0])
    value["floors"] = {each.model: each.figures for each in reported.floors}
    value["worst_products"] = [
        {"product": product, "photos": photos, "missed": missed, "found_instead": instead}
        for product, photos, missed, instead in worst_products(reported.evaluations[0], 5)
    ]
    if reported.judged is not None:
        value["verdicts"] = reported.judged.figures()
    if reported.held_apart:
        value["held_apart"] = reported.held_apart
    if reported.comparison is not None:
        value["against"] = models[1]
        value["comparison"] = asdict(reported.comparison)
    return value


def _evaluation_as_json(evaluation: Evaluation) -> dict[str, object]:
    return {
        "model": evaluation.model,
        "pipeline": evaluation.pipeline,
        "products": evaluation.products,
        "images": evaluation.images,
        "distractors": evaluation.distractors,
        "absent_photos": evaluation.absent,
        "figures": evaluation.figures,
        "by_category": evaluation.by_category,
        "problems": [str(problem) for problem in evaluation.problems],
    }

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
from pocketlens_converter.cli_files import check_place
from pocketlens_converter.convert_options import InputScale

if TYPE_CHECKING:
    from pocketlens_converter.evaluation import Comparison, Evaluation

_EXAMPLES = """\b
Examples:
  pocketlens-converter evaluate shop.tflite --queries photos.csv --gallery catalogue.csv
  pocketlens-converter evaluate shop.tflite --queries photos.csv --gallery catalogue.csv \\
      --distractors others.csv --against shop.keras --json result.json
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
    json_file: Annotated[
        str | None,
        typer.Option("--json", metavar="FILE|-", help="Write the result as JSON; - is stdout."),
    ] = None,
) -> None:
    """Measure how often the right product is found.

    A bundle is measured as a device searches: int8 model, catalogue in int8 codes.
    """
    result = None if json_file in (None, "-") else check_place(Path(str(json_file)))
    from pocketlens_converter.evaluation import EvaluationLists, compared

    lists = EvaluationLists.read(queries, gallery, distractors)
    with output.progress() as progress:
        evaluations, comparison = compared(
            [model] if against is None else [model, against],
            lists,
            image_size=image_size,
            input_scale=None if input_scale is None else InputScale.parse(input_scale),
            seed=SEED,
            progress=progress,
        )
    value = _as_json(evaluations, comparison)
    if json_file == "-":
        output.show_json(value)
        return
    if result is not None:
        text = json.dumps(value, ensure_ascii=False, indent=2) + "\n"
        durable_files.write_file(result, text.encode())
    output.say_problems(evaluations[0].problems)
    _show(evaluations, comparison)


def _show(evaluations: list[Evaluation], comparison: Comparison | None) -> None:
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
    if comparison is None:
        return
    output.show("")
    output.show_table(["the first against the other", ""], _differences(comparison))


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


def _as_json(evaluations: list[Evaluation], comparison: Comparison | None) -> dict[str, object]:
    models = [
        {
            "model": each.model,
            "pipeline": each.pipeline,
            "products": each.products,
            "images": each.images,
            "distractors": each.distractors,
            "absent_photos": each.absent,
            "figures": each.figures,
            "by_category": each.by_category,
            "problems": [str(problem) for problem in each.problems],
        }
        for each in evaluations
    ]
    value: dict[str, object] = dict(models[0])
    if comparison is not None:
        value["against"] = models[1]
        value["comparison"] = asdict(comparison)
    return value

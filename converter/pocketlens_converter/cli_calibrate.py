"""`pocketlens-converter calibrate`: what a similarity is worth, measured and put into a bundle."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pocketlens import durable_files
from pocketlens.cli import output
from pocketlens_converter import cli_choices
from pocketlens_converter.cli_files import check_place, copy_receipt

if TYPE_CHECKING:
    from pocketlens_converter.calibration import Calibrated, Pipeline

_EXAMPLES = """\b
Example:
  pocketlens-converter calibrate shop.tflite --queries held_out.csv --gallery catalogue.csv \\
      --absent other_things.csv
"""


def register(app: typer.Typer) -> None:
    """Adds the command to the program."""
    app.command("calibrate", epilog=_EXAMPLES)(_calibrate)


def _calibrate(
    model: Annotated[Path, typer.Argument(metavar="SHOP.tflite", help="The bundle.")],
    *,
    queries: Annotated[
        Path,
        typer.Option("--queries", metavar="LIST", help="Photos that the model was not trained on."),
    ],
    gallery: Annotated[Path, typer.Option("--gallery", metavar="LIST", help="Catalogue pictures.")],
    absent: Annotated[
        Path | None,
        typer.Option(
            "--absent",
            metavar="LIST",
            help="Photos of things that neither the shop nor training has; without, the products "
            "of --queries are left out in turn, which is easier to tell.",
        ),
    ] = None,
    distractors: Annotated[
        Path | None,
        typer.Option(
            "--distractors",
            metavar="LIST",
            help="More pictures of the catalogue, of products without photos: what a similarity "
            "is worth depends on what it must win against.",
        ),
    ] = None,
    float_model: Annotated[
        Path | None,
        typer.Option(
            "--float",
            metavar="MODEL.keras|FLOAT.tflite",
            help="The float model of the bundle: calibrates answers to photos by a server, too.",
        ),
    ] = None,
    input_scale: Annotated[
        str | None,
        typer.Option(
            "--input-scale",
            metavar="BLACK..WHITE",
            help="What the model of --float takes, if it is a foreign one: -1..1.",
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="FILE", help="Where to write the bundle; in place if left."),
    ] = None,
    false_accept_rate: Annotated[
        float,
        typer.Option("--false-accept-rate", help="Of photos of absent products: judged a match."),
    ] = 0.02,
    false_reject_rate: Annotated[
        float,
        typer.Option("--false-reject-rate", help="Of photos of products there: judged no match."),
    ] = 0.02,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Fit the confidence of a match, and its thresholds, and put them into the bundle.

    Calibrations are fitted for the device, for a server that is given an embedding, and, with
    --float, for a server that is given a photo.
    """
    if input_scale is not None and (float_model is None or float_model.suffix == ".tflite"):
        output.usage_error("--input-scale", "a .keras model for --float beside it", input_scale)
    written = check_place(model if out is None else out)
    from pocketlens_converter.bundle_calibration import CalibrationLists, calibrated_bundle
    from pocketlens_converter.calibration import CalibrationOptions

    options = CalibrationOptions(
        false_accept_rate=false_accept_rate, false_reject_rate=false_reject_rate
    )
    with output.progress() as progress:
        done = calibrated_bundle(
            model,
            CalibrationLists(queries, gallery, absent, distractors),
            float_model=float_model,
            input_scale=cli_choices.input_scale(input_scale),
            options=options,
            progress=progress,
        )
    copy_receipt(model, written)
    durable_files.write_file(written, done.data)
    if as_json:
        problems = [str(problem) for problem in done.problems]
        pipelines = {name: asdict(found) for name, found in done.calibrated.items()}
        value = {"out": str(written), **pipelines["device"], "pipelines": pipelines}
        output.show_json({**value, "problems": problems})
        return
    output.say_problems(done.problems)
    found = done.calibrated["device"].calibration
    output.show(
        f"{written}: calibrated on {found.present_photos:,} photos of products in the gallery "
        f"({found.products:,}) and {found.absent_photos:,} "
        + ("searches without them" if absent is None else "of absent things")
    )
    _show(done.calibrated)


def _show(calibrated: Mapping[Pipeline, Calibrated]) -> None:
    rows = {
        "recall@1": [f"{each.recall_at_1:.4f}" for each in calibrated.values()],
        "judged MATCH and right": [f"{each.match_share:.4f}" for each in calibrated.values()],
        "judged MATCH and wrong": [f"{each.wrong_match_share:.4f}" for each in calibrated.values()],
        "absent, judged NO_MATCH": [
            f"{each.absent_refused_share:.4f}" for each in calibrated.values()
        ],
    }
    fields = {
        "false_accept_rate": "false_accept_rate (absent, judged MATCH)",
        "false_reject_rate": "false_reject_rate (present, judged NO_MATCH)",
        "expected_calibration_error": "expected calibration error",
        "match_threshold": "threshold of MATCH",
        "no_match_threshold": "threshold of NO_MATCH",
    }
    for name, says in fields.items():
        values = [getattr(each.calibration, name) for each in calibrated.values()]
        rows[says] = [f"{value:.4f}" for value in values]
    output.show_table(
        ["by cross-validation over products", *calibrated],
        [[says, *values] for says, values in rows.items()],
    )
    categories = calibrated["device"].by_category
    if not categories:
        return
    output.show("")
    names = ["photos", "recall_at_1", "match_share", "false_reject_rate", "false_accept_rate"]
    names += ["expected_calibration_error", "own_expected_calibration_error"]
    output.show_table(
        ["category, on the device", *(name.replace("expected_", "") for name in names)],
        [
            [category, *(f"{found[name]:.3g}" if name in found else "" for name in names)]
            for category, found in categories.items()
        ],
    )

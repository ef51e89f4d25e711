"""`pocketlens-converter calibrate`: what a similarity is worth, measured and put into a bundle."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from pocketlens import durable_files
from pocketlens.cli import output
from pocketlens_converter.cli_files import check_place

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
    """Fit the confidence of a match, and its thresholds, and put them into the bundle."""
    written = check_place(model if out is None else out)
    from pocketlens_converter.calibration import CalibrationOptions, calibrated_bundle

    options = CalibrationOptions(
        false_accept_rate=false_accept_rate, false_reject_rate=false_reject_rate
    )
    with output.progress() as progress:
        done = calibrated_bundle(
            model,
            queries=queries,
            gallery=gallery,
            absent=absent,
            options=options,
            progress=progress,
        )
    durable_files.write_file(written, done.data)
    result = done.calibrated
    if as_json:
        problems = [str(problem) for problem in done.problems]
        output.show_json({"out": str(written), **asdict(result), "problems": problems})
        return
    output.say_problems(done.problems)
    found = result.calibration
    output.show(
        f"{written}: calibrated on {found.present_photos:,} photos of products in the gallery "
        f"({found.products:,}) and {found.absent_photos:,} "
        + ("searches without them" if absent is None else "of absent things")
    )
    output.show_table(
        ["by cross-validation over products", ""],
        [
            ["recall@1", f"{result.recall_at_1:.4f}"],
            ["judged MATCH and right", f"{result.match_share:.4f}"],
            ["judged MATCH and wrong", f"{result.wrong_match_share:.4f}"],
            ["false_accept_rate (absent, judged MATCH)", f"{found.false_accept_rate:.4f}"],
            ["absent, judged NO_MATCH", f"{result.absent_refused_share:.4f}"],
            ["false_reject_rate (present, judged NO_MATCH)", f"{found.false_reject_rate:.4f}"],
            ["expected calibration error", f"{found.expected_calibration_error:.4f}"],
            ["threshold of MATCH", f"{found.match_threshold:.4f}"],
            ["threshold of NO_MATCH", f"{found.no_match_threshold:.4f}"],
        ],
    )

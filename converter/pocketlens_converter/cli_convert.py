"""`pocketlens-converter convert`: a float model and a catalogue to a bundle and its receipt."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast, get_args

import typer

from pocketlens import durable_files
from pocketlens.cli import output
from pocketlens_converter import cli_choices
from pocketlens_converter.cli_files import check_place, receipt_page_path, receipt_path
from pocketlens_converter.convert_options import Budgets, ConvertOptions, Precision

if TYPE_CHECKING:
    from pocketlens_converter.conversion import Converted

BUDGETS = Budgets()

_EXAMPLES = """\b
Examples:
  pocketlens-converter convert shop.keras --catalog catalogue.csv --out shop.tflite
  pocketlens-converter convert shop.keras --catalog catalogue.csv --queries held_out.csv \\
      --out shop.tflite
  pocketlens-converter convert shop.keras --catalog catalogue.csv --queries held_out.csv \\
      --min-agreement 0.98 --max-recall-loss 0.01 --out shop.tflite
  pocketlens-converter convert other_model/ --catalog catalogue.csv --image-size 224 \\
      --input-scale -1..1 --out shop.tflite
"""


def register(app: typer.Typer) -> None:
    """Adds the command to the program."""
    app.command("convert", epilog=_EXAMPLES)(_convert)


def _convert(
    model: Annotated[
        Path, typer.Argument(metavar="MODEL", help="A .keras file or a SavedModel folder.")
    ],
    *,
    catalog: Annotated[Path, typer.Option("--catalog", metavar="LIST", help="Catalogue pictures.")],
    out: Annotated[Path, typer.Option("--out", metavar="SHOP.tflite", help="The bundle.")],
    queries: Annotated[
        Path | None,
        typer.Option(
            "--queries",
            metavar="LIST",
            help="Photos that the model was not trained on, 200 or more: searches are fitted "
            "to their embeddings, which the bundle carries.",
        ),
    ] = None,
    distractors: Annotated[
        Path | None,
        typer.Option("--distractors", metavar="LIST", help="More catalogue pictures to tell from."),
    ] = None,
    image_size: Annotated[
        int | None,
        typer.Option("--image-size", help="Side of the input, for a model that leaves it open."),
    ] = None,
    input_scale: Annotated[
        str | None,
        typer.Option(
            "--input-scale",
            metavar="BLACK..WHITE",
            help="What the model takes for black and white: 0..255, 0..1, -1..1. Needed for a "
            "model that does not scale pixels itself.",
        ),
    ] = None,
    resize: Annotated[
        str | None,
        typer.Option(
            "--resize",
            metavar="pad|crop|squash",
            help="How a picture becomes square; as the model was trained, or pad.",
        ),
    ] = None,
    precision: Annotated[
        str,
        typer.Option("--precision", help="int8, weight-int8, float16, float32 or int16x8."),
    ] = "int8",
    adapting_steps: Annotated[
        int,
        typer.Option(
            "--adapt",
            metavar="STEPS",
            help="Where int8 breaks a budget, fine-tune the model in simulated int8 first.",
        ),
    ] = 0,
    falls_back: Annotated[
        bool,
        typer.Option(
            "--fall-back/--no-fall-back",
            help="Where a budget is broken, take the next safer precision.",
        ),
    ] = True,
    min_agreement: Annotated[
        float | None,
        typer.Option("--min-agreement", help="Least top1_agreement of the photos."),
    ] = BUDGETS.top1_agreement,
    min_cosine: Annotated[
        float | None, typer.Option("--min-cosine", help="Least cosine_mean.")
    ] = BUDGETS.cosine_mean,
    min_cosine_p01: Annotated[
        float | None, typer.Option("--min-cosine-p01", help="Least cosine_p01.")
    ] = BUDGETS.cosine_p01,
    max_recall_loss: Annotated[
        float | None,
        typer.Option("--max-recall-loss", help="Most recall@1 lost, int8 rows included."),
    ] = BUDGETS.recall_loss,
    max_bytes: Annotated[
        int | None, typer.Option("--max-bytes", help="Most bytes of the bundle.")
    ] = BUDGETS.size_bytes,
    max_latency_ms: Annotated[
        float | None,
        typer.Option("--max-latency-ms", help="Most milliseconds on one thread of this machine."),
    ] = BUDGETS.latency_ms,
    name: Annotated[str, typer.Option("--name", help="What people call the model.")] = "",
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
) -> None:
    """Quantize a model and put all that a device must know into one file.

    Beside SHOP.tflite come SHOP.receipt.json and SHOP.receipt.html: what the quantization won and
    lost. Nothing is written before everything is made; a bundle that was there stays until then.
    """
    if precision not in get_args(Precision):
        output.usage_error("--precision", ", ".join(get_args(Precision)), precision)
    options = ConvertOptions(
        name=name,
        image_size=image_size,
        input_scale=cli_choices.input_scale(input_scale),
        resize_mode=cli_choices.resize_mode(resize),
        precision=cast("Precision", precision),
        adapting_steps=adapting_steps,
        falls_back=falls_back,
        budgets=Budgets(
            top1_agreement=min_agreement,
            cosine_mean=min_cosine,
            cosine_p01=min_cosine_p01,
            recall_loss=max_recall_loss,
            size_bytes=max_bytes,
            latency_ms=max_latency_ms,
        ),
    )
    check_place(out)
    from pocketlens_converter.conversion import convert

    with output.progress() as progress:
        converted = convert(
            model,
            catalogue=catalog,
            queries=queries,
            distractors=distractors,
            options=options,
            progress=progress,
        )
    _write(out, converted)
    from pocketlens_converter import receipt_page

    for line in receipt_page.gave_up(converted.receipt):
        typer.secho(f"warning: {line}", err=True, bold=True)
    if as_json:
        output.show_json(_as_json(out, converted))
        return
    output.say_problems(converted.problems)
    _show(out, converted)


def _write(out: Path, converted: Converted) -> None:
    """The receipt first: a bundle is there only once everything about it is."""
    from pocketlens_converter import receipt_page

    text = json.dumps(converted.receipt.as_json(), ensure_ascii=False, indent=2) + "\n"
    durable_files.write_file(receipt_path(out), text.encode())
    page = receipt_page.html(converted.receipt)
    durable_files.write_file(receipt_page_path(out), page.encode())
    durable_files.write_file(out, converted.data)


def _show(out: Path, converted: Converted) -> None:
    spec, receipt = converted.bundle.spec, converted.receipt
    output.show(
        f"{out}: {output.bytes_text(len(converted.data))}, {spec.width} x {spec.height} "
        f"({spec.resize_mode}) -> {spec.dim} numbers, {receipt.precision}, quantized with "
        f"{receipt.quantized_with:,} pictures"
    )
    fidelity = receipt.fidelity
    agreement = fidelity.top1_agreement
    output.show(
        f"{receipt.precision} against float on {fidelity.pictures:,} pictures: cosine_mean "
        f"{fidelity.cosine_mean:.4f}, cosine_p01 {fidelity.cosine_p01:.4f}"
        + ("" if agreement is None else f", top1_agreement {agreement:.4f}")
    )
    if receipt.search is not None:
        figures = receipt.search.figures
        output.show(
            f"recall@1 of {receipt.search.photos:,} photos: float "
            f"{figures['float']['recall@1']:.4f}, on the device "
            f"{figures['device']['recall@1']:.4f}, difference "
            f"{receipt.search.differences['device']['recall@1']}"
        )
    output.show(f"receipt: {receipt_path(out).with_suffix('.html')}")


def _as_json(out: Path, converted: Converted) -> dict[str, object]:
    bundle = converted.bundle
    return {
        "out": str(out),
        "size_bytes": len(converted.data),
        "name": bundle.spec.name,
        "height": bundle.spec.height,
        "width": bundle.spec.width,
        "dim": bundle.spec.dim,
        "resize_mode": bundle.spec.resize_mode,
        "golden_bound": bundle.golden_bound,
        "golden_examples": len(bundle.golden_examples),
        "representative_embeddings": len(bundle.representative),
        "query_embeddings": len(bundle.queries),
        "receipt": converted.receipt.as_json(),
        "problems": [str(problem) for problem in converted.problems],
    }

"""`pocketlens-converter convert`: a float model and a catalogue to a bundle."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast, get_args

import typer

from pocketlens import durable_files
from pocketlens.cli import output
from pocketlens.formats.bundle import ResizeMode
from pocketlens_converter.cli_files import check_place
from pocketlens_converter.convert_options import ConvertOptions, InputScale

if TYPE_CHECKING:
    from pocketlens_converter.conversion import Converted

_EXAMPLES = """\b
Examples:
  pocketlens-converter convert shop.keras --catalog catalogue.csv --out shop.tflite
  pocketlens-converter convert shop.keras --catalog catalogue.csv --queries held_out.csv \\
      --out shop.tflite
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
    name: Annotated[str, typer.Option("--name", help="What people call the model.")] = "",
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
) -> None:
    """Quantize a model to int8 and put all that a device must know into one file.

    Nothing is written before everything is made; a bundle that was there stays until then.
    """
    if resize is not None and resize not in get_args(ResizeMode):
        output.usage_error("--resize", "pad, crop or squash", resize)
    options = ConvertOptions(
        name=name,
        image_size=image_size,
        input_scale=None if input_scale is None else InputScale.parse(input_scale),
        resize_mode=cast("ResizeMode | None", resize),  # one of them: checked above
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
    durable_files.write_file(out, converted.data)
    if as_json:
        output.show_json(_as_json(out, converted))
        return
    output.say_problems(converted.problems)
    _show(out, converted)


def _show(out: Path, converted: Converted) -> None:
    spec = converted.bundle.spec
    output.show(
        f"{out}: {output.bytes_text(len(converted.data))}, {spec.width} x {spec.height} "
        f"({spec.resize_mode}) -> {spec.dim} numbers, quantized with "
        f"{converted.quantized_with:,} pictures"
    )
    agreement = converted.top1_agreement
    output.show(
        f"int8 against float on {converted.pictures:,} pictures: cosine_mean "
        f"{converted.cosine_mean:.4f}, cosine_p01 {converted.cosine_p01:.4f}"
        + ("" if agreement is None else f", top1_agreement {agreement:.4f}")
    )


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
        "quantized_with_pictures": converted.quantized_with,
        "compared_pictures": converted.pictures,
        "cosine_mean": converted.cosine_mean,
        "cosine_p01": converted.cosine_p01,
        "top1_agreement": converted.top1_agreement,
        "golden_bound": bundle.golden_bound,
        "golden_examples": len(bundle.golden_examples),
        "representative_embeddings": len(bundle.representative),
        "query_embeddings": len(bundle.queries),
        "float_model_sha256": bundle.float_model_sha256.hex(),
        "problems": [str(problem) for problem in converted.problems],
    }

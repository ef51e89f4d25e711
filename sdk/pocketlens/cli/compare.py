"""`pocketlens compare`: how alike two pictures are, and what the model sees of them."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pocketlens.cli import output

if TYPE_CHECKING:
    from pocketlens.explaining.comparing import Comparison, Seen

_EXAMPLES = """\b
Examples:
  pocketlens compare a.jpg b.jpg --model shop.tflite
  pocketlens compare photo.jpg catalogue.jpg --model shop --out seen.png

The verdict is that of a store that has one of the two pictures and no other.

\b
--json prints an object:
  similarity, mirrored_similarity   cosine, -1 to 1; the latter with B mirrored
  verdict                           match, unsure or no_match
  confidence, threshold             0 to 1; null without a calibration, and where one is blank
  first, second                     picture, is_blank, decode_ms, embed_ms
  input                             [height, width] that the model sees
  accelerator, runtime
"""


def register(app: typer.Typer) -> None:
    """Adds the command to the program."""
    app.command("compare", epilog=_EXAMPLES)(_compare)


def _compare(
    first: Annotated[Path, typer.Argument(metavar="A", help="JPEG, PNG or WebP.")],
    second: Annotated[Path, typer.Argument(metavar="B", help="Another one.")],
    *,
    model: Annotated[
        Path, typer.Option("--model", metavar="SHOP.tflite|DIR", help="A bundle, or a store.")
    ],
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="FILE.png", help="Draw both as the model sees them."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Say how alike two pictures are, and how long each stage took."""
    from pocketlens.durable_files import write_file
    from pocketlens.explaining import captions

    output.check_place("--out", out)
    compared = _compared(first, second, model)
    if out is not None:
        write_file(out, compared.png())
    pictures = ((first, compared.first), (second, compared.second))
    if as_json:
        output.show_json(_as_json(compared, pictures))
        return
    for line in captions.of_comparison(compared):
        output.show(line)
    rows = [
        (str(path), f"{seen.timings.decode_ms:.1f}", f"{seen.timings.embed_ms:.1f}")
        for path, seen in pictures
    ]
    output.show_table(("picture", "decode ms", "embed ms"), rows)


def _compared(first: Path, second: Path, model: Path) -> Comparison:
    """By a bundle, or by that of a store."""
    from pocketlens.explaining.comparing import compare
    from pocketlens.lens import Lens
    from pocketlens.query.embedder import Embedder

    if model.is_dir():
        with Lens.open(model) as lens:
            return lens.compare(first, second)
    with Embedder.open(model) as embedder:
        return compare(first, second, embedder)


def _as_json(compared: Comparison, pictures: tuple[tuple[Path, Seen], ...]) -> dict[str, object]:
    first, second = (
        {
            "picture": str(path),
            "is_blank": seen.is_blank,
            "decode_ms": seen.timings.decode_ms,
            "embed_ms": seen.timings.embed_ms,
        }
        for path, seen in pictures
    )
    return {
        "similarity": compared.similarity,
        "mirrored_similarity": compared.mirrored_similarity,
        "verdict": compared.verdict.value,
        "confidence": compared.confidence,
        "threshold": compared.threshold,
        "first": first,
        "second": second,
        "input": list(compared.first.tensor.shape[:2]),
        "accelerator": compared.accelerator,
        "runtime": compared.runtime,
    }

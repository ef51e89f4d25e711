"""`pocketlens compare`: what it prints, draws and refuses."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.making.colour_bundle import colour_bundle, fields

from pocketlens import index
from pocketlens.cli import main


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two pictures with nothing in common, a bundle, and a store of one of the pictures."""
    made = tmp_path_factory.mktemp("compared")
    for name, white in (("a", slice(32, 64)), ("b", slice(32))):
        pixels = fields(np.random.default_rng(1), side=64)
        pixels[:, white] = 255
        Image.fromarray(pixels).save(made / f"{name}.png")
    (made / "shop.tflite").write_bytes(colour_bundle())
    (made / "list.csv").write_text("image,product_id\na.png,sku\n")
    index(made / "list.csv", model=made / "shop.tflite", out=made / "store")
    return made


def run(folder: Path, *options: str, model: str = "shop.tflite", second: str = "b.png") -> int:
    pictures = str(folder / "a.png"), str(folder / second)
    return main(["compare", *pictures, "--model", str(folder / model), *options])


@pytest.mark.parametrize("model", ["shop.tflite", "store"])
def test_a_bundle_or_a_store_compares(
    folder: Path, capsys: pytest.CaptureFixture[str], model: str
) -> None:
    assert run(folder, model=model, second="a.png") == 0

    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "MATCH 1.00: similarity 1.000"
    assert lines[1].split() == ["picture", "decode", "ms", "embed", "ms"]
    assert len(lines) == 4


def test_json_has_every_documented_key(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(folder, "--json") == 0

    said = json.loads(capsys.readouterr().out)
    assert said["verdict"] == "no_match"
    assert said["similarity"] == pytest.approx(0, abs=0.05)
    assert said["mirrored_similarity"] > 0.2
    assert 0 <= said["confidence"] < said["threshold"] < 1
    assert said["input"] == [32, 32]
    assert said["accelerator"] == "cpu"
    assert said["runtime"].startswith("litert")
    assert said["second"]["picture"] == str(folder / "b.png")
    assert said["first"].keys() == {"picture", "is_blank", "decode_ms", "embed_ms"}


def test_both_are_drawn_into_a_file(folder: Path, tmp_path: Path) -> None:
    assert run(folder, "--out", str(tmp_path / "seen.png")) == 0

    with Image.open(tmp_path / "seen.png") as image:
        assert image.format == "PNG"
        assert image.width > image.height > 300


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"second": "list.csv"}, "error: "),
        ({"second": "absent.png"}, "Cannot read"),
        ({"model": "a.png"}, "error: "),
        ({"model": "absent.tflite"}, "Cannot read the bundle"),
        ({"model": "."}, "error: "),
    ],
    ids="no-picture no-file no-bundle no-model no-store".split(),
)
def test_what_cannot_be_compared_is_an_error(
    folder: Path, capsys: pytest.CaptureFixture[str], options: dict[str, str], says: str
) -> None:
    assert run(folder, **options) == 1

    printed = capsys.readouterr()
    assert printed.out == ""
    assert says in printed.err


def test_without_a_model_it_is_wrong_usage(folder: Path) -> None:
    assert main(["compare", str(folder / "a.png"), str(folder / "b.png")]) == 2

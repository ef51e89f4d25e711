"""Receipts: budgets that are kept or broken, and the fall-back to safer precisions."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tests.making.models import DrawnShop, draw_shop, keras_file, tiny_model

from pocketlens.errors import BudgetBroken, ModelUnsupported, TrainingError
from pocketlens.formats import bundle as bundles
from pocketlens_converter import conversion, receipt_page
from pocketlens_converter.cli import main
from pocketlens_converter.conversion import Converted
from pocketlens_converter.convert_options import Budgets, ConvertOptions, InputScale
from pocketlens_converter.receipt import broken
from pocketlens_converter.silence import silenced

ANYTHING = Budgets(top1_agreement=None, cosine_mean=None)


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> DrawnShop:
    return draw_shop(tmp_path_factory.mktemp("shop"), products=24, photos_each=2)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return keras_file(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def converted(shop: DrawnShop, model: Path) -> Converted:
    options = ConvertOptions(budgets=ANYTHING)
    return conversion.convert(model, catalogue=shop.catalogue, queries=shop.photos, options=options)


def test_receipt_tells_three_pipelines_apart(converted: Converted) -> None:
    receipt = converted.receipt

    assert receipt.precision == "int8"
    assert receipt.size_bytes == len(converted.data)
    assert receipt.float_size_bytes > 20_000
    assert receipt.search is not None
    assert set(receipt.search.figures) == {"float", "quantized", "device"}
    assert receipt.search.photos == 48
    for figures in receipt.search.figures.values():
        assert 0 <= figures["recall@1"] <= figures["recall@3"] <= figures["recall@10"] <= 1
    for pipeline in ("quantized", "device"):
        interval = receipt.search.differences[pipeline]["recall@1"]
        assert interval.low <= interval.difference <= interval.high
        lost = (
            receipt.search.figures[pipeline]["recall@1"]
            - receipt.search.figures["float"]["recall@1"]
        )
        assert interval.difference == pytest.approx(lost)
    assert receipt.latency_ms[1] > 0
    assert receipt.latency_ms[2] > 0
    assert receipt.xnnpack_partitions >= 1
    assert receipt.operators["CONV_2D"] >= 1
    assert receipt.refused["gpu"] == {}


def test_receipt_is_json_and_a_page(converted: Converted) -> None:
    value = json.loads(json.dumps(converted.receipt.as_json()))
    page = receipt_page.html(converted.receipt)

    assert value["format"] == 1
    assert value["search"]["figures"]["device"]["recall@1"] >= 0
    for text in ("cosine_p01", "recall@10", "XNNPACK", "nnapi", "1 thread"):
        assert text in page
    assert "<script" not in page
    assert "http" not in page


def test_distractors_are_told_apart_from_the_catalogue_alone(
    shop: DrawnShop, model: Path, tmp_path: Path
) -> None:
    others = draw_shop(tmp_path, products=40, photos_each=0, seed=1)
    options = ConvertOptions(budgets=ANYTHING)

    receipt = conversion.convert(
        model,
        catalogue=shop.catalogue,
        queries=shop.photos,
        distractors=others.catalogue,
        options=options,
    ).receipt

    search = receipt.search
    assert search is not None
    assert (search.products, search.distractors) == (64, 40)
    assert set(search.alone) == {"float", "quantized", "device"}
    for pipeline, figures in search.alone.items():
        # Half of the distractors are the catalogue's own pictures: whoever ties with one has lost.
        assert figures["recall@1"] > search.figures[pipeline]["recall@1"]
    assert "without distractors" in receipt_page.html(receipt)


def test_a_receipt_of_another_precision_is_not_the_bundles(
    shop: DrawnShop, model: Path, converted: Converted
) -> None:
    options = ConvertOptions(budgets=ANYTHING, precision="float16")
    other = conversion.convert(
        model, catalogue=shop.catalogue, queries=shop.photos, options=options
    )

    assert converted.receipt.belongs_to(bundles.decode(converted.data))
    assert not other.receipt.belongs_to(bundles.decode(converted.data))


@pytest.mark.parametrize(
    ("budgets", "name"),
    [
        (replace(ANYTHING, top1_agreement=1.01), "top1_agreement"),
        (replace(ANYTHING, cosine_mean=1.01), "cosine_mean"),
        (replace(ANYTHING, cosine_p01=1.01), "cosine_p01"),
        (replace(ANYTHING, recall_loss=-1.0), "recall_loss"),
        (replace(ANYTHING, size_bytes=1000), "size_bytes"),
        (replace(ANYTHING, latency_ms=0.0), "latency_ms"),
    ],
)
def test_each_budget_can_be_broken(converted: Converted, budgets: Budgets, name: str) -> None:
    (loss,) = broken(converted.receipt, budgets)

    assert loss.name == name
    assert name in str(loss)
    assert broken(converted.receipt, ANYTHING) == ()


def test_the_command_says_loudly_what_was_given_up(
    shop: DrawnShop, model: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    command = f"convert {model} --catalog {shop.catalogue} --out {tmp_path / 'out.tflite'} --json"

    assert main([*command.split(), "--min-cosine-p01", "0.999999"]) == 0

    said = capfd.readouterr()
    assert "warning: int8 was given up, it breaks a budget: cosine_p01" in said.err
    assert json.loads(said.out)["receipt"]["precision"] != "int8"


def test_a_safer_precision_is_taken_and_said(shop: DrawnShop, model: Path) -> None:
    exact = ConvertOptions(budgets=replace(ANYTHING, cosine_p01=0.999999))

    receipt = conversion.convert(model, catalogue=shop.catalogue, options=exact).receipt

    assert receipt.precision in ("float16", "float32")
    assert [attempt.precision for attempt in receipt.given_up][:2] == ["int8", "weight-int8"]
    assert "int8 was given up" in receipt_page.gave_up(receipt)[0]
    assert "given up" in receipt_page.html(receipt)


def test_int8_is_adapted_and_tried_again_before_it_is_given_up(
    shop: DrawnShop, model: Path
) -> None:
    options = ConvertOptions(budgets=replace(ANYTHING, cosine_p01=0.999999), adapting_steps=3)

    receipt = conversion.convert(model, catalogue=shop.catalogue, options=options).receipt

    tried = [(attempt.precision, attempt.adapted_steps) for attempt in receipt.given_up]
    assert tried[:3] == [("int8", 0), ("int8", 3), ("weight-int8", 0)]
    assert "int8 after 3 steps of fine-tuning was given up" in receipt_page.gave_up(receipt)[1]


@pytest.mark.parametrize("budgets", [Budgets(recall_loss=0.01), Budgets(top1_agreement=0.99)])
def test_a_budget_that_needs_photos_is_refused_without_any(
    shop: DrawnShop, model: Path, budgets: Budgets
) -> None:
    with pytest.raises(TrainingError, match="--queries"):
        conversion.convert(model, catalogue=shop.catalogue, options=ConvertOptions(budgets=budgets))


def test_fine_tuning_is_refused_where_it_would_do_nothing(shop: DrawnShop, tmp_path: Path) -> None:
    with pytest.raises(ModelUnsupported, match="for int8"):
        ConvertOptions(precision="float16", adapting_steps=10)

    with silenced():
        tiny_model(scales=False).export(tmp_path / "saved", verbose=False)
    with pytest.raises(ModelUnsupported, match="--adapt"):
        conversion.convert(
            tmp_path / "saved",
            catalogue=shop.catalogue,
            options=ConvertOptions(adapting_steps=10, input_scale=InputScale(-1, 1)),
        )


def test_without_a_fall_back_or_an_end_there_is_no_bundle(
    shop: DrawnShop, model: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    impossible = ConvertOptions(budgets=replace(ANYTHING, size_bytes=10))
    with pytest.raises(BudgetBroken, match=r"int8.*weight-int8.*float16.*float32"):
        conversion.convert(model, catalogue=shop.catalogue, options=impossible)

    out = tmp_path / "out.tflite"
    command = f"convert {model} --catalog {shop.catalogue} --out {out} --no-fall-back"
    code = main([*command.split(), "--max-bytes", "10"])

    assert code == 1
    assert "size_bytes" in capfd.readouterr().err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("precision", ["weight-int8", "float16", "float32", "int16x8"])
def test_bundles_of_every_precision_open_and_search(
    shop: DrawnShop, model: Path, tmp_path: Path, precision: str
) -> None:
    out = tmp_path / "out.tflite"

    code = main(
        f"convert {model} --catalog {shop.catalogue} --queries {shop.photos} "
        f"--precision {precision} --out {out}".split()
    )

    assert code == 0
    receipt = json.loads((tmp_path / "out.receipt.json").read_text())
    assert receipt["precision"] == precision
    assert receipt["fidelity"]["cosine_mean"] > 0.99
    assert bundles.decode(out.read_bytes()).spec.dim > 0
    assert (tmp_path / "out.receipt.html").read_text().startswith("<!DOCTYPE html>")
    assert np.isfinite(receipt["latency_ms"]["1"])
    if precision.startswith("float"):
        assert receipt["refused"]["npu"] != {}  # an NPU that runs int8 alone takes none of it

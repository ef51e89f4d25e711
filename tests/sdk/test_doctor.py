"""Doctor: each thing that can ail a store or a machine is a finding of its own."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import io
import json
import shutil
import sqlite3
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.making.colour_bundle import colour_bundle, described_as

from pocketlens import index
from pocketlens.cli import main
from pocketlens.doctor import Finding, examine, has_failed
from pocketlens.formats import bundle as bundles


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("shop")
    rng = np.random.default_rng(1)
    for number in range(5):
        product = folder / "pictures" / f"sku-{number}"
        product.mkdir(parents=True)
        pixels = rng.integers(0, 256, (4, 4, 3), dtype=np.uint8)
        Image.fromarray(pixels).resize((64, 64)).save(product / "front.png")
    (folder / "shop.tflite").write_bytes(colour_bundle())
    index(folder / "pictures", model=folder / "shop.tflite", out=folder / "store")
    return folder / "store"


def by_name(findings: tuple[Finding, ...]) -> dict[str, Finding]:
    return {finding.name: finding for finding in findings}


def test_healthy_store_has_every_probe_and_no_failure(store: Path) -> None:
    found = by_name(examine(store))

    expected = "versions runtime store probes codes disk bundle calibration rows cpu gpu npu nnapi"
    assert set(found) == {*expected.split(), "decoding", "inference", "timings"}
    assert not has_failed(found.values())
    assert found["store"].what.startswith("5 images of 5 products, version 1")
    assert found["rows"].level == found["cpu"].level == found["inference"].level == "ok"
    assert "litert" in found["runtime"].what
    assert found["timings"].what.startswith("decode ")


def test_accelerators_that_are_absent_say_why(store: Path) -> None:
    found = by_name(examine(store))

    for name in ("gpu", "npu", "nnapi"):
        assert found[name].level == "ok"
        assert len(found[name].what) > len("not used: ")


def test_damaged_row_is_a_failure_and_the_model_is_still_tried(store: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(store, tmp_path / "store")
    (database,) = copy.glob("installs/*/store.sqlite")
    with sqlite3.connect(database) as connection:
        connection.execute("UPDATE list_chunks SET codes = zeroblob(length(codes))")
    connection.close()

    findings = examine(copy)

    found = by_name(findings)
    assert has_failed(findings)
    assert found["rows"].level == "fail"
    assert found["cpu"].level == "ok"
    assert found["inference"].level == "ok"


def test_changed_bundle_is_a_failure(store: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(store, tmp_path / "store")
    (file,) = (copy / "files").iterdir()
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)

    findings = examine(copy)

    assert by_name(findings)["bundle"].level == "fail"
    assert "cpu" not in by_name(findings)  # a bundle that is not whole is never run


def test_no_store_is_a_failure_beside_what_the_machine_has(tmp_path: Path) -> None:
    findings = examine(tmp_path)

    assert [finding.name for finding in findings] == ["versions", "runtime", "store"]
    assert [finding.level for finding in findings] == ["ok", "ok", "fail"]


def test_drift_of_decoding_and_inference_are_told_apart(store: Path, tmp_path: Path) -> None:
    """A golden picture that decodes to another tensor must not look like a bad model."""

    data = colour_bundle()
    described = bundles.decode(data)
    example = described.golden_examples[0]
    other = io.BytesIO()
    Image.fromarray(255 - example.tensor).save(other, "JPEG")
    changed = replace(described, golden_examples=(replace(example, jpeg=other.getvalue()),))
    (tmp_path / "shop.tflite").write_bytes(described_as(data, changed))
    pictures = store.parent / "pictures"
    index(pictures, model=tmp_path / "shop.tflite", out=tmp_path / "store")

    found = by_name(examine(tmp_path / "store"))

    assert found["decoding"].level == "warn"
    assert found["inference"].level == "ok"


def test_command_prints_a_row_a_finding_and_exits_by_them(
    store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["doctor", str(store)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 1 + len(examine(store))
    assert main(["doctor", str(store), "--json"]) == 0
    assert {each["level"] for each in json.loads(capsys.readouterr().out)} <= {"ok", "warn"}
    assert main(["doctor", str(tmp_path)]) == 1

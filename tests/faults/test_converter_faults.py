"""Training and converting, killed, interrupted, or out of disk: nothing is half-written."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from tests.making.models import DrawnShop, draw_shop, keras_file

from pocketlens.errors import StoreFull
from pocketlens.formats import bundle as bundles
from pocketlens_converter import training
from pocketlens_converter.options import TrainOptions

CONVERTER = Path(sys.executable).with_name("pocketlens-converter")
OPTIONS = TrainOptions(
    backbone="Tiny", image_size=32, dim=16, products=4, pictures=3, steps=6, learning_rate=5e-3
)


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> DrawnShop:
    return draw_shop(tmp_path_factory.mktemp("shop"), products=24, photos_each=2)


@pytest.mark.parametrize(
    ("stage", "number", "code"),
    [
        ("converting to int8: 0", signal.SIGKILL, -signal.SIGKILL),
        ("converting to int8: 0", signal.SIGINT, 130),
        ("measuring latency: 0", signal.SIGINT, 130),
        ("measuring latency: 0", signal.SIGKILL, -signal.SIGKILL),
    ],
)
def test_an_interrupted_conversion_leaves_nothing(
    shop: DrawnShop, tmp_path: Path, stage: str, number: int, code: int
) -> None:
    model, out = keras_file(tmp_path), tmp_path / "out" / "shop.tflite"
    out.parent.mkdir()
    command = [CONVERTER, "convert", model, "--catalog", shop.catalogue, "--out", out]

    with subprocess.Popen(
        command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True
    ) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if line.startswith(stage):
                break
        process.send_signal(number)

    assert process.returncode == code
    assert list(out.parent.iterdir()) == []
    subprocess.run(command, check=True, capture_output=True)
    assert bundles.decode(out.read_bytes()).spec.dim > 0


def test_an_interrupted_training_says_how_it_goes_on(shop: DrawnShop, tmp_path: Path) -> None:
    out = tmp_path / "model.keras"
    command = [CONVERTER, "train", shop.catalogue, shop.photos, "--out", out, "--backbone", "Tiny"]
    command += ["--image-size", "32", "--steps", "100000", "--mining-rounds", "0"]
    # Checkpoints after every step: a minute is too long for a test.
    code = "import sys; from pocketlens_converter import cli, training; "
    code += "training.CHECKPOINT_SECONDS = 0.0; sys.exit(cli.main())"
    program = [sys.executable, "-c", code, *command[1:]]

    with subprocess.Popen(
        program, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True
    ) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if "step" in line:
                break
        while not training.checkpoint_path(out).exists() and process.poll() is None:
            os.sched_yield()
        process.send_signal(signal.SIGINT)
        rest = process.stderr.read()

    assert process.returncode == 130
    assert "The same command goes on" in rest
    assert "Traceback" not in rest
    assert not out.exists()


@pytest.mark.skipif(sys.platform != "linux", reason="mounts a small file system")
def test_a_full_disk_ends_a_training_with_its_name_and_no_model(
    shop: DrawnShop, small_disk: Callable[[int], Path]
) -> None:
    out = small_disk(64 * 1024) / "model.keras"

    with pytest.raises(StoreFull, match="No room"):
        training.train([shop.catalogue, shop.photos], out, OPTIONS)

    assert not out.exists()


@pytest.mark.skipif(sys.platform != "linux", reason="mounts a small file system")
def test_a_disk_that_is_full_at_a_checkpoint_keeps_the_earlier_one(
    shop: DrawnShop,
    tmp_path: Path,
    small_disk: Callable[[int], Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(training, "CHECKPOINT_SECONDS", 0.0)
    sizes: list[int] = []

    def weigh(report: training.StepReport) -> None:
        kept = training.checkpoint_path(tmp_path / "model.keras")
        sizes.extend([kept.stat().st_size] if kept.exists() else [])

    training.train([shop.catalogue, shop.photos], tmp_path / "model.keras", OPTIONS, progress=weigh)
    folder = small_disk(int(1.5 * max(sizes)))  # one checkpoint, and half of the next
    with pytest.raises(StoreFull, match="No room"):
        training.train([shop.catalogue, shop.photos], folder / "model.keras", OPTIONS)

    assert [each.name for each in folder.glob("model*")] == ["model.keras.checkpoint"]
    with np.load(training.checkpoint_path(folder / "model.keras")) as kept:
        assert json.loads(str(kept["progress"]))["step"] == 1


@pytest.mark.skipif(sys.platform != "linux", reason="mounts a small file system")
def test_a_full_disk_ends_a_conversion_without_a_bundle(
    shop: DrawnShop, tmp_path: Path, small_disk: Callable[[int], Path]
) -> None:
    model, out = keras_file(tmp_path), small_disk(8 * 1024) / "shop.tflite"

    done = subprocess.run(
        [CONVERTER, "convert", model, "--catalog", shop.catalogue, "--out", out],
        capture_output=True,
        text=True,
    )

    assert done.returncode == 1
    assert "No room" in done.stderr
    assert not out.exists()

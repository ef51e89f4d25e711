"""Training on pictures that take seconds: it learns, resumes after a kill, says what is wrong."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from PIL import Image

from pocketlens.errors import ModelUnsupported, TrainingError
from pocketlens_converter import checkpoints, mining, models
from pocketlens_converter.backbones import build
from pocketlens_converter.batches import Batch
from pocketlens_converter.cli import main
from pocketlens_converter.learner import Learner
from pocketlens_converter.options import TrainOptions
from pocketlens_converter.training import StepReport, train

OPTIONS = TrainOptions(
    backbone="Tiny", image_size=32, dim=16, products=4, pictures=3, steps=24, learning_rate=5e-3
)


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Eight products told apart by stripes; catalogue, photos, photos to validate."""
    folder = tmp_path_factory.mktemp("stripes")
    rng = np.random.default_rng(0)
    rows: dict[str, list[str]] = {"catalogue": [], "photos": [], "unseen": []}
    for product in range(8):
        colours = rng.integers(0, 256, (2, 3))
        stripes = np.arange(48) // (3 + 2 * (product % 4)) % 2
        plain = np.broadcast_to(colours[stripes][None], (48, 48, 3)).astype(np.uint8)
        for name, count in (("catalogue", 1), ("photos", 6), ("unseen", 3)):
            for number in range(count):
                noise = rng.integers(-20, 20, plain.shape) if name != "catalogue" else 0
                pixels = np.clip(plain.astype(int) + noise, 0, 255).astype(np.uint8)
                file = f"{name}-{product}-{number}.png"
                Image.fromarray(pixels).save(folder / file)
                rows[name].append(f"{file},p{product}")
    for name, lines in rows.items():
        (folder / f"{name}.csv").write_text("\n".join(["image,product_id", *lines]) + "\n")
    return [folder / "catalogue.csv", folder / "photos.csv", folder / "unseen.csv"]


def copied(shop: list[Path], folder: Path) -> list[Path]:
    """The shop in a folder of its own, for a test that spoils it."""
    shutil.copytree(shop[0].parent, folder / "copy")
    return [folder / "copy" / path.name for path in shop]


@pytest.mark.parametrize(
    "changes",
    [{}, {"loss": "triplet", "miner": "batch-hard"}, {"loss": "triplet", "miner": "semi-hard"}],
    ids=["softmax", "batch-hard", "semi-hard"],
)
def test_training_learns(shop: list[Path], tmp_path: Path, changes: dict[str, str]) -> None:
    options = TrainOptions(
        backbone="Tiny",
        image_size=32,
        dim=16,
        products=8,
        pictures=3,
        steps=40,
        learning_rate=5e-3,
        **changes,  # type: ignore[arg-type] # names of a loss and a miner
    )

    report = train(shop[:2], tmp_path / "model.keras", options, validation=shop[2])

    assert report.steps == 40
    assert report.recall is not None
    assert report.recall >= 0.75  # chance is one eighth


def test_report_and_description_tell_how_the_model_was_made(
    shop: list[Path], tmp_path: Path
) -> None:
    seen: list[StepReport] = []

    report = train(shop[:2], tmp_path / "model.keras", OPTIONS, progress=seen.append)

    assert [step.step for step in seen] == list(range(1, 25))
    assert seen[-1].share == 1
    assert (report.pictures, report.products, report.resumed_at) == (56, 8, 0)
    described = json.loads((tmp_path / "model.keras.json").read_text())
    assert described["options"]["steps"] == 24
    model, spec = models.load(report.path)
    assert (spec.height, spec.width, spec.dim, spec.resize_mode) == (32, 32, 16, "pad")
    tensors = np.zeros((3, 32, 32, 3), np.uint8)
    assert np.linalg.norm(models.embed(model, tensors), axis=1) == pytest.approx(np.ones(3))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model.keras", "model.keras.json"]


def test_pretrained_backbone_learns_small_and_is_saved_large(
    shop: list[Path], tmp_path: Path
) -> None:
    options = replace(OPTIONS, image_size=64, learned_scale=0.5, steps=2)
    backbone = next(
        layer for layer in build(options, None).layers if isinstance(layer, keras.Model)
    )
    backbone.save_weights(tmp_path / "tiny.weights.h5")

    report = train(
        shop[:2], tmp_path / "model.keras", options, weights=tmp_path / "tiny.weights.h5"
    )

    model, spec = models.load(report.path)
    assert (spec.height, spec.width) == (64, 64)
    assert model.inputs[0].shape == (None, 64, 64, 3)


def test_the_averaged_model_takes_another_size_with_the_same_weights() -> None:
    learner = Learner(OPTIONS, weights=None)

    larger = learner.averaged_model(48)

    assert larger.inputs[0].shape == (None, 48, 48, 3)
    for ours, theirs in zip(larger.get_weights(), learner.model.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_what_is_saved_is_mixed_with_what_the_run_started_from() -> None:
    batch = Batch(
        0,
        np.random.default_rng(0).integers(0, 256, (4, 32, 32, 3)).astype(np.uint8),
        np.array([0, 0, 1, 1], np.int32),
        np.array([0, -1, 1, -1], np.int32),
    )
    started = Learner(OPTIONS, weights=None).model.get_weights()

    def learned(share: float) -> list[np.ndarray[Any, Any]]:
        options = replace(OPTIONS, trained_share=share)
        learner = Learner(options, weights=None, proxy_products=[0, 1])
        learner.begin(batch.pictures)
        learner.show(models.embed(learner.model, batch.pictures[::2]))
        learner.learn(batch, learning_rate=1e-2, is_warm=True)
        resumed = Learner(options, weights=None, proxy_products=[0, 1])
        resumed.restore(learner.state())
        return list(resumed.averaged_model(32).get_weights())

    whole, half = learned(1.0), learned(0.5)

    assert any(not np.array_equal(new, old) for new, old in zip(whole, started, strict=True))
    for mixed, new, old in zip(half, whole, started, strict=True):
        np.testing.assert_allclose(mixed, 0.5 * new + 0.5 * old, rtol=1e-5, atol=1e-6)


RUN = """
import sys, itertools
from pathlib import Path
from pocketlens_converter.options import TrainOptions
from pocketlens_converter import training

training.CHECKPOINT_SECONDS = 0.0  # after every step
folder, out, signal_at = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
options = TrainOptions(backbone="Tiny", image_size=32, dim=16, products=4, pictures=3, steps=14,
                       learning_rate=5e-3)
def tell(report):
    print(report.step, flush=True)
    if report.step == signal_at:
        sys.stdin.read()  # until it is killed
report = training.train([folder / "catalogue.csv", folder / "photos.csv"], out, options,
                        progress=tell)
print("resumed at", report.resumed_at, flush=True)
"""


def test_a_killed_run_goes_on_where_it_was(shop: list[Path], tmp_path: Path) -> None:
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
    command = [sys.executable, "-c", RUN, str(shop[0].parent)]
    whole, cut = tmp_path / "whole.keras", tmp_path / "cut.keras"
    subprocess.run([*command, str(whole), "0"], env=environment, check=True, capture_output=True)

    with subprocess.Popen(
        [*command, str(cut), "9"],
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as killed:
        assert killed.stdout is not None
        for line in killed.stdout:
            if line.strip() == "9":
                break
        killed.send_signal(signal.SIGKILL)
    assert not cut.exists()
    resumed = subprocess.run(
        [*command, str(cut), "0"], env=environment, check=True, capture_output=True, text=True
    )

    assert "resumed at 8" in resumed.stdout  # the ninth step was told before it was kept
    tensors = np.random.default_rng(0).integers(0, 256, (4, 32, 32, 3), dtype=np.uint8)
    (first, _), (second, _) = models.load(whole), models.load(cut)
    cosines = (models.embed(first, tensors) * models.embed(second, tensors)).sum(axis=1)
    assert cosines == pytest.approx(np.ones(4), abs=1e-3)
    assert not list(tmp_path.glob("*.checkpoint"))


class StepClock:
    """A clock on which the first step takes `first` seconds and each later one `later`."""

    def __init__(self, *, first: float, later: float) -> None:
        self._first = first
        self._later = later
        self.steps: list[StepReport] = []

    def __call__(self) -> float:
        return self._first + self._later * len(self.steps) if self.steps else 0.0

    def tell(self, report: StepReport) -> None:
        self.steps.append(report)


def test_a_slow_machine_ends_by_time(shop: list[Path], tmp_path: Path) -> None:
    clock = StepClock(first=10, later=10)
    options = replace(OPTIONS, minutes=1)

    report = train(shop[:2], tmp_path / "model.keras", options, progress=clock.tell, clock=clock)

    assert report.steps < OPTIONS.steps
    assert 60 <= report.seconds < 75
    assert [step.share for step in clock.steps] == sorted(step.share for step in clock.steps)
    assert clock.steps[-1].share == 1


def test_a_limit_that_is_not_reached_changes_nothing(shop: list[Path], tmp_path: Path) -> None:
    slow_start = StepClock(first=5, later=0.1)
    limited = replace(OPTIONS, minutes=1)
    train(shop[:2], tmp_path / "a.keras", limited, progress=slow_start.tell, clock=slow_start)
    unlimited: list[StepReport] = []
    train(shop[:2], tmp_path / "b.keras", OPTIONS, progress=unlimited.append)

    assert [step.share for step in slow_start.steps] == [step.share for step in unlimited]


@pytest.mark.parametrize("loss", ["proxy", "contrastive", "n-pair"])
def test_every_loss_takes_steps(shop: list[Path], tmp_path: Path, loss: str) -> None:
    options = replace(OPTIONS, loss=loss, steps=40)  # type: ignore[arg-type] # one of them

    report = train(shop[:2], tmp_path / "model.keras", options, validation=shop[2])

    assert report.recall is not None
    assert report.recall >= 0.4  # chance is one eighth


def test_one_picture_a_product_is_enough_to_learn_from(shop: list[Path], tmp_path: Path) -> None:
    seen: list[StepReport] = []

    report = train(
        shop[:1],
        tmp_path / "model.keras",
        replace(OPTIONS, steps=60),
        validation=shop[2],
        progress=seen.append,
        logs=tmp_path / "logs",
        preview=tmp_path / "batch.png",
    )

    assert report.recall is not None
    assert report.recall >= 0.4
    assert (report.pictures, report.products) == (8, 8)
    assert np.mean([step.loss for step in seen[-10:]]) < np.mean([step.loss for step in seen[:10]])
    assert report.pictures_per_second > 0
    assert 0 <= report.waited_share < 1
    with Image.open(tmp_path / "batch.png") as sheet:
        assert sheet.height > 4 * 32
    (events,) = (tmp_path / "logs").glob("events*")
    assert events.stat().st_size > 1000


def test_a_log_that_fails_does_not_end_the_run(shop: list[Path], tmp_path: Path) -> None:
    (tmp_path / "logs").write_text("no folder")

    report = train(shop[:2], tmp_path / "model.keras", OPTIONS, logs=tmp_path / "logs")

    assert report.path.exists()


def test_held_out_categories_are_not_learned_from(shop: list[Path], tmp_path: Path) -> None:
    lines = shop[0].read_text().splitlines()
    listed = shop[0].with_name("with_categories.csv")
    rows = [f"{line},kind {number % 2}" for number, line in enumerate(lines[1:])]
    listed.write_text("\n".join([f"{lines[0]},category", *rows]) + "\n")

    report = train(
        [listed, shop[1]], tmp_path / "model.keras", replace(OPTIONS, held_out=("kind 1",))
    )

    described = json.loads((tmp_path / "model.keras.json").read_text())
    assert (report.products, report.pictures) == (4, 28)
    assert described["options"]["held_out"] == ["kind 1"]
    with pytest.raises(TrainingError, match="No list has the category 'kind 7'"):
        train([listed, shop[1]], tmp_path / "b.keras", replace(OPTIONS, held_out=("kind 7",)))


def test_command_says_what_learns_and_what_is_held_out(
    shop: list[Path], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    listed = shop[0].with_name("of_kinds.csv")
    lines = shop[0].read_text().splitlines()
    rows = [f"{line},kind {number % 2}" for number, line in enumerate(lines[1:])]
    listed.write_text("\n".join([f"{lines[0]},category", *rows]) + "\n")
    out = tmp_path / "model.keras"
    small = "--backbone Tiny --image-size 32 --dim 16 --products 4 --pictures 3 --steps 2"
    command = ["train", str(listed), str(shop[1]), *small.split(), "--out", str(out)]

    assert main([*command, "--hold-out", "kind 1", "--learn", "all"]) == 0

    options = json.loads((tmp_path / "model.keras.json").read_text())["options"]
    assert (options["held_out"], options["learned_layers"]) == (["kind 1"], None)
    assert main([*command, "--learn", "head"]) == 1
    assert "--weights" in capfd.readouterr().err
    assert main([*command, "--learn", "sideways"]) == 2
    assert "head, all or a number of layers" in capfd.readouterr().err


@pytest.mark.parametrize("breaks", ["weights", "loss"])
def test_what_is_no_number_stops_and_keeps_the_last_good_checkpoint(
    shop: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, breaks: str
) -> None:
    monkeypatch.setattr("pocketlens_converter.training.CHECKPOINT_SECONDS", 0.0)
    learn = Learner.learn

    def diverging(self: Learner, batch: Batch, **choices: Any) -> float:
        def spoil() -> None:
            self.model.weights[0].assign(np.full(self.model.weights[0].shape, np.nan))

        if batch.step == 5 and breaks == "loss":
            spoil()  # before the step: its loss is no number
        loss = learn(self, batch, **choices)
        if batch.step == 5 and breaks == "weights":
            spoil()  # its loss was one
        return loss

    monkeypatch.setattr(Learner, "learn", diverging)
    out = tmp_path / "model.keras"

    with pytest.raises(TrainingError, match=r"at step 6\. Lower --learning-rate") as raised:
        train(shop[:2], out, OPTIONS)

    assert str(raised.value).startswith("The loss is nan" if breaks == "loss" else "A weight is")
    assert not out.exists()
    with np.load(f"{out}.checkpoint") as kept:
        assert json.loads(str(kept["progress"]))["step"] == 5
        assert all(np.isfinite(kept[name]).all() for name in kept.files if name.startswith("w"))


def test_what_is_left_out_is_told_before_the_first_step(shop: list[Path], tmp_path: Path) -> None:
    copies = copied(shop, tmp_path)
    for name in ("photos", "unseen"):
        (copies[0].parent / f"{name}-0-0.png").write_bytes(b"no picture")
    heard: list[str] = []

    report = train(
        copies[:2],
        tmp_path / "model.keras",
        replace(OPTIONS, steps=1, in_class=2, out_of_class=1),
        validation=copies[2],
        told=heard.append,
        progress=lambda report: heard.append(f"step {report.step}"),
    )

    assert [each.split(", ")[0].rsplit("/")[-1] for each in heard] == [
        "photos.csv",
        "unseen.csv",
        "step 1",
    ]
    assert report.problems == tuple(heard[:2])


def test_a_validation_photo_that_is_gone_does_not_end_the_run(
    shop: list[Path], tmp_path: Path
) -> None:
    copies = copied(shop, tmp_path)
    heard: list[float | None] = []

    def lose(report: StepReport) -> None:
        (copies[2].parent / "unseen-0-0.png").unlink(missing_ok=True)
        heard.append(report.recall)

    out = tmp_path / "model.keras"
    report = train(copies[:2], out, OPTIONS, validation=copies[2], progress=lose)

    assert report.recall is None
    assert heard[-1] is None
    assert report.path.exists()


def test_what_was_dropped_is_named_by_the_report_and_the_description(
    shop: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = mining.mined

    def blind(*given: Any, **choices: Any) -> mining.Mined:
        found = real(*given, **choices)
        return replace(found, invisible=np.array([9, 12])) if choices["everything"] else found

    monkeypatch.setattr(mining, "mined", blind)

    report = train(shop[:2], tmp_path / "model.keras", OPTIONS)

    described = json.loads((tmp_path / "model.keras.json").read_text())
    assert len(report.dropped) == 2
    assert list(report.dropped) == described["dropped"]
    assert all(Path(path).name.startswith("photos-") for path in report.dropped)


def test_few_products_and_many_negatives_are_told(shop: list[Path], tmp_path: Path) -> None:
    heard: list[str] = []
    options = replace(OPTIONS, steps=1, products=16, in_class=15, out_of_class=3)

    train(shop[:2], tmp_path / "model.keras", options, told=heard.append)

    assert "There are 8 products, fewer than the 16 of a batch" in heard[0]
    assert "fewer than 18 negatives" in heard[1]


def test_a_description_of_another_model_is_not_believed(tmp_path: Path) -> None:
    one, other = tmp_path / "one.keras", tmp_path / "other.keras"
    spec = models.ModelSpec(32, 32, 16)
    for path in (one, other):
        models.save(build(OPTIONS, None), path, spec, facts={})
    models.description_path(other).replace(models.description_path(one))

    with pytest.raises(ModelUnsupported, match="belongs to another model"):
        models.load(one)


def test_layers_that_know_nothing_cannot_stay_as_they_are(shop: list[Path], tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="give --weights"):
        train(shop[:2], tmp_path / "model.keras", replace(OPTIONS, learned_layers=0))


def test_a_damaged_checkpoint_is_named(shop: list[Path], tmp_path: Path) -> None:
    (tmp_path / "model.keras.checkpoint").write_bytes(b"cut")

    with pytest.raises(TrainingError, match="Delete it to start anew"):
        train(shop[:2], tmp_path / "model.keras", OPTIONS)


def test_another_run_does_not_take_up_a_checkpoint(shop: list[Path], tmp_path: Path) -> None:
    out = tmp_path / "model.keras"
    other = checkpoints.Progress("of other options", 5, 1.0)
    checkpoints.write(tmp_path / "model.keras.checkpoint", other, {})

    with pytest.raises(TrainingError, match="other options"):
        train(shop[:2], out, OPTIONS)

    assert not out.exists()
    assert (tmp_path / "model.keras.checkpoint").exists()


@pytest.mark.parametrize(
    ("out", "says"), [("model.h5", "ends in .keras"), ("no/model.keras", "no folder")]
)
def test_a_place_that_cannot_be_is_said_before_anything_is_read(
    out: str, says: str, tmp_path: Path
) -> None:
    with pytest.raises(TrainingError, match=says):
        train([tmp_path / "missing.csv"], tmp_path / out, OPTIONS)

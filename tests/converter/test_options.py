"""Choices of a training run: which are refused, and what follows from them."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from pocketlens.errors import TrainingError
from pocketlens_converter.convert_options import ConvertOptions
from pocketlens_converter.options import CATALOGUE_ALONE, TrainOptions, suited
from pocketlens_converter.training_pictures import photo_share


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"image_size": 16}, "image size of 32 to 1,024"),
        ({"learned_scale": 1.5}, "learned scale of 0.5 to 1"),
        ({"dim": 1}, "dim of 2 to 4,096"),
        ({"loss": "triplets"}, "loss of softmax, proxy, triplet"),
        ({"miner": "hard"}, "batch-hard or semi-hard"),
        ({"steps": 0}, "steps of 1 or more"),
        ({"minutes": 0.0}, "minutes above 0"),
        ({"seed": -1}, "seed of 0 or more"),
        ({"products": 1}, "2 or more products"),
        ({"pictures": 1}, "2 or more pictures"),
        ({"learning_rate": 0.0}, "learning rate above 0"),
        ({"warm_up": 1.0}, "warm-up of 0 up to 1"),
        ({"temperature": 0.0}, "temperature above 0"),
        ({"margin": -1.0}, "margin above 0"),
        ({"averaging": 1.0}, "averaging of 0 up to 1"),
        ({"mining_pool": 1001}, "mining pool of 1 to 1,000"),
        ({"in_class": -1}, "negatives of the class"),
        ({"visible_share": 1.5}, "visible share of 0 to 1"),
        ({"learned_layers": -1}, "learned layers"),
        ({"trained_share": 0.0}, "trained share above 0, up to 1"),
        ({"augmentation": 1.5}, "augmentation of 0 to 1.4"),
    ],
)
def test_what_cannot_be_is_refused_with_what_was_received(
    changes: dict[str, object], says: str
) -> None:
    (received,) = changes.values()

    with pytest.raises(TrainingError, match=rf"{says}.*Received {received}"):
        TrainOptions(**changes)  # type: ignore[arg-type] # wrong ones, on purpose


def test_a_precision_that_is_given_up_leads_to_safer_ones() -> None:
    tried = [precision for precision, _ in ConvertOptions(precision="int16x8").attempts()]

    assert tried == ["int16x8", "weight-int8", "float16", "float32"]
    assert ConvertOptions(precision="float32").attempts() == (("float32", 0),)


def test_options_suit_what_is_learned_from() -> None:
    assert suited(1.0, is_pretrained=True) == TrainOptions()
    assert suited(0.0, is_pretrained=False) == TrainOptions()
    assert suited(0.0, is_pretrained=True) == CATALOGUE_ALONE


@pytest.mark.parametrize(
    ("lists", "expected"),
    [
        (["image,product_id", "1.png,a", "2.png,b"], 0.0),  # a catalogue alone
        (["image,product_id", "1.png,a", "2.png,a", "3.png,b", "4.png,c"], 1 / 3),
    ],
)
def test_the_share_of_products_with_photos_is_told_by_the_lists(
    tmp_path: Path, lists: list[str], expected: float
) -> None:
    for line in lists[1:]:
        Image.new("RGB", (8, 8)).save(tmp_path / line.split(",")[0])
    (tmp_path / "list.csv").write_text("\n".join(lists) + "\n")

    assert photo_share([tmp_path / "list.csv"]) == pytest.approx(expected)

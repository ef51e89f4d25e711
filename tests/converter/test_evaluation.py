"""Evaluation: what lists and models say, counted; float and device pipelines beside each other."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image
from tests.making.models import (
    DIM,
    SIZE,
    DrawnShop,
    draw_shop,
    keras_file,
    tiny_bundle,
    tiny_model,
)

from pocketlens.errors import TrainingError
from pocketlens.formats.bundle import Bundle, Spec
from pocketlens_converter import embedding_models, file_evaluation
from pocketlens_converter.convert_options import InputScale
from pocketlens_converter.embedding_models import FloatFacts
from pocketlens_converter.evaluation import EvaluationLists, compare, evaluate, held_apart
from pocketlens_converter.float_models import unit_rows


@dataclass(frozen=True)
class MeanColours:
    """A model that needs no learning: the colours of a picture's fields, and some noise."""

    noise: float = 0.0
    rng: np.random.Generator = field(default_factory=lambda: np.random.default_rng(0))
    spec: Spec = field(default_factory=lambda: Spec("colours", SIZE, SIZE, 48))
    bundle: Bundle | None = None

    def embed_tensors(self, tensors: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        fields = tensors.reshape(len(tensors), 4, SIZE // 4, 4, SIZE // 4, 3).mean(axis=(2, 4))
        rows = fields.reshape(len(tensors), -1) / 127.5 - 1
        rows += self.noise * self.rng.normal(size=rows.shape)
        return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), np.float32)


class BlindToGrey(MeanColours):
    """It gives a grey picture no direction, as int8 does to a picture that is almost blank."""

    def embed_tensors(self, tensors: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        fields = tensors.reshape(len(tensors), -1, 3).astype(np.float32)
        levels = np.where(fields == 128, 0, fields - 128)
        return unit_rows(levels.reshape(len(tensors), 16, -1).mean(axis=2))


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> DrawnShop:
    return draw_shop(tmp_path_factory.mktemp("shop"), products=12, photos_each=3)


@pytest.fixture(scope="module")
def others(tmp_path_factory: pytest.TempPathFactory) -> DrawnShop:
    return draw_shop(tmp_path_factory.mktemp("others"), products=5)


@pytest.fixture(scope="module")
def bundle_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("bundle") / "shop.tflite"
    path.write_bytes(tiny_bundle())
    return path


def test_a_good_model_finds_everything_and_a_blind_one_nothing(shop: DrawnShop) -> None:
    lists = EvaluationLists.read(shop.photos, shop.catalogue)

    good, blind = evaluate(MeanColours(), lists), evaluate(MeanColours(noise=1e6), lists)

    assert (good.products, good.images, good.distractors, good.absent) == (12, 12, 0, 0)
    assert good.figures["photos"] == 36
    assert good.figures["recall@1"] == good.figures["mAP"] == good.figures["absolute_accuracy"] == 1
    assert blind.figures["recall@1"] < 0.4
    assert blind.figures["recall@1"] <= blind.figures["recall@3"] <= blind.figures["recall@10"]


def test_figures_of_categories_average_to_the_whole(shop: DrawnShop) -> None:
    found = evaluate(MeanColours(noise=1.0), EvaluationLists.read(shop.photos, shop.catalogue))

    assert sorted(found.by_category) == ["kind 0", "kind 1"]
    for name in ("recall@1", "mAP", "distance_accuracy"):
        parts = [each[name] * each["photos"] for each in found.by_category.values()]
        assert sum(parts) / 36 == pytest.approx(found.figures[name], abs=1e-6)


def test_held_out_categories_are_told_apart_from_the_others(shop: DrawnShop) -> None:
    found = evaluate(MeanColours(noise=1.0), EvaluationLists.read(shop.photos, shop.catalogue))

    apart = held_apart(found, ["kind 1"])

    assert apart == {
        "held out": found.by_category["kind 1"],
        "others": found.by_category["kind 0"],
    }
    assert held_apart(found, ["kind 0", "kind 1"]) == {"held out": found.figures}


def test_within_its_category_a_product_is_found_at_least_as_often(shop: DrawnShop) -> None:
    found = evaluate(MeanColours(noise=1.0), EvaluationLists.read(shop.photos, shop.catalogue))

    assert found.figures["recall@1"] < 1
    assert found.figures["distance_accuracy"] >= found.figures["recall@1"]
    assert found.figures["distance_accuracy_top_3"] >= found.figures["distance_accuracy"]
    assert 1 >= found.figures["recall@10_in_category"] >= found.figures["distance_accuracy_top_3"]
    assert 1 >= found.figures["mAP_in_category"] > found.figures["mAP"]
    # Of a category's products, which look alike, more may be nearer than of all.
    assert 0.5 < found.figures["absolute_accuracy_in_category"] < 1


def test_distractors_with_the_same_ids_are_other_products(
    shop: DrawnShop, others: DrawnShop
) -> None:
    lists = EvaluationLists.read(shop.photos, shop.catalogue, others.catalogue)

    found = evaluate(MeanColours(), lists)

    assert (found.products, found.images, found.distractors) == (17, 17, 5)
    # The distractors are the same pictures as the first five products: always a tie, never right.
    assert found.figures["recall@1"] == pytest.approx(7 / 12)
    assert found.figures["distance_accuracy"] == 1


def test_photos_of_absent_products_are_left_out_and_counted(
    shop: DrawnShop, tmp_path: Path
) -> None:
    lines = shop.catalogue.read_text().splitlines()
    few = shop.catalogue.with_name("few.csv")
    few.write_text("\n".join(lines[:5]) + "\n")

    found = evaluate(MeanColours(), EvaluationLists.read(shop.photos, few))

    assert (found.products, found.absent, found.figures["photos"]) == (4, 24, 12)


def test_lists_without_a_product_in_common_are_told(shop: DrawnShop, tmp_path: Path) -> None:
    foreign = shop.catalogue.with_name("foreign.csv")
    foreign.write_text(shop.catalogue.read_text().replace(",p", ",q").replace("qroduct", "product"))

    with pytest.raises(TrainingError, match="no product_id of one is in the other"):
        EvaluationLists.read(shop.photos, foreign)


def test_a_bad_picture_is_a_problem_and_the_rest_is_evaluated(tmp_path: Path) -> None:
    shop = draw_shop(tmp_path, products=4)
    (tmp_path / "pictures" / "p1_0.png").write_bytes(b"no picture")
    (tmp_path / "pictures" / "c3.png").write_bytes(b"")

    found = evaluate(MeanColours(), EvaluationLists.read(shop.photos, shop.catalogue))

    assert (found.images, found.figures["photos"], found.absent) == (3, 5, 2)
    assert [problem.column for problem in found.problems] == ["image", "image"]


def test_a_picture_that_the_model_says_nothing_of_is_a_problem(tmp_path: Path) -> None:
    shop = draw_shop(tmp_path, products=4)
    grey = np.full((SIZE, SIZE, 3), 128, np.uint8)
    Image.fromarray(grey).save(tmp_path / "pictures" / "c3.png")

    found = evaluate(BlindToGrey(), EvaluationLists.read(shop.photos, shop.catalogue))

    assert (found.images, found.figures["photos"], found.absent) == (3, 6, 2)
    assert "c3.png" in str(found.problems[0])


def test_models_are_compared_where_one_leaves_pictures_out(tmp_path: Path) -> None:
    shop = draw_shop(tmp_path, products=6, photos_each=3)
    grey = Image.fromarray(np.full((SIZE, SIZE, 3), 128, np.uint8))
    grey.save(tmp_path / "pictures" / "c0.png")  # product 0 is only there for the other
    grey.save(tmp_path / "pictures" / "p2_1.png")
    lists = EvaluationLists.read(shop.photos, shop.catalogue)
    one, other = evaluate(BlindToGrey(), lists), evaluate(MeanColours(), lists)

    found = compare(one, other, np.random.default_rng(0))

    assert (one.figures["photos"], other.figures["photos"]) == (14, 18)
    by_name = dict(
        zip((e.image.id for e in other.outcomes.entries), other.outcomes.first, strict=True)
    )
    same = [
        by_name[e.image.id] == first
        for e, first in zip(one.outcomes.entries, one.outcomes.first, strict=True)
    ]
    assert found.top1_agreement == np.mean(same)
    assert found.top1_agreement > 0.8  # by ids: numbers of products differ by one


def test_a_list_of_bad_pictures_is_told(tmp_path: Path) -> None:
    shop = draw_shop(tmp_path, products=2)
    for path in (tmp_path / "pictures").glob("c*.png"):
        path.write_bytes(b"no picture")

    with pytest.raises(TrainingError, match="can be read"):
        evaluate(MeanColours(), EvaluationLists.read(shop.photos, shop.catalogue))


def test_a_bundle_is_evaluated_as_a_device_searches(shop: DrawnShop, bundle_path: Path) -> None:
    lists = EvaluationLists.read(shop.photos, shop.catalogue)

    with embedding_models.opened(bundle_path) as model:
        found = evaluate(model, lists)

    assert found.pipeline == "device"
    assert found.outcomes.embeddings.shape == (36, DIM)
    assert found.figures["recall@1"] > 0.5


def test_a_float_model_gets_its_pictures_as_it_is_told(tmp_path: Path) -> None:
    path = keras_file(tmp_path, tiny_model(scales=False))
    facts = FloatFacts(input_scale=InputScale(-1, 1), resize_mode="crop", pad_level=7)

    with embedding_models.opened(path, facts) as model:
        assert (model.spec.resize_mode, model.spec.pad_level) == ("crop", 7)


def test_a_model_and_its_bundle_differ_by_little(
    shop: DrawnShop, bundle_path: Path, tmp_path: Path
) -> None:
    lists = EvaluationLists.read(shop.photos, shop.catalogue)

    reported = file_evaluation.evaluate_files([bundle_path, keras_file(tmp_path)], lists)
    (device, original), comparison = reported.evaluations, reported.comparison

    assert (device.pipeline, original.pipeline) == ("device", "float")
    assert comparison is not None
    assert comparison.cosine_mean is not None
    assert comparison.cosine_mean > 0.99
    assert comparison.top1_agreement > 0.9
    difference = comparison.differences["recall@1"]
    exact = device.figures["recall@1"] - original.figures["recall@1"]
    assert difference.difference == pytest.approx(exact)
    assert difference.low <= exact <= difference.high


def test_a_model_does_not_differ_from_itself(shop: DrawnShop) -> None:
    found = evaluate(MeanColours(noise=0.3), EvaluationLists.read(shop.photos, shop.catalogue))

    same = compare(found, found, np.random.default_rng(0))

    assert (same.top1_agreement, same.cosine_p01) == (1, pytest.approx(1))
    assert all((each.low, each.high) == (0, 0) for each in same.differences.values())

"""Reports: floors, charts, a contact sheet, one page; and what happens when one cannot be drawn."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import io
import json
from pathlib import Path

import keras
import numpy as np
import pytest
from PIL import Image
from tests.making.models import DrawnShop, draw_shop, keras_file

from pocketlens.errors import ModelUnsupported
from pocketlens_converter import charts, contact_sheets, feature_cache, floors, metrics, report
from pocketlens_converter.cli import main
from pocketlens_converter.embedding_models import FloatFacts, opened
from pocketlens_converter.evaluation import EvaluationLists, evaluate
from pocketlens_converter.file_evaluation import evaluate_files
from pocketlens_converter.float_models import FloatModel
from pocketlens_converter.receipt import Receipt
from pocketlens_converter.report import Reported


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> DrawnShop:
    return draw_shop(tmp_path_factory.mktemp("shop"), products=24, photos_each=2)


@pytest.fixture(scope="module")
def bundle(shop: DrawnShop, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A calibrated bundle with its receipt."""
    folder = tmp_path_factory.mktemp("bundle")
    out = folder / "shop.tflite"
    lists = f"--queries {shop.photos}"
    assert (
        main(f"convert {keras_file(folder)} --catalog {shop.catalogue} {lists} --out {out}".split())
        == 0
    )
    assert main(f"calibrate {out} {lists} --gallery {shop.catalogue}".split()) == 0
    return out


@pytest.fixture(scope="module")
def reported(shop: DrawnShop, bundle: Path) -> Reported:
    return evaluate_files([bundle], EvaluationLists.read(shop.photos, shop.catalogue))


def test_a_report_holds_model_floors_verdicts_and_receipt(reported: Reported) -> None:
    assert [each.model for each in reported.floors] == ["colour histogram", "perceptual hash"]
    assert reported.judged is not None
    assert len(reported.judged.confidences) == 96  # each photo with and without its product
    assert reported.judged.is_present.sum() == 48
    assert set(reported.judged.figures()) >= {"false_accept_rate", "expected_calibration_error"}
    assert reported.receipt is not None
    assert reported.receipt.precision == "int8"


def test_receipt_is_read_back_as_it_was(reported: Reported) -> None:
    assert reported.receipt is not None
    value = json.loads(json.dumps(reported.receipt.as_json()))

    assert Receipt.from_json(value) == reported.receipt


def test_a_receipt_of_another_model_is_left_out(
    shop: DrawnShop, bundle: Path, tmp_path: Path
) -> None:
    copy = tmp_path / "shop.tflite"
    copy.write_bytes(bundle.read_bytes())
    value = json.loads(bundle.with_suffix(".receipt.json").read_text())
    value["float_model_sha256"] = "00" * 32
    copy.with_suffix(".receipt.json").write_text(json.dumps(value))

    found = evaluate_files([copy], EvaluationLists.read(shop.photos, shop.catalogue))

    assert found.receipt is None


def test_command_writes_page_and_pictures(
    shop: DrawnShop, bundle: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    command = f"evaluate {bundle} --queries {shop.photos} --gallery {shop.catalogue} --json -"

    code = main([*command.split(), "--pictures", str(tmp_path / "report")])

    value = json.loads(capfd.readouterr().out)
    page = (tmp_path / "report" / "report.html").read_text()
    assert code == 0
    assert set(value["floors"]) == {"colour histogram", "perceptual hash"}
    assert {path.name for path in (tmp_path / "report").iterdir()} == {
        "report.html",
        "recall_by_catalogue_size.png",
        "similarities.png",
        "confidences.png",
        "reliability.png",
        "contact_sheet.png",
    }
    for text in ("Reliability", "perceptual hash", "Faithful to the float model", "base64"):
        assert text in page
    assert "http" not in page.replace("http-equiv", "")


def test_held_out_categories_are_on_the_page_and_in_the_figures(
    shop: DrawnShop, bundle: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    command = f"evaluate {bundle} --queries {shop.photos} --gallery {shop.catalogue}".split()
    others = ["--distractors", str(shop.catalogue), "--pictures", str(tmp_path / "report")]

    assert main([*command, *others, "--hold-out", "kind 1", "--json", "-"]) == 0

    value = json.loads(capfd.readouterr().out)
    assert value["distractors"] == 24
    assert value["held_apart"]["held out"] == value["by_category"]["kind 1"]
    assert value["held_apart"]["others"] == value["by_category"]["kind 0"]
    assert "Held-out categories" in (tmp_path / "report" / "report.html").read_text()
    assert main([*command, "--hold-out", "kind 7"]) == 1
    assert "Received 'kind 7'. There are: kind 0, kind 1." in capfd.readouterr().err


def test_what_cannot_be_drawn_is_named_and_the_rest_written(
    reported: Reported, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*arguments: object) -> bytes:
        raise RuntimeError("no ink")

    monkeypatch.setattr(charts, "reliability", fail)

    problems = report.write(tmp_path / "report", reported)

    assert problems == ("reliability could not be drawn: no ink",)
    assert not (tmp_path / "report" / "reliability.png").exists()
    assert "no ink" in (tmp_path / "report" / "report.html").read_text()


def test_contact_sheet_survives_a_missing_picture(shop: DrawnShop, tmp_path: Path) -> None:
    gone = contact_sheets.Found(tmp_path / "gone.jpg", "a product of a long name", 0.5, True)

    sheet = Image.open(
        io.BytesIO(
            contact_sheets.png(
                [("Best", [contact_sheets.Row(tmp_path / "photo.jpg", "says", (gone, gone))])]
            )
        )
    )

    assert sheet.width > 2 * contact_sheets.SIDE


def test_worst_products_come_with_what_is_found_instead(reported: Reported) -> None:
    (evaluation,) = reported.evaluations

    listed = report.worst_products(evaluation, 24)

    missed = sum(misses for _, _, misses, _ in listed)
    assert missed == round((1 - evaluation.figures["recall@1"]) * 48)
    assert [each[2] for each in listed] == sorted((each[2] for each in listed), reverse=True)


@pytest.mark.parametrize("floor", floors.FLOORS, ids=lambda floor: floor.spec.name)
def test_floors_find_a_picture_in_itself_and_less_in_photos(
    shop: DrawnShop, floor: floors.EmbeddingModel
) -> None:
    itself = evaluate(floor, EvaluationLists.read(shop.catalogue, shop.catalogue))
    photos = evaluate(floor, EvaluationLists.read(shop.photos, shop.catalogue))

    assert itself.figures["recall@1"] > 0.6  # some drawings differ in colour alone
    assert photos.figures["recall@1"] <= itself.figures["recall@1"]


def test_recall_of_smaller_catalogues_is_that_of_drawing_them() -> None:
    rng = np.random.default_rng(0)
    ranks = np.array([1, 1, 2, 5, 40, metrics.NEVER])
    sizes = np.array([1, 2, 10, 50])

    expected = metrics.recall_by_size(ranks, 50, sizes)

    for size, share in zip(sizes, expected, strict=True):
        hits = []
        for rank in ranks:
            better = min(rank, 51) - 1
            for _ in range(800):
                others = rng.permutation(49)[: size - 1]
                hits.append(not (others < better).any())
        if size > 1:
            assert share == pytest.approx(np.mean(hits), abs=0.03)
    assert expected[0] == pytest.approx(5 / 6)  # one is not in the catalogue at all
    assert expected[-1] == pytest.approx(2 / 6)


def test_pictures_are_embedded_once_for_each_model_and_layer(
    shop: DrawnShop, tmp_path: Path
) -> None:
    model, cache = keras_file(tmp_path), tmp_path / "cache"
    lists = EvaluationLists.read(shop.photos, shop.catalogue)

    def embedded(layer: str) -> Reported:
        return evaluate_files([model], lists, facts=FloatFacts(layer=layer), cache=cache)

    first, again = embedded(""), embedded("")
    pooling = next(
        layer.name
        for layer in keras.saving.load_model(model).layers
        if isinstance(layer, keras.layers.GlobalAveragePooling2D)
    )
    other = embedded(pooling)

    np.testing.assert_array_equal(
        first.evaluations[0].outcomes.embeddings, again.evaluations[0].outcomes.embeddings
    )
    dims = {each.evaluations[0].outcomes.embeddings.shape[1] for each in (first, other)}
    assert len(dims) == 2
    assert len(list(cache.glob("features-*.sqlite"))) == 2


def test_layers_of_one_length_inside_a_backbone_are_kept_apart(
    shop: DrawnShop, tmp_path: Path
) -> None:
    inside = keras.Input((32, 32, 3))
    first = keras.layers.Conv2D(4, 3, strides=4, name="first")(inside)
    second = keras.layers.ReLU(name="second")(first)
    pictures = keras.Input((32, 32, 3))
    scaled = keras.layers.Rescaling(1 / 127.5, offset=-1.0)(pictures)
    features = keras.layers.Flatten()(keras.Model(inside, second, name="backbone")(scaled))
    path = keras_file(tmp_path, keras.Model(pictures, keras.layers.Dense(8)(features)))
    lists = EvaluationLists.read(shop.photos, shop.catalogue)

    def embedded(layer: str, cache: Path | None) -> np.ndarray:
        found = evaluate_files([path], lists, facts=FloatFacts(layer=layer), cache=cache)
        return found.evaluations[0].outcomes.embeddings

    for layer in ("first", "second"):
        np.testing.assert_allclose(
            embedded(layer, tmp_path / "cache"), embedded(layer, None), atol=1e-6
        )


def test_another_head_on_the_same_trunk_embeds_nothing_anew(
    shop: DrawnShop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other, cache = keras_file(tmp_path), tmp_path / "other.keras", tmp_path / "cache"
    model = keras.saving.load_model(one)
    head = model.layers[-1]
    head.set_weights(
        [weight[:, ::-1] * 2 for weight in head.get_weights()[:1]]
        + [weight + 0.1 for weight in head.get_weights()[1:]]
    )
    model.save(other)
    lists = EvaluationLists.read(shop.photos, shop.catalogue)
    plain = evaluate_files([other], lists).evaluations[0].outcomes.embeddings
    evaluate_files([one], lists, cache=cache)

    def embeds(self: FloatModel, tensors: np.ndarray) -> np.ndarray:
        raise AssertionError("it was known")

    monkeypatch.setattr(FloatModel, "outputs", embeds)
    cached = evaluate_files([other], lists, cache=cache).evaluations[0].outcomes.embeddings

    np.testing.assert_allclose(cached, plain, atol=1e-5)


def test_a_cache_answers_without_its_model(tmp_path: Path) -> None:
    tensors = np.random.default_rng(0).integers(0, 256, (3, 64, 64, 3), dtype=np.uint8)
    floor = floors.ColourHistogram()

    with feature_cache.cached(floor, tmp_path, b"digest") as model:
        rows = model.embed_tensors(tensors)

    class Broken(floors.ColourHistogram):
        def embed_tensors(self, tensors: np.ndarray) -> np.ndarray:
            raise AssertionError("it was known")

    with feature_cache.cached(Broken(), tmp_path, b"digest") as model:
        np.testing.assert_array_equal(model.embed_tensors(tensors[::-1]), rows[::-1])


def test_an_unknown_layer_is_told_with_what_there_is(tmp_path: Path) -> None:
    with (
        pytest.raises(ModelUnsupported, match=r"no layer 'nothing'\. Its last ones are"),
        opened(keras_file(tmp_path), FloatFacts(layer="nothing")),
    ):
        pass

"""The commands as people and programs run them: results, files, exit codes, one-line errors."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from tests.making.models import (
    DIM,
    SIZE,
    DrawnShop,
    draw_shop,
    keras_file,
    tiny_bundle,
    tiny_model,
)

from pocketlens.formats import bundle as bundles
from pocketlens.query import pictures
from pocketlens.query.embedder import Embedder
from pocketlens_converter import golden
from pocketlens_converter.cli import main


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> DrawnShop:
    return draw_shop(tmp_path_factory.mktemp("shop"), products=24, photos_each=2)


@pytest.fixture
def bundle_path(tmp_path: Path) -> Path:
    path = tmp_path / "given.tflite"
    path.write_bytes(tiny_bundle())
    return path


def files(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def error_line(captured: pytest.CaptureFixture[str]) -> str:
    """The one line of an error, progress lines left out; stdout is empty."""
    out, err = captured.readouterr()
    assert out == ""
    lines = [line for line in err.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1
    assert "Traceback" not in err
    return lines[0]


def test_convert_makes_a_bundle_that_an_app_can_open(
    shop: DrawnShop, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    model, out = keras_file(tmp_path), tmp_path / "out.tflite"

    code = main(
        f"convert {model} --catalog {shop.catalogue} --queries {shop.photos} "
        f"--name a-shop --out {out} --json".split()
    )

    report = json.loads(capfd.readouterr().out)
    receipt = report["receipt"]
    assert code == 0
    assert report["size_bytes"] == out.stat().st_size
    assert report["receipt"]["fidelity"]["cosine_mean"] > 0.99
    assert (receipt["fidelity"]["pictures"], receipt["quantized_with"]) == (48, 24)
    with Embedder.open(out, accelerator="cpu") as embedder:
        bundle = embedder.bundle
        assert embedder.drift < 1e-6
        assert embedder.drift <= bundle.golden_bound
    assert bundle.spec == bundles.Spec("a-shop", SIZE, SIZE, DIM)
    assert (len(bundle.representative), len(bundle.queries)) == (24, 48)
    assert bundle.float_model_sha256 == hashlib.sha256(model.read_bytes()).digest()
    assert bundle.representative_pictures == 24
    assert bundle.calibrations == ()
    for example in bundle.golden_examples:
        np.testing.assert_array_equal(pictures.tensor(example.jpeg, bundle.spec), example.tensor)


def test_convert_without_photos_leaves_queries_empty(
    shop: DrawnShop, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out.tflite"

    code = main(
        ["convert", str(keras_file(tmp_path)), "--catalog", str(shop.catalogue), "--out", str(out)]
    )

    assert code == 0
    assert "cosine_mean" in capfd.readouterr().out
    assert len(bundles.decode(out.read_bytes()).queries) == 0


def test_a_foreign_model_is_asked_for_its_facts_and_then_taken(
    shop: DrawnShop, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    model, out = keras_file(tmp_path, tiny_model(side=None, scales=False)), tmp_path / "out.tflite"
    command = ["convert", str(model), "--catalog", str(shop.catalogue), "--out", str(out)]

    assert main(command) == 1
    assert "--image-size" in error_line(capfd)
    command += ["--image-size", "24"]
    assert main(command) == 1
    assert "--input-scale" in error_line(capfd)
    assert not out.exists()
    assert main([*command, "--input-scale", "-1..1", "--resize", "squash"]) == 0

    spec = bundles.decode(out.read_bytes()).spec
    assert (spec.height, spec.width, spec.resize_mode) == (24, 24, "squash")


def test_a_bad_picture_is_reported_and_the_rest_converted(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    shop = draw_shop(tmp_path, products=6)
    (tmp_path / "pictures" / "c2.png").write_bytes(b"no picture")
    out = tmp_path / "out.tflite"

    code = main(
        ["convert", str(keras_file(tmp_path)), "--catalog", str(shop.catalogue), "--out", str(out)]
    )

    assert code == 0
    assert capfd.readouterr().err.count("problem: ") == 1
    assert len(bundles.decode(out.read_bytes()).representative) == 5


def test_an_error_leaves_the_old_bundle_and_nothing_else(
    shop: DrawnShop, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out.tflite"
    out.write_bytes(b"the old one")
    (tmp_path / "no.keras").write_bytes(b"no model")
    before = files(tmp_path)

    code = main(
        ["convert", str(tmp_path / "no.keras"), "--catalog", str(shop.catalogue), "--out", str(out)]
    )

    assert code == 1
    assert "no.keras" in error_line(capfd)
    assert files(tmp_path) == before
    assert out.read_bytes() == b"the old one"


def test_a_catalogue_of_bad_pictures_is_told(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    shop = draw_shop(tmp_path, products=2)
    for path in (tmp_path / "pictures").iterdir():
        path.write_bytes(b"no picture")

    code = main(
        f"convert {keras_file(tmp_path)} --catalog {shop.catalogue} "
        f"--out {tmp_path / 'out.tflite'}".split()
    )

    assert code == 1
    assert "can be read" in error_line(capfd)
    assert not (tmp_path / "out.tflite").exists()


def test_evaluate_prints_a_table_and_writes_json(
    shop: DrawnShop, bundle_path: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    result = tmp_path / "result.json"
    command = ["evaluate", str(bundle_path), "--queries", str(shop.photos), "--gallery"]
    command += [str(shop.catalogue), "--against", str(keras_file(tmp_path))]

    assert main([*command, "--json", str(result)]) == 0
    table = capfd.readouterr().out
    assert main([*command, "--json", "-"]) == 0

    printed = json.loads(capfd.readouterr().out)
    assert printed == json.loads(result.read_text())
    assert printed["figures"]["photos"] == 48
    assert printed["comparison"]["cosine_mean"] > 0.99
    assert set(printed["comparison"]["differences"]) == {"recall@1", "recall@3", "recall@10", "mAP"}
    for name in (
        "recall@1",
        "mAP",
        "absolute_accuracy",
        "distance_accuracy_top_3",
        "top1_agreement",
    ):
        assert name in table


def test_calibrate_puts_a_calibration_into_the_bundle_in_place(
    shop: DrawnShop, bundle_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    before = bundles.decode(bundle_path.read_bytes())

    code = main(
        f"calibrate {bundle_path} --queries {shop.photos} --gallery {shop.catalogue} --json".split()
    )

    printed = json.loads(capfd.readouterr().out)
    after = bundles.decode(bundle_path.read_bytes())
    calibration = after.calibration("device")
    assert code == 0
    assert calibration is not None
    assert (calibration.present_photos, calibration.products) == (48, 24)
    assert printed["calibration"]["match_threshold"] == calibration.match_threshold
    assert after.spec == before.spec
    with Embedder.open(bundle_path, accelerator="cpu") as embedder:
        assert embedder.drift < 1e-6


def test_calibrate_with_out_leaves_the_bundle_as_it_was(
    shop: DrawnShop, bundle_path: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "calibrated.tflite"
    bundle_path.with_suffix(".receipt.json").write_text("{}")

    code = main(
        f"calibrate {bundle_path} --queries {shop.photos} --gallery {shop.catalogue} "
        f"--out {out}".split()
    )

    assert code == 0
    assert "false_accept_rate" in capfd.readouterr().out
    assert bundle_path.read_bytes() == tiny_bundle()
    assert bundles.decode(out.read_bytes()).calibration("device") is not None
    assert out.with_suffix(".receipt.json").read_text() == "{}"


def test_calibrate_takes_photos_of_absent_things(
    shop: DrawnShop, bundle_path: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    others = draw_shop(tmp_path / "others", products=24, photos_each=2, seed=9)

    code = main(
        f"calibrate {bundle_path} --queries {shop.photos} --gallery {shop.catalogue} "
        f"--absent {others.photos}".split()
    )

    calibration = bundles.decode(bundle_path.read_bytes()).calibration("device")
    assert code == 0
    assert calibration is not None
    assert (calibration.present_photos, calibration.absent_photos) == (48, 48)
    assert "48 of absent things" in capfd.readouterr().out


def test_calibrate_fits_three_pipelines_with_the_float_model(
    shop: DrawnShop, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    model, out = keras_file(tmp_path), tmp_path / "out.tflite"
    assert main(f"convert {model} --catalog {shop.catalogue} --out {out}".split()) == 0
    command = f"calibrate {out} --queries {shop.photos} --gallery {shop.catalogue} --json"
    capfd.readouterr()

    assert main([*command.split(), "--float", str(model)]) == 0

    printed = json.loads(capfd.readouterr().out)
    bundle = bundles.decode(out.read_bytes())
    assert list(printed["pipelines"]) == ["device", "embedding", "photo"]
    for name in ("device", "embedding", "photo"):
        calibration = bundle.calibration(name)
        assert calibration is not None
        assert calibration.present_photos == 48
    other = keras_file(tmp_path, tiny_model(seed=5), name="other.keras")
    assert main([*command.split(), "--float", str(other)]) == 1
    assert "another float model" in capfd.readouterr().err


def test_a_foreign_model_says_what_its_file_does_not(
    shop: DrawnShop, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    model, out = keras_file(tmp_path, tiny_model(scales=False)), tmp_path / "out.tflite"
    lists = f"--queries {shop.photos} --gallery {shop.catalogue}"
    taken = "--input-scale -1..1"
    made = f"convert {model} --catalog {shop.catalogue} --out {out} --resize crop {taken}"
    assert main(made.split()) == 0

    assert main(f"calibrate {out} {lists} --float {model}".split()) == 1
    assert "--input-scale" in capfd.readouterr().err
    assert main(f"calibrate {out} {lists} --float {model} {taken}".split()) == 0
    assert bundles.decode(out.read_bytes()).calibration("photo") is not None
    assert main(f"calibrate {out} {lists} {taken}".split()) == 2
    assert main(f"evaluate {model} {lists} {taken} --resize crop --json -".split()) == 0
    assert main(f"evaluate {model} {lists} {taken} --resize fit".split()) == 2


@pytest.mark.parametrize(
    ("command", "told"),
    [
        (
            "calibrate BUNDLE --queries PHOTOS --gallery CATALOGUE --absent FEW",
            "20 photos of absent things",
        ),
        ("calibrate KERAS --queries PHOTOS --gallery CATALOGUE", "Expected a bundle"),
        ("evaluate TEXT --queries PHOTOS --gallery CATALOGUE", "TensorFlow Lite"),
        ("evaluate BUNDLE --queries missing.csv --gallery CATALOGUE", "missing.csv"),
        ("convert KERAS --catalog missing.csv --out x.tflite", "missing.csv"),
        ("convert KERAS --catalog CATALOGUE --out no/where/x.tflite", "no folder no/where"),
        ("convert BUNDLE --catalog CATALOGUE --out x.tflite", ".keras file or the folder"),
        ("convert KERAS --catalog CATALOGUE --out x.tflite --input-scale 1", "0..255"),
    ],
)
def test_what_is_wrong_is_told_in_one_line(
    shop: DrawnShop,
    bundle_path: Path,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    command: str,
    told: str,
) -> None:
    (tmp_path / "text.tflite").write_text("no model")
    few = shop.photos.with_name("few.csv")
    few.write_text("".join(shop.photos.read_text().splitlines(keepends=True)[:5]))
    places = {
        "FEW": str(few),
        "KERAS": str(keras_file(tmp_path)),
        "BUNDLE": str(bundle_path),
        "TEXT": str(tmp_path / "text.tflite"),
        "PHOTOS": str(shop.photos),
        "CATALOGUE": str(shop.catalogue),
    }

    code = main([places.get(word, word) for word in command.split()])

    assert code == 1
    assert told in error_line(capfd)


@pytest.mark.parametrize(
    "command",
    [
        "convert",
        "convert m.keras --out x",
        "convert m.keras --catalog c --out o --resize bend",
        "evaluate m",
        "nothing",
    ],
)
def test_wrong_usage_exits_with_two(command: str, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(command.split()) == 2
    assert capfd.readouterr().out == ""


def test_help_is_there_without_tensorflow() -> None:
    program = (
        "import sys\n"
        "from pocketlens_converter.cli import main\n"
        "code = main(['convert', '--help'])\n"
        "heavy = {'tensorflow', 'keras', 'ai_edge_litert', 'PIL'} & set(sys.modules)\n"
        "sys.exit(code or len(heavy))\n"
    )

    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=False)

    assert done.returncode == 0, done
    assert b"--input-scale" in done.stdout


# --- the golden bound -------------------------------------------------------------------------


def test_the_bound_is_where_one_in_a_hundred_first_matches_changes() -> None:
    rng = np.random.default_rng(0)
    gallery = rng.normal(size=(1000, 64)).astype(np.float32)
    gallery /= np.linalg.norm(gallery, axis=1, keepdims=True)
    queries = golden.imagined_queries(gallery[:200], rng)

    bound = golden.bound(queries, gallery, np.random.default_rng(1))

    assert golden.LEAST_BOUND < bound < golden.LARGEST_BOUND
    changed = {}
    for distance in (bound / 2, bound, 4 * bound):
        drift = rng.normal(size=queries.shape)
        drift -= (drift * queries).sum(axis=1, keepdims=True) * queries
        drift /= np.linalg.norm(drift, axis=1, keepdims=True)
        moved = (1 - distance) * queries + np.sqrt(1 - (1 - distance) ** 2) * drift
        changed[distance] = np.mean(
            (moved @ gallery.T).argmax(1) != (queries @ gallery.T).argmax(1)
        )
    assert changed[bound / 2] <= 0.02
    assert changed[4 * bound] > 0.01


def test_imagined_queries_are_at_cosine_one_half() -> None:
    gallery = np.eye(4, 32, dtype=np.float32)

    queries = golden.imagined_queries(gallery, np.random.default_rng(0))

    np.testing.assert_allclose((queries * gallery).sum(axis=1), 0.5, atol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(queries, axis=1), 1, atol=1e-6)


@pytest.mark.parametrize("rows", [1, 2])
def test_a_gallery_too_small_to_err_in_has_a_bound(rows: int) -> None:
    gallery = np.eye(rows, 8, dtype=np.float32)

    assert golden.bound(gallery, gallery, np.random.default_rng(0)) == golden.LARGEST_BOUND

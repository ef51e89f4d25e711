"""Float models are read as they are meant, and keep their meaning in int8."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from tests.making.models import DIM, SIZE, drawings, keras_file, tiny_model

from pocketlens.errors import ModelUnsupported
from pocketlens.query import runtimes
from pocketlens_converter import float_models, metrics, quantization, weight_rounding
from pocketlens_converter.convert_options import ConvertOptions, InputScale
from pocketlens_converter.float_models import FloatModel
from pocketlens_converter.silence import silenced, tensorflow

PICTURES = drawings(40)


def embedded(tflite: bytes, tensors: np.ndarray) -> np.ndarray:
    runtime = runtimes.interpreter(tflite, accelerator="cpu", threads=1)
    return float_models.unit_rows(np.stack([runtime.run(tensor) for tensor in tensors]))


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> FloatModel:
    return float_models.load(keras_file(tmp_path_factory.mktemp("model")))


def test_bytes_in_floats_out_and_close_to_the_float_model(model: FloatModel) -> None:
    tflite = quantization.quantize(model, PICTURES[:20])

    runtime = runtimes.interpreter(tflite, accelerator="cpu", threads=1)
    assert (runtime.input_shape, runtime.input_dtype) == ((SIZE, SIZE, 3), np.uint8)
    assert runtime.output_dim == DIM
    cosines = metrics.cosines(embedded(tflite, PICTURES[20:]), model.embed_tensors(PICTURES[20:]))
    assert cosines.mean() > 0.99


def test_corrected_means_lose_less_than_plain_rounding(model: FloatModel) -> None:
    wanted = model.embed_tensors(PICTURES[20:])

    corrected, plain = (
        embedded(quantization.quantize(model, PICTURES[:20], corrects_means=each), PICTURES[20:])
        for each in (True, False)
    )

    assert metrics.cosines(corrected, wanted).mean() > metrics.cosines(plain, wanted).mean()


def test_quantizing_leaves_the_float_model_as_it_was(model: FloatModel) -> None:
    before = model.embed_tensors(PICTURES[:5])

    with weight_rounding.rounded_weights(model.keras_model, PICTURES[:8]):
        meanwhile = model.embed_tensors(PICTURES[:5])

    assert not np.array_equal(meanwhile, before)
    np.testing.assert_array_equal(model.embed_tensors(PICTURES[:5]), before)


def test_an_error_meanwhile_leaves_the_float_model_as_it_was(model: FloatModel) -> None:
    before = model.keras_model.get_weights()

    with (
        pytest.raises(KeyboardInterrupt),
        weight_rounding.rounded_weights(model.keras_model, PICTURES[:8]),
    ):
        raise KeyboardInterrupt

    for now, then in zip(model.keras_model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(now, then)


@pytest.mark.parametrize(
    ("shape", "axes"), [((3, 3, 4, 5), (0, 1, 2)), ((3, 3, 6, 1), (0, 1)), ((7, 3), (0,))]
)
def test_rounding_is_that_of_a_plain_loop(shape: tuple[int, ...], axes: tuple[int, ...]) -> None:
    kernel = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    kernel[..., 0] = 0 if len(axes) != 2 else kernel[..., 0]  # a channel without weights

    found = weight_rounding.rounded(kernel, axes)

    largest: dict[tuple[int, ...], float] = {}
    for place in np.ndindex(shape):
        channel = place[len(axes) :]
        largest[channel] = max(largest.get(channel, 0.0), abs(float(kernel[place])))
    for place in np.ndindex(shape):
        step = (largest[place[len(axes) :]] or 1.0) / 127
        assert found[place] == pytest.approx(round(float(kernel[place]) / step) * step, abs=1e-6)


def test_means_of_every_layer_stay_when_weights_are_rounded(model: FloatModel) -> None:
    batch = tensorflow().constant(PICTURES.astype(np.float32))
    before = model.keras_model(batch).numpy().mean(axis=0)

    with weight_rounding.rounded_weights(model.keras_model, PICTURES):
        after = model.keras_model(batch).numpy().mean(axis=0)

    np.testing.assert_allclose(after, before, atol=1e-4)


@pytest.mark.parametrize("scale", ["-1..1", "0..1", "0..255"])
def test_a_foreign_scale_is_wrapped_around_the_model(tmp_path: Path, scale: str) -> None:
    foreign = tiny_model(scales=False)
    levels = InputScale.parse(scale)
    scaled = PICTURES[:4] * np.float32(levels.factor) + np.float32(levels.black)

    loaded = float_models.load(keras_file(tmp_path, foreign), input_scale=levels)

    wanted = float_models.unit_rows(foreign(scaled.astype(np.float32)).numpy())
    np.testing.assert_allclose(loaded.embed_tensors(PICTURES[:4]), wanted, atol=1e-5)


def test_an_open_size_is_fixed(tmp_path: Path) -> None:
    loaded = float_models.load(keras_file(tmp_path, tiny_model(side=None)), image_size=40)

    assert (loaded.height, loaded.width, loaded.dim) == (40, 40, DIM)
    assert loaded.embed_tensors(np.zeros((1, 40, 40, 3), np.uint8)).shape == (1, DIM)


def test_a_saved_model_gives_what_its_keras_model_gives(tmp_path: Path) -> None:
    keras_model = tiny_model(scales=False)
    with silenced():
        keras_model.export(tmp_path / "saved", verbose=False)

    loaded = float_models.load(tmp_path / "saved", input_scale=InputScale(-1, 1))
    tflite = quantization.quantize(loaded, PICTURES[:8])

    scaled = (PICTURES[8:16] / np.float32(127.5) - 1).astype(np.float32)
    wanted = float_models.unit_rows(keras_model(scaled).numpy())
    np.testing.assert_allclose(loaded.embed_tensors(PICTURES[8:16]), wanted, atol=1e-5)
    assert metrics.cosines(embedded(tflite, PICTURES[8:16]), wanted).min() > 0.9


def two_inputs() -> object:
    import keras

    one, other = keras.Input((SIZE, SIZE, 3)), keras.Input((SIZE, SIZE, 3))
    pooled = keras.layers.GlobalAveragePooling2D()(keras.layers.Add()([one, other]))
    return keras.Model([one, other], keras.layers.Dense(4)(pooled))


def picture_out() -> object:
    import keras

    pictures = keras.Input((SIZE, SIZE, 3))
    return keras.Model(pictures, keras.layers.Conv2D(4, 3)(pictures))


def vector_in() -> object:
    import keras

    vectors = keras.Input((12,))
    return keras.Model(vectors, keras.layers.Dense(4)(vectors))


@pytest.mark.parametrize(
    ("make", "options", "told"),
    [
        (two_inputs, {}, "one input and one output"),
        (picture_out, {"input_scale": InputScale(0, 1)}, "one vector"),
        (vector_in, {"input_scale": InputScale(0, 1)}, r"\(batch, height, width, 3\)"),
        (lambda: tiny_model(scales=False), {}, "--input-scale"),
        (lambda: tiny_model(side=None), {}, "--image-size"),
        (tiny_model, {"image_size": 64}, "not of 64"),
        (tiny_model, {"input_scale": InputScale(0, 1)}, "scales pixels of 0 to 255 itself"),
    ],
)
def test_what_cannot_be_a_model_is_told(
    tmp_path: Path, make: object, options: dict[str, object], told: str
) -> None:
    tensorflow()
    path = keras_file(tmp_path, make())  # type: ignore[operator]

    with pytest.raises(ModelUnsupported, match=told):
        float_models.load(path, **options)  # type: ignore[arg-type]


def test_a_file_that_is_no_model_is_told(tmp_path: Path) -> None:
    (tmp_path / "text.keras").write_text("no archive")
    whole = keras_file(tmp_path).read_bytes()
    (tmp_path / "cut.keras").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "empty").mkdir()

    for name in ("text.keras", "cut.keras", "empty", "missing.keras"):
        with pytest.raises(ModelUnsupported, match=name):
            float_models.load(tmp_path / name)


def test_a_model_with_code_of_its_own_is_refused(tmp_path: Path) -> None:
    tensorflow()
    import keras

    pictures = keras.Input((SIZE, SIZE, 3))
    pooled = keras.layers.Lambda(lambda x: x[:, 0, 0, :])(pictures)
    path = keras_file(tmp_path, keras.Model(pictures, pooled))

    with pytest.raises(ModelUnsupported, match="built-in layers"):
        float_models.load(path, input_scale=InputScale(0, 255))


def test_an_operator_without_int8_is_told(tmp_path: Path) -> None:
    tensorflow()
    import keras

    pictures = keras.Input((SIZE, SIZE, 3))
    pooled = keras.layers.GlobalAveragePooling2D()(keras.ops.erfinv(pictures))
    model = keras.Model(pictures, pooled)
    loaded = float_models.load(keras_file(tmp_path, model), input_scale=InputScale(0, 255))

    with pytest.raises(ModelUnsupported, match="cannot be converted to int8"):
        quantization.quantize(loaded, PICTURES[:2])


@pytest.mark.parametrize("text", ["", "1", "0-255", "1..-1", "0..0", "a..b", "0..255..1"])
def test_a_wrong_scale_is_told(text: str) -> None:
    with pytest.raises(ModelUnsupported, match="input scale"):
        InputScale.parse(text)


def test_a_wrong_size_is_told() -> None:
    with pytest.raises(ModelUnsupported, match="8 to 2,048"):
        ConvertOptions(image_size=4)


def test_silence_holds_what_c_code_writes_too(capfd: pytest.CaptureFixture[str]) -> None:
    with silenced():
        os.write(1, b"noise")
        os.write(2, b"noise")
    os.write(1, b"voice")

    captured = capfd.readouterr()
    assert (captured.out, captured.err) == ("voice", "")

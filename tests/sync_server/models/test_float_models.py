"""The float model of a bundle: the very one, loaded without any code, right to the last digits."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.making.colour_bundle import described_as
from tests.making.models import DIM, draw_shop, drawings, keras_file, tiny_bundle, tiny_model

from pocketlens.errors import BundleError, BundleHashMismatch, ModelUnsupported, PictureError
from pocketlens.formats import bundle as bundles
from pocketlens.formats.bundle import Bundle
from pocketlens_converter import float_models as converters
from pocketlens_converter.conversion import convert
from pocketlens_converter.convert_options import ConvertOptions
from pocketlens_server.models.float_models import BATCH, KerasModel, open_sibling


@pytest.fixture(scope="module")
def keras(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return keras_file(tmp_path_factory.mktemp("keras"))


@pytest.fixture(scope="module")
def bundle(keras: Path, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    shop = draw_shop(tmp_path_factory.mktemp("shop"), products=24)
    return bundles.decode(convert(keras, catalogue=shop.catalogue, queries=shop.photos).data)


@pytest.fixture(scope="module")
def model(keras: Path, bundle: Bundle) -> Iterator[KerasModel]:
    with KerasModel.open(keras, bundle.spec) as opened:
        yield opened


def test_it_gives_what_the_converter_measured(keras: Path, model: KerasModel) -> None:
    tensors = drawings(70)
    expected = converters.load(keras).embed_tensors(tensors)

    np.testing.assert_allclose(model.embed(list(tensors)), expected, atol=1e-5)
    np.testing.assert_allclose(model.embed(list(tensors[:1])), expected[:1], atol=1e-5)
    assert model.accelerator == "cpu"


def test_the_model_of_the_bundle_is_its_sibling(keras: Path, bundle: Bundle) -> None:
    with open_sibling(keras, bundle) as found:
        assert [len(each) for each in found.embed(list(drawings(2)))] == [DIM, DIM]  # type: ignore[arg-type]


def test_a_float32_bundle_of_the_same_model_is_its_sibling(
    keras: Path, bundle: Bundle, tmp_path: Path
) -> None:
    shop = draw_shop(tmp_path, products=24)
    options = ConvertOptions(precision="float32")
    made = convert(keras, catalogue=shop.catalogue, queries=shop.photos, options=options)
    (tmp_path / "float.tflite").write_bytes(made.data)
    tensors = drawings(9)

    with open_sibling(tmp_path / "float.tflite", bundle) as found:
        expected = converters.load(keras).embed_tensors(tensors)
        np.testing.assert_allclose(found.embed(list(tensors)), expected, atol=1e-4)


def test_a_float32_bundle_of_another_input_is_refused(tmp_path: Path) -> None:
    """Though it was made of the very model, which takes pictures of any size."""
    keras, shop = keras_file(tmp_path, tiny_model(side=None)), draw_shop(tmp_path, products=24)
    small, large = (
        convert(
            keras,
            catalogue=shop.catalogue,
            queries=shop.photos,
            options=ConvertOptions(precision=precision, image_size=size),
        ).data
        for precision, size in (("int8", 32), ("float32", 48))
    )
    (tmp_path / "float.tflite").write_bytes(large)

    with pytest.raises(ModelUnsupported, match=r"32 x 32 .* 48 x 48"):
        open_sibling(tmp_path / "float.tflite", bundles.decode(small))


def test_another_model_is_refused(bundle: Bundle, tmp_path: Path) -> None:
    other = keras_file(tmp_path, tiny_model(seed=5))

    with pytest.raises(BundleHashMismatch, match="made of"):
        open_sibling(other, bundle)


def test_a_quantized_bundle_is_refused(bundle: Bundle, tmp_path: Path) -> None:
    (tmp_path / "shop.tflite").write_bytes(tiny_bundle())

    with pytest.raises(BundleError):
        open_sibling(tmp_path / "shop.tflite", bundle)


def test_a_bundle_that_does_not_know_its_model_has_no_sibling(keras: Path, bundle: Bundle) -> None:
    with pytest.raises(BundleHashMismatch, match="no hash"):
        open_sibling(keras, replace(bundle, float_model_sha256=b""))


def test_a_model_that_sees_otherwise_is_refused(bundle: Bundle, tmp_path: Path) -> None:
    """Such as one whose input is scaled outside of it."""
    unscaled = keras_file(tmp_path, tiny_model(scales=False))
    import hashlib

    claimed = replace(bundle, float_model_sha256=hashlib.sha256(unscaled.read_bytes()).digest())

    with pytest.raises(ModelUnsupported, match="golden examples"):
        open_sibling(unscaled, claimed)


@pytest.mark.parametrize(
    "kind", ["lambda", "custom layer", "of another size", "of another length", "cut"]
)
def test_what_is_no_model_of_built_in_layers_is_refused(
    kind: str, bundle: Bundle, tmp_path: Path
) -> None:
    import keras

    @keras.saving.register_keras_serializable(package="foreign")
    class Foreign(keras.layers.Layer):  # type: ignore[misc]
        def call(self, pixels: Any) -> Any:
            return pixels

    pixels = keras.Input((32, 32, 3))
    path = tmp_path / "model.keras"
    if kind in ("lambda", "custom layer"):
        layer = Foreign() if kind == "custom layer" else keras.layers.Lambda(lambda seen: seen * 2)
        features = keras.layers.Flatten()(layer(pixels))
        keras.Model(pixels, keras.layers.Dense(DIM)(features)).save(path)
    elif kind == "of another size":
        keras_file(tmp_path, tiny_model(side=48), name=path.name)
    elif kind == "of another length":
        keras_file(tmp_path, tiny_model(dim=DIM + 1), name=path.name)
    else:
        path.write_bytes(keras_file(tmp_path, name="whole.keras").read_bytes()[:-700])

    with pytest.raises(ModelUnsupported):
        KerasModel.open(path, bundle.spec)


@pytest.mark.parametrize("error", ["ResourceExhaustedError", "InternalError"])
def test_a_device_without_room_takes_fewer_and_says_so(
    bundle: Bundle, caplog: pytest.LogCaptureFixture, error: str
) -> None:
    import tensorflow as tf

    sizes = []

    def call(batch: Any) -> Any:
        sizes.append(len(batch))
        if len(batch) > 4:
            raise getattr(tf.errors, error)(None, None, "no room")
        return tf.reshape(batch, (len(batch), -1))[:, : bundle.spec.dim] + 1.0

    short = KerasModel(call, bundle.spec, ["/CPU:0"])
    with caplog.at_level(logging.WARNING):
        found = short.embed(list(drawings(10)))

    assert np.stack(found).shape == (10, DIM)
    assert sizes == [10, 10, 8, 4, 4, 2]
    assert "pictures_at_once=4" in caplog.text


def test_a_device_without_room_for_one_gives_way_to_the_next(
    bundle: Bundle, caplog: pytest.LogCaptureFixture
) -> None:
    import tensorflow as tf

    calls = []

    def call(batch: Any) -> Any:
        calls.append(1)
        if len(calls) <= 7:
            raise tf.errors.ResourceExhaustedError(None, None, "no room")
        return tf.ones((len(batch), bundle.spec.dim))

    found = KerasModel(call, bundle.spec, ["/GPU:0", "/CPU:0"])
    assert found.accelerator == "gpu"

    with caplog.at_level(logging.WARNING):
        found.embed(list(drawings(3)))

    assert found.accelerator == "cpu"
    assert "device=/CPU:0" in caplog.text


def test_of_those_without_room_at_once_one_gives_way(bundle: Bundle) -> None:
    import tensorflow as tf

    sizes, both = list[int](), threading.Barrier(2)

    def call(batch: Any) -> Any:
        sizes.append(len(batch))
        if len(batch) == BATCH:
            both.wait(30)
            raise tf.errors.ResourceExhaustedError(None, None, "no room")
        return tf.ones((len(batch), bundle.spec.dim))

    found = KerasModel(call, bundle.spec, ["/GPU:0", "/CPU:0"])
    pictures = list(drawings(BATCH))
    with ThreadPoolExecutor(2) as threads:
        for each in [threads.submit(found.embed, pictures) for _ in range(2)]:
            assert len(each.result(60)) == BATCH

    assert sizes == [BATCH, BATCH, *[BATCH // 2] * 4]


def test_a_device_that_fails_is_told(bundle: Bundle) -> None:
    import tensorflow as tf

    def call(batch: Any) -> Any:
        raise tf.errors.UnknownError(None, None, "The driver is gone.\nAnd much more.")

    with pytest.raises(BundleError, match=r"The driver is gone\.$"):
        KerasModel(call, bundle.spec, ["/CPU:0"]).embed(list(drawings(1)))


def test_a_model_that_gives_no_embedding_is_told(bundle: Bundle) -> None:
    import tensorflow as tf

    for value in (0.0, float("nan")):
        found = KerasModel(lambda batch: tf.fill((1, DIM), value), bundle.spec, ["/CPU:0"])  # noqa: B023
        (told,) = found.embed(list(drawings(1)))
        assert isinstance(told, PictureError)


def test_a_closed_model_says_so(keras: Path, bundle: Bundle) -> None:
    found = KerasModel.open(keras, bundle.spec)
    found.close()
    found.close()

    with pytest.raises(BundleError, match="closed"):
        found.embed(list(drawings(1)))


def test_described_bundles_keep_their_origin(bundle: Bundle) -> None:
    again = bundles.decode(described_as(tiny_bundle(), bundle))

    assert again.float_model_sha256 == bundle.float_model_sha256

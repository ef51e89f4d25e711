"""MediaPipe loads a bundle as it is, and sees in pictures what the SDK sees."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import subprocess
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.making.models import SIZE, draw_shop, drawings, keras_file

from pocketlens.query.embedder import Embedder
from pocketlens_converter import conversion
from pocketlens_converter.convert_options import ConvertOptions, Precision

ROOT = Path(__file__).resolve().parents[2]
PYTHON = ROOT / ".venv-mediapipe" / "bin" / "python"

pytestmark = pytest.mark.skipif(
    not PYTHON.exists(), reason="MediaPipe has an environment of its own: make mediapipe"
)


@pytest.mark.parametrize("precision", ["int8", "float16", "float32"])
def test_embeddings_are_the_sdks(tmp_path: Path, precision: Precision) -> None:
    shop = draw_shop(tmp_path, products=12)
    options = ConvertOptions(precision=precision)
    made = conversion.convert(keras_file(tmp_path), catalogue=shop.catalogue, options=options)
    bundle, out = tmp_path / "shop.tflite", tmp_path / "rows.npy"
    bundle.write_bytes(made.data)
    tensors = drawings(6)
    paths = []
    for number, tensor in enumerate(tensors):
        assert tensor.shape == (SIZE, SIZE, 3)  # at the model's size nothing is resized
        paths.append(tmp_path / f"{number}.png")
        Image.fromarray(tensor).save(paths[-1])

    subprocess.run(
        [PYTHON, Path(__file__).with_name("embed.py"), bundle, out, *paths],
        check=True,
        capture_output=True,
    )

    with Embedder.open(bundle, accelerator="cpu") as embedder:
        ours = np.stack([embedder.embed_tensor(tensor) for tensor in tensors])
    cosines = (np.load(out) * ours).sum(axis=1)
    assert cosines.min() >= 0.999

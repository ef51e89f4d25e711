"""The environment of tflite-runtime is what it says: that runtime, and the oldest libraries.

The embedder's own tests run there too; these say that they did not run on something else.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import importlib.util
from importlib import metadata
from pathlib import Path

import numpy as np
import PIL
import pytest

from pocketlens.query import runtimes
from pocketlens.query.embedder import Embedder

VECTOR = Path(__file__).resolve().parents[1] / "conformance" / "vectors" / "tiny_bundle.tflite"

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("tflite_runtime") is None,
    reason="tflite-runtime has an environment of its own: make tflite-runtime",
)


def test_runtime_is_tflite_runtime() -> None:
    assert importlib.util.find_spec("ai_edge_litert") is None
    assert runtimes.installed().name == f"tflite-runtime {metadata.version('tflite-runtime')}"


def test_libraries_are_the_oldest_that_the_package_allows() -> None:
    assert np.__version__.startswith("1.26.")
    assert PIL.__version__ == "10.3.0"
    assert metadata.version("protobuf") == "4.21.6"


def test_bundle_keeps_its_golden_bound() -> None:
    with Embedder.open(VECTOR) as embedder:
        assert embedder.runtime.startswith("tflite-runtime")
        assert 0 < embedder.drift <= embedder.bundle.golden_bound  # other kernels than LiteRT's

"""A changed model never runs; the short form of 50 one-bit mutants, none of which is loaded."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pocketlens.errors import BundleError, ModelUnsupported
from pocketlens.formats import bundle as bundles
from pocketlens.formats.bundle import Bundle
from pocketlens.query.embedder import Embedder

ROOT = Path(__file__).resolve().parents[2]
VECTOR = ROOT / "tests" / "conformance" / "vectors" / "tiny_bundle.tflite"
DATA = VECTOR.read_bytes()
MUTANTS = 50

# A runtime is imported when a model is first loaded: as long as none is in the process, no mutant
# can have got as far as that.
OPENED = """
import sys
from pathlib import Path
import numpy as np
from pocketlens.errors import BundleError
from pocketlens.query.embedder import Embedder
data = Path(sys.argv[1]).read_bytes()
rng = np.random.default_rng(35)
refused = 0
for bit in rng.choice(8 * len(data), int(sys.argv[2]), replace=False):
    mutant = bytearray(data)
    mutant[bit // 8] ^= 1 << bit % 8
    try:
        Embedder.open(bytes(mutant))
    except BundleError as exc:
        assert str(exc)
        refused += 1
runtimes = {"ai_edge_litert", "tflite_runtime"}
assert not runtimes & set(sys.modules), "a runtime was loaded"
Embedder.open(data).close()
assert runtimes & set(sys.modules), "the original was not loaded either"
print(refused)
"""


def test_one_changed_bit_keeps_a_model_from_being_loaded() -> None:
    done = subprocess.run(
        [sys.executable, "-c", OPENED, str(VECTOR), str(MUTANTS)],
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    assert int(done.stdout) == MUTANTS


def changed(change: Callable[[Any], object]) -> bytes:
    """The tiny bundle with another model inside, sealed by someone who knows how to."""
    schema = pytest.importorskip("ai_edge_litert.schema_py_generated")
    flatbuffers = pytest.importorskip("flatbuffers")

    model = schema.ModelT.InitFromPackedBuf(DATA)
    change(model)
    builder = flatbuffers.Builder(len(DATA))
    builder.Finish(model.Pack(builder), b"TFL3")
    return bundles.seal(bytes(builder.Output()))


def described(**differences: Any) -> bytes:
    """The tiny model, sealed with a description that differs."""
    bundling = pytest.importorskip("pocketlens_converter.bundling")
    bundle = bundles.decode(DATA)
    spec = replace(bundle.spec, **differences)
    embeddings = np.eye(spec.dim, dtype=np.float32)
    examples = tuple(
        replace(
            example,
            tensor=np.zeros((spec.height, spec.width, 3), np.uint8),
            embedding=embeddings[0],
        )
        for example in bundle.golden_examples
    )
    other = Bundle(spec, examples, 0.5, embeddings, embeddings[:0])
    data: bytes = bundling.bundle_bytes(DATA, other)
    return data


def test_repacked_model_still_loads() -> None:
    """What the tests below change is what they are refused for."""
    with Embedder.open(changed(lambda model: None)) as embedder:
        assert embedder.drift <= embedder.bundle.golden_bound


def test_foreign_operator_is_refused() -> None:
    def exchange(model: Any) -> None:
        code = model.operatorCodes[0]
        code.builtinCode = code.deprecatedBuiltinCode = 32  # CUSTOM
        code.customCode = "ForeignOperator"

    with pytest.raises(ModelUnsupported, match="cannot load"):
        Embedder.open(changed(exchange))


@pytest.mark.parametrize("differences", [{"height": 40}, {"width": 24}, {"dim": 8}])
def test_model_of_other_shapes_than_its_spec_is_refused(differences: dict[str, int]) -> None:
    with pytest.raises(ModelUnsupported, match="spec says"):
        Embedder.open(described(**differences))


def test_model_that_takes_or_gives_other_numbers_is_refused() -> None:
    def without_its_end(model: Any) -> None:
        graph = model.subgraphs[0]
        last = graph.operators.pop()
        graph.outputs = last.inputs

    def without_its_start(model: Any) -> None:
        graph = model.subgraphs[0]
        first = graph.operators.pop(0)
        graph.inputs = first.outputs

    for change, expected in ((without_its_end, "float32 output"), (without_its_start, "uint8")):
        with pytest.raises(ModelUnsupported, match=expected):
            Embedder.open(changed(change))


def test_model_with_two_inputs_is_refused() -> None:
    def twice(model: Any) -> None:
        graph = model.subgraphs[0]
        graph.inputs = [*graph.inputs, *graph.inputs]

    with pytest.raises(BundleError):
        Embedder.open(changed(twice))

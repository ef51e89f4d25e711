"""Models run on what is installed, on accelerators that can be had, and on nothing wrong."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from tests.making.delegates import compiled, invocations
from tests.making.tflite_files import tflite_file

from pocketlens.errors import AcceleratorRejected, ModelUnsupported
from pocketlens.formats import bundle as bundles
from pocketlens.options import Accelerator
from pocketlens.query import runtimes

MODEL = (
    Path(__file__).resolve().parents[2] / "conformance" / "vectors" / "tiny_bundle.tflite"
).read_bytes()
TENSOR = bundles.decode(MODEL).golden_examples[0].tensor


def test_installed_runtime_is_named_with_its_version() -> None:
    library, _, version = runtimes.installed().name.partition(" ")

    assert library in ("litert", "tflite-runtime")
    assert version[0].isdigit()


def test_model_runs_on_the_cpu() -> None:
    runtime = runtimes.interpreter(MODEL)

    first, second = runtime.run(TENSOR), runtime.run(TENSOR)

    assert runtime.input_shape == (32, 32, 3)
    assert runtime.input_dtype == np.uint8
    assert runtime.output_dim == 16
    assert runtime.candidate == runtimes.Candidate("cpu")
    assert first.shape == (16,)
    assert first.dtype == np.float32
    assert np.array_equal(first, second)
    assert not np.array_equal(first, runtime.run(255 - TENSOR))


def test_results_of_a_run_are_not_overwritten_by_the_next() -> None:
    runtime = runtimes.interpreter(MODEL)
    first = runtime.run(TENSOR)
    kept = first.copy()

    runtime.run(255 - TENSOR)

    assert np.array_equal(first, kept)


def test_several_threads_compute_the_same() -> None:
    one, four = runtimes.interpreter(MODEL), runtimes.interpreter(MODEL, threads=4)

    assert np.allclose(one.run(TENSOR), four.run(TENSOR), atol=1e-3)


@pytest.mark.parametrize("model", [b"", b"\0" * 100, b"PK\3\4" * 100])
def test_file_that_is_no_model_is_refused(model: bytes) -> None:
    with pytest.raises(ModelUnsupported, match="Convert it again"):
        runtimes.interpreter(model)


@pytest.mark.parametrize("model", [MODEL[:4000], tflite_file(b"no model at all"), b"TFL3" * 100])
def test_damaged_model_is_refused(model: bytes) -> None:
    if runtimes.installed().name.startswith("tflite-runtime"):
        pytest.skip("it crashes on damaged models: a bundle's digest keeps them from it")
    with pytest.raises(ModelUnsupported, match="Convert it again"):
        runtimes.interpreter(model)


def test_tensor_of_another_shape_is_refused() -> None:
    with pytest.raises(ModelUnsupported, match="cannot run"):
        runtimes.interpreter(MODEL).run(TENSOR[:16])


def test_auto_tries_the_platforms_own_and_then_the_cpu() -> None:
    *accelerated, last = runtimes.candidates("auto")

    assert last == runtimes.Candidate("cpu")
    assert all(candidate.library for candidate in accelerated)
    if sys.platform == "linux":
        assert "libtensorflowlite_gpu_delegate.so" in [each.library for each in accelerated]


@pytest.mark.parametrize("accelerator", ["gpu", "npu", "nnapi"])
def test_accelerator_that_is_absent_says_what_to_do(accelerator: Accelerator) -> None:
    with pytest.raises(AcceleratorRejected, match=f"'{accelerator}'.*Try"):
        runtimes.interpreter(MODEL, accelerator)


def test_missing_library_says_nothing_on_stderr(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(AcceleratorRejected):
        runtimes.interpreter(MODEL, "gpu", delegate=tmp_path / "none.so")

    assert "Traceback" not in capfd.readouterr().err


def test_library_that_is_no_delegate_is_refused(tmp_path: Path) -> None:
    (tmp_path / "text.so").write_text("no library")
    with pytest.raises(AcceleratorRejected, match=r"text\.so"):
        runtimes.interpreter(MODEL, "gpu", delegate=tmp_path / "text.so")
    if sys.platform == "linux":
        with pytest.raises(AcceleratorRejected, match="tflite_plugin_create_delegate"):
            runtimes.load(MODEL, runtimes.Candidate("gpu", "libc.so.6"))


def test_cpu_takes_no_delegate(tmp_path: Path) -> None:
    with pytest.raises(AcceleratorRejected, match="takes no delegate"):
        runtimes.interpreter(MODEL, "cpu", delegate=tmp_path / "any.so")


def test_delegate_computes_what_it_claims(tmp_path: Path) -> None:
    library = compiled(tmp_path, "exact")
    runtime = runtimes.interpreter(MODEL, "gpu", delegate=library)
    before = invocations(library)

    embedding = runtime.run(TENSOR)

    assert invocations(library) == before + 1
    assert runtime.candidate.accelerator == "gpu"
    assert np.allclose(embedding, runtimes.interpreter(MODEL).run(TENSOR), atol=0.1)


def test_delegate_that_computes_otherwise_is_heard(tmp_path: Path) -> None:
    """The library is really the one that computes: its error is in the result."""
    cpu = runtimes.interpreter(MODEL).run(TENSOR)

    drifting = runtimes.interpreter(MODEL, "npu", delegate=compiled(tmp_path, "drifting"))

    assert np.abs(drifting.run(TENSOR) - cpu).mean() == pytest.approx(0.5, abs=0.1)


def test_delegate_that_refuses_the_model_is_rejected(tmp_path: Path) -> None:
    library = compiled(tmp_path, "refusing")

    with pytest.raises(AcceleratorRejected, match="does not take the model"):
        runtimes.interpreter(MODEL, "gpu", delegate=library)
    assert runtimes.interpreter(MODEL, "auto", delegate=library).candidate.accelerator == "cpu"


def test_driver_changes_with_the_library(tmp_path: Path) -> None:
    library = compiled(tmp_path, "exact")
    candidate = runtimes.Candidate("gpu", str(library))
    before = candidate.driver
    library.write_bytes(library.read_bytes() + b"\0")

    assert candidate.driver != before
    assert runtimes.Candidate("gpu", "liba.so").driver != runtimes.Candidate("gpu", "b").driver

"""Embedders give unit embeddings, from threads too, and only on runtimes that proved themselves."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import hashlib
import json
import logging
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from tests.making import pictures as making
from tests.making.delegates import compiled, invocations
from tests.making.tflite_files import tflite_file

from pocketlens.errors import (
    AcceleratorRejected,
    BundleError,
    BundleHashMismatch,
    BundleMissingSpec,
    PictureTooLarge,
    PictureTruncated,
    QueryError,
)
from pocketlens.formats import bundle as bundles
from pocketlens.options import PictureLimits
from pocketlens.query import pictures
from pocketlens.query.embedder import Embedder

VECTOR = Path(__file__).resolve().parents[2] / "conformance" / "vectors" / "tiny_bundle.tflite"
DATA = VECTOR.read_bytes()
BUNDLE = bundles.decode(DATA)


TENSOR = BUNDLE.golden_examples[0].tensor


def with_other_golden_embeddings() -> bytes:
    """The bundle as if its reference had computed something else: a runtime drifts from it."""
    data = DATA
    for example in BUNDLE.golden_examples:
        data = data.replace(example.embedding.tobytes(), np.roll(example.embedding, 1).tobytes())
    return bundles.seal(data)


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    path = tmp_path / "photo.jpg"
    path.write_bytes(making.encoded(making.drawn(300, 200)))
    return path


def test_embedding_is_a_unit_vector_of_the_bundles_size(picture: Path) -> None:
    with Embedder.open(VECTOR, accelerator="cpu") as embedder:
        embedding = embedder.embed(picture)

        assert embedding.shape == (embedder.spec.dim,) == (16,)
        assert embedding.dtype == np.float32
        assert np.linalg.norm(embedding) == pytest.approx(1, abs=1e-6)
        assert embedder.sha256 == hashlib.sha256(DATA).digest()
        assert embedder.accelerator == "cpu"
        assert embedder.runtime.startswith(("litert ", "tflite-runtime "))


def test_golden_tensors_give_the_golden_embeddings() -> None:
    with Embedder.open(DATA) as embedder:
        for example in BUNDLE.golden_examples:
            made = embedder.embed_tensor(example.tensor)
            assert 1 - float(made @ example.embedding) <= BUNDLE.golden_bound
        assert 0 <= embedder.drift <= BUNDLE.golden_bound


def test_golden_pictures_give_the_golden_tensors() -> None:
    for example in BUNDLE.golden_examples:
        made = pictures.tensor(example.jpeg, BUNDLE.spec)
        assert np.abs(made.astype(int) - example.tensor).mean() < 1


def test_box_embeds_a_part(picture: Path) -> None:
    with Embedder.open(DATA) as embedder:
        part = embedder.embed(picture, box=(0, 0, 150, 100))

        whole = embedder.embed(making.drawn(300, 200).crop((0, 0, 150, 100)))
        assert part @ whole > 0.99
        assert part @ embedder.embed(picture) < 0.99


def test_many_pictures_are_the_same_one_by_one(picture: Path) -> None:
    with Embedder.open(DATA) as embedder:
        many = embedder.embed_many([picture, making.drawn(50, 90)])

        assert many.shape == (2, 16)
        assert np.array_equal(many[0], embedder.embed(picture))
        assert embedder.embed_many([]).shape == (0, 16)


def test_errors_of_pictures_come_through(picture: Path) -> None:
    with Embedder.open(DATA, limits=PictureLimits(max_side=299)) as embedder:
        with pytest.raises(PictureTooLarge):
            embedder.embed(picture)
        with pytest.raises(PictureTruncated):
            embedder.embed(making.encoded(making.drawn(200, 200))[:1000])
        assert embedder.limits.max_side == 299


@pytest.mark.parametrize(
    "tensor", [TENSOR[:16], TENSOR[None], TENSOR.astype(np.float32), TENSOR.astype(np.int8)]
)
def test_tensor_of_another_kind_is_refused(tensor: np.ndarray) -> None:
    with Embedder.open(DATA) as embedder, pytest.raises(QueryError, match="Expected a tensor"):
        embedder.embed_tensor(tensor)


def test_hash_is_of_the_bytes_that_are_loaded(tmp_path: Path) -> None:
    path = tmp_path / "shop.tflite"
    path.write_bytes(DATA)
    with Embedder.open(path, expected_sha256=hashlib.sha256(DATA).digest()) as embedder:
        expected = embedder.embed_tensor(TENSOR)
        path.write_bytes(b"another model, swapped in between")

        with ThreadPoolExecutor(4) as threads:  # loads further interpreters
            made = list(threads.map(embedder.embed_tensor, [TENSOR] * 40))

    assert all(np.array_equal(each, expected) for each in made)


def test_another_bundle_than_expected_is_refused() -> None:
    with pytest.raises(BundleHashMismatch, match="Expected the bundle with SHA-256 00"):
        Embedder.open(DATA, expected_sha256=bytes(32))


def test_wrong_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="Cannot read the bundle"):
        Embedder.open(tmp_path / "none.tflite")
    with pytest.raises(BundleError, match="Cannot read the bundle"):
        Embedder.open(tmp_path)
    with pytest.raises(BundleMissingSpec):
        Embedder.open(tflite_file(b"x", name="other"))
    with pytest.raises(BundleHashMismatch):
        Embedder.open(DATA[:-1] + bytes([DATA[-1] ^ 1]))


def test_threads_share_an_embedder() -> None:
    tensors = [np.roll(TENSOR, shift, axis=1) for shift in range(24)]
    with Embedder.open(DATA) as embedder:
        expected = [embedder.embed_tensor(tensor) for tensor in tensors]
        with ThreadPoolExecutor(8) as threads:
            made = list(threads.map(embedder.embed_tensor, tensors * 10))

    for index, embedding in enumerate(made):
        assert np.array_equal(embedding, expected[index % 24])


def test_closed_embedder_says_so() -> None:
    embedder = Embedder.open(DATA)
    embedder.close()
    embedder.close()

    with pytest.raises(BundleError, match="closed"):
        embedder.embed_tensor(TENSOR)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_forked_child_is_told_to_open_its_own() -> None:
    with Embedder.open(DATA) as embedder:
        child = os.fork()
        if child == 0:
            try:
                embedder.embed_tensor(TENSOR)
            except BundleError as exc:
                embedder.close()  # harms nothing
                os._exit(0 if "fork" in str(exc) else 2)
            os._exit(3)
        _, status = os.waitpid(child, 0)

        assert os.waitstatus_to_exitcode(status) == 0
        assert embedder.embed_tensor(TENSOR).shape == (16,)


def test_accelerator_within_the_bound_is_used(tmp_path: Path) -> None:
    library = compiled(tmp_path, "exact")
    with Embedder.open(DATA, accelerator="gpu", delegate=library) as embedder:
        before = invocations(library)
        embedder.embed_tensor(TENSOR)

        assert embedder.accelerator == "gpu"
        assert embedder.drift <= BUNDLE.golden_bound
        assert invocations(library) == before + 1


def test_drifting_accelerator_is_refused(tmp_path: Path) -> None:
    library = compiled(tmp_path, "drifting")

    with pytest.raises(AcceleratorRejected, match="beyond its bound"):
        Embedder.open(DATA, accelerator="gpu", delegate=library)

    with Embedder.open(DATA, delegate=library) as embedder:
        assert embedder.accelerator == "cpu"
        assert "drifts" in embedder.rejected[0]


def test_accelerator_that_is_absent_is_refused_or_passed_over(tmp_path: Path) -> None:
    library = compiled(tmp_path, "refusing")
    with pytest.raises(AcceleratorRejected, match="does not take the model"):
        Embedder.open(DATA, accelerator="npu", delegate=library)
    with Embedder.open(DATA, delegate=library) as embedder:
        assert embedder.accelerator == "cpu"
        assert "does not take the model" in embedder.rejected[0]


def test_embedding_without_a_direction_is_an_error(tmp_path: Path) -> None:
    """The delegate passes the golden check and then gives NaN."""
    library = compiled(tmp_path, "dying")
    embedder = Embedder.open(DATA, accelerator="gpu", delegate=library)

    with embedder, pytest.raises(BundleError, match="length nan"):
        embedder.embed_tensor(TENSOR)


def test_drifting_cpu_is_used_with_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING), Embedder.open(with_other_golden_embeddings()) as one:
        assert one.accelerator == "cpu"
        assert one.drift > one.bundle.golden_bound
        assert one.embed_tensor(TENSOR).shape == (16,)
    assert "drifts" in caplog.text


def test_golden_check_is_remembered_for_each_accelerator(tmp_path: Path) -> None:
    library, checks = compiled(tmp_path, "exact"), tmp_path / "store" / "cache"
    for _ in range(2):
        Embedder.open(DATA, accelerator="gpu", delegate=library, checks=checks).close()
    measured = invocations(library)
    Embedder.open(DATA, accelerator="gpu", delegate=library, checks=checks).close()
    assert measured == len(BUNDLE.golden_examples)  # once, of three starts
    assert invocations(library) == measured

    with Embedder.open(DATA, accelerator="cpu", checks=checks) as embedder:
        kept = [json.loads(path.read_bytes()) for path in checks.iterdir()]
        assert sorted(each["accelerator"] for each in kept) == ["cpu", "gpu"]
        assert {each["runtime"] for each in kept} == {embedder.runtime}
    update = tmp_path / "update.so"  # another build, in a new file: this one is mapped
    update.write_bytes(library.read_bytes() + b"\0")
    update.replace(library)
    Embedder.open(DATA, accelerator="gpu", delegate=library, checks=checks).close()
    assert len(list(checks.iterdir())) == 3


def test_remembered_drift_refuses_again_without_a_run(tmp_path: Path) -> None:
    library, checks = compiled(tmp_path, "drifting"), tmp_path / "cache"
    with Embedder.open(DATA, delegate=library, checks=checks) as embedder:
        assert embedder.accelerator == "cpu"
    runs = invocations(library)

    with pytest.raises(AcceleratorRejected, match="beyond its bound"):
        Embedder.open(DATA, accelerator="gpu", delegate=library, checks=checks)
    assert invocations(library) == runs + len(BUNDLE.golden_examples)  # as "gpu" for the first time
    with pytest.raises(AcceleratorRejected):
        Embedder.open(DATA, accelerator="gpu", delegate=library, checks=checks)
    assert invocations(library) == runs + len(BUNDLE.golden_examples)


@pytest.mark.parametrize("damage", [b"", b"{", b"[]", b'{"drift": "no"}', b'{"drift": NaN}'])
def test_damaged_memory_of_a_check_is_measured_anew(tmp_path: Path, damage: bytes) -> None:
    Embedder.open(DATA, accelerator="cpu", checks=tmp_path).close()
    (known,) = tmp_path.iterdir()
    sound = known.read_bytes()
    known.write_bytes(damage)

    with Embedder.open(DATA, accelerator="cpu", checks=tmp_path) as embedder:
        assert embedder.drift <= BUNDLE.golden_bound

    assert known.read_bytes() == sound


def test_folder_that_cannot_be_written_to_is_no_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with Embedder.open(DATA, checks=tmp_path / "file" / "cache") as embedder:
        assert embedder.embed_tensor(TENSOR).shape == (16,)


def test_opening_a_bundle_loads_no_pillow() -> None:
    code = f"""
import sys
from pathlib import Path
from pocketlens.query.embedder import Embedder
assert not {{"PIL", "ai_edge_litert", "tflite_runtime"}} & set(sys.modules)
Embedder.open(Path({str(VECTOR)!r}))
assert "PIL" not in sys.modules
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr

"""A bundle is written: what goes in comes out, the model stays, nothing is left of the old one."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.making.models import DIM, SIZE, drawings, tiny_bundle

from pocketlens.errors import BundleError, BundleHashMismatch, BundleMissingSpec, ModelUnsupported
from pocketlens.formats import bundle as bundles
from pocketlens.formats.bundle import METADATA_NAME, Bundle, Calibration, GoldenExample, Spec
from pocketlens.query import runtimes
from pocketlens_converter import bundling

CALIBRATION = Calibration("device", -3.0, 8.0, 4.0, -0.5, 0.75, 0.25, products=24)


@pytest.fixture(scope="module")
def data() -> bytes:
    return tiny_bundle()


def metadata(data: bytes) -> list[tuple[str, int]]:
    model = schema.Model.GetRootAs(data)
    entries = [model.Metadata(index) for index in range(model.MetadataLength())]
    return [(entry.Name().decode(), entry.Buffer()) for entry in entries]


def other_bundle() -> Bundle:
    row = np.eye(1, DIM, dtype=np.float32)
    golden = GoldenExample(b"jpeg", np.zeros((SIZE, SIZE, 3), np.uint8), row[0])
    return Bundle(Spec("other", SIZE, SIZE, DIM), (golden,), 0.01, row, row[:0])


def test_what_goes_in_comes_out(data: bytes) -> None:
    written = bundling.bundle_bytes(data, other_bundle())

    bundle = bundles.decode(written)

    assert bundle.spec == other_bundle().spec
    assert bundle.golden_examples[0].jpeg == b"jpeg"
    assert (len(bundle.representative), len(bundle.queries)) == (1, 0)


def test_a_bundle_inside_is_replaced_and_nothing_of_it_is_left(data: bytes) -> None:
    written = bundling.bundle_bytes(data, other_bundle())

    assert [name for name, _ in metadata(written)].count(METADATA_NAME) == 1
    assert metadata(written) == metadata(data)
    assert len(written) < len(data)  # 24 + 48 embeddings and three pictures less


def test_the_model_computes_the_same(data: bytes) -> None:
    written = bundling.bundle_bytes(data, other_bundle())
    before, after = (
        runtimes.interpreter(each, accelerator="cpu", threads=1) for each in (data, written)
    )

    for tensor in drawings(4):
        np.testing.assert_array_equal(before.run(tensor), after.run(tensor))


def test_weights_begin_at_multiples_of_sixteen_bytes(data: bytes) -> None:
    model = schema.Model.GetRootAs(data)
    starts = []
    for index in range(model.BuffersLength()):
        buffer = model.Buffers(index)
        if buffer.DataLength():
            starts.append(buffer._tab.Vector(buffer._tab.Offset(4)))

    assert len(starts) > 5
    assert [start for start in starts if start % 16] == []


def test_a_calibration_is_added_and_replaced_and_the_rest_stays(data: bytes) -> None:
    before = bundles.decode(data)
    once = bundling.with_calibration(data, CALIBRATION)
    again = bundling.with_calibration(
        bundling.with_calibration(once, dataclasses.replace(CALIBRATION, name="photo")),
        dataclasses.replace(CALIBRATION, intercept=1.5),
    )

    after = bundles.decode(again)

    assert bundles.decode(once).calibrations == (CALIBRATION,)
    assert sorted(each.name for each in after.calibrations) == ["device", "photo"]
    calibration = after.calibration("device")
    assert calibration is not None
    assert calibration.intercept == 1.5
    assert (after.spec, after.golden_bound) == (before.spec, before.golden_bound)
    np.testing.assert_array_equal(after.queries, before.queries)
    assert after.float_model_sha256 == before.float_model_sha256


def test_writing_the_same_twice_gives_the_same_bytes(data: bytes) -> None:
    once = bundling.with_calibration(data, CALIBRATION)

    assert bundling.with_calibration(once, CALIBRATION) == once


def test_a_file_of_another_format_is_refused() -> None:
    with pytest.raises(ModelUnsupported, match="TensorFlow Lite"):
        bundling.bundle_bytes(b"PK\x03\x04 some archive", other_bundle())


def test_calibrating_a_damaged_bundle_is_refused(data: bytes) -> None:
    damaged = bytearray(data)
    damaged[len(data) // 2] ^= 1

    with pytest.raises(BundleHashMismatch):
        bundling.with_calibration(bytes(damaged), CALIBRATION)


@settings(deadline=None, max_examples=60)
@given(st.floats(0, 1, exclude_max=True))
def test_a_cut_file_is_refused_by_an_error_of_the_tree(share: float) -> None:
    data = tiny_bundle()
    cut = data[: int(share * len(data))]

    with pytest.raises((ModelUnsupported, BundleMissingSpec, BundleHashMismatch)):
        bundling.with_calibration(cut, CALIBRATION)
    with pytest.raises(BundleError):
        bundling.bundle_bytes(cut, other_bundle())

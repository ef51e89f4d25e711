"""A bundle says after reading what it was told before writing, and one changed bit is noticed."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.making.tflite_files import tflite_file

from pocketlens.errors import BundleError, BundleHashMismatch, BundleMissingSpec, ModelUnsupported
from pocketlens.formats.bundle import (
    DIGEST_BYTES,
    Bundle,
    Calibration,
    GoldenExample,
    Spec,
    decode,
    encode,
    seal,
)
from pocketlens_protos.v1 import bundle_pb2 as pb

VECTOR = Path(__file__).resolve().parents[2] / "conformance" / "vectors" / "tiny_bundle.tflite"
SPEC = Spec("shop", 8, 10, 4, resize_mode="crop", pad_level=128, duplicate_cosine=0.9)
QUARTERS = st.integers(0, 3).map(lambda n: n / 4)  # exact in float32
EMPTY = zlib.compress(b"")


def unit_rows(count: int, dim: int = 4, *, seed: int = 0) -> npt.NDArray[np.float32]:
    rows = np.random.default_rng(seed).standard_normal((count, dim)).astype(np.float32)
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), np.float32)


def golden(seed: int = 0) -> GoldenExample:
    tensor = np.random.default_rng(seed).integers(0, 256, (8, 10, 3), dtype=np.uint8)
    return GoldenExample(b"jpeg", tensor, unit_rows(1, seed=seed)[0])


BUNDLE = Bundle(
    SPEC,
    (golden(1), golden(2)),
    0.25,
    unit_rows(5),
    unit_rows(3, seed=9),
    (Calibration("device", 1, 2, 3, 4, 0.75, 0.25), Calibration("photo", 0, 0, 0, 0, 1, 0)),
    bytes(range(32)),
    "0.1.0",
    24,
)


def sealed(bundle: Bundle, *, tail: bytes = b"weights") -> bytes:
    return seal(tflite_file(encode(bundle), tail=tail))


def resealed(change: Callable[[pb.Bundle], object], bundle: Bundle = BUNDLE) -> bytes:
    """A bundle whose message was changed by someone who knows how to seal."""
    message = pb.Bundle.FromString(encode(bundle)[:-DIGEST_BYTES])
    change(message)
    return seal(tflite_file(message.SerializeToString() + bytes(DIGEST_BYTES)))


def assert_same(one: Bundle, other: Bundle) -> None:
    for each in fields(Bundle):
        left, right = getattr(one, each.name), getattr(other, each.name)
        if isinstance(left, np.ndarray):
            assert np.abs(left - right).max(initial=0) < 1e-3, each.name  # kept as float16
        elif each.name != "golden_examples":
            assert left == right, each.name
    for left, right in zip(one.golden_examples, other.golden_examples, strict=True):
        assert left.jpeg == right.jpeg
        assert np.array_equal(left.tensor, right.tensor)
        assert np.array_equal(left.embedding, right.embedding)


def test_bundle_survives_the_round_trip() -> None:
    assert_same(decode(sealed(BUNDLE)), BUNDLE)


@settings(max_examples=50, deadline=None, derandomize=True)
@given(
    spec=st.builds(
        Spec,
        name=st.text(max_size=40),
        height=st.integers(8, 20),
        width=st.integers(8, 20),
        dim=st.integers(2, 20),
        resize_mode=st.sampled_from(["pad", "crop", "squash"]),
        pad_level=st.integers(0, 255),
        duplicate_cosine=st.integers(50, 100).map(lambda percent: percent / 100),
    ),
    counts=st.tuples(st.integers(1, 3), st.integers(0, 5), st.integers(0, 5)),
    bound=st.sampled_from([2**-10, 0.125, 0.5]),
    calibrations=st.lists(
        st.builds(
            Calibration,
            name=st.text(max_size=10),
            intercept=QUARTERS,
            similarity_weight=QUARTERS,
            margin_weight=QUARTERS,
            log_products_weight=QUARTERS,
            match_threshold=st.just(0.75),
            no_match_threshold=QUARTERS,
            products=st.integers(0, 1000),
        ),
        max_size=3,
        unique_by=lambda calibration: calibration.name,
    ),
)
def test_any_bundle_survives_the_round_trip(
    spec: Spec,
    counts: tuple[int, int, int],
    bound: float,
    calibrations: list[Calibration],
) -> None:
    tensor = np.zeros((spec.height, spec.width, 3), np.uint8)
    examples = tuple(
        GoldenExample(b"x" * n, tensor + n, unit_rows(1, spec.dim)[0]) for n in range(counts[0])
    )
    bundle = Bundle(
        spec,
        examples,
        bound,
        unit_rows(counts[1], spec.dim),
        unit_rows(counts[2], spec.dim),
        tuple(calibrations),
    )

    assert_same(decode(sealed(bundle)), bundle)


def test_calibration_is_found_by_its_pipeline() -> None:
    assert BUNDLE.calibration("photo") == BUNDLE.calibrations[1]
    assert BUNDLE.calibration("embedding") is None


def test_vector_of_this_format_is_read() -> None:
    bundle = decode(VECTOR.read_bytes())

    assert bundle.spec == Spec("shop", 32, 32, 16)
    assert len(bundle.golden_examples) == 3
    assert bundle.representative.shape == (24, 16)
    assert bundle.queries.shape == (48, 16)


def test_every_changed_bit_is_noticed() -> None:
    data = sealed(BUNDLE)
    for position in range(len(data)):
        changed = bytearray(data)
        changed[position] ^= 1 << position % 8
        with pytest.raises((BundleHashMismatch, BundleMissingSpec, ModelUnsupported)):
            decode(bytes(changed))


def test_every_cut_and_a_tail_are_noticed() -> None:
    data = sealed(BUNDLE)
    for length in range(len(data)):
        with pytest.raises(BundleError):
            decode(data[:length])
    with pytest.raises(BundleHashMismatch):
        decode(data + b"\0")


def test_model_without_a_spec_is_named_so() -> None:
    for data in (tflite_file(b"x" * 100, name="other"), tflite_file(b"short"), tflite_file(b"")):
        with pytest.raises(BundleMissingSpec, match="pocketlens-converter convert"):
            decode(data)
        with pytest.raises(BundleMissingSpec):
            seal(data)


def test_newer_format_is_refused_by_its_number() -> None:
    with pytest.raises(BundleError, match=r"Received 2\. Update PocketLens"):
        decode(resealed(lambda message: setattr(message, "format", 2)))


def test_numbers_beyond_all_bounds_are_refused_without_a_warning() -> None:
    def change(message: pb.Bundle) -> None:
        huge = np.full(4, 3e38, "<f4")
        message.golden_examples[0].embedding = huge.tobytes()

    with pytest.raises(BundleError, match="unit length"):
        decode(resealed(change))


def test_contents_that_are_no_message_are_refused() -> None:
    with pytest.raises(BundleError, match="cannot be read"):
        decode(seal(tflite_file(b"\xff" * 50 + bytes(DIGEST_BYTES))))


def test_fields_of_later_versions_are_passed_over() -> None:
    later = encode(BUNDLE)[:-DIGEST_BYTES] + b"\xc2\x3e\x03new" + bytes(DIGEST_BYTES)

    assert_same(decode(seal(tflite_file(later))), BUNDLE)


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("height", lambda m: setattr(m.spec, "input_height", 4_000_000_000)),
        ("dim", lambda m: setattr(m.spec, "dim", 5)),
        ("resize mode", lambda m: setattr(m.spec, "resize_mode", 0)),
        ("unknown resize mode", lambda m: setattr(m.spec, "resize_mode", 99)),
        ("duplicate cosine", lambda m: setattr(m.spec, "duplicate_cosine", float("nan"))),
        ("no golden examples", lambda m: m.ClearField("golden_examples")),
        ("too many", lambda m: m.golden_examples.extend([m.golden_examples[0]] * 20)),
        ("bound", lambda m: setattr(m, "golden_bound", float("nan"))),
        ("no bound", lambda m: setattr(m, "golden_bound", 0)),
        ("tensor", lambda m: setattr(m.golden_examples[0], "tensor_zlib", b"no zlib")),
        (
            "short tensor",
            lambda m: setattr(m.golden_examples[0], "tensor_zlib", zlib.compress(b"")),
        ),
        ("cut embedding", lambda m: setattr(m.golden_examples[0], "embedding", bytes(15))),
        ("zero embedding", lambda m: setattr(m.golden_examples[0], "embedding", bytes(16))),
        ("NaN embedding", lambda m: setattr(m.golden_examples[0], "embedding", b"\xff" * 16)),
        ("long JPEG", lambda m: setattr(m.golden_examples[0], "jpeg", bytes(256 * 1024 + 1))),
        ("count", lambda m: setattr(m.representative, "count", 6)),
        ("NaN rows", lambda m: setattr(m.queries, "values", b"\xff" * 24)),
        ("zero rows", lambda m: setattr(m.queries, "values", bytes(24))),
        ("two of one name", lambda m: setattr(m.calibrations[1], "name", "device")),
        ("thresholds", lambda m: setattr(m.calibrations[0], "match_threshold", 0.1)),
        ("weight", lambda m: setattr(m.calibrations[0], "intercept", float("inf"))),
    ],
)
def test_contents_that_cannot_be_are_refused(
    name: str, change: Callable[[pb.Bundle], object]
) -> None:
    with pytest.raises(BundleError):
        decode(resealed(change))


def test_tensor_that_inflates_to_gigabytes_is_cut_short() -> None:
    bomb = zlib.compress(bytes(50_000_000), 9)

    with pytest.raises(BundleError, match="golden tensor of 240 bytes"):
        decode(resealed(lambda m: setattr(m.golden_examples[0], "tensor_zlib", bomb)))


@pytest.mark.parametrize(
    "change",
    [
        {"golden_examples": ()},
        {"golden_bound": 0.0},
        {"representative": unit_rows(3, 5)},
        {"queries": unit_rows(3) * 2},
        {"calibrations": (BUNDLE.calibrations[0],) * 2},
    ],
)
def test_illegal_bundle_cannot_be_made(change: dict[str, object]) -> None:
    with pytest.raises(BundleError):
        replace(BUNDLE, **change)  # type: ignore[arg-type]

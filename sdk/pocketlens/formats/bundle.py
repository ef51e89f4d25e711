"""A bundle: a .tflite model with everything inside that a device must know about it.

    bundle = decode(path.read_bytes())
    bundle.spec.dim, bundle.calibration("device")

The metadata buffer `POCKETLENS` holds a `pocketlens.v1.Bundle` message and, after it, the SHA-256
of the whole file with these last 32 bytes taken as zero: one changed bit anywhere is noticed.
Source: docs/formats.md, "Bundle".
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import hashlib
import zlib
from dataclasses import dataclass, field
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt
from google.protobuf.message import DecodeError

from pocketlens.errors import BundleError, BundleHashMismatch, BundleMissingSpec
from pocketlens.formats import flatbuffers
from pocketlens_protos.v1 import bundle_pb2 as pb

METADATA_NAME = "POCKETLENS"
FORMAT = 1
DIGEST_BYTES = 32
MAX_GOLDEN_EXAMPLES = 16
MAX_EMBEDDINGS = 4096

ResizeMode = Literal["pad", "crop", "squash"]

_RESIZE_MODES: dict[int, ResizeMode] = {
    pb.RESIZE_MODE_PAD: "pad",
    pb.RESIZE_MODE_CROP: "crop",
    pb.RESIZE_MODE_SQUASH: "squash",
}


@dataclass(frozen=True, slots=True)
class Spec:
    """How a photo becomes the model's input, and what comes out.

    Attributes:
        name: What people call the model.
        height, width: Pixels of the input, 8 to 2,048.
        dim: Numbers of an embedding, 2 to 4,096.
        resize_mode: "pad" letterboxes, "crop" takes the centre, "squash" stretches.
        pad_level: Grey level around a letterboxed picture, 0 to 255.
        duplicate_cosine: Cosine of two codes from which two images count as one picture.
    """

    name: str
    height: int
    width: int
    dim: int
    resize_mode: ResizeMode = "pad"
    pad_level: int = 255
    duplicate_cosine: float = 0.97

    def __post_init__(self) -> None:
        _check(8 <= self.height <= 2048 and 8 <= self.width <= 2048, "input of 8 to 2,048 pixels")
        _check(2 <= self.dim <= 4096, "dim of 2 to 4,096")
        _check(self.resize_mode in get_args(ResizeMode), "resize mode of pad, crop or squash")
        _check(0 <= self.pad_level <= 255, "pad level of 0 to 255")
        _check(0.5 <= self.duplicate_cosine <= 1, "duplicate cosine of 0.5 to 1")
        _check(len(self.name.encode()) <= 200, "name of at most 200 bytes")


@dataclass(frozen=True, slots=True)
class GoldenExample:
    """A picture, and what the reference makes of it.

    Attributes:
        jpeg: A baseline JPEG, at most 256 KiB.
        tensor: uint8 (height, width, 3).
        embedding: float32 (dim,), unit length, by the reference CPU kernel.
    """

    jpeg: bytes
    tensor: npt.NDArray[np.uint8]
    embedding: npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Calibration:
    """Similarity, margin and gallery size to P(match): see `pocketlens.query.verdict`.

    Attributes:
        name: Pipeline it was fitted on: "device", "embedding" or "photo".
        match_threshold: Confidence from which the verdict is MATCH.
        no_match_threshold: Confidence below which it is NO_MATCH; at most `match_threshold`.
        false_accept_rate, false_reject_rate, expected_calibration_error: On the photos that it
            was fitted on, by cross-validation.
        present_photos, absent_photos, products: What it was fitted on.
    """

    name: str
    intercept: float
    similarity_weight: float
    margin_weight: float
    log_products_weight: float
    match_threshold: float
    no_match_threshold: float
    false_accept_rate: float = 0.0
    false_reject_rate: float = 0.0
    expected_calibration_error: float = 0.0
    present_photos: int = 0
    absent_photos: int = 0
    products: int = 0

    def __post_init__(self) -> None:
        weights = (
            self.intercept,
            self.similarity_weight,
            self.margin_weight,
            self.log_products_weight,
        )
        _check(bool(np.isfinite(weights).all()), "calibration of finite weights")
        ordered = 0 <= self.no_match_threshold <= self.match_threshold <= 1
        _check(ordered, "calibration with 0 <= no_match_threshold <= match_threshold <= 1")


@dataclass(frozen=True, slots=True)
class Bundle:
    """What a bundle says of its model.

    Attributes:
        spec: Input and output.
        golden_examples: 1 to 16.
        golden_bound: Largest cosine distance to a golden embedding that a runtime may show.
        representative: float32 (n, dim), unit rows: embeddings of catalogue pictures.
        queries: float32 (n, dim), unit rows: embeddings of held-out photos; n is 0 without any.
        calibrations: One a pipeline.
        float_model_sha256: Of the float model file it was converted from; b"" if unknown.
        converter_version: What made it.
        representative_pictures: Pictures that quantization was calibrated with.
    """

    spec: Spec
    golden_examples: tuple[GoldenExample, ...]
    golden_bound: float
    representative: npt.NDArray[np.float32]
    queries: npt.NDArray[np.float32]
    calibrations: tuple[Calibration, ...] = ()
    float_model_sha256: bytes = b""
    converter_version: str = ""
    representative_pictures: int = field(default=0)

    def __post_init__(self) -> None:
        _check(
            1 <= len(self.golden_examples) <= MAX_GOLDEN_EXAMPLES,
            f"1 to {MAX_GOLDEN_EXAMPLES} golden examples",
        )
        _check(0 < self.golden_bound <= 0.5, "golden bound above 0 and at most 0.5")
        shape = (self.spec.height, self.spec.width, 3)
        for example in self.golden_examples:
            _check(len(example.jpeg) <= 256 * 1024, "golden JPEG of at most 256 KiB")
            _check(example.tensor.shape == shape, f"golden tensor of shape {shape}")
            _check_unit_rows(example.embedding[None], self.spec.dim, "golden embedding")
        for rows, what in ((self.representative, "representative"), (self.queries, "query")):
            _check(len(rows) <= MAX_EMBEDDINGS, f"at most {MAX_EMBEDDINGS} {what} embeddings")
            _check_unit_rows(rows, self.spec.dim, f"{what} embeddings")
        names = [calibration.name for calibration in self.calibrations]
        _check(len(names) == len(set(names)), "calibrations of different names")

    def calibration(self, name: str) -> Calibration | None:
        """The calibration of pipeline `name`, or None."""
        return next((c for c in self.calibrations if c.name == name), None)


def decode(data: bytes) -> Bundle:
    """Reads what the bytes of a .tflite file say of its model, after checking its digest.

    Raises:
        ModelUnsupported: `data` is no .tflite file.
        BundleMissingSpec: It is one, but not of PocketLens.
        BundleHashMismatch: A byte was changed since the bundle was made.
        BundleError: Its contents contradict each other, or are of a newer format.
    """
    start, end = _metadata(data)
    if _digest(data, end) != data[end - DIGEST_BYTES : end]:
        raise BundleHashMismatch(
            "The bundle's bytes are not those it was made with. Copy or convert it again."
        )
    message = pb.Bundle()
    try:
        message.ParseFromString(data[start : end - DIGEST_BYTES])
    except DecodeError as exc:
        raise BundleError("The bundle's description cannot be read. Convert it again.") from exc
    if message.format != FORMAT:
        raise BundleError(
            f"Expected a bundle of format {FORMAT}. Received {message.format}. Update PocketLens."
        )
    return _from_message(message)


def encode(bundle: Bundle) -> bytes:
    """The contents of the metadata buffer, its digest still zero: see `seal`."""
    return _to_message(bundle).SerializeToString(deterministic=True) + bytes(DIGEST_BYTES)


def seal(data: bytes) -> bytes:
    """Returns a .tflite file whose metadata was made by `encode`, with its digest filled in.

    Raises:
        BundleMissingSpec: The file has no such metadata.
    """
    _, end = _metadata(data)
    return data[: end - DIGEST_BYTES] + _digest(data, end) + data[end:]


def _metadata(data: bytes) -> tuple[int, int]:
    found = flatbuffers.metadata_range(data, METADATA_NAME)
    if found is None or found[1] - found[0] < DIGEST_BYTES:
        raise BundleMissingSpec(
            "The model carries no PocketLens spec. Make a bundle of it: "
            "pocketlens-converter convert MODEL --catalog LIST --out SHOP.tflite"
        )
    return found


def _digest(data: bytes, end: int) -> bytes:
    view = memoryview(data)
    digest = hashlib.sha256(view[: end - DIGEST_BYTES])
    digest.update(bytes(DIGEST_BYTES))
    digest.update(view[end:])
    return digest.digest()


def _from_message(message: pb.Bundle) -> Bundle:
    spec = Spec(
        name=message.spec.name,
        height=message.spec.input_height,
        width=message.spec.input_width,
        dim=message.spec.dim,
        resize_mode=_resize_mode(message.spec.resize_mode),
        pad_level=message.spec.pad_level,
        duplicate_cosine=round(message.spec.duplicate_cosine, 6),
    )
    return Bundle(
        spec=spec,
        golden_examples=tuple(_golden(example, spec) for example in message.golden_examples),
        golden_bound=message.golden_bound,
        representative=_embeddings(message.representative, spec.dim),
        queries=_embeddings(message.queries, spec.dim),
        calibrations=tuple(_calibration(each) for each in message.calibrations),
        float_model_sha256=message.provenance.float_model_sha256,
        converter_version=message.provenance.converter_version,
        representative_pictures=message.provenance.representative_pictures,
    )


def _to_message(bundle: Bundle) -> pb.Bundle:
    spec = bundle.spec
    modes = {mode: number for number, mode in _RESIZE_MODES.items()}
    message = pb.Bundle(
        format=FORMAT,
        spec=pb.Spec(
            name=spec.name,
            input_height=spec.height,
            input_width=spec.width,
            resize_mode=pb.ResizeMode.Name(modes[spec.resize_mode]),
            pad_level=spec.pad_level,
            dim=spec.dim,
            duplicate_cosine=spec.duplicate_cosine,
        ),
        golden_bound=bundle.golden_bound,
        representative=_embeddings_message(bundle.representative),
        queries=_embeddings_message(bundle.queries),
        provenance=pb.Provenance(
            float_model_sha256=bundle.float_model_sha256,
            converter_version=bundle.converter_version,
            representative_pictures=bundle.representative_pictures,
        ),
    )
    for example in bundle.golden_examples:
        message.golden_examples.add(
            jpeg=example.jpeg,
            tensor_zlib=zlib.compress(example.tensor.tobytes(), 9),
            embedding=example.embedding.astype("<f4").tobytes(),
        )
    for each in bundle.calibrations:
        message.calibrations.add(**{name: getattr(each, name) for name in _CALIBRATION_FIELDS})
    return message


_CALIBRATION_FIELDS = tuple(each.name for each in pb.Calibration.DESCRIPTOR.fields)


def _calibration(message: pb.Calibration) -> Calibration:
    return Calibration(**{name: getattr(message, name) for name in _CALIBRATION_FIELDS})


def _resize_mode(number: int) -> ResizeMode:
    if number not in _RESIZE_MODES:
        raise BundleError(f"The bundle's resize mode {number} is unknown. Update PocketLens.")
    return _RESIZE_MODES[number]


def _golden(message: pb.GoldenExample, spec: Spec) -> GoldenExample:
    size = spec.height * spec.width * 3
    inflater = zlib.decompressobj()
    try:  # bounded: a bomb must not inflate further than the tensor it claims to be
        tensor = inflater.decompress(message.tensor_zlib, size + 1)
    except zlib.error as exc:
        raise BundleError("The bundle's golden tensor is damaged. Convert it again.") from exc
    _check(len(tensor) == size, f"golden tensor of {size} bytes")
    _check(len(message.embedding) == 4 * spec.dim, f"golden embedding of {spec.dim} numbers")
    return GoldenExample(
        jpeg=message.jpeg,
        tensor=np.frombuffer(tensor, np.uint8).reshape(spec.height, spec.width, 3),
        embedding=np.frombuffer(message.embedding, "<f4").astype(np.float32),
    )


def _embeddings(message: pb.Embeddings, dim: int) -> npt.NDArray[np.float32]:
    _check(len(message.values) == 2 * dim * message.count, f"{message.count} x {dim} embeddings")
    rows = np.frombuffer(message.values, "<f2").astype(np.float32).reshape(-1, dim)
    _check(bool(np.isfinite(rows).all()), "embeddings of finite numbers")
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    _check(bool((norms > 0).all()), "embeddings that are not zero")
    unit: npt.NDArray[np.float32] = rows / norms
    return unit


def _embeddings_message(rows: npt.NDArray[np.float32]) -> pb.Embeddings:
    return pb.Embeddings(count=len(rows), values=rows.astype("<f2").tobytes())


def _check_unit_rows(rows: npt.NDArray[np.float32], dim: int, what: str) -> None:
    _check(rows.ndim == 2 and rows.shape[1] == dim, f"{what} of {dim} numbers")
    with np.errstate(over="ignore", invalid="ignore"):  # refused below, without a warning
        norms = np.linalg.norm(rows, axis=1)
    _check(bool((np.abs(norms - 1) < 1e-2).all()), f"{what} of unit length")


def _check(holds: bool, expected: str) -> None:
    if not holds:
        raise BundleError(f"Expected a bundle with {expected}. Convert the model again.")

"""The one place where a bundle is written: a .tflite and what is known of it become one file.

    data = bundle_bytes(tflite, bundle)             # a new one, or `tflite` is a bundle already
    data = with_calibration(data, calibration)      # everything else stays as it was

Works on the file's tables alone, without TensorFlow. Source: docs/formats.md, "Bundle".
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import dataclasses
import struct
from typing import Any

import flatbuffers  # type: ignore[import-untyped]
import numpy as np
from ai_edge_litert import schema_py_generated as schema

from pocketlens.errors import ModelUnsupported
from pocketlens.formats.bundle import METADATA_NAME, Bundle, Calibration, decode, encode, seal
from pocketlens_converter import mediapipe

_IDENTIFIER = b"TFL3"
# The schema asks for it (`force_align: 16`); the generated object API does not do it, and
# kernels read weights in place.
_ALIGNMENT = 16


def bundle_bytes(tflite: bytes, bundle: Bundle) -> bytes:
    """Returns `tflite` with `bundle` inside, sealed; a bundle that was inside is replaced.

    What MediaPipe Tasks reads goes in beside it.

    Raises:
        ModelUnsupported: `tflite` is no .tflite file, or a damaged one.
    """
    model = _unpack(tflite)
    spec = bundle.spec
    described = mediapipe.metadata(name=spec.name, width=spec.width, height=spec.height)
    _put(model, mediapipe.METADATA_NAME, described)
    _put(model, METADATA_NAME, encode(bundle))
    return seal(_pack(model))


def with_calibration(data: bytes, calibration: Calibration) -> bytes:
    """Returns the bundle `data` with `calibration` in place of any of the same name.

    Raises:
        BundleError: `data` is no bundle, or a damaged one.
    """
    bundle = decode(data)
    others = tuple(each for each in bundle.calibrations if each.name != calibration.name)
    return bundle_bytes(data, dataclasses.replace(bundle, calibrations=(*others, calibration)))


def _put(model: Any, name: str, contents: bytes) -> None:
    """Makes `contents` the metadata `name` of an unpacked model."""
    model.metadata = list(model.metadata or [])
    entry = next((each for each in model.metadata if _name(each) == name), None)
    if entry is None:
        entry = schema.MetadataT()
        entry.name, entry.buffer = name, len(model.buffers)
        model.metadata.append(entry)
        model.buffers.append(schema.BufferT())
    model.buffers[entry.buffer].data = np.frombuffer(contents, np.uint8)


class _AlignedBuffer(schema.BufferT):  # type: ignore[misc]  # the schema ships no types
    """A buffer that begins at a multiple of 16 bytes."""

    def Pack(self, builder: flatbuffers.Builder) -> int:  # noqa: N802  # called by ModelT.Pack
        data = None
        if self.data is not None and len(self.data):
            contents = np.asarray(self.data, np.uint8).tobytes()
            builder.StartVector(1, len(contents), _ALIGNMENT)
            builder.head -= len(contents)
            builder.Bytes[builder.head : builder.head + len(contents)] = contents
            data = builder.EndVector()
        schema.BufferStart(builder)
        if data is not None:
            schema.BufferAddData(builder, data)
        packed: int = schema.BufferEnd(builder)
        return packed


def _unpack(tflite: bytes) -> Any:
    if tflite[4:8] != _IDENTIFIER:
        raise ModelUnsupported(
            "Expected a TensorFlow Lite model (.tflite). Received a file without its identifier."
        )
    try:
        model = schema.ModelT.InitFromPackedBuf(tflite)
    except (struct.error, IndexError, ValueError, TypeError) as exc:
        raise ModelUnsupported(
            "The .tflite file is damaged: a table points outside of it."
        ) from exc
    for buffer in model.buffers:
        _bring_inside(buffer, tflite)
    return model


def _bring_inside(buffer: Any, tflite: bytes) -> None:
    """Weights that some converters put behind the tables become part of them."""
    if buffer.offset <= 1:
        return
    if buffer.offset + buffer.size > len(tflite):
        raise ModelUnsupported("The .tflite file is damaged: it ends before its weights do.")
    buffer.data = np.frombuffer(tflite, np.uint8, buffer.size, buffer.offset)
    buffer.offset = buffer.size = 0


def _pack(model: Any) -> bytes:
    for buffer in model.buffers:
        buffer.__class__ = _AlignedBuffer
    builder = flatbuffers.Builder(1 << 20)
    builder.Finish(model.Pack(builder), _IDENTIFIER)
    return bytes(builder.Output())


def _name(entry: Any) -> str:
    return entry.name.decode() if isinstance(entry.name, bytes) else str(entry.name)

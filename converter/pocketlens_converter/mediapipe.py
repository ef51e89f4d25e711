"""Metadata by which MediaPipe Tasks understands a model: the TFLite Metadata schema, version 1.

    data = metadata(name="shop", width=224, height=224)     # the buffer TFLITE_METADATA

MediaPipe asks for it where the input is in floating point: what pixels become before the model
sees them. PocketLens's models scale pixels inside, so that the normalization is none (mean 0,
standard deviation 1), in both kinds. The writers on offer do not import beside a current
protobuf, and the
schema is small: tables are written field by field, the slots as in `metadata_schema.fbs`.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from collections.abc import Sequence

import flatbuffers  # type: ignore[import-untyped]

METADATA_NAME = "TFLITE_METADATA"
IDENTIFIER = b"M001"
PARSER_VERSION = "1.0.0"

_RGB = 1
# Members of the schema's unions.
_FEATURE_PROPERTIES, _IMAGE_PROPERTIES, _NORMALIZATION_OPTIONS = 1, 2, 1


def metadata(*, name: str, width: int, height: int) -> bytes:
    """The metadata of a model with one picture of pixels 0 to 255 in and one embedding out.

    Args:
        name: Of the model.
        width: Of the input in pixels.
        height: Of the input in pixels.
    """
    builder = flatbuffers.Builder(1024)
    picture = _tensor(
        builder,
        "picture",
        "RGB, 0 to 255, letterboxed as the PocketLens spec says.",
        _IMAGE_PROPERTIES,
        _image_properties(builder, width, height),
        [_process_unit(builder, _normalization(builder))],
    )
    embedding = _tensor(
        builder,
        "embedding",
        "Divide it by its length: cosines are compared.",
        _FEATURE_PROPERTIES,
        _table(builder, 0, {}),
        [],
    )
    graph = _table(builder, 10, {2: _vector(builder, [picture]), 3: _vector(builder, [embedding])})
    fields = {
        0: builder.CreateString(name),
        1: builder.CreateString("Embeds pictures of a shop's products."),
        3: _vector(builder, [graph]),
        7: builder.CreateString(PARSER_VERSION),
    }
    builder.Finish(_table(builder, 8, fields), IDENTIFIER)
    return bytes(builder.Output())


def _tensor(
    builder: flatbuffers.Builder,
    name: str,
    description: str,
    kind: int,
    properties: int,
    process_units: Sequence[int],
) -> int:
    """TensorMetadata: name 0, description 1, content 3, process_units 4."""
    builder.StartObject(3)  # Content: content_properties_type 0, content_properties 1
    builder.PrependUint8Slot(0, kind, 0)
    builder.PrependUOffsetTRelativeSlot(1, properties, 0)
    content = builder.EndObject()
    fields = {
        0: builder.CreateString(name),
        1: builder.CreateString(description),
        3: content,
    }
    if process_units:
        fields[4] = _vector(builder, process_units)
    return _table(builder, 7, fields)


def _image_properties(builder: flatbuffers.Builder, width: int, height: int) -> int:
    """ImageProperties: color_space 0, default_size 1."""
    builder.StartObject(2)
    builder.PrependUint32Slot(0, width, 0)
    builder.PrependUint32Slot(1, height, 0)
    size = builder.EndObject()
    builder.StartObject(2)
    builder.PrependInt8Slot(0, _RGB, 0)
    builder.PrependUOffsetTRelativeSlot(1, size, 0)
    return int(builder.EndObject())


def _normalization(builder: flatbuffers.Builder) -> int:
    """NormalizationOptions: mean 0, std 1; one value for all channels."""
    return _table(builder, 2, {0: _floats(builder, [0.0]), 1: _floats(builder, [1.0])})


def _process_unit(builder: flatbuffers.Builder, options: int) -> int:
    """ProcessUnit: options_type 0, options 1."""
    builder.StartObject(2)
    builder.PrependUint8Slot(0, _NORMALIZATION_OPTIONS, 0)
    builder.PrependUOffsetTRelativeSlot(1, options, 0)
    return int(builder.EndObject())


def _floats(builder: flatbuffers.Builder, values: Sequence[float]) -> int:
    builder.StartVector(4, len(values), 4)
    for value in reversed(values):
        builder.PrependFloat32(value)
    return int(builder.EndVector())


def _vector(builder: flatbuffers.Builder, offsets: Sequence[int]) -> int:
    builder.StartVector(4, len(offsets), 4)
    for offset in reversed(offsets):
        builder.PrependUOffsetTRelative(offset)
    return int(builder.EndVector())


def _table(builder: flatbuffers.Builder, slots: int, fields: dict[int, int]) -> int:
    builder.StartObject(slots)
    for slot, offset in fields.items():
        builder.PrependUOffsetTRelativeSlot(slot, offset, 0)
    return int(builder.EndObject())

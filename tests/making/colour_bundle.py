"""A real bundle without training: its model sees a picture as 4 x 4 fields of mean colour.

    path.write_bytes(colour_bundle())

uint8 picture -> average pool -> reshape -> dequantize: what it embeds can be told by hand, and
pictures of different colours are far apart. White, the ground of catalogue pictures, counts 0.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import functools
import io

import flatbuffers
import numpy as np
import numpy.typing as npt
from ai_edge_litert import schema_py_generated as schema
from PIL import Image

from pocketlens.formats import bundle as bundles
from pocketlens.formats.bundle import Bundle, Calibration, GoldenExample, Spec
from pocketlens.query import runtimes

SIZE, FIELDS = 32, 4
DIM = FIELDS * FIELDS * 3
CALIBRATION = Calibration(
    "device", -20, 22, 10, 0, match_threshold=0.8, no_match_threshold=0.3, products=24
)


@functools.cache
def colour_bundle() -> bytes:
    """The bundle, with a calibration of its own, golden examples and representative embeddings."""
    model = _packed(_model())
    runtime = runtimes.interpreter(model)
    rng = np.random.default_rng(6)
    pictures = [fields(rng) for _ in range(24)]
    embeddings = np.stack([_unit(runtime.run(picture)) for picture in pictures])
    description = Bundle(
        spec=Spec("colours", SIZE, SIZE, DIM, duplicate_cosine=0.9999),
        golden_examples=tuple(_golden(picture, runtime) for picture in pictures[:3]),
        golden_bound=0.01,
        representative=embeddings,
        queries=embeddings[:0],
        calibrations=(CALIBRATION,),
    )
    return described_as(model, description)


def described_as(data: bytes, description: Bundle) -> bytes:
    """The model in `data` with this description, in the place of what it had."""
    model = schema.ModelT.InitFromPackedBuf(bytearray(data), 0)
    contents = schema.BufferT()
    contents.data = np.frombuffer(bundles.encode(description), np.uint8)
    known = [each for each in model.metadata or () if each.name == b"POCKETLENS"]
    if known:
        model.buffers[known[0].buffer] = contents
    else:
        entry = schema.MetadataT()
        entry.name, entry.buffer = bundles.METADATA_NAME, len(model.buffers)
        model.buffers.append(contents)
        model.metadata = [entry]
    return bundles.seal(_packed(model))


def fields(rng: np.random.Generator, *, side: int = SIZE) -> npt.NDArray[np.uint8]:
    """A picture of 4 x 4 fields of random colour: uint8 (side, side, 3)."""
    colours = rng.integers(0, 256, (FIELDS, FIELDS, 3), dtype=np.uint8)
    return colours.repeat(side // FIELDS, axis=0).repeat(side // FIELDS, axis=1)


def _golden(picture: npt.NDArray[np.uint8], runtime: runtimes.Runtime) -> GoldenExample:
    jpeg = io.BytesIO()
    Image.fromarray(picture).save(jpeg, "JPEG", quality=95)
    with Image.open(jpeg) as image:
        tensor = np.asarray(image.convert("RGB"))
    return GoldenExample(jpeg.getvalue(), tensor, _unit(runtime.run(tensor)))


def _model() -> schema.ModelT:
    pool = schema.Pool2DOptionsT()
    pool.filterHeight = pool.filterWidth = pool.strideH = pool.strideW = SIZE // FIELDS
    pool.padding = schema.Padding.VALID
    reshape = schema.ReshapeOptionsT()
    reshape.newShape = np.array([1, DIM], np.int32)
    graph = schema.SubGraphT()
    graph.tensors = [
        _tensor([1, SIZE, SIZE, 3], schema.TensorType.UINT8),
        _tensor([1, FIELDS, FIELDS, 3], schema.TensorType.UINT8),
        _tensor([2], schema.TensorType.INT32, buffer=1),
        _tensor([1, DIM], schema.TensorType.UINT8),
        _tensor([1, DIM], schema.TensorType.FLOAT32),
    ]
    graph.inputs, graph.outputs = [0], [4]
    options = schema.BuiltinOptions
    graph.operators = [
        _operator(0, [0], [1], options.Pool2DOptions, pool),
        _operator(1, [1, 2], [3], options.ReshapeOptions, reshape),
        _operator(2, [3], [4], options.DequantizeOptions, schema.DequantizeOptionsT()),
    ]
    shape = schema.BufferT()
    shape.data = np.frombuffer(np.array([1, DIM], "<i4").tobytes(), np.uint8)
    model = schema.ModelT()
    model.version, model.subgraphs = 3, [graph]
    model.buffers = [schema.BufferT(), shape]
    codes = schema.BuiltinOperator
    model.operatorCodes = [
        _code(each) for each in (codes.AVERAGE_POOL_2D, codes.RESHAPE, codes.DEQUANTIZE)
    ]
    return model


def _tensor(shape: list[int], dtype: int, *, buffer: int = 0) -> schema.TensorT:
    tensor = schema.TensorT()
    tensor.shape, tensor.type, tensor.buffer = shape, dtype, buffer
    if dtype == schema.TensorType.UINT8:
        tensor.quantization = schema.QuantizationParametersT()
        tensor.quantization.scale, tensor.quantization.zeroPoint = [1 / 255], [255]
    return tensor


def _operator(
    code: int, inputs: list[int], outputs: list[int], kind: int, options: object
) -> schema.OperatorT:
    operator = schema.OperatorT()
    operator.opcodeIndex, operator.inputs, operator.outputs = code, inputs, outputs
    operator.builtinOptionsType, operator.builtinOptions = kind, options
    return operator


def _code(builtin: int) -> schema.OperatorCodeT:
    code = schema.OperatorCodeT()
    code.builtinCode = code.deprecatedBuiltinCode = builtin
    code.version = 1
    return code


def _packed(model: schema.ModelT) -> bytes:
    builder = flatbuffers.Builder(1 << 16)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def _unit(embedding: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    return embedding / np.linalg.norm(embedding)

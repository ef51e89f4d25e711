"""Tables of small TFLite models, for models that are made without training."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema

POOL, RESHAPE, DEQUANTIZE = (
    schema.BuiltinOperator.AVERAGE_POOL_2D,
    schema.BuiltinOperator.RESHAPE,
    schema.BuiltinOperator.DEQUANTIZE,
)


def model_of(tensors: list[schema.TensorT], shapes: list[list[int]]) -> schema.ModelT:
    """A model of one graph, its operators still to be set: tensor 0 in, the last one out.

    Args:
        tensors: Of the graph.
        shapes: Contents of buffers 1, 2, ...: what `reshape` reads.
    """
    graph = schema.SubGraphT()
    graph.tensors, graph.inputs, graph.outputs = tensors, [0], [len(tensors) - 1]
    model = schema.ModelT()
    model.version, model.subgraphs, model.buffers = 3, [graph], [schema.BufferT()]
    for shape in shapes:
        buffer = schema.BufferT()
        buffer.data = np.frombuffer(np.array(shape, "<i4").tobytes(), np.uint8)
        model.buffers.append(buffer)
    model.operatorCodes = [_code(each) for each in (POOL, RESHAPE, DEQUANTIZE)]
    return model


def tensor(shape: list[int], dtype: int, *, buffer: int = 0) -> schema.TensorT:
    """A tensor; uint8 stands for 0 (255) to -1 (0)."""
    made = schema.TensorT()
    made.shape, made.type, made.buffer = shape, dtype, buffer
    if dtype == schema.TensorType.UINT8:
        made.quantization = schema.QuantizationParametersT()
        made.quantization.scale, made.quantization.zeroPoint = [1 / 255], [255]
    return made


def average_pool(of: int, into: int, height: int, width: int) -> schema.OperatorT:
    """Means of fields of `height` x `width`."""
    pool = schema.Pool2DOptionsT()
    pool.filterHeight, pool.strideH = height, height
    pool.filterWidth, pool.strideW = width, width
    pool.padding = schema.Padding.VALID
    return _operator(0, [of], [into], schema.BuiltinOptions.Pool2DOptions, pool)


def reshape(of: int, by: int, into: int, shape: list[int]) -> schema.OperatorT:
    """The same numbers in another shape, which tensor `by` says too."""
    options = schema.ReshapeOptionsT()
    options.newShape = np.array(shape, np.int32)
    return _operator(1, [of, by], [into], schema.BuiltinOptions.ReshapeOptions, options)


def dequantize(of: int, into: int) -> schema.OperatorT:
    """uint8 to float32."""
    kind = schema.BuiltinOptions.DequantizeOptions
    return _operator(2, [of], [into], kind, schema.DequantizeOptionsT())


def packed(model: schema.ModelT) -> bytes:
    """The bytes of its file."""
    builder = flatbuffers.Builder(1 << 16)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


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

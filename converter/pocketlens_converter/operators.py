"""The operators of a .tflite, and which of them an accelerator would hand back to the CPU.

What a delegate refuses splits the graph: tensors travel to the CPU and back, which often costs
more than the accelerator gains. The tables are what the delegates' documentation lists; a driver
may do less, which is why a device checks its runtime with golden examples.

Sources: "GPU delegates for LiteRT" (operators of the GPU delegate), "LiteRT NNAPI delegate" with
the Android Neural Networks API's operations at feature level 3, "TensorFlow models on the Edge
TPU" (as the example of an NPU that runs int8 alone).
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from collections import Counter

from ai_edge_litert import schema_py_generated as schema

_EVERYWHERE = frozenset(
    "ADD AVERAGE_POOL_2D CONCATENATION CONV_2D DEPTHWISE_CONV_2D FULLY_CONNECTED LOGISTIC "
    "MAX_POOL_2D MAXIMUM MEAN MINIMUM MUL PAD RELU RELU6 RESHAPE RESIZE_BILINEAR SOFTMAX SUB "
    "TANH TRANSPOSE_CONV STRIDED_SLICE".split()
)
SUPPORTED: dict[str, frozenset[str]] = {
    "gpu": _EVERYWHERE
    | frozenset(
        "ABS COS DEQUANTIZE DIV ELU EXP HARD_SWISH LOG MIRROR_PAD NEG POW PRELU QUANTIZE RSQRT "
        "SIN SLICE SPACE_TO_DEPTH SPLIT SQRT SQUARE SQUARED_DIFFERENCE TRANSPOSE".split()
    ),
    "npu": _EVERYWHERE
    | frozenset("L2_NORMALIZATION PACK QUANTIZE RSQRT SLICE SPLIT SQUEEZE SUM TRANSPOSE".split()),
    "nnapi": _EVERYWHERE
    | frozenset(
        "ABS BATCH_TO_SPACE_ND DEQUANTIZE DIV EXP EXPAND_DIMS FLOOR HARD_SWISH L2_NORMALIZATION "
        "LOG NEG POW PRELU QUANTIZE RSQRT SIN SLICE SPACE_TO_BATCH_ND SPACE_TO_DEPTH SPLIT SQRT "
        "SQUEEZE TRANSPOSE".split()
    ),
}
# Accelerators that run nothing but int8: one tensor in floating point sends its operator back.
INT8_ALONE = frozenset({"npu"})
# They make the one kind of tensor of the other, at the ends of an int8 graph.
_AT_THE_ENDS = frozenset({"QUANTIZE", "DEQUANTIZE"})
_NAMES = {
    number: name
    for name, number in vars(schema.BuiltinOperator).items()
    if isinstance(number, int) and not name.startswith("_")
}


def operators(tflite: bytes) -> Counter[str]:
    """How often each operator is in the model, by its name in the schema.

    Args:
        tflite: Bytes of a .tflite file.
    """
    return Counter(name for name, _ in _steps(tflite))


def refused(tflite: bytes) -> dict[str, Counter[str]]:
    """The operators that each accelerator would leave to the CPU, and how often they come.

    Args:
        tflite: Bytes of a .tflite file.

    Returns:
        By the names of `pocketlens.options.Accelerator`: "gpu", "npu", "nnapi".
    """
    found: dict[str, Counter[str]] = {}
    for accelerator, supported in SUPPORTED.items():
        found[accelerator] = Counter(
            name
            for name, is_float in _steps(tflite)
            if name not in supported
            or (is_float and accelerator in INT8_ALONE and name not in _AT_THE_ENDS)
        )
    return found


def _steps(tflite: bytes) -> list[tuple[str, bool]]:
    """Each operator's name, and whether what it gives is in floating point."""
    model = schema.Model.GetRootAs(tflite)
    steps = []
    for number in range(model.SubgraphsLength()):
        graph = model.Subgraphs(number)
        for place in range(graph.OperatorsLength()):
            operator = graph.Operators(place)
            code = model.OperatorCodes(operator.OpcodeIndex())
            builtin = max(code.BuiltinCode(), code.DeprecatedBuiltinCode())
            kind = graph.Tensors(operator.Outputs(0)).Type()
            is_float = kind in (schema.TensorType.FLOAT32, schema.TensorType.FLOAT16)
            steps.append((_NAMES.get(builtin, str(builtin)), is_float))
    return steps

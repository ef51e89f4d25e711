"""What multiplies queries with blocks of vectors: numpy on the CPU, or TensorFlow on a GPU.

    scorer = scorer_at_hand()
    scorer.scores(block, queries)              # float32 (q, rows)

Full precision is meant: TF32, which halves it, is off. A GPU that has no memory left for a block
is not asked for that one again; the CPU multiplies it, and `accelerator` says so.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import logging
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

logger = logging.getLogger(__name__)

_GPU_FILES = ("nvidia[0-9]*", "kfd", "dxg")  # of NVIDIA, of AMD, of Windows below Linux

Floats = npt.NDArray[np.float32]


class Block(Protocol):
    """Rows that never change; more may be appended behind those that a caller names."""

    @property
    def vectors(self) -> Floats:
        """float32 (room, dim); rows beyond those named are unspecified."""


class Scorer(Protocol):
    """Threads: any number."""

    @property
    def accelerator(self) -> str:
        """What multiplies: "cpu", "gpu", or "gpu and cpu" once a GPU had no room for a block."""

    def scores(self, block: Block, rows: int, queries: Floats) -> Floats:
        """Dot products float32 (q, rows) of the first rows of a block with queries (q, dim).

        Each differs from the exact one by less than `error_bound(dim)`.
        """


def error_bound(dim: int) -> float:
    """How far a float32 dot product of two unit vectors is from the exact one, at most.

    Source: N. Higham, Accuracy and Stability of Numerical Algorithms, 3.1: n u / (1 - n u), in any
    order of summation, with the unit roundoff u = 2^-24.
    """
    spent = dim * 2.0**-24
    return spent / (1 - spent)


class CpuScorer:
    """numpy, whose BLAS uses all cores."""

    accelerator = "cpu"

    def scores(self, block: Block, rows: int, queries: Floats) -> Floats:
        """See `Scorer.scores`."""
        if len(queries) == 1:  # a matrix of one row takes a third longer than a vector
            found: Floats = (block.vectors[:rows] @ queries[0])[None]
        else:
            found = queries @ block.vectors[:rows].T
        return found


class TensorFlowScorer:
    """TensorFlow on one device, where blocks are kept after their first use."""

    def __init__(self, device: str, *, product: Callable[[Any, Any], Any] | None = None) -> None:
        """Loads TensorFlow.

        Args:
            device: Such as "/GPU:0".
            product: Of queries (q, dim) and vectors (rows, dim), in the place of TensorFlow's own.
        """
        import tensorflow as tf

        tf.config.experimental.enable_tensor_float_32_execution(False)
        self._tf, self._device = tf, device
        self._product = product or (
            lambda queries, rows: tf.matmul(queries, rows, transpose_b=True)
        )
        self._kept: weakref.WeakKeyDictionary[Block, tuple[int, Any]] = weakref.WeakKeyDictionary()
        self._fallback = CpuScorer()
        self._refused: weakref.WeakSet[Block] = weakref.WeakSet()
        self._is_short = False

    @property
    def accelerator(self) -> str:
        """See `Scorer.accelerator`."""
        return "gpu and cpu" if self._is_short else "gpu"

    def scores(self, block: Block, rows: int, queries: Floats) -> Floats:
        """See `Scorer.scores`."""
        if block in self._refused:
            return self._fallback.scores(block, rows, queries)
        try:
            with self._tf.device(self._device):
                kept = self._on_device(block, rows)
                found: Floats = self._product(self._tf.constant(queries), kept).numpy()
        except self._tf.errors.ResourceExhaustedError:
            self._refused.add(block)
            self._kept.pop(block, None)
            self._is_short = True
            logger.warning(
                "query.gpu.full device=%s blocks_on_cpu=%d", self._device, len(self._refused)
            )
            return self._fallback.scores(block, rows, queries)
        return found[:, :rows]

    def _on_device(self, block: Block, rows: int) -> Any:
        """Rows of a block, which are brought again only when some were appended."""
        count, kept = self._kept.get(block, (0, None))
        if count < rows:
            kept = self._tf.constant(block.vectors[:rows])
            self._kept[block] = (rows, kept)
        return kept


def scorer_at_hand() -> Scorer:
    """TensorFlow on the first GPU that it sees, where it is installed; else numpy."""
    if not any(path for each in _GPU_FILES for path in Path("/dev").glob(each)):
        return CpuScorer()  # TensorFlow takes seconds and 300 MB to say so
    try:
        import tensorflow as tf
    except ImportError:
        return CpuScorer()
    devices = tf.config.list_physical_devices("GPU")
    if not devices:
        return CpuScorer()
    try:
        tf.config.experimental.set_memory_growth(devices[0], True)
    except RuntimeError as exc:  # something has used it already
        logger.warning("query.gpu.memory_growth error=%s", exc)
    return TensorFlowScorer("/GPU:0")

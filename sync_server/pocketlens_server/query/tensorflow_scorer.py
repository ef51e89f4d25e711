"""Rows that may be nearest to queries, found on a GPU by TensorFlow: a `scorers.Scorer`.

    scorer = on_gpu()                          # None where TensorFlow sees none
    scorer.candidates(parts, queries, 10)

Blocks stay on the GPU after their first use; of each, only the rows that score most come back. Full
precision is meant: TF32, which halves it, is off. Where there is no memory for a block, it is
brought in halves, and these in halves; what is still too large is left to the CPU for good, and
`accelerator` says so.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
import tensorflow as tf

from pocketlens_server.query.candidates import Candidates, error_bound
from pocketlens_server.query.exact_blocks import BLOCK_ROWS, Block, Floats, Part
from pocketlens_server.query.scorers import Piece, Scorer

logger = logging.getLogger(__name__)

_FEWEST_ROWS = BLOCK_ROWS >> 3  # that are brought to a GPU by themselves
_MORE = 32  # rows brought back beyond those wanted, among them all that nearly score as much
# What a lack of memory looks like: as the result of an operation, and when rows are brought.
_NO_ROOM = (tf.errors.ResourceExhaustedError, tf.errors.InternalError)


class TensorFlowScorer:
    """TensorFlow on one device."""

    def __init__(self, device: str, *, product: Callable[[Any, Any], Any] | None = None) -> None:
        """Begins with nothing on the device.

        Args:
            device: Such as "/GPU:0".
            product: Of queries (q, dim) and vectors (rows, dim), in the place of TensorFlow's own.
        """
        tf.config.experimental.enable_tensor_float_32_execution(False)
        self._device = device
        self._product = product or (
            lambda queries, rows: tf.matmul(queries, rows, transpose_b=True)
        )
        self._one_at_a_time = threading.Lock()
        # Rows on the device by the first of them, and spans (first row, most rows) without room.
        self._held: WeakKeyDictionary[Block, dict[int, Any]] = WeakKeyDictionary()
        self._refused: WeakKeyDictionary[Block, set[tuple[int, int]]] = WeakKeyDictionary()
        self._is_short = False

    @property
    def accelerator(self) -> str:
        """See `Scorer.accelerator`."""
        return "gpu and cpu" if self._is_short else "gpu"

    def candidates(self, parts: Sequence[Part], queries: Floats, count: int) -> Candidates:
        """See `Scorer.candidates`."""
        found = Candidates(len(queries), count, error_bound(queries.shape[1]))
        with self._one_at_a_time:
            for number, part in enumerate(parts):
                self._score(number, part, (0, BLOCK_ROWS), queries, found, count)
        return found

    def _score(
        self,
        number: int,
        part: Part,
        span: tuple[int, int],
        queries: Floats,
        found: Candidates,
        count: int,
    ) -> None:
        """Rows of a span of a part: at once, in halves, or by the CPU."""
        start, most = span
        piece = Piece(number, part, start, min(start + most, part.rows))
        refused = self._refused.setdefault(part.block, set())
        if piece.start >= piece.end:
            return
        if span not in refused:
            try:
                with tf.device(self._device):
                    self._score_there(piece, queries, found, count)
            except _NO_ROOM as exc:
                refused.add(span)
                logger.warning(
                    "query.gpu.full device=%s rows=%d error=%s",
                    self._device,
                    piece.end - piece.start,
                    type(exc).__name__,
                )
            else:
                return
        self._held.get(part.block, {}).pop(start, None)
        if most <= _FEWEST_ROWS:
            self._is_short = True
            piece.score(queries, found)
            return
        for half in (start, start + most // 2):
            self._score(number, part, (half, most // 2), queries, found, count)

    def _score_there(self, piece: Piece, queries: Floats, found: Candidates, count: int) -> None:
        scores = self._product(tf.constant(queries), self._rows_there(piece))
        if piece.part.hidden is not None:
            hidden = tf.constant(piece.part.hidden[piece.start : piece.end])
            scores = tf.where(hidden, tf.constant(-np.inf, tf.float32), scores)
        rows = piece.end - piece.start
        first = piece.number * BLOCK_ROWS + piece.start
        taken = min(rows, count + _MORE)
        top, places = (each.numpy() for each in tf.math.top_k(scores, taken))
        last = top[:, -1]
        if taken < rows and ((last > -np.inf) & (last >= top[:, count - 1] - found.slack)).any():
            # So many score nearly the same that they are not all among these.
            found.take(first + np.arange(rows), np.ascontiguousarray(scores.numpy().T))
            return
        whose = np.repeat(np.arange(len(queries)), taken)
        found.add(first + places.ravel().astype(np.int64), whose, top.ravel())

    def _rows_there(self, piece: Piece) -> Any:
        """Rows on the device, which are brought again only when some were appended."""
        held = self._held.setdefault(piece.part.block, {})
        rows = piece.end - piece.start
        there = held.get(piece.start)
        if there is None or there.shape[0] < rows:
            held.pop(piece.start, None)
            there = held[piece.start] = tf.constant(
                piece.part.block.vectors[piece.start : piece.end]
            )
        return there[:rows]


def on_gpu() -> Scorer | None:
    """On the first GPU that TensorFlow sees; None where it sees none."""
    devices = tf.config.list_physical_devices("GPU")
    if not devices:
        return None
    try:
        tf.config.experimental.set_memory_growth(devices[0], True)
    except RuntimeError as exc:  # something has used it already
        logger.warning("query.gpu.memory_growth error=%s", exc)
    return TensorFlowScorer("/GPU:0")

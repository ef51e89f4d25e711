"""vectors/feedback.json: embeddings, samples of a bundle, and codes rounded with feedback."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from tests.making.embeddings import clustered

from pocketlens.query import codes

DIM = 6


def vectors() -> dict[str, Any]:
    """The whole file, as JSON holds it."""
    rng = np.random.default_rng(1)
    catalogue, photos = (
        clustered(rng, n, DIM, clusters=3).astype(np.float16).astype(np.float32) for n in (12, 5)
    )
    largest = np.abs(catalogue).max(axis=0)
    scale = codes.scale_of(largest)
    axes = np.eye(DIM, dtype=np.float32)[:2]  # beyond the scale, so that they saturate
    embeddings = np.concatenate([catalogue[:5], axes])
    by_samples = {
        "both": codes.feedback_of(scale, catalogue, photos),
        "without_queries": codes.feedback_of(scale, catalogue, photos[:0]),
    }
    return {
        "format": 1,
        "largest": _numbers(largest),
        "scale": _numbers(scale),
        "representative": [_numbers(row) for row in catalogue],
        "queries": [_numbers(row) for row in photos],
        "embeddings": [_numbers(row) for row in embeddings],
        "codes": {
            name: [code.tobytes().hex() for code in codes.encode(embeddings, scale, feedback)]
            for name, feedback in by_samples.items()
        },
    }


def _numbers(values: npt.NDArray[np.float32]) -> list[float]:
    return [float(value) for value in values]

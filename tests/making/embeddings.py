"""Unit vectors as a model makes them, from a seed: clustered, some of them nearly equal."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import numpy as np
import numpy.typing as npt


def unit(vectors: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


def clustered(
    rng: np.random.Generator, n: int, dim: int, *, clusters: int = 50, spread: float = 0.6
) -> npt.NDArray[np.float32]:
    """float32 (n, dim), unit rows around `clusters` centres; `spread` is the noise's length."""
    centres = unit(rng.standard_normal((clusters, dim), dtype=np.float32))
    noise = rng.standard_normal((n, dim), dtype=np.float32) * np.float32(spread / np.sqrt(dim))
    return unit(centres[rng.integers(0, clusters, n)] + noise)


def turned(
    rng: np.random.Generator, vectors: npt.NDArray[np.float32], cosine: float
) -> npt.NDArray[np.float32]:
    """Each vector turned in a random direction until it has `cosine` with what it was."""
    aside = rng.standard_normal(vectors.shape, dtype=np.float32)
    aside = unit(aside - (aside * vectors).sum(axis=-1, keepdims=True) * vectors)
    return np.float32(cosine) * vectors + np.float32(np.sqrt(1 - cosine**2)) * aside

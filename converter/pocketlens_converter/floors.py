"""What needs no network: the floor under a model's figures, which every report names.

Both are embedding models of their own, and are searched like any other: a colour histogram, which
knows nothing of shape, and a perceptual hash, which knows nothing of colour.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import itertools

import numpy as np
import numpy.typing as npt

from pocketlens.formats.bundle import Bundle, Spec
from pocketlens_converter.embedding_models import EmbeddingModel

SIDE = 64
LEVELS = 6  # bins a channel of the histogram
HASH_SIDE = 16  # of the hash: 16 x 16 comparisons of neighbours


class ColourHistogram:
    """Shares of colours, 6 x 6 x 6; their square roots, so that a cosine compares distributions.

    White counts as nothing: it is the ground of catalogue pictures and the padding of photos.
    """

    spec = Spec("colour histogram", SIDE, SIDE, LEVELS**3)

    @property
    def bundle(self) -> Bundle | None:
        """None: it is no bundle."""
        return None

    def embed_tensors(self, tensors: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """Unit embeddings, float32 (n, 216), of uint8 (n, 64, 64, 3)."""
        bins = tensors.astype(np.int64) * LEVELS // 256
        numbers = (bins[..., 0] * LEVELS + bins[..., 1]) * LEVELS + bins[..., 2]
        white = LEVELS**3 - 1
        rows = np.zeros((len(tensors), LEVELS**3), np.float64)
        for row, picture in enumerate(numbers.reshape(len(tensors), -1)):
            rows[row] = np.bincount(picture, minlength=LEVELS**3)
            if rows[row, :white].any():
                rows[row, white] = 0
        return _unit(np.sqrt(rows))


class PerceptualHash:
    """Difference hash: whether each of 16 x 16 grey patches is darker than its right neighbour.

    As +-1, so that the cosine is 1 less twice the share of bits that differ.
    Source: N. Krawetz, "Kind of Like That" (2013).
    """

    spec = Spec("perceptual hash", SIDE, SIDE, HASH_SIDE * HASH_SIDE)

    @property
    def bundle(self) -> Bundle | None:
        """None: it is no bundle."""
        return None

    def embed_tensors(self, tensors: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """Unit embeddings, float32 (n, 256), of uint8 (n, 64, 64, 3)."""
        grey = tensors.astype(np.float64) @ np.array([0.299, 0.587, 0.114])
        rows = [_patch_means(grey[:, :, start : start + 60]) for start in (0, 4)]
        darker = rows[0] < rows[1]
        return _unit(np.where(darker, 1.0, -1.0).reshape(len(tensors), -1))


FLOORS: tuple[EmbeddingModel, ...] = (ColourHistogram(), PerceptualHash())


def _patch_means(grey: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Means of 16 x 16 patches of (n, 64, 60): (n, 16, 16)."""
    rows = grey.reshape(len(grey), HASH_SIDE, SIDE // HASH_SIDE, 60).mean(axis=2)
    columns = np.linspace(0, 60, HASH_SIDE + 1).round().astype(int)
    parts = [
        rows[:, :, start:end].mean(axis=2) for start, end in itertools.pairwise(columns.tolist())
    ]
    return np.stack(parts, axis=2)


def _unit(rows: npt.NDArray[np.float64]) -> npt.NDArray[np.float32]:
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.asarray(rows / np.maximum(lengths, 1e-12), np.float32)

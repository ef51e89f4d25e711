"""A head that starts from what a pretrained backbone knows, instead of from random numbers.

The first embeddings are the principal components of the backbone's features of the shop's own
pictures: neighbours stay neighbours, and training only has to correct them. A random head has to
learn first what was there before it (recall@1 of untrained networks: docs/training.md).
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import keras
import numpy as np
import numpy.typing as npt

from pocketlens_converter import models

# Exponent by which components of large variance are made smaller: 0 keeps them, 1 whitens.
WHITENING = 0.25
PICTURES = 2000  # whose features are looked at: more change no component that matters


def fit_head(model: keras.Model, pictures: npt.NDArray[np.uint8], seed: int) -> None:
    """Sets the last layer (Dense) of `model` to the principal components of its input.

    Embeddings come out centred, of mean length 1. Where more dimensions than components are
    asked for, the others are random directions, small enough not to matter at first.

    Args:
        model: As `backbones.build` makes it.
        pictures: uint8 (n, size, size, 3), n of 2 or more: the shop's.
        seed: Of the random directions.
    """
    head = model.layers[-1]
    features = models.outputs(keras.Model(model.input, head.input), pictures).astype(np.float64)
    mean = features.mean(axis=0)
    _, deviations, axes = np.linalg.svd(features - mean, full_matrices=False)
    deviations = deviations / np.sqrt(len(features))
    width = min(head.units, int(np.count_nonzero(deviations > 1e-6 * deviations[0])))
    kernel = np.zeros((features.shape[1], head.units))
    kernel[:, :width] = axes[:width].T * (deviations[:width] / deviations[0]) ** -WHITENING
    if width < head.units:
        drawn = np.random.default_rng(seed).standard_normal((len(kernel), head.units - width))
        drawn /= np.linalg.norm(drawn, axis=0)
        kernel[:, width:] = 0.1 * np.linalg.norm(kernel[:, width - 1]) * drawn
    kernel /= np.linalg.norm((features - mean) @ kernel, axis=1).mean()
    head.set_weights([kernel, -mean @ kernel])

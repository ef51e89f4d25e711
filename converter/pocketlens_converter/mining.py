"""A mining round: the set as the network sees it now, and what follows for the next batches.

    found = mined(model, pictures, options, seed=round_number)
    composition = Composition(pictures.categories, found.nearest)

Neighbours of products are those of their pictures' mean embeddings. Photos in which the network
sees no trace of their product, although it recognises it elsewhere, are named, to be left out.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import keras
import numpy as np
import numpy.typing as npt

from pocketlens_converter import models
from pocketlens_converter.options import TrainOptions
from pocketlens_converter.training_pictures import TrainingPictures

PICTURES_A_PRODUCT = 8  # looked at in a round, of a product that has more
ROWS_AT_ONCE = 1024


@dataclass(frozen=True, slots=True)
class Mined:
    """What a round found.

    Attributes:
        nearest: int64 (products, pool), nearest first.
        invisible: Numbers of the photos that show nothing of their product.
    """

    nearest: npt.NDArray[np.int64]
    invisible: npt.NDArray[np.int64]


def mined(
    model: keras.Model,
    pictures: TrainingPictures,
    options: TrainOptions,
    *,
    seed: int,
    everything: bool = False,
) -> Mined:
    """Embeds pictures of every product and finds the nearest products of each.

    Args:
        model: The current network; its input is square.
        pictures: What is learned from.
        options: Size of the pool, and below which rank a photo counts as invisible.
        seed: Of the choice among many pictures of a product.
        everything: Whether all pictures are looked at, however many a product has.
    """
    rng = np.random.default_rng([options.seed, 3, seed])
    at_most = None if everything else PICTURES_A_PRODUCT
    chosen = [
        number
        for of_product in (*pictures.catalogue, *pictures.photos)
        for number in rng.permutation(of_product)[:at_most].tolist()
    ]
    numbers = np.array(sorted(chosen), np.int64)
    embeddings = embedded(model, pictures, numbers.tolist()).astype(np.float64)
    owners = np.array([pictures.entries[number].product for number in numbers])
    sums = np.zeros((pictures.product_count, embeddings.shape[1]))
    np.add.at(sums, owners, embeddings)
    return Mined(
        nearest=_nearest(_unit(sums), options.mining_pool),
        invisible=numbers[_is_invisible(embeddings, owners, sums, options.visible_share)],
    )


def embedded(
    model: keras.Model, pictures: TrainingPictures, numbers: Sequence[int]
) -> npt.NDArray[np.float32]:
    """Embeddings (n, dim) of 1 or more pictures, of which a part at a time is held in memory."""
    size = model.inputs[0].shape[1]
    rows = [
        models.embed(model, pictures.squares(numbers[start : start + ROWS_AT_ONCE], size))
        for start in range(0, len(numbers), ROWS_AT_ONCE)
    ]
    return np.concatenate(rows)


def _nearest(centres: npt.NDArray[np.float64], pool: int) -> npt.NDArray[np.int64]:
    count = min(pool, len(centres) - 1)
    nearest = np.empty((len(centres), count), np.int64)
    for start in range(0, len(centres), ROWS_AT_ONCE):
        cosines = centres[start : start + ROWS_AT_ONCE] @ centres.T
        rows = np.arange(len(cosines))
        cosines[rows, start + rows] = -np.inf  # itself
        near = np.argpartition(-cosines, count - 1, axis=1)[:, :count]
        near.sort(axis=1)  # of equals the first: what is drawn must not depend on the machine
        order = np.argsort(-np.take_along_axis(cosines, near, axis=1), axis=1, kind="stable")
        nearest[start : start + len(cosines)] = np.take_along_axis(near, order, axis=1)
    return nearest


def _is_invisible(
    embeddings: npt.NDArray[np.float64],
    owners: npt.NDArray[np.int64],
    sums: npt.NDArray[np.float64],
    visible_share: float,
) -> npt.NDArray[np.bool_]:
    """Pictures to which so many products are nearer than their own that it cannot be seen.

    A picture is compared with the others of its product only; the only one has none to compare.
    """
    counts = np.bincount(owners, minlength=len(sums))
    centres = _unit(sums)
    invisible = np.zeros(len(owners), np.bool_)
    for row, (embedding, owner) in enumerate(zip(embeddings, owners, strict=True)):
        if counts[owner] < 3:
            continue
        own = _unit((sums[owner] - embedding)[None])[0] @ embedding
        similarities = centres @ embedding
        similarities[owner] = own
        nearer = np.count_nonzero(similarities > own)
        invisible[row] = nearer > visible_share * (len(sums) - 1)
    return invisible


def _unit(rows: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.asarray(rows / np.maximum(lengths, 1e-12))

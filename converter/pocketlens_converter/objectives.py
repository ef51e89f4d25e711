"""What a batch is judged by: its embeddings, and which pictures they are of, to one number.

Other products are told apart within the batch only. A memory of the whole catalogue's last seen
embeddings as further negatives was tried and left out: they are those of an older network, and
recall@1 after 120 steps fell from 0.58 to 0.46 (docs/training.md).
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from keras import KerasTensor, ops

from pocketlens_converter import distances
from pocketlens_converter.losses.multi_positive_softmax import multi_positive_softmax
from pocketlens_converter.losses.triplet_margin import triplet_margin
from pocketlens_converter.miners.batch_hard import batch_hard
from pocketlens_converter.miners.semi_hard import semi_hard
from pocketlens_converter.miners.triplets import positive_pairs
from pocketlens_converter.options import TrainOptions


def softmax_objective(
    embeddings: KerasTensor, products: KerasTensor, slots: KerasTensor, options: TrainOptions
) -> KerasTensor:
    """Multi-positive softmax among all pictures, and of photos among catalogue pictures.

    The second term is the question that is asked later: which catalogue picture is it?

    Args:
        embeddings: float32 (n, dim), unit rows.
        products: int32 (n,).
        slots: int32 (n,), number of the catalogue picture; -1 for a photo.
        options: Temperature and the weight of the second term.

    Returns:
        float32 ().
    """
    similarities = distances.cosines(embeddings, embeddings)
    positives = positive_pairs(products)
    others = ops.logical_not(ops.cast(ops.eye(ops.shape(products)[0]), "bool"))
    among_all = multi_positive_softmax(similarities, positives, others, options.temperature)

    photo_to_catalogue = ops.logical_and((slots < 0)[:, None], (slots >= 0)[None, :])
    among_catalogue = multi_positive_softmax(
        similarities,
        ops.logical_and(positives, photo_to_catalogue),
        photo_to_catalogue,
        options.temperature,
    )
    return among_all + options.catalogue_weight * among_catalogue


def triplet_objective(
    embeddings: KerasTensor, products: KerasTensor, options: TrainOptions, *, is_warm: bool
) -> KerasTensor:
    """Triplet margin loss of the batch; semi-hard triplets until `is_warm`.

    Args:
        embeddings: float32 (n, dim), unit rows.
        products: int32 (n,).
        options: Miner and margin.
        is_warm: Whether the warm-up is over.

    Returns:
        float32 ().
    """
    pairs = distances.euclidean(embeddings, embeddings)
    if is_warm and options.miner == "batch-hard":
        return triplet_margin(batch_hard(pairs, products), options.margin)
    return triplet_margin(semi_hard(pairs, products, options.margin), options.margin)

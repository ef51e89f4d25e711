"""What a batch is judged by: its embeddings, and which pictures they are of, to one number.

loss = objective(embeddings, Labels(products, slots), proxies, options, is_warm=True)
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from typing import NamedTuple

from keras import KerasTensor, ops

from pocketlens.errors import TrainingError
from pocketlens_converter import distances
from pocketlens_converter.losses.contrastive import contrastive
from pocketlens_converter.losses.multi_positive_softmax import multi_positive_softmax
from pocketlens_converter.losses.n_pair import n_pair
from pocketlens_converter.losses.proxy_softmax import proxy_softmax
from pocketlens_converter.losses.triplet_margin import triplet_margin
from pocketlens_converter.miners.batch_hard import batch_hard
from pocketlens_converter.miners.semi_hard import semi_hard
from pocketlens_converter.miners.triplets import positive_pairs, same_product
from pocketlens_converter.options import TrainOptions

PROXIES_MISSING = "The proxy loss needs catalogue pictures: give them as the first of two lists."


class Labels(NamedTuple):
    """Whose pictures those of a batch are.

    Attributes:
        products: int32 (n,).
        slots: int32 (n,), number of the catalogue picture; -1 for a query.
    """

    products: KerasTensor
    slots: KerasTensor


class Proxies(NamedTuple):
    """The catalogue pictures as they were last seen.

    Attributes:
        embeddings: float32 (m, dim), unit rows.
        products: int32 (m,).
    """

    embeddings: KerasTensor
    products: KerasTensor


def objective(
    embeddings: KerasTensor,
    labels: Labels,
    proxies: Proxies | None,
    options: TrainOptions,
    *,
    is_warm: bool,
) -> KerasTensor:
    """The loss of a batch by the name in `options`.

    Args:
        embeddings: float32 (n, dim), unit rows.
        labels: Of the batch.
        proxies: Of the catalogue; None where the lists have no catalogue pictures.
        options: Loss, miner, margin, temperature and weights.
        is_warm: Whether the triplet loss is past its semi-hard start.

    Returns:
        float32 ().
    """
    products = labels.products
    if options.loss == "triplet":
        return triplet_objective(embeddings, products, options, is_warm=is_warm)
    if options.loss == "contrastive":
        pairs = distances.euclidean(embeddings, embeddings)
        others = ops.logical_not(same_product(products))
        return contrastive(pairs, positive_pairs(products), others, options.margin)
    if options.loss == "n-pair":
        similarities = distances.cosines(embeddings, embeddings)
        others = ops.logical_not(same_product(products))
        return n_pair(similarities, positive_pairs(products), others, options.temperature)
    if options.loss == "proxy":
        return proxy_objective(embeddings, labels, proxies, options)
    loss = softmax_objective(embeddings, products, labels.slots, options)
    if proxies is None or options.proxy_weight == 0:
        return loss
    return loss + options.proxy_weight * proxy_objective(embeddings, labels, proxies, options)


def proxy_objective(
    embeddings: KerasTensor, labels: Labels, proxies: Proxies | None, options: TrainOptions
) -> KerasTensor:
    """Proxy softmax of the batch's queries; a catalogue picture would only find itself.

    Raises:
        TrainingError: There are no catalogue pictures.
    """
    if proxies is None:
        raise TrainingError(PROXIES_MISSING)
    similarities = distances.cosines(embeddings, proxies.embeddings)
    asking = ops.where(labels.slots < 0, labels.products, -1)
    return proxy_softmax(similarities, asking, proxies.products, options.temperature)


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

"""How good embeddings are: recall, precision and agreement, on arrays alone.

Similarities are of queries (rows) and products (columns); a product's similarity is that of its
best image. A query that ties with a wrong product counts as wrong, so that a model that gives
everything one embedding scores nothing; only products that share the winning image, which are
alternatives within one match, do not stand in each other's way.

Names follow the design: `recall@k`, `mAP`, `absolute_accuracy`, `distance_accuracy`,
`distance_accuracy_top_3`, `top1_agreement`, `cosine_mean`, `cosine_p01`.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

NEVER = np.iinfo(np.int64).max  # rank of a query none of whose products is in the gallery


def product_similarities(
    similarities: Floats, images: Ints, products: Ints, count: int
) -> tuple[Floats, Ints]:
    """Each product's similarity, and the image that gave it.

    Args:
        similarities: float32 (q, n), of queries and images.
        images: int64 (links,).
        products: int64 (links,): image `images[i]` shows product `products[i]`.
        count: Products; each has an image.

    Returns:
        float32 (q, count), and int64 (q, count): the winning image of each product.
    """
    best = np.full((len(similarities), count), -np.inf, np.float32)
    winners = np.zeros((len(similarities), count), np.int64)
    for image, product in zip(images.tolist(), products.tolist(), strict=True):
        better = similarities[:, image] > best[:, product]
        best[better, product] = similarities[better, image]
        winners[better, product] = image
    return best, winners


def ranks(similarities: Floats, winners: Ints, relevant: Bools) -> Ints:
    """Rank, from 1, of the best relevant product of each query; `NEVER` without one.

    Args:
        similarities: float32 (q, p).
        winners: int64 (q, p), winning image of each product.
        relevant: bool (q, p): the products that the query shows.
    """
    found = np.full(len(similarities), NEVER, np.int64)
    for row in np.flatnonzero(relevant.any(axis=1)):
        right = np.flatnonzero(relevant[row])
        best = right[similarities[row, right].argmax()]
        ahead = similarities[row] >= similarities[row, best]
        ahead &= ~relevant[row] & (winners[row] != winners[row, best])
        found[row] = 1 + np.count_nonzero(ahead)
    return found


def recall_at(ranks: Ints, k: int) -> float:
    """recall@k: share of queries with a right product among the first k."""
    return float(np.mean(ranks <= k))


def recall_by_size(ranks: Ints, products: int, sizes: Ints) -> npt.NDArray[np.float64]:
    """recall@1 to expect of smaller catalogues, drawn at random with the right product among them.

    A photo whose right product is at rank r is still wrong if one of the r - 1 ahead of it is
    among the n - 1 others drawn of the N - 1: the hypergeometric distribution, without drawing.

    Args:
        ranks: int64 (q,), from 1, in the whole catalogue.
        products: N, of the whole catalogue.
        sizes: int64 (s,), n, each 1 to `products`.

    Returns:
        float64 (s,).
    """
    shares = np.zeros(len(sizes))
    ahead = np.minimum(ranks, products + 1).astype(np.int64) - 1
    for place, size in enumerate(sizes):
        # P(none of `a` drawn) = prod over i < a of (N - n - i) / (N - 1 - i)
        factors = np.arange(products - size, products - size - ahead.max(), -1, dtype=np.float64)
        below = np.arange(products - 1, products - 1 - ahead.max(), -1, dtype=np.float64)
        steps = np.where(below > 0, np.maximum(factors, 0) / np.maximum(below, 1), 0.0)
        none_drawn = np.concatenate([[1.0], np.cumprod(steps)])
        shares[place] = none_drawn[ahead].mean()
    return shares


def average_precisions(similarities: Floats, relevant: Bools) -> Floats:
    """Average precision of each query over all products; their mean is mAP.

    Args:
        similarities: float32 (q, p).
        relevant: bool (q, p), at least one a row.

    Source: Manning et al., Introduction to Information Retrieval, section 8.4.
    """
    # Among equals the wrong ones come first: lexsort's last key is the first to count.
    order = np.lexsort((relevant, -similarities), axis=1)
    hits = np.take_along_axis(relevant, order, axis=1)
    precisions = hits.cumsum(axis=1) / np.arange(1, hits.shape[1] + 1)
    return np.asarray((precisions * hits).sum(axis=1) / hits.sum(axis=1), np.float32)


def absolute_accuracies(similarities: Floats, relevant: Bools) -> Floats:
    """Share of triplets (query, right, wrong product) in the right order, for each query.

    Args:
        similarities: float32 (q, p); one of -inf is not compared.
        relevant: bool (q, p); a row without a wrong product counts as 1.
    """
    shares = np.ones(len(similarities), np.float32)
    for row in range(len(similarities)):
        right = similarities[row, relevant[row]]
        wrong = similarities[row, ~relevant[row] & np.isfinite(similarities[row])]
        if right.size and wrong.size:
            shares[row] = np.mean(right[:, None] > wrong[None, :])
    return shares


def cosines(one: Floats, other: Floats) -> Floats:
    """Cosine of each pair of rows: float32 (n,), of unit rows (n, dim)."""
    return np.asarray(np.einsum("nd,nd->n", one, other), np.float32)


def expected_calibration_error(
    confidences: npt.NDArray[np.float64], outcomes: Bools, *, bins: int = 10
) -> float:
    """Mean distance of confidence and share of right answers over bins of equal width.

    Args:
        confidences: float64 (n,), 0 to 1.
        outcomes: bool (n,), whether each was right.
        bins: Equal parts of 0 to 1.

    Source: Guo et al., "On Calibration of Modern Neural Networks", 2017, equation 3.
    """
    places = np.minimum((confidences * bins).astype(np.int64), bins - 1)
    error = 0.0
    for place in np.unique(places):
        inside = places == place
        gap = abs(confidences[inside].mean() - outcomes[inside].mean())
        error += gap * inside.mean()
    return float(error)

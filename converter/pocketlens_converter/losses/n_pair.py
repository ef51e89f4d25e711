"""N-pair loss: one positive against all negatives at once, for every positive pair.

    loss = mean over pairs (a, p) of  log(1 + sum over negatives n of exp((s_an - s_ap) / t))

Source: Sohn, "Improved Deep Metric Learning with Multi-class N-pair Loss Objective" (2016),
equation 6, on unit vectors, which need a temperature in place of the vectors' length.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from keras import KerasTensor, ops

from pocketlens_converter.losses.multi_positive_softmax import NO_CANDIDATE


def n_pair(
    similarities: KerasTensor, positives: KerasTensor, negatives: KerasTensor, temperature: float
) -> KerasTensor:
    """The loss of all positive pairs of a batch.

    Args:
        similarities: float32 (n, n), cosines.
        positives: bool (n, n), pairs of one product, without the diagonal.
        negatives: bool (n, n), pairs of two products.
        temperature: Divisor of the similarities, above 0.

    Returns:
        float32 (), 0 or more; 0 if there is no positive pair.
    """
    logits = similarities / temperature
    of_negatives = ops.logsumexp(ops.where(negatives, logits, NO_CANDIDATE), axis=1)
    # log(1 + exp(x)) with x = logsumexp(s_an) - s_ap, for each pair at once.
    losses = ops.softplus(of_negatives[:, None] - logits)
    weights = ops.cast(positives, losses.dtype)
    return ops.sum(losses * weights) / ops.maximum(ops.sum(weights), 1.0)

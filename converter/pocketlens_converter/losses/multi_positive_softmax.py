"""Multi-positive softmax: the positives of a row together should win against everything else.

    loss = mean over rows of  -log( sum_p exp(s_p / t) / sum_c exp(s_c / t) )

One near positive is enough: a lemon cut open need not look like a heap of lemons as long as both
look like the catalogue's lemon. Demanding it of each positive (L_out) learned more slowly here:
docs/training.md.
Source: Khosla et al., "Supervised Contrastive Learning" (2020), equation 3 (L_in), without its
constant.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from keras import KerasTensor, ops

# Stands for the logit of what is no candidate: its share of the softmax is 0 in float32.
NO_CANDIDATE = -1e9


def multi_positive_softmax(
    similarities: KerasTensor,
    positives: KerasTensor,
    candidates: KerasTensor,
    temperature: float,
) -> KerasTensor:
    """The loss of a matrix of similarities; rows without a positive do not count.

    Args:
        similarities: float32 (n, m), cosines.
        positives: bool (n, m), which columns show the row's product; each is a candidate too.
        candidates: bool (n, m), which columns take part (not the row itself).
        temperature: Divisor of the similarities, above 0.

    Returns:
        float32 (), 0 or more; 0 if no row has a positive.
    """
    logits = similarities / temperature
    of_all = ops.logsumexp(ops.where(candidates, logits, NO_CANDIDATE), axis=1)
    of_positives = ops.logsumexp(ops.where(positives, logits, NO_CANDIDATE), axis=1)
    has_positive = ops.any(positives, axis=1)
    row_losses = ops.where(has_positive, of_all - of_positives, 0.0)
    count = ops.sum(ops.cast(has_positive, row_losses.dtype))
    return ops.sum(row_losses) / ops.maximum(count, 1.0)

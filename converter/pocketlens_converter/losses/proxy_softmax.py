"""Proxy softmax: a picture's product should win against the whole catalogue, not only the batch.

    loss = mean over pictures of  -log( sum_p exp(s_p / t) / sum_c exp(s_c / t) )

over the proxies c of the catalogue, p those of the picture's product. Here a proxy is the
embedding of a catalogue picture when it was last seen, since that is what photos are searched in;
learned proxies would be forgotten with the training.
Source: Zhai and Wu, "Classification is a Strong Baseline for Deep Metric Learning" (2019),
equation 3; Movshovitz-Attias et al., "No Fuss Distance Metric Learning using Proxies" (2017).
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from keras import KerasTensor, ops

from pocketlens_converter.losses.multi_positive_softmax import multi_positive_softmax


def proxy_softmax(
    similarities: KerasTensor,
    products: KerasTensor,
    proxy_products: KerasTensor,
    temperature: float,
) -> KerasTensor:
    """The loss of pictures among proxies; a product without a proxy does not count.

    Args:
        similarities: float32 (n, m), cosines of pictures and proxies.
        products: int32 (n,), of the pictures.
        proxy_products: int32 (m,), of the proxies.
        temperature: Divisor of the similarities, above 0.

    Returns:
        float32 (), 0 or more.
    """
    positives = ops.equal(products[:, None], proxy_products[None, :])
    everything = ops.ones_like(positives)
    return multi_positive_softmax(similarities, positives, everything, temperature)

"""The proxy softmax against a plain loop over pictures and proxies."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import math

import numpy as np
import pytest

from pocketlens_converter.losses.proxy_softmax import proxy_softmax


@pytest.mark.parametrize("temperature", [0.1, 1.0])
def test_loss_is_that_of_the_loop(temperature: float) -> None:
    rng = np.random.default_rng(1)
    similarities = rng.uniform(-1, 1, (6, 8)).astype(np.float32)
    products = np.array([0, 1, 2, 2, 3, -1], np.int32)
    proxies = np.array([0, 0, 1, 2, 2, 2, 4, 5], np.int32)  # 3 and -1 have none

    each = []
    for row, product in enumerate(products):
        shares = np.exp(similarities[row].astype(np.float64) / temperature)
        if product in proxies:
            each.append(-math.log(shares[proxies == product].sum() / shares.sum()))

    loss = float(proxy_softmax(similarities, products, proxies, temperature))

    assert loss == pytest.approx(np.mean(each), rel=1e-4)

"""The watch over all logs notices what must not be in one, and nothing else."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import base64
import logging

import numpy as np
import pytest

from tests.making.log_watch import watched

LOGGER = logging.getLogger("pocketlens.anything")
RNG = np.random.default_rng(0)
BYTES = RNG.bytes(200)
VECTOR = RNG.normal(size=64).astype(np.float32)


@pytest.fixture(autouse=True)
def _nothing_private_is_logged() -> None:
    """These tests log what is private."""


@pytest.mark.parametrize(
    "private",
    [
        BYTES,
        BYTES.hex(),
        base64.b64encode(BYTES).decode(),
        VECTOR,
        VECTOR.tolist(),
        RNG.integers(-127, 127, 64, dtype=np.int8),
        {"authorization": "Bearer of-something"},
        "canary-token",
        "-----BEGIN PRIVATE KEY-----",
    ],
    ids=lambda each: type(each).__name__,
)
def test_what_is_private_is_noticed(private: object) -> None:
    with watched() as watch:
        LOGGER.debug("sync.failed what=%s", private)

    assert len(watch.found) == 1


def test_a_traceback_is_looked_at() -> None:
    with watched() as watch:
        try:
            int(BYTES.hex())
        except ValueError:
            LOGGER.info("sync.failed", exc_info=True)

    assert len(watch.found) == 1


def test_hashes_paths_and_counts_are_no_secrets() -> None:
    with watched() as watch:
        LOGGER.info("publish.done version=%d sha256=%s bytes=%d", 7, "ab" * 32, 12_345_678)
        LOGGER.warning("store.damaged path=/data/shop/installs/1.abcdef/store.sqlite seconds=1.25")

    assert watch.found == []

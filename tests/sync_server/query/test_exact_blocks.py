"""Blocks: versions see what they were made of, share what did not change, and hold little more."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import gc
import weakref

import numpy as np
import numpy.typing as npt
import pytest

from pocketlens_server.query import exact_blocks
from pocketlens_server.query.exact_blocks import BLOCK_ROWS, Part

DIM = 2


def rows_of(keys: npt.NDArray[np.uint32], version: int) -> npt.NDArray[np.float32]:
    return np.stack([keys, np.full(len(keys), version)], axis=1).astype(np.float32)


def next_of(
    parts: tuple[Part, ...], version: int, new: npt.NDArray[np.uint32], gone: npt.NDArray[np.uint32]
) -> tuple[Part, ...]:
    places = exact_blocks.place_of_each(parts)
    away = np.union1d(gone, new)
    away = away[away < len(places)]
    there = places[away]
    return exact_blocks.changed(parts, there[there >= 0], new, rows_of(new, version))


def seen(parts: tuple[Part, ...]) -> dict[int, int]:
    """Key to the version that put it."""
    found: dict[int, int] = {}
    for part in parts:
        stay = np.ones(part.rows, np.bool_) if part.hidden is None else ~part.hidden
        vectors = part.block.vectors[: part.rows][stay]
        assert vectors[:, 0].tolist() == part.keys[stay].tolist()
        for key, version in vectors.astype(np.int64).tolist():
            assert key not in found
            found[key] = version
    return found


@pytest.mark.parametrize("seed", range(4))
def test_a_version_sees_what_it_was_made_of_and_holds_at_most_twice_that(seed: int) -> None:
    rng = np.random.default_rng(seed)
    parts: tuple[Part, ...] = ()
    model: dict[int, int] = {}
    kept = []
    for version in range(1, 8):
        keys = rng.permutation(np.arange(1, 200_000, dtype=np.uint32))
        new = np.sort(keys[: rng.integers(0, 90_000)])
        gone = np.sort(keys[-rng.integers(1, 90_000) :])
        parts = next_of(parts, version, new, gone)
        model = {key: model[key] for key in model.keys() - set(gone.tolist())}
        model |= dict.fromkeys(new.tolist(), version)
        kept.append((parts, model))

        assert sum(part.block.used for part in parts) <= 2 * len(model) + BLOCK_ROWS
        assert sum(part.seen for part in parts) == len(model)

    for parts, model in kept[-3:]:
        assert seen(parts) == model


def test_what_nobody_looks_at_any_more_is_freed() -> None:
    keys = np.arange(1, 1001, dtype=np.uint32)
    parts = next_of((), 1, keys, keys[:0])
    block = weakref.ref(parts[0].block)

    parts = next_of(parts, 2, keys[:0], keys[:400])
    assert parts[0].block is block()
    before, parts = parts, next_of(parts, 3, keys[:0], keys[400:700])
    assert parts[0].block is not block()
    assert len(seen(before)) == 600
    del before
    gc.collect()

    assert block() is None
    assert sorted(seen(parts)) == list(range(701, 1001))


def test_two_versions_made_of_one_do_not_meet() -> None:
    keys = np.arange(1, 11, dtype=np.uint32)
    first = next_of((), 1, keys, keys[:0])

    one = next_of(first, 2, keys + 10, keys[:0])
    other = next_of(first, 3, keys + 20, keys[:0])

    assert sorted(seen(one)) == list(range(1, 21))
    assert sorted(seen(other)) == [*range(1, 11), *range(21, 31)]

"""Messages that lie are refused by the error that is written down, soon, and within memory.

The short form; benchmarks/faults has the long one.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import random
from collections import Counter
from pathlib import Path
from time import process_time

import pytest
from tests.making.hostile_messages import (
    ANSWERS,
    DEPTH,
    MOST_SECONDS,
    READERS,
    Caller,
    make_server,
    mutants,
    nested,
    outcome,
    piece_requests,
    poll_requests,
)
from tests.making.serving import serving

MUTANTS = 2_000
REQUESTS = 500  # a call each


@pytest.mark.parametrize("name", list(READERS))
def test_mutants_are_read_or_refused(name: str) -> None:
    reader = READERS[name]
    outcomes: Counter[str] = Counter()
    for mutant in mutants(reader.seeds(), MUTANTS, random.Random(33)):
        began = process_time()
        outcomes[outcome(reader, mutant)] += 1
        assert process_time() - began < MOST_SECONDS

    assert [each for each in outcomes if each.startswith("escaped")] == []
    # Both ways are taken: these are mutants, neither all noise nor all harmless.
    assert outcomes["read"] > 20
    assert sum(outcomes.values()) - outcomes["read"] > MUTANTS / 4


@pytest.mark.parametrize("name", list(READERS))
def test_depth_is_refused(name: str) -> None:
    reader = READERS[name]
    (seed, *_) = reader.seeds()
    for number in (1, 2, 6, 16):
        assert not outcome(reader, seed + nested(number, DEPTH)).startswith("escaped")


def test_a_server_refuses_what_is_no_request(tmp_path: Path) -> None:
    blob = make_server(tmp_path)
    rng = random.Random(33)
    answers: Counter[str] = Counter()
    with serving(tmp_path / "server") as address:
        caller = Caller(address.grpc)
        for mutant in mutants(poll_requests(), REQUESTS, rng):
            answers[caller.poll(mutant)] += 1
        for mutant in mutants(piece_requests(blob), REQUESTS, rng):
            answers[caller.pieces(mutant)] += 1
        for number in (1, 2):
            answers[caller.poll(nested(number, DEPTH))] += 1
            answers[caller.pieces(nested(number, DEPTH))] += 1
        answers[caller.poll(bytes(1 << 20))] += 1
        whole = caller.poll(poll_requests()[0]), caller.pieces(piece_requests(blob)[0])
        caller.close()

    assert set(answers) <= ANSWERS
    assert answers["INVALID_ARGUMENT"] > REQUESTS / 10
    assert answers["RESOURCE_EXHAUSTED"] == 1
    assert whole == ("OK", "OK")

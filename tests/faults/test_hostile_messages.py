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
from tests.making import hostile_tokens
from tests.making.hostile_answers import answering
from tests.making.hostile_messages import (
    ANSWERS,
    DEPTH,
    MOST_SECONDS,
    READERS,
    Caller,
    Reader,
    make_server,
    mutants,
    nested,
    outcome,
    piece_requests,
    poll_requests,
)
from tests.making.hostile_requests import SERVICE, asked, encoded, extremes, may_be
from tests.making.hostile_tokens import STATUSES, http_answers, http_requests
from tests.making.serving import serving

from pocketlens.products import Product
from pocketlens_server.client import CatalogueClient, PutProduct, Result

MUTANTS = 2_000
CALLS = 1_000  # of a device, to a server that answers with a mutant
REQUESTS = 500  # to a server, a call each
BACKEND_REQUESTS = 60  # of each method
EVERY = READERS | hostile_tokens.READERS


def outcomes_of(reader: Reader, count: int) -> Counter[str]:
    """What becomes of mutants, each within its time."""
    outcomes: Counter[str] = Counter()
    for mutant in reader.mutants(count, random.Random(33)):
        began = process_time()
        outcomes[outcome(reader, mutant)] += 1
        assert process_time() - began < MOST_SECONDS
    return outcomes


def check(outcomes: Counter[str]) -> None:
    """Nothing escapes; and these are mutants, neither all noise nor all harmless."""
    assert [each for each in outcomes if each.startswith("escaped")] == []
    assert outcomes["read"] > 20
    assert outcomes.total() - outcomes["read"] > outcomes.total() / 4


@pytest.mark.parametrize("name", list(EVERY))
def test_mutants_are_read_or_refused(name: str) -> None:
    check(outcomes_of(EVERY[name], MUTANTS))


@pytest.mark.parametrize("name", ["PollResponse", "PieceChunk", "answer over HTTP"])
def test_mutants_that_a_server_answers_are_read_or_refused(name: str, tmp_path: Path) -> None:
    with answering(tmp_path / "pieces") as readers:
        check(outcomes_of(readers[name], CALLS))


@pytest.mark.parametrize("name", ["PollResponse", "PieceChunk"])
def test_depth_that_a_server_answers_is_refused(name: str, tmp_path: Path) -> None:
    with answering(tmp_path / "pieces") as readers:
        (seed, *_) = readers[name].seeds()
        for number in (1, 2, 16):
            told = outcome(readers[name], seed + nested(number, DEPTH))
            assert not told.startswith("escaped")


@pytest.mark.parametrize("location", [b"http://[", b"//a..b/", b"http://127.0.0.1:x/", b"file:///"])
def test_a_redirect_to_no_address_is_refused(location: bytes, tmp_path: Path) -> None:
    head = b"HTTP/1.1 302 Found\r\nLocation: %b\r\nContent-Length: 0\r\n\r\n" % location
    with answering(tmp_path / "pieces") as readers:
        assert outcome(readers["answer over HTTP"], head) == "ServerUnavailable"


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
        answers[caller.poll(bytes((1 << 20) + 1))] += 1
        whole = caller.poll(poll_requests()[0]), caller.pieces(piece_requests(blob)[0])
        caller.close()

    assert set(answers) <= ANSWERS
    assert answers["INVALID_ARGUMENT"] > REQUESTS / 10
    assert answers["RESOURCE_EXHAUSTED"] == 1
    assert whole == ("OK", "OK")


def test_a_server_refuses_what_is_no_request_of_a_backend(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Whatever comes: nothing fails, nothing is logged as if it had, and the next one is served."""
    rng, answers, wrong = random.Random(33), Counter[str](), []
    with asked(tmp_path) as backend:
        for name, seeds in backend.requests.items():
            made = mutants(encoded(seeds), BACKEND_REQUESTS, rng)
            for data in [*extremes(seeds), *made, nested(1, DEPTH), bytes((1 << 20) + 1)]:
                answer = backend.told(name, data)
                answers[answer] += 1
                if not may_be(name, answer):
                    wrong.append((name, answer, data[:200]))
        with CatalogueClient(backend.address) as client:
            after = client.apply(PutProduct(Product("after")), request_id="after all of them")

    assert wrong == []
    assert set(backend.requests) == {method.name for method in SERVICE.methods}
    assert answers["INVALID_ARGUMENT"] > answers.total() / 10
    assert answers["OK"] > answers.total() / 10
    assert answers["RESOURCE_EXHAUSTED"] in (len(backend.requests), len(backend.requests) - 1)
    assert after.result is Result.APPLIED
    assert [each.getMessage() for each in caplog.records if each.exc_info] == []


def test_a_server_refuses_what_is_no_request_over_http(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    make_server(tmp_path)
    reader = hostile_tokens.READERS["request over HTTP"]
    statuses: Counter[str] = Counter()
    with serving(tmp_path / "server") as address:
        for mutant in reader.mutants(REQUESTS, random.Random(33)):
            statuses.update(http_answers(address.http_port, mutant))
        whole = [http_answers(address.http_port, each) for each in http_requests()]

    assert set(statuses) <= STATUSES
    assert statuses["400"] > REQUESTS / 10
    assert whole == [["200"], ["200"], ["200"], ["206"]]
    assert [each for each in caplog.records if each.name == "asyncio"] == []

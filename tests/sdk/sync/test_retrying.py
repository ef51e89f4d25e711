"""Retries: a tenth of the calls at most over all devices, at random times, of nothing half done."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest

from pocketlens.errors import ServerUnavailable, TransportError
from pocketlens.formats.manifest import Blob
from pocketlens.sync.retrying import FIRST_SECONDS, LONGEST_SECONDS, RetryingTransport
from pocketlens.sync.transports import AtHand

NOTHING = AtHand(b"", 0, {}, b"")
BLOB = Blob(bytes(32), 4, (bytes(32),))


class Server:
    """Answers, or fails as often as it is told to."""

    def __init__(self, failures: int = 0, error: type[TransportError] = ServerUnavailable) -> None:
        self.failures, self.error, self.asked, self.closed = failures, error, 0, 0
        self.breaks_after = 0

    def poll(self, have: AtHand) -> None:
        self._ask()

    def file(self, name: str) -> Iterator[bytes] | None:
        self._ask()
        return None if name == "none" else iter([b"a", b"b"])

    def piece(self, blob: Blob, number: int) -> Iterator[bytes]:
        if self.breaks_after:
            self.asked += 1
            yield from [b"x"] * self.breaks_after
            raise self.error("It broke off.")
        self._ask()
        yield b"pi"
        yield b"ece"

    def close(self) -> None:
        self.closed += 1

    def _ask(self) -> None:
        self.asked += 1
        if self.asked <= self.failures:
            raise self.error("Nobody answers.")


class Full(random.Random):
    """A device that begins with almost a whole retry."""

    def random(self) -> float:
        return 0.95


def retrying(server: Server, waits: list[float] | None = None) -> RetryingTransport:
    return RetryingTransport(server, rng=Full(1), wait=(waits if waits is not None else []).append)


def test_what_failed_once_is_asked_for_again() -> None:
    for call in ("poll", "file", "piece"):
        server, waits = Server(failures=1), []  # type: ignore[var-annotated]
        transport = retrying(server, waits)

        if call == "poll":
            transport.poll(NOTHING)
        elif call == "file":
            assert list(transport.file("some") or ()) == [b"a", b"b"]
        else:
            assert list(transport.piece(BLOB, 0)) == [b"pi", b"ece"]

        assert server.asked == 2
        assert 0 <= waits[0] <= FIRST_SECONDS
        transport.close()
        assert server.closed == 1


def test_a_file_that_is_not_there_is_no_failure() -> None:
    server = Server()

    assert retrying(server).file("none") is None
    assert server.asked == 1


def test_other_errors_are_final() -> None:
    server = Server(failures=1, error=TransportError)

    with pytest.raises(TransportError):
        retrying(server).poll(NOTHING)
    assert server.asked == 1


def test_a_piece_of_which_some_came_is_not_begun_again() -> None:
    server = Server()
    server.breaks_after = 2
    chunks = retrying(server).piece(BLOB, 0)

    assert [next(chunks), next(chunks)] == [b"x", b"x"]
    with pytest.raises(ServerUnavailable):
        next(chunks)
    assert server.asked == 1


def test_devices_whose_server_is_gone_repeat_a_tenth_of_their_calls() -> None:
    rng, devices, calls, asked = random.Random(7), 4000, 3, 0
    for _ in range(devices):
        server = Server(failures=10**9)
        transport = RetryingTransport(server, rng=rng, wait=lambda seconds: None)
        for _ in range(calls):
            with pytest.raises(ServerUnavailable):
                transport.poll(NOTHING)
        asked += server.asked

    retries = asked - devices * calls
    assert 0.08 < retries / (devices * calls) <= 0.105


def test_waiting_times_are_drawn_below_a_limit_that_doubles() -> None:
    server, waits = Server(failures=10**9), []  # type: ignore[var-annotated]
    transport = RetryingTransport(server, rng=random.Random(3), wait=waits.append)
    transport._budget = 400  # as after thousands of calls that succeeded

    with pytest.raises(ServerUnavailable):
        transport.poll(NOTHING)

    limits = [min(FIRST_SECONDS * 2**n, LONGEST_SECONDS) for n in range(len(waits))]
    assert len(waits) == 400
    assert all(0 <= seconds <= limit for seconds, limit in zip(waits, limits, strict=True))
    late = waits[10:]
    assert min(late) < 0.1 * LONGEST_SECONDS
    assert max(late) > 0.9 * LONGEST_SECONDS

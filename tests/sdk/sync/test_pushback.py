"""A server with too much to do is left alone for as long as it asks, by who tries again at all."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import math
import random
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager

import grpc
import pytest

from pocketlens.errors import ServerUnavailable, TransportError
from pocketlens.sync.grpc_transport import GrpcTransport
from pocketlens.sync.retrying import FIRST_SECONDS, LONGEST_SECONDS, RetryingTransport
from pocketlens.sync.statuses import PUSHBACK_METADATA
from pocketlens.sync.transports import AtHand
from pocketlens_protos.v1 import sync_service_pb2 as messages
from pocketlens_protos.v1 import sync_service_pb2_grpc as stubs

NOTHING = AtHand(b"", 0, {}, b"")


class Full(random.Random):
    """A device that begins with almost a whole retry."""

    def random(self) -> float:
        return 0.95


class Busy(stubs.SyncServiceServicer):  # type: ignore[misc]
    """Refuses the first calls, as it is told to."""

    def __init__(self, status: str, metadata: tuple[tuple[str, str], ...], times: int) -> None:
        self.status, self.metadata, self.left = grpc.StatusCode[status], metadata, times

    def Poll(  # noqa: N802
        self, request: messages.PollRequest, context: grpc.ServicerContext
    ) -> messages.PollResponse:
        if self.left:
            self.left -= 1
            context.set_trailing_metadata(self.metadata)
            context.abort(self.status, "Too much.")
        return messages.PollResponse()


@contextmanager
def busy(
    status: str = "RESOURCE_EXHAUSTED", asked: str | None = None, times: int = 1
) -> Iterator[GrpcTransport]:
    """A transport to a server that refuses some calls."""
    server = grpc.server(ThreadPoolExecutor(1))
    metadata = () if asked is None else ((PUSHBACK_METADATA, asked),)
    stubs.add_SyncServiceServicer_to_server(Busy(status, metadata, times), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    with closing(GrpcTransport(f"127.0.0.1:{port}", "main")) as transport:
        yield transport
    server.stop(0).wait()


@pytest.mark.parametrize(
    ("asked", "seconds"),
    [
        ("1500", 1.5),
        ("0", 0),
        (None, 0),
        ("-1", math.inf),
        ("soon", math.inf),
        ("9" * 20, math.inf),
    ],
)
def test_what_a_server_asks_for_is_read_from_its_answer(asked: str | None, seconds: float) -> None:
    with busy(asked=asked) as transport, pytest.raises(ServerUnavailable) as refused:
        transport.poll(NOTHING)

    assert refused.value.retry_seconds == seconds


@pytest.mark.parametrize("status", ["RESOURCE_EXHAUSTED", "UNAVAILABLE", "CANCELLED"])
def test_whoever_tries_again_waits_as_long_as_it_was_told_and_a_little_more(status: str) -> None:
    waits = list[float]()
    with busy(status, "1500") as transport:
        RetryingTransport(transport, rng=Full(1), wait=waits.append).poll(NOTHING)

    [waited] = waits
    assert 1.5 <= waited <= 1.5 + FIRST_SECONDS


def test_a_server_that_wants_to_be_left_alone_for_long_is_asked_by_the_next_sync() -> None:
    waits = list[float]()
    with busy(asked=str(int(LONGEST_SECONDS * 1000) + 1)) as transport:
        device = RetryingTransport(transport, rng=Full(1), wait=waits.append)
        with pytest.raises(ServerUnavailable):
            device.poll(NOTHING)
        device.poll(NOTHING)

    assert waits == []


def test_other_answers_are_no_pushback() -> None:
    with busy("PERMISSION_DENIED", "1500") as transport, pytest.raises(TransportError) as failed:
        transport.poll(NOTHING)

    assert not isinstance(failed.value, ServerUnavailable)

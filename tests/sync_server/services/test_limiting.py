"""Calls beyond a limit are refused at once, and whoever ends leaves the place that it had."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import closing
from typing import Any

import grpc
import grpc.aio
import pytest
from tests.making import http2
from tests.making.four_kinds import KINDS, SERVICE, Kinds, finished, served, until

from pocketlens_server import callers
from pocketlens_server.callers import Caller
from pocketlens_server.limits import Limits
from pocketlens_server.services.limiting import PUSHBACK, Admitting, Limiting
from pocketlens_server.telemetry import REASONS

CODE = grpc.StatusCode


class Names(grpc.aio.ServerInterceptor):  # type: ignore[misc]
    """Takes whoever calls for whom it says it is."""

    async def intercept_service(
        self, continuation: Callable[..., Awaitable[Any]], details: grpc.HandlerCallDetails
    ) -> Any:
        named = dict(details.invocation_metadata).get("name")
        if named is not None:
            callers.enter(Caller(named, frozenset()))
        return await continuation(details)


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def limited(
    story: Callable[[Kinds], Awaitable[None]],
    limits: Limits,
    *,
    clock: Clock | None = None,
    refused: list[str] | None = None,
) -> None:
    """Tells a story with a server that has limits."""
    told = [] if refused is None else refused

    async def run() -> None:
        interceptors = [
            Admitting(limits, refused=told.append),
            Names(),
            Limiting(limits, clock or Clock(), refused=told.append),
        ]
        async with served(interceptors) as kinds:
            await story(kinds)

    asyncio.run(run())
    assert set(told) <= set(REASONS)


async def refusal(call: Awaitable[bytes]) -> grpc.aio.AioRpcError:
    with pytest.raises(grpc.aio.AioRpcError) as failed:
        await call
    return failed.value


def pushback(error: grpc.aio.AioRpcError) -> int:
    """Milliseconds after which to come again."""
    assert error.code() is CODE.RESOURCE_EXHAUSTED
    told = int(dict(error.trailing_metadata())[PUSHBACK])
    assert f"Try again in {told / 1000:g} s." in error.details()
    return told


def test_calls_of_all_kinds_bring_what_they_bring_without_limits() -> None:
    async def story(kinds: Kinds) -> None:
        found = [await kinds.call(kind, b"abc") for kind in KINDS]
        assert found == [b"abc", b"abcabcabc", b"abcabcabc", b"abcabcabc"]

    limited(story, Limits())


@pytest.mark.parametrize("kind", KINDS)
def test_a_call_without_a_deadline_is_told_to_set_one(kind: str) -> None:
    refused: list[str] = []

    async def story(kinds: Kinds) -> None:
        error = await refusal(kinds.call(kind, timeout=None))
        seconds = 60 if kind == "one_one" else 3600
        assert error.code() is CODE.INVALID_ARGUMENT
        assert f"Set one of at most {seconds} s." in error.details()
        assert kinds.running == 0

    limited(story, Limits(), refused=refused)
    assert refused == ["deadline"]


def test_a_server_that_asks_for_no_deadline_still_ends_calls() -> None:
    async def story(kinds: Kinds) -> None:
        kinds.is_open.clear()
        error = await refusal(kinds.call("one_one", timeout=None))
        assert error.code() is CODE.DEADLINE_EXCEEDED

    limited(story, Limits(deadlines_required=False, unary_seconds=0.2))


@pytest.mark.parametrize("kind", KINDS)
def test_a_deadline_beyond_the_longest_is_cut_to_it(kind: str) -> None:
    async def story(kinds: Kinds) -> None:
        kinds.is_open.clear()
        began = asyncio.get_running_loop().time()
        error = await refusal(kinds.call(kind, timeout=300))
        assert error.code() is CODE.DEADLINE_EXCEEDED
        assert "at most 0.3 s" in error.details()
        assert 0.3 <= asyncio.get_running_loop().time() - began < 2
        await until(lambda: kinds.running == 0)
        kinds.is_open.set()
        assert await kinds.call(kind, timeout=300)

    limited(story, Limits(unary_seconds=0.3, stream_seconds=0.3))


@pytest.mark.parametrize("kind", KINDS)
def test_a_client_has_so_many_calls_at_once_and_another_has_its_own(kind: str) -> None:
    refused: list[str] = []

    async def story(kinds: Kinds) -> None:
        kinds.is_open.clear()
        running = [kinds.begin(kind, metadata=(("name", "a"),)) for _ in range(3)]
        await until(lambda: kinds.running == 3)
        error = await refusal(kinds.call(kind, metadata=(("name", "a"),)))
        other = kinds.begin(kind, metadata=(("name", "b"),))
        await until(lambda: kinds.running == 4)

        assert 0 < pushback(error) <= 2500
        kinds.is_open.set()
        for call in [*running, other]:
            assert await finished(call)
        assert await kinds.call(kind, metadata=(("name", "a"),))

    limited(story, Limits(client_calls=3), refused=refused)
    assert refused == ["client"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("ending", ["cancelled", "failed", "late"])
def test_whoever_ends_badly_gives_its_place_back(kind: str, ending: str) -> None:
    async def story(kinds: Kinds) -> None:
        kinds.is_open.clear()
        for _ in range(3):
            call = kinds.begin(kind, timeout=0.1 if ending == "late" else 10)
            await until(lambda: kinds.running == 1)
            if ending == "cancelled":
                call.cancel()
            elif ending == "failed":
                kinds.fails = True
                kinds.is_open.set()
            with pytest.raises((grpc.aio.AioRpcError, asyncio.CancelledError)):
                await finished(call)
            await until(lambda: kinds.running == 0)
            kinds.fails = False
            kinds.is_open.clear()
        kinds.is_open.set()
        assert await kinds.call(kind)

    one = Limits(client_calls=1, host_calls=1, calls=1, streams=1)
    limited(story, one)


@pytest.mark.parametrize(
    ("kind", "limits", "reason"),
    [
        ("one_one", Limits(calls=2), "calls"),
        ("one_many", Limits(streams=2), "streams"),
        ("many_many", Limits(streams=2), "streams"),
        ("many_one", Limits(host_calls=2), "host"),
    ],
)
def test_a_server_has_so_many_places(kind: str, limits: Limits, reason: str) -> None:
    refused: list[str] = []

    async def story(kinds: Kinds) -> None:
        kinds.is_open.clear()
        running = [kinds.begin(kind, metadata=(("name", str(n)),)) for n in range(2)]
        await until(lambda: kinds.running == 2)
        waits = [pushback(await refusal(kinds.call(kind))) for _ in range(8)]
        kinds.is_open.set()
        for call in running:
            await finished(call)

        assert all(500 <= each <= 2500 for each in waits)
        assert len({each // 250 for each in waits}) == 8  # they do not all come back at once

    limited(story, limits, refused=refused)
    assert refused == [reason] * 8


def test_streams_that_last_keep_nobody_from_a_short_answer() -> None:
    async def story(kinds: Kinds) -> None:
        kinds.is_open.clear()
        running = kinds.begin("many_many")
        await until(lambda: kinds.running == 1)
        quick = kinds.begin("one_one")
        await until(lambda: kinds.running == 2)
        kinds.is_open.set()
        assert await finished(quick) == b"x"
        assert await finished(running)

    limited(story, Limits(calls=1, streams=1))


def test_a_client_makes_so_many_calls_a_second_and_is_told_when_to_come() -> None:
    refused: list[str] = []
    clock = Clock()

    async def story(kinds: Kinds) -> None:
        for _ in range(5):
            await kinds.call("one_one")
        assert pushback(await refusal(kinds.call("one_one"))) == 500
        clock.now += 0.49
        assert pushback(await refusal(kinds.call("one_one"))) == 11  # rounded up
        clock.now += 0.011
        await kinds.call("one_one")
        assert await kinds.call("one_one", metadata=(("name", "another"),))

    limited(story, Limits(client_rate=2, client_burst=5), clock=clock, refused=refused)
    assert refused == ["rate", "rate"]


def test_retries_of_grpc_itself_wait_as_long_as_they_are_told() -> None:
    policy = """{"methodConfig": [{"name": [{}], "retryPolicy": {
        "maxAttempts": 3, "initialBackoff": "0.001s", "maxBackoff": "0.001s",
        "backoffMultiplier": 1, "retryableStatusCodes": ["RESOURCE_EXHAUSTED"]}}]}"""

    async def story(kinds: Kinds) -> None:
        kinds.is_open.clear()
        running = kinds.begin("one_one")
        await until(lambda: kinds.running == 1)
        options = [("grpc.service_config", policy)]
        target = f"127.0.0.1:{kinds.port}"
        async with grpc.aio.insecure_channel(target, options) as channel:
            loop = asyncio.get_running_loop()
            began = loop.time()
            call = channel.unary_unary(f"/{SERVICE}/one_one")(b"y", timeout=10)
            loop.call_later(0.2, kinds.is_open.set)
            assert await call == b"y"
            assert loop.time() - began >= 0.5
        await finished(running)

    limited(story, Limits(calls=1))


def test_a_request_that_trickles_in_is_ended_by_the_deadline_and_takes_no_place() -> None:
    async def story(kinds: Kinds) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", kinds.port)
        block = http2.head(f"/{SERVICE}/one_one", {"grpc-timeout": "1H"})
        half = http2.message(b"xyz")[:6]
        with closing(writer):
            writer.write(http2.opening())
            for stream in (1, 3, 5):
                writer.write(
                    http2.frame(http2.HEADERS, block, flags=http2.END_HEADERS, stream=stream)
                )
                writer.write(http2.frame(http2.DATA, half, stream=stream))
            await writer.drain()
            found, frames = dict[int, int | None](), http2.Frames()
            # There is one place for answers, which they do not take while they are not there.
            assert await kinds.call("one_one") == b"x"
            async with asyncio.timeout(5):
                while len(found) < 3:
                    for each in frames.received(await reader.read(65536)):
                        if each.ends_stream:
                            found[each.stream] = http2.grpc_status(each.payload)
        assert set(found.values()) == {CODE.DEADLINE_EXCEEDED.value[0]}
        await writer.wait_closed()

    limited(story, Limits(calls=1, unary_seconds=0.5))


@pytest.mark.parametrize("kind", ["one_one", "one_many"])
def test_a_caller_that_does_not_take_its_answer_keeps_its_place_until_it_goes(kind: str) -> None:
    async def story(kinds: Kinds) -> None:
        _, writer = await asyncio.open_connection("127.0.0.1", kinds.port)
        block = http2.head(f"/{SERVICE}/{kind}", {"grpc-timeout": "1H"})
        writer.write(http2.opening(window=0) + http2.call(1, block, http2.message(b"xyz")))
        await until(lambda: kinds.begun == 1)
        await asyncio.sleep(0.3)  # longer than an answer may take
        assert pushback(await refusal(kinds.call(kind)))
        writer.transport.abort()
        async with asyncio.timeout(5):
            while True:
                try:
                    assert await kinds.call(kind)
                    break
                except grpc.aio.AioRpcError:
                    await asyncio.sleep(0.01)

    limited(story, Limits(host_calls=1, unary_seconds=0.2, stream_seconds=0.2))


def test_a_call_that_brings_no_request_is_told_so() -> None:
    async def story(kinds: Kinds) -> None:
        assert kinds.channel is not None
        nothing = kinds.channel.stream_unary(f"/{SERVICE}/one_one")(iter([]), timeout=10)
        error = await refusal(finished(nothing))
        assert error.code() is CODE.INVALID_ARGUMENT

    limited(story, Limits())

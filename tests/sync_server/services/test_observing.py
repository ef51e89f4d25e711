"""Every call is counted once, and has one line of log, and a request id that its caller gets."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Awaitable, Callable
from typing import Any

import grpc
import grpc.aio
import pytest
from tests.making.four_kinds import KINDS, SERVICE, Kinds, finished, served, until

from pocketlens_server import callers, logs
from pocketlens_server.callers import Caller
from pocketlens_server.limits import Limits
from pocketlens_server.services.limiting import Admitting, Limiting
from pocketlens_server.services.observing import REQUEST_ID, Observes
from pocketlens_server.telemetry import Telemetry

LOGGER = "pocketlens_server.services.observing"


class Notes(grpc.aio.ServerInterceptor):  # type: ignore[misc]
    """Lets everybody in as somebody, and notes the request id that lines of log have inside."""

    def __init__(self) -> None:
        self.noted: list[str | None] = []

    async def intercept_service(
        self, continuation: Callable[..., Awaitable[Any]], details: grpc.HandlerCallDetails
    ) -> Any:
        callers.enter(Caller("4be1", frozenset()))
        handler: Any = await continuation(details)
        if handler is None or handler.unary_unary is None:
            return handler
        behaviour = handler.unary_unary

        async def answer(request: object, context: grpc.aio.ServicerContext) -> object:
            self.noted.append(await asyncio.to_thread(logs.REQUEST_ID.get))
            return await behaviour(request, context)

        return handler._replace(unary_unary=answer)


def observed(story: Callable[[Kinds], Awaitable[None]], *inside: Any) -> Telemetry:
    """Tells a story with a server that is observed; what was counted."""
    telemetry = Telemetry()
    clock = iter(range(1_000))

    async def run() -> None:
        observes = Observes(telemetry, clock=lambda: next(clock) / 4, new_id=lambda: "made")
        async with served([observes, *inside]) as kinds:
            await story(kinds)

    asyncio.run(run())
    return telemetry


def counted(telemetry: Telemetry, kind: str, code: str) -> float | None:
    labels = {"method": f"{SERVICE}/{kind}", "code": code}
    return telemetry.registry.get_sample_value("pocketlens_calls_total", labels)


def running(telemetry: Telemetry, kind: str) -> float | None:
    labels = {"method": f"{SERVICE}/{kind}"}
    return telemetry.registry.get_sample_value("pocketlens_calls_running", labels)


@pytest.mark.parametrize("kind", KINDS)
def test_a_call_is_counted_timed_and_told_of_once(
    kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, LOGGER)

    async def story(kinds: Kinds) -> None:
        assert await kinds.call(kind, b"abc") in (b"abc", b"abcabcabc")

    telemetry = observed(story, Notes())

    assert counted(telemetry, kind, "OK") == 1
    assert running(telemetry, kind) == 0
    seconds = {"method": f"{SERVICE}/{kind}"}
    value = telemetry.registry.get_sample_value
    assert value("pocketlens_call_seconds_count", seconds) == 1
    assert value("pocketlens_call_seconds_sum", seconds) == 0.25
    [line] = [each.getMessage() for each in caplog.records if each.name == LOGGER]
    assert line == (
        f"call.done method={SERVICE}/{kind} code=OK ms=250.0 caller=4be1 peer=127.0.0.1"
    )


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("code", ["CANCELLED", "DEADLINE_EXCEEDED", "UNKNOWN", "INVALID_ARGUMENT"])
def test_a_call_that_ends_badly_is_counted_by_how_it_ended(kind: str, code: str) -> None:
    async def story(kinds: Kinds) -> None:
        if code != "INVALID_ARGUMENT":
            kinds.is_open.clear()
        timeout = {"DEADLINE_EXCEEDED": 0.2, "INVALID_ARGUMENT": None}.get(code, 10)
        call = kinds.begin(kind, timeout=timeout)
        if code != "INVALID_ARGUMENT":
            await until(lambda: kinds.running == 1)
        if code == "CANCELLED":
            call.cancel()
        elif code == "UNKNOWN":
            kinds.fails = True
            kinds.is_open.set()
        with pytest.raises((grpc.aio.AioRpcError, asyncio.CancelledError)):
            await finished(call)
        await until(lambda: kinds.running == 0)

    telemetry = observed(story, Admitting(Limits()))

    assert counted(telemetry, kind, code) == 1
    assert running(telemetry, kind) == 0


def test_calls_that_run_are_seen_while_they_do() -> None:
    telemetry = Telemetry()

    async def run() -> None:
        async with served([Observes(telemetry)]) as kinds:
            kinds.is_open.clear()
            calls = [kinds.begin("one_many") for _ in range(3)]
            await until(lambda: kinds.running == 3)
            assert running(telemetry, "one_many") == 3
            kinds.is_open.set()
            for call in calls:
                await finished(call)

    asyncio.run(run())
    assert running(telemetry, "one_many") == 0


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        ("order-1234.5_6", "order-1234.5_6"),
        (None, "made"),
        ("", "made"),
        ("x" * 41, "made"),
        ("two words", "made"),
        ('","level":"ERROR', "made"),
    ],
)
@pytest.mark.parametrize("kind", KINDS)
def test_a_request_id_is_the_callers_if_it_is_a_word_and_comes_back(
    kind: str, sent: str | None, expected: str
) -> None:
    notes = Notes()

    async def story(kinds: Kinds) -> None:
        metadata = () if sent is None else ((REQUEST_ID, sent),)
        call = kinds.begin(kind, metadata=metadata)
        await finished(call)
        assert dict(await call.trailing_metadata())[REQUEST_ID] == expected

    observed(story, notes)

    if kind == "one_one":
        assert notes.noted == [expected]  # in the threads of the call too


def test_a_refused_call_has_its_request_id_too() -> None:
    async def story(kinds: Kinds) -> None:
        kinds.is_open.clear()
        first = kinds.begin("one_one")
        await until(lambda: kinds.running == 1)
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await kinds.call("one_one", metadata=((REQUEST_ID, "mine"),))
        kinds.is_open.set()
        await finished(first)
        assert dict(refused.value.trailing_metadata())[REQUEST_ID] == "mine"

    observed(story, Admitting(Limits(calls=1)))


def test_request_ids_differ() -> None:
    async def run() -> set[str]:
        async with served([Observes(Telemetry())]) as kinds:
            found = set()
            for _ in range(20):
                call = kinds.begin("one_one")
                await finished(call)
                found.add(dict(await call.trailing_metadata())[REQUEST_ID])
            return found

    found = asyncio.run(run())

    assert len(found) == 20
    assert all(re.fullmatch("[0-9a-f]{16}", each) for each in found)


def test_what_is_not_there_counts_under_one_name(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "pocketlens_server")

    async def story(kinds: Kinds) -> None:
        assert kinds.channel is not None
        for number in range(5):
            with pytest.raises(grpc.aio.AioRpcError):
                await kinds.channel.unary_unary(f"/nothing/here-{number}")(b"", timeout=5)

    telemetry = observed(story)

    value = telemetry.registry.get_sample_value
    labels = {"method": "unknown", "code": "UNIMPLEMENTED"}
    assert value("pocketlens_calls_total", labels) == 5
    assert b"here-" not in telemetry.text()
    assert "here-" not in caplog.text


def test_no_token_and_no_payload_is_in_what_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "pocketlens_server")
    token = "pl_0123456789ab_" + "k" * 43
    notes = Notes()

    async def story(kinds: Kinds) -> None:
        metadata = (("authorization", f"Bearer {token}"), (REQUEST_ID, token))
        await kinds.call("one_one", b"payload", metadata=metadata)
        kinds.fails = True
        with pytest.raises(grpc.aio.AioRpcError):
            await kinds.call("one_one", b"payload", metadata=metadata)

    telemetry = observed(story, notes)

    assert "call.done" in caplog.text
    assert notes.noted == ["made", "made"]
    for secret in (token, "payload"):
        assert secret not in caplog.text
        assert secret.encode() not in telemetry.text()


def test_of_calls_of_nobody_known_all_are_counted_and_few_told_of(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, LOGGER)
    known: list[bool] = []

    class Knows(Notes):
        async def intercept_service(self, continuation: Any, details: Any) -> Any:
            if known:
                return await super().intercept_service(continuation, details)
            return await continuation(details)

    async def run() -> None:
        observes = Observes(telemetry, clock=lambda: 0.0)
        async with served([observes, Knows(), Admitting(Limits())]) as kinds:
            for _ in range(150):
                with pytest.raises(grpc.aio.AioRpcError):
                    await kinds.call("one_one", timeout=None)
            known.append(True)
            await kinds.call("one_one", timeout=10)

    telemetry = Telemetry()
    asyncio.run(run())

    assert counted(telemetry, "one_one", "INVALID_ARGUMENT") == 150
    lines = [each.getMessage() for each in caplog.records if each.name == LOGGER]
    assert len(lines) == 101
    assert "caller=4be1" in lines[-1]


def test_of_calls_that_are_refused_all_are_counted_and_few_told_of(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, LOGGER)
    limits = Limits(client_burst=1, client_rate=0.001)

    async def run() -> None:
        limiting = Limiting(limits, lambda: 0.0)
        async with served([Observes(telemetry, clock=lambda: 0.0), Notes(), limiting]) as kinds:
            await kinds.call("one_one", timeout=10)
            for _ in range(150):
                with pytest.raises(grpc.aio.AioRpcError):
                    await kinds.call("one_one", timeout=10)

    telemetry = Telemetry()
    asyncio.run(run())

    assert counted(telemetry, "one_one", "RESOURCE_EXHAUSTED") == 150
    lines = [each.getMessage() for each in caplog.records if each.name == LOGGER]
    assert len(lines) == 101
    assert "caller=4be1" in lines[-1]


def test_of_calls_that_are_given_up_all_are_counted_and_few_told_of(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, LOGGER)

    async def story(kinds: Kinds) -> None:
        kinds.is_open.clear()
        for _ in range(150):
            call = kinds.begin("one_one", timeout=10)
            await until(lambda: kinds.running == 1)
            call.cancel()
            await until(lambda: kinds.running == 0)

    async def run() -> None:
        async with served([Observes(telemetry, clock=lambda: 0.0)]) as kinds:
            await story(kinds)

    telemetry = Telemetry()
    asyncio.run(run())

    assert counted(telemetry, "one_one", "CANCELLED") == 150
    assert len([each for each in caplog.records if each.name == LOGGER]) == 100

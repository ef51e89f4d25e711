"""Callers that ask a server of the loopback more than it has, from a process of their own.

    report = Load(port, seconds=3, rate=2_000, connections=100).run()
    report.ok.count, report.refused.p99_ms

Made from the process that is measured, a load would show waits that are not there. Calls are Polls,
written by hand (see `http2`): a generator costs a tenth of what the server does. With a rate they
come whether others were answered or not, as those of many devices do; without, each caller makes
the next call when it has its answer.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import asyncio
import json
import random
import sys
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from time import perf_counter

from tests.making import http2, programs

OK, DROPPED, EXHAUSTED = 0, 1, 8  # CANCELLED is what gRPC says of calls that it drops
POLL = "/pocketlens.v1.SyncService/Poll"
_REQUEST = b"\x0a\x04main"  # of a device that follows the catalogue `main`, and has nothing yet
_UNKNOWN_FIELD = b"\x82\x7d"  # number 2000, of bytes, whose length follows in 4 bytes
_TICK_SECONDS = 0.002
_LATE_SECONDS = 5.0  # that answers may still come after the last call


@dataclass(frozen=True)
class Times:
    """How long answers of one kind took."""

    count: int = 0
    p50_ms: float = 0
    p99_ms: float = 0
    longest_ms: float = 0

    @classmethod
    def of(cls, seconds: Sequence[float]) -> Times:
        if not seconds:
            return cls()
        ordered = sorted(seconds)
        p99 = ordered[min(len(ordered) - 1, int(len(ordered) * 0.99))]
        return cls(len(ordered), ordered[len(ordered) // 2] * 1000, p99 * 1000, ordered[-1] * 1000)


@dataclass(frozen=True)
class Report:
    """What a load came to.

    Attributes:
        seconds: From the first call to the last.
        sent: Calls.
        retried: Of them, made again after a refusal.
        ok: Answered with what was asked for.
        refused: Told that there is too much to do.
        codes: How often each other status came; -1 for connections that broke.
        unanswered: Calls without an answer, long after the last one.
    """

    seconds: float
    sent: int
    retried: int
    ok: Times
    refused: Times
    codes: dict[str, int]
    unanswered: int

    @property
    def ok_a_second(self) -> float:
        return self.ok.count / self.seconds


@dataclass(frozen=True)
class Load:
    """What is asked of a server.

    Attributes:
        port: Of gRPC on 127.0.0.1.
        seconds: For which calls are made; 0 for until the report is asked for.
        rate: Calls a second, spread evenly; 0 for callers that wait for their answers.
        callers: Of those, each with one call at a time.
        pause_seconds: Of each, between an answer and its next call.
        connections: That calls are spread over. 0 for one each, as devices have: those whose call
            is refused try as the SDK does (docs/decisions/0011-retry-budget.md).
        host: Where calls come from, an address of the loopback.
        deadline_seconds: Of each call.
        request_bytes: Of each request, most of it in a field that no server knows.
    """

    port: int
    seconds: float
    rate: float = 0
    callers: int = 1
    pause_seconds: float = 0
    connections: int = 1
    host: str = "127.0.0.1"
    deadline_seconds: int = 10
    request_bytes: int = 6

    def run(self) -> Report:
        """Asks, from another process, and returns when it has ended."""
        with self.running() as report:
            return report()

    @contextmanager
    def running(self) -> Iterator[Callable[[], Report]]:
        """Asks meanwhile, from another process; gives what waits for its report."""
        with programs.running("tests.making.load", asdict(self)) as process:

            def report() -> Report:
                found = programs.told(process)
                times = {name: Times(**found[name]) for name in ("ok", "refused")}
                return Report(**found | times)

            yield report


@dataclass
class _Tally:
    """What calls came to so far."""

    sent: int = 0
    retried: int = 0
    times: dict[int, list[float]] = field(default_factory=dict)

    def add(self, status: int, seconds: float) -> None:
        self.times.setdefault(status, []).append(seconds)

    def report(self, seconds: float) -> Report:
        refused = [*self.times.get(DROPPED, []), *self.times.get(EXHAUSTED, [])]
        others = {str(s): len(t) for s, t in self.times.items() if s not in (OK, DROPPED)}
        return Report(
            seconds,
            self.sent,
            self.retried,
            Times.of(self.times.get(OK, [])),
            Times.of(refused),
            others,
            self.sent - sum(len(each) for each in self.times.values()),
        )


class _Connection(asyncio.Protocol):
    """One connection; calls on it, by their streams."""

    def __init__(self, block: bytes, request: bytes) -> None:
        self._block, self._request, self._frames, self._next = block, request, http2.Frames(), 1
        self._waiting: dict[int, asyncio.Future[int]] = {}
        self.is_lost = False
        self.is_ready = asyncio.get_running_loop().create_future()  # what may be sent is known

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        transport.write(http2.opening())

    def connection_lost(self, exc: Exception | None) -> None:
        self.is_lost = True
        if not self.is_ready.done():
            self.is_ready.set_result(None)
        for each in self._waiting.values():
            each.set_result(-1)
        self._waiting.clear()

    def call(self) -> asyncio.Future[int]:
        """The status of a call that begins now."""
        stream, self._next = self._next, self._next + 2
        answered = asyncio.get_running_loop().create_future()
        self._waiting[stream] = answered
        self.transport.write(http2.call(stream, self._block, self._request))
        return answered

    def data_received(self, data: bytes) -> None:
        for each in self._frames.received(data):
            if answer := http2.acknowledged(each):
                self.transport.write(answer)
                if not self.is_ready.done():
                    self.is_ready.set_result(None)
            elif each.kind == http2.RST_STREAM:
                self._ended(each.stream, DROPPED)
            elif each.kind == http2.HEADERS and each.ends_stream:
                status = http2.grpc_status(each.payload)
                self._ended(each.stream, -1 if status is None else status)

    def _ended(self, stream: int, status: int) -> None:
        answered = self._waiting.pop(stream, None)
        if answered is not None:
            answered.set_result(status)


class _Generator:
    """Makes the calls of a load."""

    def __init__(self, load: Load) -> None:
        self._load, self._tally, self._is_over = load, _Tally(), False
        self._block = http2.head(POLL, {"grpc-timeout": f"{load.deadline_seconds}S"})
        self._request = http2.message(_request(load.request_bytes))

    async def run(self) -> Report:
        load, loop = self._load, asyncio.get_running_loop()
        connections = [await self._connected() for _ in range(load.connections)]
        began = perf_counter()
        tasks = set[asyncio.Task[None]]()
        if load.rate:
            async for number in _paced(load.rate, load.seconds):
                connection = connections[number % len(connections)] if connections else None
                tasks.add(loop.create_task(self._once(connection)))
        else:
            for number in range(load.callers):
                connection = connections[number % len(connections)]
                tasks.add(loop.create_task(self._again_and_again(connection)))
            await (asyncio.sleep(load.seconds) if load.seconds else _asked())
        self._is_over = True
        seconds = perf_counter() - began
        await asyncio.wait(tasks, timeout=_LATE_SECONDS)
        for each in connections:
            each.transport.abort()
        return self._tally.report(seconds)

    async def _connected(self) -> _Connection:
        loop = asyncio.get_running_loop()
        _, connection = await loop.create_connection(
            lambda: _Connection(self._block, self._request),
            "127.0.0.1",
            self._load.port,
            local_addr=(self._load.host, 0),
        )
        await connection.is_ready
        return connection

    async def _call(self, connection: _Connection) -> int:
        began = perf_counter()
        self._tally.sent += 1
        status = await connection.call()
        self._tally.add(status, perf_counter() - began)
        return status

    async def _again_and_again(self, connection: _Connection) -> None:
        while not self._is_over:
            await self._call(connection)
            if self._load.pause_seconds:
                await asyncio.sleep(self._load.pause_seconds)

    async def _once(self, connection: _Connection | None) -> None:
        if connection is not None:
            await self._call(connection)
            return
        own = await self._connected()
        budget = random.random() + 0.1
        if await self._call(own) != OK and budget >= 1 and not own.is_lost:
            self._tally.retried += 1
            await asyncio.sleep(random.uniform(0, 0.5))
            await self._call(own)
        own.transport.abort()


def _request(size_bytes: int) -> bytes:
    """A PollRequest of that size."""
    more = size_bytes - len(_REQUEST) - len(_UNKNOWN_FIELD) - 4
    if more < 0:
        return _REQUEST
    length = bytes((more >> 7 * place) & 127 | (128 if place < 3 else 0) for place in range(4))
    return _REQUEST + _UNKNOWN_FIELD + length + bytes(more)


async def _asked() -> None:
    """Waits until the other process closes what it could tell us by."""
    asked = asyncio.Event()
    asyncio.get_running_loop().add_reader(sys.stdin, asked.set)
    await asked.wait()


async def _paced(rate: float, seconds: float) -> AsyncIterator[int]:
    """Numbers as they are due."""
    began, number = perf_counter(), 0
    while (passed := perf_counter() - began) < seconds:
        while number < passed * rate:
            yield number
            number += 1
        await asyncio.sleep(_TICK_SECONDS)


if __name__ == "__main__":
    wanted = Load(**json.loads(sys.argv[1]))
    sys.stdout.write(json.dumps(asdict(asyncio.run(_Generator(wanted).run()))))

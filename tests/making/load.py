"""Callers that ask a server of the loopback more than it has, from a process of their own.

    report = Load(port, seconds=3, rate=2_000, connections=100).run()
    report.ok.count, report.refused.p99_ms

Made from the process that is measured, a load would show waits that are not there. Calls are Polls,
written by hand (see `http2`): a generator costs a tenth of what the server does. With a rate they
come whether others were answered or not, as those of many devices do, and what they took is from
when each was due: a server that stops for a second is seen by all that come in that second. Without
a rate each caller makes the next call when it has its answer, by which as much comes as the server
can do, and one that stops is seen by one call of each.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from time import perf_counter

from tests.making import http2, programs

OK, DROPPED, EXHAUSTED = 0, 1, 8  # CANCELLED is what gRPC says of calls that it drops
POLL = "/pocketlens.v1.SyncService/Poll"
_REQUEST = b"\x0a\x04main"  # of a device that follows the catalogue `main`, and has nothing yet
_VERSION = b"\x18"  # number 3, which follows in one byte
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
        ok: Answered with what was asked for.
        refused: Told that there is too much to do.
        dropped: How many of those gRPC refused by itself, before anything was begun.
        codes: How often each status that is neither came; -1 for connections that broke.
        unanswered: Calls without an answer, long after the last one.
    """

    seconds: float
    sent: int
    ok: Times
    refused: Times
    dropped: int
    codes: dict[str, int]
    unanswered: int

    @property
    def ok_a_second(self) -> float:
        return self.ok.count / self.seconds

    @property
    def lost(self) -> int:
        """Calls that were not answered with what was asked for."""
        return self.sent - self.ok.count


@dataclass(frozen=True)
class Load:
    """What is asked of a server.

    Attributes:
        port: Of gRPC on 127.0.0.1.
        seconds: For which calls are made; 0 for until the report is asked for.
        rate: Calls a second, spread evenly; 0 for callers that wait for their answers.
        callers: Of those, each with one call at a time.
        pause_seconds: Of each, between an answer and its next call.
        connections: That calls are spread over.
        host: Where calls come from, an address of the loopback.
        deadline_seconds: Of each call.
        request_bytes: Of each request, most of it in a field that no server knows.
        versions: That devices have, one after the other, from 1 on; 0 for one that has nothing yet.
        ca: File of who signed the server's certificate; "" where nothing is encrypted.
        stands_back: Whether it leaves the cores to others (see `programs`).
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
    versions: int = 0
    ca: str = ""
    stands_back: bool = False

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


def good_devices(port: int, seconds: float, *, host: str = "127.0.0.1", ca: str = "") -> Load:
    """100 calls a second, whatever becomes of them, from ten connections.

    On one, of which a server takes 32 calls at once, a third of a second in which it does nothing
    would cost calls: of a client that does as it is told they would wait.
    """
    return Load(port, seconds, rate=100, connections=10, host=host, ca=ca)


@dataclass
class _Tally:
    """What calls came to so far."""

    sent: int = 0
    times: dict[int, list[float]] = field(default_factory=dict)

    def add(self, status: int, seconds: float) -> None:
        self.times.setdefault(status, []).append(seconds)

    def report(self, seconds: float) -> Report:
        refused = [*self.times.get(DROPPED, []), *self.times.get(EXHAUSTED, [])]
        known = OK, DROPPED, EXHAUSTED
        others = {str(s): len(t) for s, t in self.times.items() if s not in known}
        return Report(
            seconds,
            self.sent,
            Times.of(self.times.get(OK, [])),
            Times.of(refused),
            len(self.times.get(DROPPED, [])),
            others,
            self.sent - sum(len(each) for each in self.times.values()),
        )


class _Connection(asyncio.Protocol):
    """One connection; calls on it, by their streams."""

    def __init__(self, block: bytes) -> None:
        self._block, self._frames, self._next = block, http2.Frames(), 1
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

    def call(self, request: bytes) -> asyncio.Future[int]:
        """The status of a call that begins now."""
        stream, self._next = self._next, self._next + 2
        answered = asyncio.get_running_loop().create_future()
        if self.is_lost:
            answered.set_result(-1)
            return answered
        self._waiting[stream] = answered
        self.transport.write(http2.call(stream, self._block, request))
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
        self._load, self._tally = load, _Tally()
        self._over = asyncio.Event()
        self._block = http2.head(POLL, {"grpc-timeout": f"{load.deadline_seconds}S"})
        versions = range(1, load.versions + 1) if load.versions else [0]
        self._requests = [http2.message(_request(each, load.request_bytes)) for each in versions]
        self._ssl = _trusting(load.ca) if load.ca else None

    async def run(self) -> Report:
        load, loop = self._load, asyncio.get_running_loop()
        connections = [await self._connected() for _ in range(load.connections)]
        if load.seconds:
            loop.call_later(load.seconds, self._over.set)
        else:
            self._over = programs.asked()
        began = perf_counter()
        tasks = set[asyncio.Task[None]]()
        if load.rate:
            async for number, due in self._due():
                connection = connections[number % len(connections)]
                tasks.add(loop.create_task(self._call(connection, due)))
        else:
            for number in range(load.callers):
                connection = connections[number % len(connections)]
                tasks.add(loop.create_task(self._again_and_again(connection)))
            await self._over.wait()
        seconds = perf_counter() - began
        await asyncio.wait(tasks, timeout=_LATE_SECONDS)
        for each in connections:
            each.transport.abort()
        return self._tally.report(seconds)

    async def _connected(self) -> _Connection:
        _, connection = await asyncio.get_running_loop().create_connection(
            lambda: _Connection(self._block),
            "127.0.0.1",
            self._load.port,
            local_addr=(self._load.host, 0),
            ssl=self._ssl,
        )
        await connection.is_ready
        return connection

    async def _call(self, connection: _Connection, due: float) -> None:
        request = self._requests[self._tally.sent % len(self._requests)]
        self._tally.sent += 1
        status = await connection.call(request)
        self._tally.add(status, perf_counter() - due)

    async def _again_and_again(self, connection: _Connection) -> None:
        while not self._over.is_set():
            await self._call(connection, perf_counter())
            if self._load.pause_seconds:
                await asyncio.sleep(self._load.pause_seconds)

    async def _due(self) -> AsyncIterator[tuple[int, float]]:
        """Numbers of calls when they are due, and when that was."""
        began, number = perf_counter(), 0
        while not self._over.is_set():
            while (due := began + number / self._load.rate) <= perf_counter():
                yield number, due
                number += 1
            await asyncio.sleep(_TICK_SECONDS)


def _trusting(ca: str) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=ca)
    context.set_alpn_protocols(["h2"])
    return context


def _request(version: int, size_bytes: int) -> bytes:
    """A PollRequest of that size, of a device that has a version."""
    request = _REQUEST + (_VERSION + bytes([version]) if version else b"")
    more = size_bytes - len(request) - len(_UNKNOWN_FIELD) - 4
    if more < 0:
        return request
    length = bytes((more >> 7 * place) & 127 | (128 if place < 3 else 0) for place in range(4))
    return request + _UNKNOWN_FIELD + length + bytes(more)


async def _run(load: Load) -> Report:
    return await _Generator(load).run()


if __name__ == "__main__":
    wanted = Load(**programs.order())
    if wanted.stands_back:
        programs.stand_back()
    programs.tell(asdict(asyncio.run(_run(wanted))))

"""Callers who mean a server of the loopback no good, from a process of their own.

    with Abuse("resets", port, count=5_000, rate=2_000).running() as outcome:
        ...
    outcome().closed

Each kind is a story below: connections that are never finished, or never used, requests that
trickle, calls that are given up at once, pings, settings, headers and messages that are too many or
too large.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from time import perf_counter
from typing import Literal

from tests.making import http2, programs
from tests.making.load import POLL

Kind = Literal[
    "silent",
    "half a preface",
    "no settings",
    "half a greeting",
    "a greeting",
    "idle",
    "slow requests",
    "slow streams",
    "slow headers",
    "resets",
    "pings",
    "settings",
    "endless headers",
    "large headers",
    "large messages",
    "lying messages",
]
KINDS: tuple[Kind, ...] = Kind.__args__  # type: ignore[attr-defined]

STREAMS = 25  # of a connection, fewer than a server allows
INGEST = "/pocketlens.v1.CatalogService/Ingest"
_OPENED = b"\x0a\x04main\x12\x00"  # an IngestRequest that opens a job of the catalogue `main`
_SLOW_BYTES_SECONDS = 1.0  # between two bytes of what trickles
_SLOW_CALLS_SECONDS = 0.002  # between two calls that do: slow, not many at once


@dataclass(frozen=True)
class Outcome:
    """What became of it.

    Attributes:
        seconds: Until it was done, or the last connection was closed by the server.
        longest_seconds: That a connection was open before the server closed it.
        connections: That were made.
        closed: Of them, by the server.
        sent: Calls, pings or whatever the story is of.
        codes: How calls ended: their statuses, and "reset" of those that the server cut off.
    """

    seconds: float
    longest_seconds: float
    connections: int
    closed: int
    sent: int
    codes: dict[str, int]


@dataclass(frozen=True)
class Abuse:
    """What is done to a server.

    Attributes:
        kind: Of it.
        port: Of gRPC on 127.0.0.1.
        count: Connections that are half open, requests that are slow, or frames, by the kind.
        rate: Frames a second; 0 for as fast as they go.
        seconds: After which it ends in any case.
        host: Where it comes from, an address of the loopback.
        is_lasting: Whether another one takes the place of a half-open connection that the server
            closed, until it is asked what it came to.
        stands_back: Whether it leaves the cores to others (see `programs`), as strangers do, who
            have machines of their own.
    """

    kind: Kind
    port: int
    count: int
    rate: float = 0
    seconds: float = 30
    host: str = "127.0.0.2"
    is_lasting: bool = False
    stands_back: bool = False

    @contextmanager
    def running(self) -> Iterator[Callable[[], Outcome]]:
        """Does it meanwhile, from another process; gives what waits for its end."""
        with programs.running("tests.making.abuse", asdict(self)) as process:
            yield lambda: Outcome(**programs.told(process))

    def run(self) -> Outcome:
        """Does it, and returns when it has ended."""
        with self.running() as outcome:
            return outcome()


@dataclass
class _Tally:
    longest_seconds: float = 0
    connections: int = 0
    closed: int = 0
    sent: int = 0
    codes: dict[str, int] = field(default_factory=dict)


class _Connection:
    """One connection, whose answers are read and counted until it ends."""

    def __init__(
        self,
        tally: _Tally,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        *,
        is_silent: bool,
    ) -> None:
        self._tally, self._reader, self.writer = tally, reader, writer
        self._is_silent, self._ended = is_silent, set[int]()
        self._began = perf_counter()
        self.reading = asyncio.create_task(self._read())

    async def _read(self) -> None:
        frames = http2.Frames()
        with suppress(ConnectionError):
            while data := await self._reader.read(65536):
                for each in frames.received(data):
                    if answer := http2.acknowledged(each):
                        await self.send(b"" if self._is_silent else answer)
                    elif each.ends_stream or each.kind == http2.RST_STREAM:
                        self._end(each)
        self._tally.closed += 1
        seconds = perf_counter() - self._began
        self._tally.longest_seconds = max(self._tally.longest_seconds, seconds)
        self.writer.close()

    def _end(self, how: http2.Frame) -> None:
        if how.stream in self._ended:  # answered, and then reset, since the caller had not ended
            return
        self._ended.add(how.stream)
        status = http2.grpc_status(how.payload) if how.ends_stream else "reset"
        self._tally.codes[str(status)] = self._tally.codes.get(str(status), 0) + 1

    @property
    def answered(self) -> int:
        """Calls that have ended."""
        return len(self._ended)

    @property
    def is_closed(self) -> bool:
        return self.writer.is_closing()

    async def send(self, data: bytes) -> None:
        if not self.is_closed:
            self.writer.write(data)
            with suppress(ConnectionError):
                await self.writer.drain()


class _Abuser:
    """Tells the stories."""

    def __init__(self, abuse: Abuse) -> None:
        self._abuse, self._tally = abuse, _Tally()
        self._head = _head(POLL)

    async def run(self) -> Outcome:
        stories: dict[Kind, Callable[[], Awaitable[None]]] = {
            "silent": lambda: self._half_open(b""),
            "half a preface": lambda: self._half_open(http2.PREFACE[:10]),
            "no settings": lambda: self._half_open(http2.PREFACE),
            "half a greeting": lambda: self._half_open(_greeting()[:100]),
            "a greeting": lambda: self._half_open(_greeting()),
            "idle": lambda: self._half_open(http2.opening(), is_silent=False),
            "slow requests": lambda: self._slow_calls(self._head),
            "slow streams": lambda: self._slow_calls(_head(INGEST), http2.message(_OPENED)),
            "slow headers": self._slow_headers,
            "resets": self._resets,
            "pings": lambda: self._frames(http2.frame(http2.PING, bytes(8))),
            "settings": lambda: self._frames(http2.frame(http2.SETTINGS)),
            "endless headers": self._endless_headers,
            "large headers": lambda: self._calls(self._large_headers),
            "large messages": lambda: self._calls(self._large_message),
            "lying messages": lambda: self._calls(self._lying_message),
        }
        began = perf_counter()
        with suppress(TimeoutError):
            async with asyncio.timeout(self._abuse.seconds):
                await stories[self._abuse.kind]()
        return Outcome(perf_counter() - began, **asdict(self._tally))

    async def _opened(self, said: bytes, *, is_silent: bool = False) -> _Connection:
        while True:
            try:
                reader, writer = await asyncio.open_connection(
                    "127.0.0.1", self._abuse.port, local_addr=(self._abuse.host, 0)
                )
            except OSError:  # the system has not forgotten the last one yet
                await asyncio.sleep(0.05)
                continue
            self._tally.connections += 1
            connection = _Connection(self._tally, reader, writer, is_silent=is_silent)
            await connection.send(said)
            return connection

    async def _half_open(self, said: bytes, *, is_silent: bool = True) -> None:
        """Connections that say too little, until the server has closed them all."""
        asked = programs.asked()

        async def one() -> None:
            while True:
                connection = await self._opened(said, is_silent=is_silent)
                self._tally.sent += 1
                await connection.reading
                if asked.is_set() or not self._abuse.is_lasting:
                    return

        await asyncio.gather(*(one() for _ in range(self._abuse.count)))

    async def _slow_calls(self, head: bytes, first: bytes = b"") -> None:
        """Calls whose message comes a byte a second, until each is answered or reset.

        Args:
            head: Of each.
            first: What comes at once.
        """
        opened = []
        for _ in range(-(-self._abuse.count // STREAMS)):
            connection = await self._opened(http2.opening())
            for number in range(STREAMS):
                stream = 2 * number + 1
                begun = http2.frame(http2.HEADERS, head, flags=http2.END_HEADERS, stream=stream)
                more = http2.frame(http2.DATA, first, stream=stream) if first else b""
                await connection.send(begun + more)
                self._tally.sent += 1
                await asyncio.sleep(_SLOW_CALLS_SECONDS)
            opened.append(connection)
        message = http2.message(bytes(1000))
        for byte in message:
            for connection in opened:
                for number in range(STREAMS):
                    await connection.send(
                        http2.frame(http2.DATA, bytes([byte]), stream=2 * number + 1)
                    )
            await asyncio.sleep(_SLOW_BYTES_SECONDS)
            if all(each.is_closed or each.answered >= STREAMS for each in opened):
                return

    async def _slow_headers(self) -> None:
        """Connections whose first call comes a byte a second, until the server closes them."""
        opened = [await self._opened(http2.opening()) for _ in range(self._abuse.count)]
        begun = http2.frame(http2.HEADERS, self._head, flags=http2.END_HEADERS, stream=1)
        for byte in begun:
            for connection in opened:
                await connection.send(bytes([byte]))
            await asyncio.sleep(_SLOW_BYTES_SECONDS)
            if all(each.is_closed for each in opened):
                return

    async def _resets(self) -> None:
        """Calls that are given up in the same breath, over new connections when one is closed."""
        connection, stream = await self._opened(http2.opening()), 1
        async for _ in self._paced():
            if connection.is_closed:
                connection, stream = await self._opened(http2.opening()), 1
            call = http2.call(stream, self._head, http2.message(b""))
            await connection.send(call + http2.frame(http2.RST_STREAM, http2.CANCEL, stream=stream))
            self._tally.sent, stream = self._tally.sent + 1, stream + 2

    async def _frames(self, data: bytes) -> None:
        """Frames that a server has to answer, over new connections when one is closed."""
        connection = await self._opened(http2.opening())
        async for _ in self._paced():
            if connection.is_closed:
                connection = await self._opened(http2.opening())
            await connection.send(data)
            self._tally.sent += 1

    async def _endless_headers(self) -> None:
        """Headers that go on, frame after frame."""
        connection = await self._opened(http2.opening())
        begun = http2.frame(http2.HEADERS, self._head, stream=1)
        more = http2.frame(http2.CONTINUATION, http2.fields({"x-more": "y" * 4000}), stream=1)
        await connection.send(begun)
        async for _ in self._paced():
            if connection.is_closed:
                connection = await self._opened(http2.opening() + begun)
            await connection.send(more)
            self._tally.sent += 1

    async def _calls(self, begun: Callable[[int], bytes]) -> None:
        """Calls, each as `begun` makes it of its stream, some at once: an answer takes a while."""
        connection, sent = await self._opened(http2.opening()), 0
        async for _ in self._paced():
            while sent - connection.answered >= STREAMS and not connection.is_closed:
                await asyncio.sleep(0.001)
            if connection.is_closed:
                connection, sent = await self._opened(http2.opening()), 0
            await connection.send(begun(2 * sent + 1))
            self._tally.sent, sent = self._tally.sent + 1, sent + 1
        while connection.answered < sent and not connection.is_closed:
            await asyncio.sleep(0.001)

    def _large_headers(self, stream: int) -> bytes:
        """64 KiB of them."""
        head = self._head + http2.fields({f"x-{n}": "y" * 1000 for n in range(64)})
        parts = [head[at : at + 16_000] for at in range(0, len(head), 16_000)]
        frames = [http2.frame(http2.HEADERS, parts[0], flags=http2.END_STREAM, stream=stream)]
        frames += [http2.frame(http2.CONTINUATION, each, stream=stream) for each in parts[1:-1]]
        last = http2.frame(http2.CONTINUATION, parts[-1], flags=http2.END_HEADERS, stream=stream)
        return b"".join([*frames, last])

    def _large_message(self, stream: int) -> bytes:
        """Two mebibytes, as far as the server lets them come: 48 KiB a call are sent."""
        begun = http2.frame(http2.HEADERS, self._head, flags=http2.END_HEADERS, stream=stream)
        sent = http2.message(bytes(2 << 20))[: 48 << 10]
        parts = [sent[at : at + 16_000] for at in range(0, len(sent), 16_000)]
        return begun + b"".join(http2.frame(http2.DATA, each, stream=stream) for each in parts)

    def _lying_message(self, stream: int) -> bytes:
        """Four gibibytes, it says."""
        begun = http2.frame(http2.HEADERS, self._head, flags=http2.END_HEADERS, stream=stream)
        return begun + http2.frame(http2.DATA, b"\x00\xff\xff\xff\xff", stream=stream)

    async def _paced(self) -> AsyncIterator[int]:
        """As many numbers as there are, at the rate."""
        began = perf_counter()
        for number in range(self._abuse.count):
            if self._abuse.rate:
                while number > (perf_counter() - began) * self._abuse.rate:
                    await asyncio.sleep(0.002)
            yield number


async def _run(abuse: Abuse) -> Outcome:
    return await _Abuser(abuse).run()


def _head(method: str) -> bytes:
    return http2.head(method, {"grpc-timeout": "1M"})


def _greeting() -> bytes:
    """How a client of TLS begins."""
    heard, said = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = ssl.create_default_context().wrap_bio(heard, said, server_hostname="127.0.0.1")
    with suppress(ssl.SSLWantReadError):
        client.do_handshake()
    return said.read()


if __name__ == "__main__":
    wanted = Abuse(**programs.order())
    if wanted.stands_back:
        programs.stand_back()
    programs.tell(asdict(asyncio.run(_run(wanted))))

"""A network that misbehaves: a proxy on the loopback, between a device and a server.

    with FaultProxy(server_port, Toxic(cut_after=1000)) as proxy:
        sync(f"http://127.0.0.1:{proxy.port}/main")
        proxy.sent

What a device sends passes as it is, or is cut; what it gets is delayed, slowed, sliced, cut, or
changed frame by frame. The same toxic and the same bytes give the same faults.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import asyncio
import random
import socket
import struct
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum
from typing import Self

_READ_BYTES = 64 << 10


class Ending(Enum):
    """What comes after the last byte that passes."""

    CLOSE = "the connection is closed"
    RESET = "the connection is reset"
    SILENCE = "nothing, for as long as somebody waits"


@dataclass(frozen=True)
class Toxic:
    """What happens to bytes on their way to a device.

    Attributes:
        latency_s, jitter_s: Waited before each chunk; the jitter is drawn up to its value.
        bytes_per_second: At most; 0 for as many as come.
        slice_bytes: Of a chunk, at most; 0 for as they come.
        cut_after: Bytes of a connection that pass; None for all.
        cut_asked_after: Bytes of a connection that pass the other way; None for all.
        ending: What comes then.
        heals: Whether that happens to the first connection only.
        frames: What becomes of each frame of HTTP/2 that the server sends.
    """

    latency_s: float = 0
    jitter_s: float = 0
    bytes_per_second: int = 0
    slice_bytes: int = 0
    cut_after: int | None = None
    cut_asked_after: int | None = None
    ending: Ending = Ending.CLOSE
    heals: bool = True
    frames: Callable[[bytes], list[bytes]] | None = None


class FaultProxy:
    """Runs in a thread while its context is open.

    Attributes:
        port: Where devices connect.
        target: Port of the server; another for those who connect from then on.
        sent: Bytes that reached devices.
        asked: What devices sent, all connections one after the other.
        connections: That were made.
    """

    def __init__(self, target: int, toxic: Toxic | None = None, *, seed: int = 0) -> None:
        self.toxic = toxic or Toxic()
        self.sent, self.connections, self.asked = 0, 0, bytearray()
        self.target = target
        self._rng = random.Random(seed)
        self._open: set[asyncio.Task[None]] = set()
        self._writers: list[asyncio.StreamWriter] = []
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listening.getsockname()[1]

    def __enter__(self) -> Self:
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._start(), self._loop).result(10)
        return self

    def __exit__(self, *_: object) -> None:
        asyncio.run_coroutine_threadsafe(self._stop(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    def cut(self) -> None:
        """Resets what is connected now; who connects later gets through."""
        for writer in list(self._writers):
            self._loop.call_soon_threadsafe(writer.transport.abort)

    async def _start(self) -> None:
        def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            self._writers.append(writer)
            task = asyncio.create_task(self._connected(reader, writer))
            self._open.add(task)
            task.add_done_callback(self._open.discard)

        self._server = await asyncio.start_server(connected, sock=self._listening)

    async def _stop(self) -> None:
        # Who was accepted, and is not connected when the server closes, is never closed by asyncio.
        self._loop.remove_reader(self._listening)
        await _turns()
        self._server.close()
        for task in self._open:
            task.cancel()
        await asyncio.gather(*self._open, return_exceptions=True)
        for writer in self._writers:  # a task that never began closed nothing
            writer.transport.abort()
        await _turns()

    async def _connected(self, device: asyncio.StreamReader, out: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            server, up = await asyncio.open_connection("127.0.0.1", self.target)
        except OSError:
            out.transport.abort()
            return
        passing = asyncio.create_task(self._pass(device, up, out))
        try:
            with suppress(OSError):  # who connected may be gone again
                for writer in (out, up):  # the proxy adds no waiting of its own
                    connection = writer.get_extra_info("socket")
                    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                await self._deliver(server, out)
        finally:
            passing.cancel()
            up.transport.abort()
            out.close()

    async def _pass(
        self, device: asyncio.StreamReader, up: asyncio.StreamWriter, out: asyncio.StreamWriter
    ) -> None:
        left = self.toxic.cut_asked_after
        if self.toxic.heals and self.connections > 1:
            left = None
        with suppress(OSError):
            while data := await device.read(_READ_BYTES):
                part = data if left is None else data[:left]
                self.asked += part
                up.write(part)
                await up.drain()
                if left is not None:
                    left -= len(part)
                    if left == 0:
                        up.close()  # what was written still goes
                        await _end(out, self.toxic.ending)
                        return
            up.write_eof()

    async def _deliver(self, server: asyncio.StreamReader, out: asyncio.StreamWriter) -> None:
        toxic, left = self.toxic, self.toxic.cut_after
        if toxic.heals and self.connections > 1:
            left = None
        if left == 0:
            await _end(out, toxic.ending)
            return
        async for chunk in self._chunks(server):
            part = chunk if left is None else chunk[:left]
            await asyncio.sleep(toxic.latency_s + self._rng.uniform(0, toxic.jitter_s))
            self.sent += len(part)
            out.write(part)
            await out.drain()
            if toxic.bytes_per_second:
                await asyncio.sleep(len(part) / toxic.bytes_per_second)
            if left is not None:
                left -= len(part)
                if left == 0:
                    await _end(out, toxic.ending)
                    return

    async def _chunks(self, server: asyncio.StreamReader) -> AsyncIterator[bytes]:
        held = b""
        while data := await server.read(_READ_BYTES):
            if self.toxic.frames is not None:
                frames, held = _frames(held + data)
                data = b"".join(part for frame in frames for part in self.toxic.frames(frame))
            size = self.toxic.slice_bytes or max(1, len(data))
            for start in range(0, len(data), size):
                yield data[start : start + size]


async def _turns() -> None:
    """Lets the loop finish what it began: accepting takes three turns, closing one."""
    for _ in range(3):
        await asyncio.sleep(0)


async def _end(out: asyncio.StreamWriter, ending: Ending) -> None:
    if ending is Ending.SILENCE:
        await asyncio.Event().wait()
    if ending is Ending.RESET:
        linger = struct.pack("ii", 1, 0)  # closing sends RST and drops what waits
        out.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        out.transport.abort()


def _frames(data: bytes) -> tuple[list[bytes], bytes]:
    """Whole frames of HTTP/2 (RFC 9113, 4.1), and what is left of another."""
    found = []
    while len(data) >= 9 and len(data) >= (size := 9 + int.from_bytes(data[:3], "big")):
        found.append(data[:size])
        data = data[size:]
    return found, data

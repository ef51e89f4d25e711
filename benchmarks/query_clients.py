"""Who asks a server in `query.py`: many callers in a process of their own, over real gRPC.

    with Callers(address, requests) as callers:
        callers.run(callers=16, seconds=5)      # each asks again once it is answered
        callers.run(rate=200, seconds=5)        # so many a second, whatever comes back

Requests are made beforehand and answers are not read, so that little of the machine goes to them.
They are nice to the server, as if they ran elsewhere.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter, process_time

import grpc.aio
import numpy as np

from pocketlens.closing import Closing

SEARCH = "/pocketlens.v1.QueryService/Search"
HERE = Path(__file__).resolve().parent
DEADLINE_SECONDS = 2.0  # of who asks whatever comes back: a shopper waits no longer
PATIENT_SECONDS = 60.0
CHANNELS = 8  # a connection has room for 32 calls
_NICE = 5
_IN_CHILD = (
    "import sys; sys.path.insert(0, sys.argv[1]); import query_clients; query_clients.main()"
)


@dataclass(frozen=True, slots=True)
class Told:
    """What became of some seconds.

    Attributes:
        seconds: From the first question to the end of the time.
        sent: Questions.
        codes: How many were answered with each.
        ms: Milliseconds that each took which was answered OK inside of the time.
        cores: That the callers took.
    """

    seconds: float
    sent: int
    codes: dict[str, int]
    ms: list[float]
    cores: float

    @property
    def per_s(self) -> float:
        """Answered OK, a second."""
        return len(self.ms) / self.seconds

    def quantile_ms(self, share: float) -> float:
        return float(np.quantile(self.ms, share)) if self.ms else float("inf")


class Callers(Closing):
    """The process; for one thread."""

    def __init__(self, address: str, requests: Sequence[bytes]) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", _IN_CHILD, str(HERE)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._tell({"address": address, "requests": [each.hex() for each in requests]})

    def run(self, *, seconds: float, callers: int = 0, rate: float = 0) -> Told:
        """Lets some callers ask, or so many questions a second be asked."""
        self._tell({"seconds": seconds, "callers": callers, "rate": rate})
        assert self._process.stdout is not None
        return Told(**json.loads(self._process.stdout.readline()))

    def close(self) -> None:
        """Ends the process."""
        self._process.communicate()

    def _tell(self, order: object) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()


# --- in their process ----------------------------------------------------------------------------


def main() -> None:
    os.nice(_NICE)
    asyncio.run(_obey())


async def _obey() -> None:
    told = json.loads(sys.stdin.readline())
    requests = [bytes.fromhex(each) for each in told["requests"]]
    channels = [
        grpc.aio.insecure_channel(told["address"], [("grpc.use_local_subchannel_pool", 1)])
        for _ in range(CHANNELS)
    ]
    asking = _Asking([each.unary_unary(SEARCH) for each in channels], requests)
    for line in sys.stdin:
        order = json.loads(line)
        print(json.dumps(await asking.run(**order)), flush=True)
    for channel in channels:
        await channel.close()


class _Asking:
    def __init__(
        self, calls: Sequence[grpc.aio.UnaryUnaryMultiCallable], requests: Sequence[bytes]
    ) -> None:
        self._calls, self._requests, self._asked = calls, requests, 0

    async def run(self, *, seconds: float, callers: int, rate: float) -> dict[str, object]:
        self._codes: Counter[str] = Counter()
        self._ms: list[float] = []
        began, spent, before = perf_counter(), process_time(), self._asked
        self._until = began + seconds
        if callers:
            await asyncio.gather(*(self._again_and_again() for _ in range(callers)))
        else:
            await self._at(rate, began)
        return {
            "seconds": seconds,
            "sent": self._asked - before,
            "codes": self._codes,
            "ms": self._ms,
            "cores": (process_time() - spent) / seconds,
        }

    async def _again_and_again(self) -> None:
        while perf_counter() < self._until:
            await self._ask(PATIENT_SECONDS)

    async def _at(self, rate: float, began: float) -> None:
        """Questions when they are due, whether those before are answered or not."""
        asked, due = set[asyncio.Task[None]](), began
        while due < self._until:
            await asyncio.sleep(max(0, due - perf_counter()))
            task = asyncio.create_task(self._ask(DEADLINE_SECONDS))
            asked.add(task)
            task.add_done_callback(asked.discard)
            due += 1 / rate
        await asyncio.gather(*asked)

    async def _ask(self, deadline: float) -> None:
        number, self._asked = self._asked, self._asked + 1
        call = self._calls[number % len(self._calls)]
        began = perf_counter()
        try:
            await call(self._requests[number % len(self._requests)], timeout=deadline)
        except grpc.aio.AioRpcError as exc:
            self._codes[exc.code().name] += 1
            return
        ended = perf_counter()
        self._codes["OK"] += 1
        if ended <= self._until:
            self._ms.append((ended - began) * 1e3)

"""Many devices that ask a server of the loopback once, as the SDK does, from another process.

    crowd = Crowd(port, devices=400).ask()
    crowd.served, crowd.retries

Each has a connection of its own and the SDK's retries; they come in an order that a seed chooses.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import json
import random
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass
from time import perf_counter

from tests.making import programs

AT_ONCE = 32  # that have asked and have no answer


@dataclass(frozen=True)
class Outcome:
    """What became of devices.

    Attributes:
        served: That were answered.
        retries: That they made, all together.
        longest_seconds: That one of them took.
    """

    served: int
    retries: int
    longest_seconds: float


@dataclass(frozen=True)
class Crowd:
    """Devices.

    Attributes:
        port: Of gRPC on 127.0.0.1.
        devices: How many.
        seed: Of their retries.
    """

    port: int
    devices: int
    seed: int = 0

    def ask(self) -> Outcome:
        """Lets each ask once, and returns when all have."""
        with self.asking() as outcome:
            return outcome()

    @contextmanager
    def asking(self) -> Iterator[Callable[[], Outcome]]:
        """Lets them ask meanwhile; gives what waits for the last."""
        with programs.running("tests.making.device_crowds", asdict(self)) as process:
            yield lambda: Outcome(**programs.told(process))


def _asked(crowd: Crowd) -> Outcome:
    from pocketlens.errors import TransportError
    from pocketlens.sync.grpc_transport import GrpcTransport
    from pocketlens.sync.retrying import RetryingTransport
    from pocketlens.sync.transports import AtHand

    retries, seconds = list[float](), list[float]()

    def wait(wanted: float) -> None:
        retries.append(wanted)
        time.sleep(wanted)

    def ask(number: int) -> bool:
        began, rng = perf_counter(), random.Random(crowd.seed * 1_000_003 + number)
        plain = GrpcTransport(f"127.0.0.1:{crowd.port}", "main")
        with closing(RetryingTransport(plain, rng=rng, wait=wait)) as device:
            try:
                device.poll(AtHand(b"", 0, {}, b""))
            except TransportError:
                return False
            finally:
                seconds.append(perf_counter() - began)
        return True

    with ThreadPoolExecutor(AT_ONCE) as pool:
        served = sum(pool.map(ask, range(crowd.devices)))
    return Outcome(served, len(retries), max(seconds))


if __name__ == "__main__":
    sys.stdout.write(json.dumps(asdict(_asked(Crowd(**json.loads(sys.argv[1]))))))

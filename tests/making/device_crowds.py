"""Many devices that ask a server of the loopback, as the SDK does, from another process.

    crowd = Crowd(port, devices=400).ask()
    crowd.served, crowd.retries

Each has a connection of its own and the SDK's retries, which a seed draws. One that was not served
may sync again, after all others have had their turn: sooner than any app would.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass
from time import perf_counter

from tests.making import programs


@dataclass(frozen=True)
class Outcome:
    """What became of devices.

    Attributes:
        served_at: When each was answered that was, as `perf_counter` tells it, in order.
        served_at_once: That were, at their first sync.
        syncs: Of all of them, together.
        retries: That the SDK made within them.
        longest_seconds: That one of the syncs took.
    """

    served_at: list[float]
    served_at_once: int
    syncs: int
    retries: int
    longest_seconds: float

    @property
    def served(self) -> int:
        """That were answered, in the end."""
        return len(self.served_at)

    @property
    def served_a_second(self) -> float:
        """From the first that was to the last."""
        return self.served / (self.served_at[-1] - self.served_at[0])


@dataclass(frozen=True)
class Crowd:
    """Devices.

    Attributes:
        port: Of gRPC on 127.0.0.1.
        devices: How many.
        seed: Of their retries.
        at_once: That have asked and have no answer.
        turns: That each has, of which it takes no more once it was served.
        stands_back: Whether they leave the cores to others (see `programs`).
    """

    port: int
    devices: int
    seed: int = 0
    at_once: int = 32
    turns: int = 1
    stands_back: bool = False

    def ask(self) -> Outcome:
        """Lets each ask, and returns when all have."""
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

    retries, seconds, served_at = list[float](), list[float](), list[float]()

    def wait(wanted: float) -> None:
        retries.append(wanted)
        time.sleep(wanted)

    def is_served(number: int, turn: int) -> bool:
        began, rng = perf_counter(), random.Random(f"{crowd.seed} {number} {turn}")
        plain = GrpcTransport(f"127.0.0.1:{crowd.port}", "main")
        with closing(RetryingTransport(plain, rng=rng, wait=wait)) as device:
            try:
                device.poll(AtHand(b"", 0, {}, b""))
            except TransportError:
                return False
            finally:
                seconds.append(perf_counter() - began)
            served_at.append(perf_counter())
        return True

    left, served = list(range(crowd.devices)), list[int]()
    with ThreadPoolExecutor(crowd.at_once) as pool:
        for turn in range(crowd.turns):
            found = list(pool.map(is_served, left, [turn] * len(left)))
            served.append(sum(found))
            left = [
                number for number, was_served in zip(left, found, strict=True) if not was_served
            ]
            if not left:
                break
    return Outcome(sorted(served_at), served[0], len(seconds), len(retries), max(seconds))


if __name__ == "__main__":
    wanted = Crowd(**programs.order())
    if wanted.stands_back:
        programs.stand_back()
    programs.tell(asdict(_asked(wanted)))

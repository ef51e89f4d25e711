"""A server with twice as much to do as it can, and 10,000 devices that an outage has cut off.

    python benchmarks/faults/overload.py [--quick] [--json FILE]

First as many callers as may wait show what it can do; then twice as many calls a second come, in
three runs of which the median counts, whether others are answered or not; then devices, as the SDK
makes them, while that goes on. Devices have twenty versions, and every five seconds another one is
published. What accepted calls take is compared with what they take at the peak, when 128 callers
wait for each other; what one that is alone takes stands beside it.

At last 10,000 devices, as many at once as a process can hold, are at work when the server is
killed; it is back on its port after three seconds, and whoever was not served syncs again, at once:
more than devices do, and all that they come to is the server's to serve. It has recovered when it
serves as many a second as it served of a crowd before. These stand back from the cores, as devices
do. The long form of tests/faults/test_overload.py.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from time import perf_counter

import goals
from tests.making.busy_servers import OPEN, BusyServer, busy_server, waited
from tests.making.device_crowds import Crowd
from tests.making.load import Load, Report, good_devices

from pocketlens.errors import PocketLensError
from pocketlens_server.client import CatalogueClient, PatchProduct

CALLERS = 128  # as many as a server lets wait
VERSIONS, PUBLISH_SECONDS = 20, 5
RUNS, SECONDS, DEVICES, CUT_OFF = 3, 20, 2_000, 10_000
OUTAGE_SECONDS, AT_ONCE, TURNS = 3, 512, 1_000
RECOVERED = 0.9  # of what was served before

Figures = dict[str, object]


def main() -> int:
    parser = goals.options(__doc__, quick="3 seconds, 100 devices, 1,000 that are cut off")
    arguments = parser.parse_args()
    seconds, devices, cut_off = SECONDS, DEVICES, CUT_OFF
    if arguments.quick:
        seconds, devices, cut_off = 3, 100, 1_000
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with (
            busy_server(folder, versions=VERSIONS, **OPEN) as server,
            published_meanwhile(server) as published,
        ):
            figures, quiet = overloaded(server, seconds, devices)
        figures |= {"publishes": len(published), "publishes_failed": published.count(0)}
        goals.keep(arguments, figures)
        figures |= after_an_outage(folder, cut_off, quiet)
    return goals.told(
        arguments,
        figures,
        zero=("without_an_answer", "cut_off_not_served", "publishes_failed"),
        at_least={"answered_share_of_peak": 0.9, "asked_share_of_peak": 1.95},
        at_most={
            "recovery_seconds": 5,
            "outage_recovery_seconds": 5,
            "recovery_after_all_are_served_seconds": 5,
        }
        | (
            {}
            if arguments.quick
            else {
                "retries_a_device": 0.1,
                "retries_a_sync_in_outage": 0.1,
                "accepted_p99_ratio_to_peak": 2,
                "refused_p99_ms": 20,
            }
        ),
    )


def overloaded(server: BusyServer, seconds: float, devices: int) -> tuple[Figures, Report]:
    """What came of twice what a server can do, and what a device has that is alone."""
    many = partial(Load, server.port, versions=VERSIONS)
    full = partial(many, callers=CALLERS, connections=32)
    full(seconds=2).run()  # what is loaded at first use
    quiet = alone(server, min(5, seconds)).run()
    peak = full(seconds=min(10, seconds)).run()
    rate = 2 * peak.ok_a_second
    memory = server.memory_bytes
    runs = [many(seconds=seconds, rate=rate, connections=200).run() for _ in range(RUNS)]
    recovered = recovery(server, quiet)
    with many(seconds=0, rate=rate, connections=200).running():
        crowd = Crowd(server.port, devices=devices).ask()
    recovered = max(recovered, recovery(server, quiet))
    accepted = statistics.median(each.ok.p99_ms for each in runs)
    answered = statistics.median(each.ok_a_second for each in runs)
    asked = statistics.median(each.sent / each.seconds for each in runs)
    return {
        "peak_a_second": round(peak.ok_a_second),
        "asked_a_second": round(asked),
        "asked_share_of_peak": round(asked / peak.ok_a_second, 2),
        "answered_a_second": round(answered),
        "answered_share_of_peak": round(answered / peak.ok_a_second, 2),
        "quiet_p99_ms": round(quiet.ok.p99_ms, 1),
        "peak_p99_ms": round(peak.ok.p99_ms, 1),
        "accepted_p99_ms": round(accepted, 1),
        "accepted_p99_ratio_to_peak": round(accepted / peak.ok.p99_ms, 2),
        "accepted_p99_ratio_to_quiet": round(accepted / quiet.ok.p99_ms, 1),
        "accepted_longest_ms": round(max(each.ok.longest_ms for each in runs)),
        "refused": sum(each.refused.count for each in runs),
        "refused_p99_ms": round(statistics.median(each.refused.p99_ms for each in runs), 1),
        "without_an_answer": sum(each.unanswered + sum(each.codes.values()) for each in runs),
        "recovery_seconds": round(recovered, 1),
        "devices": devices,
        "devices_served_meanwhile": crowd.served,
        "retries_a_device": round(crowd.retries / devices, 3),
        "memory_growth_mib": round((server.memory_bytes - memory) / (1 << 20), 1),
    }, quiet


def after_an_outage(folder: Path, devices: int, quiet: Report) -> Figures:
    """What came of devices whose server was killed, and was there again."""
    with busy_server(folder, **OPEN) as server:
        crowd = partial(Crowd, server.port, at_once=AT_ONCE, turns=TURNS, stands_back=True)
        crowd(devices // 10).ask()  # what is loaded at first use
        before = crowd(devices // 2).ask().served_a_second
        with crowd(devices, seed=1).asking() as outcome:
            waited(lambda: server.connections > 0, 30)
            time.sleep(1)
            server.kill()
            time.sleep(OUTAGE_SECONDS)
            with busy_server(folder, port=server.port, **OPEN) as again:
                back = perf_counter()  # on Linux the same in every process
                found = outcome()
                recovered = recovery(again, quiet)
    after = [each - back for each in found.served_at if each >= back]
    return {
        "cut_off": devices,
        "cut_off_not_served": devices - found.served,
        "cut_off_served_at_once": found.served_at_once,
        "cut_off_syncs": found.syncs,
        "served_a_second_before": round(before),
        "served_a_second_after": round(len(after) / after[-1]),
        "seconds_until_all_are_served": round(after[-1], 1),
        "retries_a_sync_in_outage": round(found.retries / found.syncs, 3),
        "outage_recovery_seconds": round(_first_second(after, RECOVERED * before), 1),
        "recovery_after_all_are_served_seconds": round(recovered, 1),
    }


def _first_second(times: Sequence[float], count: float) -> float:
    """When a second begins with so many of them; after the last where there is none."""
    for number, time_ in enumerate(times):
        later = number + int(count)
        if later < len(times) and times[later] <= time_ + 1:
            return time_
    return times[-1]


def alone(server: BusyServer, seconds: float) -> Load:
    """Good devices of another host."""
    return good_devices(server.port, seconds, host="127.0.0.2")


def recovery(server: BusyServer, quiet: Report) -> float:
    """Seconds until a device that is alone waits no more than twice what it did before."""
    began = perf_counter()
    while perf_counter() - began < 60:
        found = alone(server, 0.5).run()
        if not found.lost and found.ok.p99_ms <= 2 * quiet.ok.p99_ms:
            break
    return perf_counter() - began - 0.5


@contextmanager
def published_meanwhile(server: BusyServer) -> Iterator[list[int]]:
    """Publishes every few seconds; gives the versions so far, 0 for one that failed."""
    versions, ended = list[int](), threading.Event()

    def publish() -> None:
        with CatalogueClient(f"127.0.0.1:{server.port}") as shop:
            while not ended.wait(PUBLISH_SECONDS):
                try:
                    shop.apply(PatchProduct("sku-0", stock=1_000 + len(versions)))
                    versions.append(shop.publish().version)
                except PocketLensError as exc:
                    print(f"not published: {exc}", file=sys.stderr)
                    versions.append(0)

    thread = threading.Thread(target=publish)
    thread.start()
    try:
        yield versions
    finally:
        ended.set()
        thread.join()


if __name__ == "__main__":
    sys.exit(main())

"""Bad networks end in the stated time, and no way that lies brings a store to a wrong state.

    python benchmarks/faults/networks.py [--quick] [--json FILE] [--schedules N]

The long form of tests/faults/test_bad_networks.py and test_lying_paths.py: eight toxics, over gRPC
and over HTTP, for installs of 10 kB, 100 kB and 2 MB; then 5,000 schedules of answers and frames
that are repeated, reordered, held back, cut and rewritten.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
from pathlib import Path
from time import perf_counter

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.making.lying_paths import lying_paths
from tests.making.networks import KINDS, TOXICS, Kind, Network, Outcome, network

from pocketlens.options import Deadlines

SIZES = {"10 kB": (30, 120), "100 kB": (650, 120), "2 MB": (500, 4_096)}  # products, title bytes
DEADLINES = Deadlines(connect_seconds=1, idle_seconds=2, call_seconds=8)
SLACK_SECONDS = 1.0
MOST_CPU_SHARE = 0.5  # of a wait: server and proxy are of this process too


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="10 kB, 50 schedules")
    parser.add_argument("--json", type=Path, help="write figures and goals there")
    parser.add_argument("--schedules", type=int, default=5_000)
    arguments = parser.parse_args()
    sizes, schedules = SIZES, arguments.schedules
    if arguments.quick:
        print("quick: one size and few schedules, not the full measurement")
        sizes, schedules = {"10 kB": SIZES["10 kB"]}, 50
    figures: dict[str, int | float] = {"done": 0, "ended_in_time": 0, "late": 0, "busy": 0}
    began = perf_counter()
    with tempfile.TemporaryDirectory() as work:
        for name, (products, title_bytes) in sizes.items():
            place = Path(work) / f"{products}-{title_bytes}"
            with network(place, products=products, title_bytes=title_bytes) as net:
                for kind in KINDS:
                    for toxic in TOXICS:
                        judge(net, kind, toxic, place / "store", figures, name)
        figures |= lies(Path(work), schedules)
    figures["seconds"] = round(perf_counter() - began, 1)
    goals = [
        {"name": name, "value": figures[name], "goal": 0, "met": figures[name] == 0}
        for name in ("late", "busy", "wrong_states")
    ]
    print(json.dumps(figures, indent=1))
    if arguments.json:
        arguments.json.write_text(json.dumps({"figures": figures, "goals": goals}, indent=2))
    return 0 if all(goal["met"] for goal in goals) else 1


def judge(
    net: Network, kind: Kind, name: str, store: Path, figures: dict[str, int | float], size: str
) -> None:
    """One install under one toxic, into the figures."""
    outcome = net.under(TOXICS[name], kind, store=store, deadlines=DEADLINES)
    shutil.rmtree(store, ignore_errors=True)
    print(f"{size}, {kind}, {name}: {outcome.seconds:.2f} s, {outcome.error or 'done'}")
    if outcome.is_done:
        figures["done"] += 1
        return
    figures["ended_in_time" if is_in_time(kind, name, outcome) else "late"] += 1
    allowed = MOST_CPU_SHARE * outcome.seconds + 0.5
    figures["busy"] += outcome.cpu_seconds > allowed


def is_in_time(kind: Kind, name: str, outcome: Outcome) -> bool:
    """Whether it ended when it was to: nothing came, or too little did, or all was over at once."""
    if outcome.error is None:
        return False
    connect, idle, call = (
        DEADLINES.connect_seconds,
        DEADLINES.idle_seconds,
        DEADLINES.call_seconds,
    )
    match name:
        case "reset":
            least, most = 0.0, 0.0
        case "half-open":
            least = most = connect if kind == "grpc" else idle
        case "black hole":
            least = most = connect + idle if kind == "grpc" else idle
        case _:  # some answers come in their time before one does not
            least, most = min(connect + idle, call), outcome.seconds
            return least <= outcome.seconds < 6 * call
    return least - 0.05 <= outcome.seconds <= most + SLACK_SECONDS


def lies(folder: Path, schedules: int) -> dict[str, int | float]:
    """Schedules of lies, and what was told."""
    wrong = 0
    with lying_paths(folder / "lies") as paths:
        for seed in range(schedules):
            try:
                paths.schedule(seed, folder, tries=2)
            except AssertionError as exc:
                print(f"schedule {seed}: {exc}")
                wrong += 1
    told = {name.replace(" ", "_").replace(":", ""): count for name, count in paths.lies.items()}
    return {"schedules": schedules, "wrong_states": wrong, **dict(sorted(told.items()))}


if __name__ == "__main__":
    sys.exit(main())

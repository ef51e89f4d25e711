"""Readers while installs come and go, and writers that are killed: RELIABILITY rows 17 and 18.

    python benchmarks/faults/readers.py [--schedules 1000] [--rounds 200] [--quick] [--json FILE]

A schedule runs five installs, cleaning, searches and a reader pinned to the first install in
threads, in an order that a seed chooses (`tests/making/schedules.py`). A round kills a process at a
step of its sync with SIGKILL; another, which was refused until then, must hold the store within a
second and end the sync (`tests/making/rivals.py`).
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
import traceback
from collections.abc import Callable
from pathlib import Path
from time import perf_counter

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.making import schedules
from tests.making.rivals import TAKEOVER_SECONDS, Rivals

STAGES = 6  # steps of a sync that tell of their progress


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--schedules", type=int, default=1_000)
    parser.add_argument("--rounds", type=int, default=200, help="of two writers")
    parser.add_argument("--quick", action="store_true", help="20 schedules, 10 rounds")
    parser.add_argument("--json", type=Path, help="write figures and goals there")
    arguments = parser.parse_args()
    if arguments.quick:
        print("quick: few schedules, not the full measurement")
        arguments.schedules, arguments.rounds = 20, 10
    began = perf_counter()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        broken = broken_schedules(folder / "readers", arguments.schedules)
        rivals = Rivals.make(folder / "writers")
        wrong = sum(
            is_broken(f"round {n}", lambda n=n: rivals.round(1 + n % STAGES, is_install=n % 2 == 1))
            for n in range(arguments.rounds)
        )
    figures = {
        "schedules": arguments.schedules,
        "broken_schedules": broken,
        "rounds": arguments.rounds,
        "broken_rounds": wrong,
        "kills": len(rivals.takeovers),
        "takeover_max_seconds": round(max(rivals.takeovers), 3),
        "seconds": round(perf_counter() - began, 1),
    }
    goals = [
        {"name": name, "value": figures[name], "goal": goal, "met": figures[name] <= goal}
        for name, goal in (
            ("broken_schedules", 0),
            ("broken_rounds", 0),
            ("takeover_max_seconds", TAKEOVER_SECONDS),
        )
    ]
    print(json.dumps(figures, indent=1))
    if arguments.json:
        arguments.json.write_text(json.dumps({"figures": figures, "goals": goals}, indent=2))
    return 0 if all(goal["met"] for goal in goals) else 1


def broken_schedules(folder: Path, count: int) -> int:
    """How many schedules broke a promise."""
    editions, store, broken = schedules.Editions.make(folder), folder / "store", 0
    for seed in range(count):
        broken += is_broken(f"seed {seed}", lambda seed=seed: schedules.run(editions, store, seed))
        shutil.rmtree(store)
    return broken


def is_broken(name: str, attempt: Callable[[], None]) -> bool:
    """Whether it raised something, which is shown."""
    try:
        attempt()
    except Exception:
        print(name, file=sys.stderr)
        traceback.print_exc()
        return True
    return False


if __name__ == "__main__":
    sys.exit(main())

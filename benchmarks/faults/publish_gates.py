"""Publishes what must be held and what must pass: RELIABILITY row 36, as far as the server goes.

    python benchmarks/faults/publish_gates.py [--quick] [--json FILE]

The long form of tests/sync_server/publishing/test_gates.py: 25 bad versions of `tests/making/
publishes.py`, each planted in a shop of its own among good days, and 200 good versions. What
reached devices is asked of the public folder that they fetch from.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import argparse
import json
import random
import sys
import tempfile
from itertools import cycle, islice
from pathlib import Path
from time import perf_counter

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.making.publishes import BAD, GATES, GOOD, make_server
from tests.making.servers import Server

from pocketlens.errors import PublishHeld
from pocketlens_server.publishing import holdings

DAYS = 10  # good versions of one shop; then another one opens


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="8 bad versions, 20 good ones")
    parser.add_argument("--json", type=Path, help="write figures and goals there")
    parser.add_argument("--seed", type=int, default=36)
    arguments = parser.parse_args()
    if arguments.quick:
        print("QUICK: few versions show that it runs, not that it holds", file=sys.stderr)
    bad, good = (8, 20) if arguments.quick else (25, 200)
    rng = random.Random(arguments.seed)  # noqa: S311 # days of a shop, no secrets
    began = perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        reached = [
            name
            for number, name in enumerate(islice(cycle(BAD), bad))
            if reaches_devices(name, Path(folder) / f"bad-{number}", rng)
        ]
        held = [
            name
            for number in range(good // DAYS)
            for name in held_of(Path(folder) / f"good-{number}", rng)
        ]
    figures = {
        "bad_versions": bad,
        "bad_versions_that_reached_devices": len(reached),
        "good_versions": good,
        "good_versions_that_were_held": len(held),
        "seconds": round(perf_counter() - began, 1),
    }
    goals = [
        {"name": name, "value": figures[name], "goal": goal, "met": figures[name] <= goal}
        for name, goal in (
            ("bad_versions_that_reached_devices", 0),
            ("good_versions_that_were_held", 2),
        )
    ]
    print(json.dumps(figures | {"reached": reached, "held": held}, indent=1))
    if arguments.json:
        arguments.json.write_text(json.dumps({"figures": figures, "goals": goals}, indent=1) + "\n")
    return 0 if all(goal["met"] for goal in goals) else 1


def reaches_devices(name: str, folder: Path, rng: random.Random) -> bool:
    """Whether a bad version changes what devices find."""
    server = make_server(folder)
    server.publish(GATES)
    if is_held(server, rng, "a_day"):
        raise SystemExit(f"{name}: the good day before it was held; choose another --seed")
    before = holdings.read_visible(server.public).manifests
    return not (
        is_held(server, rng, name) and holdings.read_visible(server.public).manifests == before
    )


def held_of(folder: Path, rng: random.Random) -> list[str]:
    """Which days of a shop were held."""
    server = make_server(folder)
    server.publish(GATES)
    days = rng.choices(list(GOOD), k=DAYS)
    return [name for name in days if is_held(server, rng, name)]


def is_held(server: Server, rng: random.Random, name: str) -> bool:
    (BAD | GOOD)[name](server, rng)
    try:
        server.publish(GATES)
    except PublishHeld as exc:
        print(f"{name}: {exc}", file=sys.stderr)
        return True
    return False


if __name__ == "__main__":
    sys.exit(main())

"""Damages stores that follow a server, and lets them mend themselves: RELIABILITY rows 9 and 10.

    python benchmarks/faults/self_healing.py [--rounds 20] [--flips 1000] [--quick] [--json FILE]

Every file and folder of a store, damaged in every way of `tests/making/damages.py`, as an ordinary
user where that can be, so that a file may be unreadable. A damaged store must answer as a whole one
does or say in a typed error that it cannot; two syncs later at most it is at the server's state.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import argparse
import json
import logging
import sys
import tempfile
import traceback
from pathlib import Path
from time import perf_counter

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.making.damages import Clinic, Damage, become_nobody, damages, some_of

FLIPPED = ("install/store.sqlite", "install/store.sqlite-wal", "files/*.tflite")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=20, help="of every damage")
    parser.add_argument("--flips", type=int, default=1_000, help="of single bits of each big file")
    parser.add_argument("--quick", action="store_true", help="40 damages")
    parser.add_argument("--unreadable", action="store_true", help="only files without a mode")
    parser.add_argument("--json", type=argparse.FileType("w"), help="write figures and goals there")
    parser.add_argument("--seed", type=int, default=10)
    arguments = parser.parse_args()
    rng = np.random.default_rng(arguments.seed)
    logging.disable(logging.WARNING)  # of every damage that a sync finds
    if arguments.quick:
        print("quick: few damages, not the full measurement")
    if arguments.unreadable:
        chosen = damages("unreadable")
    elif arguments.quick:
        chosen = list(some_of(damages(), 40, rng))
    else:
        flips = [Damage(place, "flipped") for place in FLIPPED] * arguments.flips
        chosen = damages() * arguments.rounds + flips
    with tempfile.TemporaryDirectory() as name:
        figures = measured(Path(name), chosen, rng)
    goals = [{"name": "broken_promises", "value": figures["broken_promises"], "goal": 0}]
    goals[0]["met"] = figures["broken_promises"] == 0
    print(f"{figures['damages']} damages")
    print(json.dumps(figures, indent=1))
    if arguments.json:
        json.dump({"figures": figures, "goals": goals}, arguments.json, indent=2)
    return 0 if goals[0]["met"] else 1


def measured(folder: Path, chosen: list[Damage], rng: np.random.Generator) -> dict[str, float]:
    """Damages that broke a promise are shown, and counted."""
    folder.chmod(0o755)
    clinic = Clinic.make(folder)
    clinic.round(Damage("CURRENT", "gone"), rng)  # loads what may lie where only root reads
    clinic.seen.update(dict.fromkeys(clinic.seen, 0))
    become_nobody(folder)
    broken, began = 0, perf_counter()
    for number, damage in enumerate(chosen):
        try:
            clinic.round(damage, rng)
        except Exception:
            broken += 1
            print(f"{number}: {damage}", file=sys.stderr)
            traceback.print_exc()
    return {**clinic.seen, "broken_promises": broken, "seconds": round(perf_counter() - began, 1)}


if __name__ == "__main__":
    sys.exit(main())

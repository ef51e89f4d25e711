"""What `import pocketlens` costs beyond an interpreter with numpy, and the way to a first answer.

    python benchmarks/import_cost.py [--quick] [--json FILE]

Each figure is the median over new processes, taken in turn so that other load meets all alike.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
from pathlib import Path
from time import perf_counter

GOAL_MS = 50.0
STATEMENTS = {
    "numpy_ms": "import numpy",
    "pocketlens_ms": "import numpy, pocketlens",
    "lens_ms": "import numpy, pocketlens; pocketlens.Lens",
    "help_ms": "import sys; from pocketlens.cli import main; sys.exit(main(['--help']))",
}


def spent_ms(statement: str) -> float:
    """Milliseconds of a new process that runs a statement."""
    started = perf_counter()
    subprocess.run([sys.executable, "-c", statement], check=True, stdout=subprocess.DEVNULL)
    return (perf_counter() - started) * 1e3


def measure(rounds: int) -> dict[str, float]:
    """The median of each statement, and the cost of the import."""
    spent: dict[str, list[float]] = {name: [] for name in STATEMENTS}
    for _ in range(rounds + 1):
        for name, statement in STATEMENTS.items():
            spent[name].append(spent_ms(statement))
    # The first round fills the page cache and writes bytecode.
    figures = {name: statistics.median(times[1:]) for name, times in spent.items()}
    figures["import_cost_ms"] = figures["pocketlens_ms"] - figures["numpy_ms"]
    return {name: round(value, 2) for name, value in figures.items()}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="few rounds")
    parser.add_argument("--json", type=Path, help="write figures and goals there")
    arguments = parser.parse_args()
    figures = measure(5 if arguments.quick else 30)
    cost = figures["import_cost_ms"]
    goal = {"name": "import_cost_ms", "value": cost, "goal": GOAL_MS, "met": cost <= GOAL_MS}
    if arguments.quick:
        print("quick: 5 rounds, not the full measurement")
    for name, value in figures.items():
        print(f"{name:<16} {value:8.2f}")
    print(f"goal: import_cost_ms <= {GOAL_MS:.0f}: {'met' if goal['met'] else 'MISSED'}")
    if arguments.json:
        arguments.json.write_text(json.dumps({"figures": figures, "goals": [goal]}, indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""The options of the programs in this folder, and how they tell what they found."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # for what tests make

Figures = Mapping[str, object]


def options(doc: str, *, quick: str) -> argparse.ArgumentParser:
    """A parser with --quick, which means `quick`, and --json."""
    parser = argparse.ArgumentParser(description=doc.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help=quick)
    parser.add_argument("--json", type=Path, help="write figures and goals there")
    return parser


def keep(arguments: argparse.Namespace, figures: Figures) -> None:
    """Writes figures so far, which are to be judged in the end: a run may be cut off."""
    if arguments.json:
        arguments.json.write_text(json.dumps({"figures": figures, "goals": []}, indent=2))


def told(
    arguments: argparse.Namespace,
    figures: Figures,
    *,
    zero: Sequence[str],
    at_least: Mapping[str, float] | None = None,
    at_most: Mapping[str, float] | None = None,
) -> int:
    """Prints figures and writes them with their goals; the exit code: 0 if all are met.

    Args:
        arguments: Of `options`; with --quick, `at_least` is not asked for.
        figures: By name, the unit in the name.
        zero: Names of those that must be 0.
        at_least, at_most: Bounds of others.
    """
    goals = [_goal(figures, name, 0, met=figures[name] == 0) for name in zero]
    for name, bound in (at_most or {}).items():
        goals.append(_goal(figures, name, bound, met=number(figures[name]) <= bound))
    for name, bound in ({} if arguments.quick else at_least or {}).items():
        goals.append(_goal(figures, name, bound, met=number(figures[name]) >= bound))
    if arguments.quick:
        print("QUICK: few rounds show that it runs, not that it holds", file=sys.stderr)
    print(json.dumps(figures, indent=1))
    if arguments.json:
        arguments.json.write_text(json.dumps({"figures": figures, "goals": goals}, indent=2))
    return 0 if all(goal["met"] for goal in goals) else 1


def _goal(figures: Figures, name: str, bound: float, *, met: bool) -> dict[str, object]:
    return {"name": name, "value": figures[name], "goal": bound, "met": met}


def number(value: object) -> float:
    """A figure that is one."""
    assert isinstance(value, (int, float))
    return value

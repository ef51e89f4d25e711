"""Changes, loses and steals keys of a catalogue; devices must follow their owner and nobody else.

    python benchmarks/faults/key_changes.py [--quick] [--json FILE]

The long form of tests/faults/test_key_changes.py: every story of tests/making/key_stories.py, told
to devices that believe or refuse signed metadata, and to stores that sync.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import traceback
from collections.abc import Callable
from pathlib import Path
from time import perf_counter

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.making.key_stories import STORIES
from tests.making.scenes import MetadataScene, Scene, ShopScene
from tests.making.shops import make_shop


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="signed metadata only, no stores")
    parser.add_argument("--json", type=Path, help="write figures and goals there")
    arguments = parser.parse_args()
    if arguments.quick:
        print("quick: no stores, not the full measurement")
    began, cases, wrong = perf_counter(), 0, []
    with tempfile.TemporaryDirectory() as name:
        shop = make_shop(Path(name) / "shop", products=40)
        kinds: dict[str, Callable[[Path], Scene]] = {"metadata": MetadataScene}
        if not arguments.quick:
            kinds["store"] = lambda folder: ShopScene(folder, shop)
        for kind, scene in kinds.items():
            for story, tell in STORIES.items():
                cases += 1
                try:
                    tell(scene(Path(name) / f"{kind} {story}"))
                except Exception:
                    traceback.print_exc()
                    wrong.append(f"{story} ({kind})")
    figures = {"cases": cases, "wrong": len(wrong), "seconds": round(perf_counter() - began, 1)}
    goals = [{"name": "wrong", "value": len(wrong), "goal": 0, "met": not wrong}]
    print(json.dumps(figures | {"wrong_cases": wrong}, indent=1))
    if arguments.json:
        arguments.json.write_text(json.dumps({"figures": figures, "goals": goals}, indent=2))
    return 0 if not wrong else 1


if __name__ == "__main__":
    sys.exit(main())

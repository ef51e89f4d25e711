"""What a shop does with its vectors, measured part by part.

    python benchmarks/shop.py --model SHOP.tflite [--quick] [--parts together,classes] [--json FILE]

- together: two and three photos of a product against one (shop_together.py).
- classes: class first against plain search (shop_classes.py).
- duplicates: planted ones among 100,000 pictures, and homeshop's own (shop_duplicates.py).
- prices: what past sales say of a price (shop_prices.py).
- explanation: whether what is hot is what matters (shop_explanation.py).
- words: pictures that leave open what words settle (shop_words.py).

--model is a bundle of grocery's products, such as `query_quality.py --models DIR` leaves in DIR;
without it a model of mean colours shows that the parts run, not how well. $POCKETLENS_SHARED names
the folder that has the data. Figures are written part by part: a run that is stopped has those that
were done, and parts that are in the file already, of the same model, stay where others are named.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import argparse
import json
import platform
import sys
import tempfile
from importlib import import_module
from inspect import signature
from pathlib import Path
from time import perf_counter
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from tests.making.colour_bundle import colour_bundle

PARTS = ("together", "classes", "duplicates", "prices", "explanation", "words")

Figures = dict[str, Any]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a few products; under a minute")
    parser.add_argument("--json", type=Path, help="write figures and goals there")
    parser.add_argument("--parts", default=",".join(PARTS), help="those above; all by default")
    parser.add_argument("--model", type=Path, help="the bundle that embeds")
    arguments = parser.parse_args()
    figures: Figures = {"quick": arguments.quick, "machine": platform.machine()}
    goals: list[dict[str, Any]] = []
    if arguments.quick:
        talk("QUICK: a few products show that it runs, not how well")
    with tempfile.TemporaryDirectory() as folder:
        model = arguments.model or Path(folder) / "colours.tflite"
        if arguments.model is None:
            talk("a model of mean colours shows that it runs, not how well: give --model")
            model.write_bytes(colour_bundle())
        figures["model"] = model.name
        if arguments.json and arguments.json.exists():
            kept = json.loads(arguments.json.read_text())
            if all(kept["figures"].get(name) == each for name, each in figures.items()):
                figures, goals = kept["figures"], kept["goals"]
        for name in arguments.parts.split(","):
            part = import_module(f"shop_{name}")
            began = perf_counter()
            # A part that makes its own catalogue needs no model.
            given = {"model": model} if "model" in signature(part.measured).parameters else {}
            found = part.measured(**given, quick=arguments.quick)
            seconds = {f"{name}_seconds": round(perf_counter() - began, 1)}
            figures = _without(name, figures) | found | seconds
            goals = [each for each in goals if not each["name"].startswith(name)]
            goals += part.goals_of(found)
            text = json.dumps({"figures": figures, "goals": goals}, indent=1) + "\n"
            if arguments.json:
                arguments.json.write_text(text)
    for goal in goals:
        talk(f"{'reached' if goal['met'] else 'MISSED '} {goal['name']}: {goal['value']}")
    if not arguments.json:
        sys.stdout.write(text)
    return 0


def _without(part: str, figures: Figures) -> Figures:
    return {name: each for name, each in figures.items() if not name.startswith(f"{part}_")}


def talk(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    raise SystemExit(main())

"""Opens copies of a bundle with one bit changed: none may be loaded, none may end a process.

    python benchmarks/faults/changed_model.py --model SHOP.tflite [--quick] [--json FILE]

The long form of tests/faults/test_changed_model.py: 2,000 mutants, a process each, because a model
is a program and a changed one may end the process that runs it. Half of them are put in place of a
whole bundle after that was checked: its embeddings must stay, because the bytes that were hashed
are the bytes that are loaded, however often.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import traceback
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from time import perf_counter

import numpy as np

from pocketlens import Embedder
from pocketlens.errors import BundleError

OUTCOMES = ("refused", "unmoved", "loaded", "escaped")  # by the exit code of a child
THREADS = 3  # each loads an interpreter of its own


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", type=Path, required=True, help="bundle to change")
    parser.add_argument("--quick", action="store_true", help="200 mutants")
    parser.add_argument("--json", type=Path, help="write figures and goals there")
    parser.add_argument("--seed", type=int, default=35)
    arguments = parser.parse_args()
    if arguments.quick:
        print("quick: few mutants, not the full measurement")
    data = arguments.model.read_bytes()
    rng = np.random.default_rng(arguments.seed)
    bits = rng.choice(8 * len(data), 200 if arguments.quick else 2_000, replace=False)
    outcomes: Counter[str] = Counter()
    began = perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        for number, bit in enumerate(map(int, bits)):
            mutant = bytearray(data)
            mutant[bit // 8] ^= 1 << bit % 8
            outcomes[in_child(data, mutant, Path(folder), swaps=number % 2 == 1)] += 1
    figures = {
        "mutants": len(bits),
        "bundle_bytes": len(data),
        "seconds": round(perf_counter() - began, 1),
        **{name: outcomes[name] for name in (*OUTCOMES, "signals")},
    }
    goals = [
        {"name": name, "value": figures[name], "goal": 0, "met": figures[name] == 0}
        for name in ("loaded", "escaped", "signals")
    ]
    print(json.dumps(figures, indent=1))
    if arguments.json:
        arguments.json.write_text(json.dumps({"figures": figures, "goals": goals}, indent=2))
    return 0 if all(goal["met"] for goal in goals) else 1


def in_child(data: bytes, mutant: bytes, folder: Path, *, swaps: bool) -> str:
    """What a process that meets the mutant comes to: one of `OUTCOMES`, or "signals"."""
    child = os.fork()  # of a process that never loaded a runtime, and so has no threads
    if child == 0:
        try:
            outcome = after_swap(data, mutant, folder) if swaps else opened(mutant)
        except BaseException:
            traceback.print_exc()
            outcome = "escaped"
        os._exit(OUTCOMES.index(outcome))
    _, status = os.waitpid(child, 0)
    return "signals" if os.WIFSIGNALED(status) else OUTCOMES[os.WEXITSTATUS(status)]


def opened(mutant: bytes) -> str:
    """Opens the mutant itself."""
    try:
        Embedder.open(bytes(mutant)).close()
    except BundleError:
        return "refused"
    return "loaded"


def after_swap(data: bytes, mutant: bytes, folder: Path) -> str:
    """Opens a whole bundle, puts the mutant in its place, and embeds in further interpreters."""
    path = folder / "shop.tflite"
    path.write_bytes(data)
    with Embedder.open(path, accelerator="cpu") as embedder:
        tensor = embedder.bundle.golden_examples[0].tensor
        expected = embedder.embed_tensor(tensor)
        path.write_bytes(mutant)
        with ThreadPoolExecutor(THREADS) as threads:
            made = list(threads.map(embedder.embed_tensor, [tensor] * THREADS))
    return "unmoved" if all(np.array_equal(each, expected) for each in made) else "loaded"


if __name__ == "__main__":
    sys.exit(main())

"""Four backends at once and a model of what they do: RELIABILITY row 24, 50,000 operations.

    python benchmarks/faults/backend_operations.py [--operations N] [--steps N] [--quick]
        [--json FILE]

Operations are duplicated, reordered and in conflict; versions are published meanwhile. The server
says in which order it took them, and a plain model (tests/making/backend_model.py) that takes them
in that order must hold the same in the end, result by result. Beside it, step by step in any order:
batches that end half way, pictures that are embedded in between, jobs that are cancelled, dead
letters, full feeds. The long form of tests/faults/test_backend_operations.py.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import random
import sys
import tempfile
import traceback
from pathlib import Path
from time import perf_counter
from typing import Any

import goals
from hypothesis.stateful import run_state_machine_as_test
from tests.making.backend_operations import Judgement, drawn, judged, send_all
from tests.making.backend_states import BackendStates
from tests.making.fault_rounds import scratch_folder
from tests.making.replays import any_order
from tests.making.serving import serving
from tests.making.tiles import TileShop

from pocketlens_server.catalogue.decoders import Decoders

OPERATIONS, CLIENTS = 50_000, 4
STEPS, STEPS_EACH = 20_000, 50


def main() -> int:
    parser = goals.options(__doc__, quick="2,000 operations, 500 steps")
    parser.add_argument("--operations", type=int, default=OPERATIONS)
    parser.add_argument("--steps", type=int, default=STEPS)
    arguments = parser.parse_args()
    if arguments.quick:
        arguments.operations, arguments.steps = 2000, 500
    with scratch_folder() as scratch:
        began = perf_counter()
        found = four_clients(scratch / "shop", arguments.operations)
        seconds = perf_counter() - began
        tempfile.tempdir = str(scratch)
        taken, differing = steps_in_any_order(arguments.steps)
    print("\n".join(found.differences), file=sys.stderr)
    figures = {
        "operations": found.operations,
        "clients": CLIENTS,
        **{f"answered_{name}": count for name, count in sorted(found.results.items())},
        "doubled": found.doubled,
        "lost": found.lost,
        "differences": len(found.differences),
        "seconds": round(seconds, 1),
        "steps": taken,
        "steps_differing": differing,
    }
    return goals.told(
        arguments,
        figures,
        zero=("doubled", "lost", "differences", "steps_differing"),
        at_least={"operations": OPERATIONS, "steps": STEPS},
    )


def four_clients(folder: Path, operations: int) -> Judgement:
    """Sends so many, and compares."""
    shop = TileShop(folder, {})
    rng = random.Random(24)  # noqa: S311 # operations, no secrets
    sendings = drawn(rng, clients=CLIENTS, each=operations // CLIENTS)
    with serving(shop.folder / "server") as address:
        answers = send_all(address.grpc, sendings)
    return judged(shop.catalogue, answers)


def steps_in_any_order(steps: int) -> tuple[int, int]:
    """Steps that were taken, as many as asked for or some more, and 1 if one of them differed."""
    taken = 0

    class Counted(BackendStates):
        def check_invariants(self, *arguments: Any, **options: Any) -> None:
            nonlocal taken
            taken += 1
            super().check_invariants(*arguments, **options)

    with Decoders(workers=1) as decoders:
        Counted.decoders = decoders
        try:
            while taken < steps:  # histories may end before their last step
                histories = (steps - taken) // STEPS_EACH + 1
                run_state_machine_as_test(Counted, settings=any_order(histories, STEPS_EACH))
        except Exception:
            traceback.print_exc()
            return taken, 1
    return taken, 0


if __name__ == "__main__":
    sys.exit(main())

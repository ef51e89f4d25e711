"""A device against a model of itself: RELIABILITY rows 1 (any order) and 2 (replay by seed).

    python benchmarks/faults/device_states.py [--steps 50000] [--seeds 500] [--quick] [--json FILE]

Steps are those of `tests/making/device_states.py`: changes, publishes, rollbacks, models, syncs,
cuts, ended processes, old copies, expiry, searches, reopening. A step whose outcome differs from
the model ends the run with the shortest way there. Seeds are run twice, and what the device asked
for and what came of it must be the same both times.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import sys
import traceback
from time import perf_counter

import goals
from hypothesis.stateful import run_state_machine_as_test
from tests.making import replays
from tests.making.device_states import DeviceStates

STEPS = 50  # of one history
SEEDS = 500


def main() -> int:
    parser = goals.options(__doc__, quick="500 steps, 5 seeds")
    parser.add_argument("--steps", type=int, default=50_000, help="in histories of 50")
    parser.add_argument("--seeds", type=int, default=SEEDS, help="that are run twice")
    arguments = parser.parse_args()
    if arguments.quick:
        arguments.steps, arguments.seeds = 500, 5
    began = perf_counter()
    taken, differences = taken_in_any_order(arguments.steps)
    seconds = perf_counter() - began
    differing = sum(
        replays.replayed(number) != replays.replayed(number) for number in range(arguments.seeds)
    )
    figures = {
        "steps": taken,
        "steps_a_second": round(taken / seconds, 1),
        "differences": differences,
        "seeds": arguments.seeds,
        "seeds_differing": differing,
    }
    return goals.told(arguments, figures, zero=("differences", "seeds_differing"))


def taken_in_any_order(steps: int) -> tuple[int, int]:
    """Steps that were taken, as many as asked for or some more, and 1 if one of them differed."""
    taken = 0

    class Counted(DeviceStates):
        def check_invariants(self, *arguments: object, **options: object) -> None:
            nonlocal taken
            taken += 1
            super().check_invariants(*arguments, **options)

    try:
        while taken < steps:  # histories may end before their last step
            histories = (steps - taken) // STEPS + 1
            run_state_machine_as_test(Counted, settings=replays.any_order(histories, STEPS))
    except Exception:
        traceback.print_exc()
        return taken, 1
    return taken, 0


if __name__ == "__main__":
    sys.exit(main())

"""What a seed makes a device ask for and come to: the same whenever it is run."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import hashlib

from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.making.device_states import DeviceStates

HISTORIES, STEPS = 2, 10  # of one seed


def replayed(number: int) -> str:
    """SHA-256 of all that one seed leads to."""
    logs: list[str] = []

    @seed(number)
    class Logged(DeviceStates):
        def teardown(self) -> None:
            logs.extend(self.log)
            super().teardown()

    run_state_machine_as_test(Logged, settings=any_order(HISTORIES, STEPS))
    return hashlib.sha256("\n".join(logs).encode()).hexdigest()


def any_order(histories: int, steps: int) -> settings:
    """Of a state machine: so many histories, each of so many steps at most."""
    return settings(
        max_examples=histories,
        stateful_step_count=steps,
        deadline=None,
        database=None,
        phases=[Phase.generate, Phase.shrink],
        suppress_health_check=list(HealthCheck),
    )

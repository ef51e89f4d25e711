"""Whatever happens in whatever order, a device holds what a version held; a seed replays it.

RELIABILITY rows 1 and 2.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, settings
from tests.making.device_states import DeviceStates
from tests.making.replays import replayed

TestDeviceStates = DeviceStates.TestCase
TestDeviceStates.settings = settings(
    max_examples=40,
    stateful_step_count=50,
    derandomize=True,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)


@pytest.mark.parametrize("number", range(10))
def test_a_seed_leads_to_the_same_requests_and_outcomes_again(number: int) -> None:
    assert replayed(number) == replayed(number)

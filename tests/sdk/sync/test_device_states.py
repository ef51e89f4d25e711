"""Whatever happens in whatever order, a device holds what a version held (RELIABILITY row 1)."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from hypothesis import HealthCheck, settings
from tests.making.device_states import DeviceStates

TestDeviceStates = DeviceStates.TestCase
TestDeviceStates.settings = settings(
    max_examples=40,
    stateful_step_count=50,
    derandomize=True,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)

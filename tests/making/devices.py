"""Devices whose disks fail on demand, a process each, forked from one that has everything loaded.

with Device.started(fault_shim.built(tmp_path)) as device:
    ending = device.carry_out(order_of(step, store, fault=Fault(KILL, at=17)))
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.making.courses import Step
from tests.making.device_program import Ending, Order, Visit
from tests.making.forking import Forking


class Device(Forking):
    """Carries out orders, each in a child of its own; one at a time."""

    program = "device_program"

    def carry_out(self, order: Order) -> Ending:
        """Waits for the end of the child."""
        ending: Ending = self.ask(order)
        return ending


def order_of(*steps: Step, store: Path, **choices: Any) -> Order:
    """An order to go some steps, one after the other."""
    visits = tuple(Visit(step.public, step.root, step.now, bool(step.shown)) for step in steps)
    given: Mapping[str, Any] = {"queries": steps[0].queries, **choices}
    return Order(store, visits, **given)

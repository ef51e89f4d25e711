"""A server is restored to an older day, devices are ahead of it: RELIABILITY row 26.

    python benchmarks/faults/restored_server.py [--quick] [--json FILE]

The long form of tests/faults/test_restored_server.py: versions of every kind, models, signatures
and keys are lost with a server whose backup is older; it is restored once, twice, and from a backup
of itself. No device may go back or fall silent, the operator must be told wherever a device is
ahead, and one sync after the version that is published above theirs every device must be at it: by
a delta where the server knows the version that it has.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import logging
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path
from time import perf_counter

import goals
from tests.making.restored import STORIES, template, told

QUICK = 3


def main() -> int:
    arguments = goals.options(__doc__, quick=f"{QUICK} cases").parse_args()
    logging.getLogger("pocketlens_server.publishing.ahead").setLevel(logging.ERROR)
    logging.getLogger("pocketlens.sync").setLevel(logging.ERROR)  # deltas that lead elsewhere
    stories = list(STORIES.items())[: QUICK if arguments.quick else None]
    began, outcomes = perf_counter(), []
    with tempfile.TemporaryDirectory() as name:
        shop = template(Path(name) / "template")
        for number, (title, story) in enumerate(stories):
            outcome = told(story, shop, Path(name) / str(number))
            print(f"  {title}: {outcome.ahead} of {outcome.devices} devices ahead")
            outcomes.append(outcome)
    figures = {
        "cases": len(outcomes),
        "devices": sum(each.devices for each in outcomes),
        "devices_ahead": sum(each.ahead for each in outcomes),
        "devices_that_went_back": sum(each.rewound for each in outcomes),
        "devices_that_fell_silent": sum(each.silent for each in outcomes),
        "cases_in_which_nobody_was_told": sum(each.untold for each in outcomes),
        "devices_not_at_head_after_one_sync": sum(each.late for each in outcomes),
        "devices_that_installed_without_need": sum(each.installed for each in outcomes),
        "seconds": round(perf_counter() - began, 1),
        "details": {
            title: asdict(each) for (title, _), each in zip(stories, outcomes, strict=True)
        },
    }
    return goals.told(
        arguments,
        figures,
        zero=(
            "devices_that_went_back",
            "devices_that_fell_silent",
            "cases_in_which_nobody_was_told",
            "devices_not_at_head_after_one_sync",
            "devices_that_installed_without_need",
        ),
        at_least={"cases": 20, "devices_ahead": 50},
    )


if __name__ == "__main__":
    sys.exit(main())

"""Backups of a server that backends send to, and what is restored from them: RELIABILITY row 26.

    python benchmarks/faults/backup_under_load.py [--backups N] [--quick] [--json FILE]

Each is of a shop of its own: two backends send prices and images, versions are published before,
while and after it is made, by a process beside the server's. It is restored into an empty
directory and served: all that was answered before is in it, its version has the state that devices
of the lost server had, and devices that stood at earlier versions come to it by a delta. The long
form of a test in tests/sync_server/maintenance/test_backup.py.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from time import perf_counter

import goals
from tests.making.backups_under_load import backed_up

BACKUPS, QUICK = 20, 2


def main() -> int:
    parser = goals.options(__doc__, quick=f"{QUICK} backups")
    parser.add_argument("--backups", type=int, default=BACKUPS)
    arguments = parser.parse_args()
    found, began = [], perf_counter()
    for number in range(QUICK if arguments.quick else arguments.backups):
        with tempfile.TemporaryDirectory() as folder:
            found.append(backed_up(Path(folder), seed=number))
        print("\n".join(found[-1].complaints), file=sys.stderr)
    figures = {
        "backups": len(found),
        "answered_before": sum(each.answered_before for each in found),
        "answered_meanwhile": sum(each.answered_meanwhile for each in found),
        "published_meanwhile": sum(each.published_meanwhile for each in found),
        "wrong": sum(bool(each.complaints) for each in found),
        "quiet": sum(not each.answered_meanwhile * each.published_meanwhile for each in found),
        "seconds": round(perf_counter() - began, 1),
    }
    return goals.told(arguments, figures, zero=("wrong", "quiet"), at_least={"backups": BACKUPS})


if __name__ == "__main__":
    sys.exit(main())

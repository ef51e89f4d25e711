"""Plants 30 defects and more in a copy of the source, one at a time: tests must notice each.

    python benchmarks/faults/planted_defects.py [--only TEXT] [--quick] [--json FILE]

tests/making/device_defects.py and server_defects.py have the defects, and say which tests must
fail. Without any defect the same tests must pass.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import goals
from tests.making.device_defects import DEVICE_DEFECTS
from tests.making.planting import Sources
from tests.making.server_defects import SERVER_DEFECTS

QUICK = 5


def main() -> int:
    parser = goals.options(__doc__, quick=f"the first {QUICK} defects")
    parser.add_argument("--only", default="", help="defects whose names have this text")
    arguments = parser.parse_args()
    chosen = [each for each in (*DEVICE_DEFECTS, *SERVER_DEFECTS) if arguments.only in each.name]
    chosen = chosen[:QUICK] if arguments.quick else chosen
    with tempfile.TemporaryDirectory() as folder:
        sources = Sources(Path(folder) / "sources")
        passes = sources.passes(sorted({test for each in chosen for test in each.tests}))
        missed = []
        for each in chosen:
            if not sources.is_noticed(each):
                missed.append(each.name)
            words = "MISSED" if each.name in missed else "noticed"
            print(f"row {each.row}, {each.name}: {words}", file=sys.stderr, flush=True)
    figures = {
        "defects": len(chosen),
        "noticed": len(chosen) - len(missed),
        "missed": len(missed),
        "missed_names": missed,
        "red_without_a_defect": int(not passes),
    }
    at_least = {} if arguments.only else {"defects": 30}
    zero = ("missed", "red_without_a_defect")
    return goals.told(arguments, figures, zero=zero, at_least=at_least)


if __name__ == "__main__":
    sys.exit(main())

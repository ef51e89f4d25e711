"""Lets devices take contents that lie and are signed by the right keys.

    python benchmarks/faults/hostile_contents.py [--quick] [--json FILE] [--count N] [--seed N]

The long form of tests/faults/test_hostile_contents.py: every named case in a whole sync, then
50,000 mutants of snapshots and deltas, each into a store. Nothing may escape, lie outside of the
store's folder, or be more than was signed; what is accepted must be whole.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import random
import sys
import tempfile
from collections import Counter
from pathlib import Path
from time import perf_counter

import goals
from tests.making.hostile_contents import DIM, INSTALLED, REFUSED, HostileShop, Mutants
from tests.making.shops import make_shop


def main() -> int:
    parser = goals.options(__doc__, quick="2,000 mutants")
    parser.add_argument("--count", type=int, help="mutants; 50,000 by default")
    parser.add_argument("--seed", type=int, default=34)
    arguments = parser.parse_args()
    count = arguments.count or (2_000 if arguments.quick else 50_000)
    if arguments.quick:
        print("quick: few mutants, not the full measurement")
    began = perf_counter()
    counts = dict.fromkeys(("wrongly_taken", "beyond_signed_size", "outside", "not_whole"), 0)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        bundle = make_shop(folder / "drawn", products=4, dim=DIM).bundle.read_bytes()
        shop = HostileShop(folder / "shop", bundle)
        for number, (case, change) in enumerate({**REFUSED, **INSTALLED}.items()):
            found = shop.received(change, folder / str(number))
            counts["wrongly_taken"] += (found.said == "installed") != (case in INSTALLED)
            counts["beyond_signed_size"] += (
                found.said != "installed" and found.written > found.signed
            )
            counts["outside"] += not found.is_tidy
            counts["not_whole"] += not found.is_whole
        contents = HostileShop(folder / "other", bundle).contents()
        rng = random.Random(arguments.seed)  # noqa: S311 # no secret
        made = Mutants(contents, folder / "mutants", rng)
        outcomes = Counter(made.outcomes(count))
        counts["outside"] += len(made.left)
    escapes = {each: times for each, times in outcomes.items() if each.startswith("escaped")}
    counts["escapes"] = sum(escapes.values())
    figures = {
        "named_cases": len(REFUSED) + len(INSTALLED),
        "mutants": count,
        "outcomes": dict(outcomes.most_common(20)),
        **counts,
        "seconds": round(perf_counter() - began, 1),
    }
    return goals.told(arguments, figures, zero=tuple(counts))


if __name__ == "__main__":
    sys.exit(main())

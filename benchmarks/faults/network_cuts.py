"""Cuts connections after every byte of a session: each sync goes on, and ends at the right state.

    python benchmarks/faults/network_cuts.py [--quick] [--every N] [--json FILE]

The long form of the first test of tests/faults/test_bad_networks.py. A session of 64 KiB, over
gRPC and over HTTP, is cut after every byte, or every N-th (all of them take half a day); one of 5
MiB over gRPC at every edge of a frame. After a cut the network is whole, and a second sync must end
at the server's state hash, with no more than one piece of what came before sent again.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path
from time import perf_counter

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.making.networks import KINDS, Kind, Network, network

SMALL_PRODUCTS = 380  # 64 KiB
LARGE_PRODUCTS, LARGE_TITLES = 1_250, 4_096  # 5 MiB


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="every 2,000th byte, every 20th edge")
    parser.add_argument("--every", type=int, default=1, help="cut after every N-th byte")
    parser.add_argument("--json", type=Path, help="write figures and goals there")
    arguments = parser.parse_args()
    every, edges_every = arguments.every, 1
    if arguments.quick:
        print("quick: few cuts, not the full measurement")
        every, edges_every = 2_000, 20
    figures: dict[str, int | float] = {}
    began = perf_counter()
    with tempfile.TemporaryDirectory() as work:
        folder = Path(work)
        with network(folder / "small", products=SMALL_PRODUCTS) as small:
            for kind in KINDS:
                size = small.session_bytes(kind, folder / "whole")
                shutil.rmtree(folder / "whole")
                figures[f"{kind}_session_bytes"] = size
                cut_all(small, kind, range(0, size, every), folder, figures, kind)
        large_titles = {"products": LARGE_PRODUCTS, "title_bytes": LARGE_TITLES}
        with network(folder / "large", **large_titles) as large:
            edges = large.frame_edges(folder / "whole")
            figures["large_session_bytes"] = edges[-1]
            cut_all(large, "grpc", edges[::edges_every], folder, figures, "edges")
    figures["seconds"] = round(perf_counter() - began, 1)
    goals = [
        {"name": name, "value": value, "goal": 0, "met": value == 0}
        for name, value in figures.items()
        if name.endswith(("_wrong_states", "_resent_more_than_a_piece"))
    ]
    print(json.dumps(figures, indent=1))
    if arguments.json:
        arguments.json.write_text(json.dumps({"figures": figures, "goals": goals}, indent=2))
    return 0 if all(goal["met"] for goal in goals) else 1


def cut_all(
    net: Network,
    kind: Kind,
    places: Iterable[int],
    folder: Path,
    figures: dict[str, int | float],
    name: str,
) -> None:
    """Cuts at each place, a store each time, and counts what came of it."""
    cuts = wrong = resent = most = 0
    for place in places:
        store = folder / "store"
        found = net.cut(kind, after=place, store=store)
        shutil.rmtree(store)
        cuts += found.was_cut
        wrong += not found.is_right
        resent += found.resent_bytes > found.largest_piece
        most = max(most, found.resent_bytes)
    figures |= {
        f"{name}_cuts": cuts,
        f"{name}_wrong_states": wrong,
        f"{name}_resent_more_than_a_piece": resent,
        f"{name}_most_resent_bytes": most,
    }


if __name__ == "__main__":
    sys.exit(main())

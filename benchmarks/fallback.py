"""What a device's search loses to a server that is dead, silent, slow or speaks garbage: nothing.

    python benchmarks/fallback.py [--quick] [--json FILE]

A few searches in a Lens without a fallback, and as many first steps in a Lens that asks a server
for every photo, take turns, in an order that turns too, so that other load on the machine meets
them alike. After each first step the second is waited for, so that what an answer that never came
leaves behind (threads, connections, a deadline that has just passed) may meet the next one; without
a fallback as long a pause is made. A breaker would soon spare the server: each Lens is closed after
a few searches, and the next one asks again. Servers are processes of their own. The last figures
are of searches that wait for the server: a good one, and a dead one once the breaker is open.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import os

# Before numpy is loaded.
os.environ["OMP_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = "1"

import argparse
import io
import json
import sys
import tempfile
from collections import Counter
from pathlib import Path
from time import perf_counter, sleep

import numpy as np
from PIL import Image

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # for what tests make

from tests.making.colour_bundle import colour_bundle, fields
from tests.making.query_servers import elsewhere

from pocketlens import Fallback, Lens, index
from pocketlens.fallback.breaker import FAILURES_IN_A_ROW

PRODUCTS = 200
PHOTO = 1600, 1200  # pixels: decoding takes most of a search, as on a phone
DEADLINE_S = 0.03  # a server that does not answer costs so much: the searches are what is measured
PAUSE_S = 0.05  # between searches: twenty photos a second are more than an app asks about
SEARCHES_A_LENS = FAILURES_IN_A_ROW + 1
ROUNDS, QUICK_ROUNDS = 150, 6
WORST_RATIO = 1.1
BAD = ("dead", "silent", "slow", "garbled", "garbage")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help=f"{QUICK_ROUNDS} lenses a server")
    parser.add_argument("--json", type=Path, help="write figures and goals there")
    arguments = parser.parse_args()
    rounds = QUICK_ROUNDS if arguments.quick else ROUNDS
    if arguments.quick:
        print("QUICK: few searches show that it runs, not how long the slowest takes")
    with tempfile.TemporaryDirectory() as temporary:
        store, photo = made(Path(temporary))
        figures: dict[str, float | int | bool] = {
            "quick": arguments.quick,
            "searches_a_server": rounds * SEARCHES_A_LENS,
        }
        for name in BAD:
            with elsewhere(name, store) as address:
                figures |= first_steps(name, store, photo, address, rounds)
            print(json.dumps({key: value for key, value in figures.items() if name in key}))
        figures |= waiting(store, photo, rounds)
    goals = [
        {"name": name, "value": value, "goal": WORST_RATIO, "met": float(value) <= WORST_RATIO}
        for name, value in figures.items()
        if name.endswith("_p99_ratio")
    ]
    print(json.dumps(figures, indent=1))
    if arguments.json:
        arguments.json.write_text(json.dumps({"figures": figures, "goals": goals}, indent=2))
    return 0 if arguments.quick or all(goal["met"] for goal in goals) else 1


def made(folder: Path) -> tuple[Path, bytes]:
    """A store, and a photo."""
    rng = np.random.default_rng(0)
    for number in range(PRODUCTS):
        product = folder / "list" / f"sku-{number}"
        product.mkdir(parents=True)
        Image.fromarray(fields(rng)).save(product / "front.png")
    (folder / "shop.tflite").write_bytes(colour_bundle())
    index(folder / "list", model=folder / "shop.tflite", out=folder / "store")
    file = io.BytesIO()
    Image.fromarray(fields(rng)).resize(PHOTO).save(file, "JPEG", quality=90)
    return folder / "store", file.getvalue()


def first_steps(
    name: str, store: Path, photo: bytes, address: str, rounds: int
) -> dict[str, float | int]:
    """Searches without and with a fallback, by turns."""
    fallback = Fallback(address, when="always", deadline=DEADLINE_S, daily_bytes=None)
    plain: list[float] = []
    first: list[float] = []
    pauses = [DEADLINE_S] * SEARCHES_A_LENS
    outcomes: Counter[str] = Counter()

    def without() -> None:
        with Lens.open(store, accelerator="cpu") as lens:
            lens.search(photo)  # what loads, loads here
            for pause in pauses:
                began = perf_counter()
                lens.search(photo)
                plain.append(perf_counter() - began)
                sleep(pause + PAUSE_S)

    def with_fallback() -> None:
        with Lens.open(store, accelerator="cpu") as lens:
            lens.search(photo)
            for place in range(SEARCHES_A_LENS):
                began = perf_counter()
                steps = lens.search_in_steps(photo, fallback=fallback)
                next(steps)
                ended = perf_counter()
                first.append(ended - began)
                assert list(steps) == []
                pauses[place] = perf_counter() - ended
                assert steps.fallback is not None
                outcomes[steps.fallback.outcome.value] += 1
                sleep(PAUSE_S)

    for number in range(rounds):
        for turn in (without, with_fallback) if number % 2 else (with_fallback, without):
            turn()
    return {
        f"{name}_plain_p50_ms": _ms(plain, 0.5),
        f"{name}_first_step_p50_ms": _ms(first, 0.5),
        f"{name}_plain_p99_ms": _ms(plain, 0.99),
        f"{name}_first_step_p99_ms": _ms(first, 0.99),
        f"{name}_p99_ratio": round(_ms(first, 0.99) / _ms(plain, 0.99), 3),
        **{f"{name}_outcome_{outcome}": count for outcome, count in outcomes.items()},
    }


def waiting(store: Path, photo: bytes, rounds: int) -> dict[str, float | int]:
    """Whole searches: of a server that answers, and of a dead one that is left alone."""
    with elsewhere("good", store) as address:
        answered = _whole(store, photo, address, rounds, "answered")
    with elsewhere("dead", store) as address:
        resting = _whole(store, photo, address, rounds, "resting")
    return {
        "answered_p50_ms": _ms(answered, 0.5),
        "answered_p99_ms": _ms(answered, 0.99),
        "resting_p50_ms": _ms(resting, 0.5),
        "resting_p99_ms": _ms(resting, 0.99),
    }


def _whole(store: Path, photo: bytes, address: str, rounds: int, outcome: str) -> list[float]:
    fallback = Fallback(address, when="always", deadline=10, daily_bytes=None)
    seconds = []
    with Lens.open(store, accelerator="cpu") as lens:
        for _ in range(FAILURES_IN_A_ROW):
            lens.search(photo, fallback=fallback)
        while len(seconds) < rounds:
            began = perf_counter()
            found = lens.search(photo, fallback=fallback)
            assert found.fallback is not None
            if found.fallback.outcome.value == outcome:  # now and then a dead one is tried
                seconds.append(perf_counter() - began)
    return seconds


def _ms(seconds: list[float], quantile: float) -> float:
    return round(float(np.quantile(seconds, quantile)) * 1e3, 3)


if __name__ == "__main__":
    sys.exit(main())

"""What a server makes of questions: answers a second, how long they take, and what bounds them.

    python benchmarks/query.py [--quick] [--json FILE] [--work FOLDER]
        [--model SHOP.tflite [--float SHOP.keras]] [--parts vectors,photos,filters,precise]

A catalogue of 100,000 images of 128 numbers, or what the model makes, in a server's process; who
asks in another, over real gRPC on the loopback. Without --model photos are embedded by a small one
that costs nothing, among synthetic clusters. With --work the catalogue is kept for the next run.

- vectors: embeddings made by a device; the pipeline "embedding".
- photos: JPEGs of 448 pixels, decoded and embedded by the bundle.
- filters: the same vectors, each with one of forty categories.
- precise: the photos again, by the float model in TensorFlow; with --float alone.

1, 4, 16 and 64 callers each ask again once they are answered: by turns of a server that works on
what waits together, and of one that works on one after the other ([query] batch = 1), in the same
run. Then twice as many a second are asked for as the first answered at the most, each with a
deadline of 2 s, whatever comes back. Of what the server did it is told what its threads and
processes had of the cores.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter, sleep
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import grpc
import machine
import query_catalogue
import vectors
from ingest_server import IngestServer
from query_clients import SEARCH, Callers, Told

from pocketlens.fallback.messages import embedding_bytes
from pocketlens_protos.v1 import query_service_pb2 as messages

PARTS = ("vectors", "photos", "filters", "precise")
READY_SECONDS = 120
CALLERS = (1, 4, 16, 64)
JUDGED = 16  # callers of the goal
LEAST_RATIO, LEAST_GOODPUT = 2, 0.9
OVERLOAD = 2  # times what can be done
PHOTOS = 64
# All callers are one client on one host, and are to reach the limits of questions alone.
OPEN = {
    f"LIMITS_{name}": 1_000_000
    for name in ("HOST_CALLS", "CLIENT_CALLS", "CLIENT_RATE", "CLIENT_BURST", "CALLS")
}
WAYS: Mapping[str, Mapping[str, object]] = {"together": {}, "one_by_one": {"QUERY_BATCH": 1}}

Figures = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Size:
    """Of a run.

    Attributes:
        images: Of the catalogue.
        every: Of the pictures of the sets, one is embedded.
        seconds: Of each measurement.
        rounds: Of each, by turns.
    """

    images: int = 100_000
    every: int = 1
    seconds: float = 5
    rounds: int = 3


QUICK = Size(images=2000, every=16, seconds=1, rounds=1)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="2,000 images, a second each")
    parser.add_argument("--json", type=Path, help="write figures and goals there")
    parser.add_argument("--parts", default=",".join(PARTS), help="those above; all by default")
    parser.add_argument("--model", type=Path, help="the bundle that embeds")
    parser.add_argument("--float", type=Path, help="the model that it was made of")
    parser.add_argument("--work", type=Path, help="keeps the catalogue for the next run")
    arguments = parser.parse_args()
    size = QUICK if arguments.quick else Size()
    if arguments.quick:
        talk("QUICK: 2,000 images and a second each show that it runs, not what it costs")
    figures: Figures = {"quick": arguments.quick, "images": size.images, **machine.described()}
    with tempfile.TemporaryDirectory() as name:
        work = arguments.work or Path(name)
        embeddings = _prepared(work, arguments.model, size)
        figures |= {"vectors_of": embeddings.source, "dim": embeddings.queries.shape[1]}
        for part in arguments.parts.split(","):
            if part == "precise":
                if arguments.float is None:
                    talk("precise: left out without --float")
                    continue
                rows = vectors.spread(embeddings.gallery, size.images)
                query_catalogue.answers_precisely(
                    work / "server", arguments.model, arguments.float, rows
                )
            figures[part] = _measured(work / "server", part, _requests(part, embeddings), size)
            if arguments.json:
                arguments.json.write_text(_as_json(figures))
    for goal in goals_of(figures):
        talk(f"{'reached' if goal['met'] else 'MISSED '} {goal['name']}: {goal['value']:.3g}")
    if not arguments.json:
        sys.stdout.write(_as_json(figures))
    return 0


def _prepared(work: Path, model: Path | None, size: Size) -> vectors.Embeddings:
    """The catalogue in `work`, which is made if it is not there, and what asks."""
    work.mkdir(parents=True, exist_ok=True)
    kept = work / "embeddings.npz"
    if model is None:
        from tests.making.colour_bundle import DIM, colour_bundle

        model = work / "colours.tflite"
        model.write_bytes(colour_bundle())
        embeddings = vectors.synthetic(DIM)
    elif kept.exists():
        embeddings = vectors.load(kept)
    else:
        embeddings = vectors.embed(model, size.every)
        vectors.save(embeddings, kept)
    if not (work / "server").exists():
        talk(f"a catalogue of {size.images:,} images ...")
        rows = vectors.spread(embeddings.gallery, size.images)
        query_catalogue.made(work / "server", model, rows)
    return embeddings


def _requests(part: str, embeddings: vectors.Embeddings) -> list[bytes]:
    if part in ("photos", "precise"):
        photos = query_catalogue.photos(PHOTOS)
        asked = [messages.SearchRequest(catalogue="main", photo=each) for each in photos]
        return [each.SerializeToString() for each in asked]
    found = []
    for number, row in enumerate(embeddings.queries):
        embedding = messages.Embedding(values=embedding_bytes(row))
        request = messages.SearchRequest(catalogue="main", embedding=embedding)
        if part == "filters":
            request.filter.category = f"category {number % query_catalogue.CATEGORIES}"
        found.append(request.SerializeToString())
    return found


def _measured(folder: Path, part: str, requests: Sequence[bytes], size: Size) -> Figures:
    """Both ways by turns, then more than can be done."""
    told: dict[tuple[str, int], list[Told]] = {}
    found: Figures = {}
    with ExitStack() as stack:
        servers = {
            way: stack.enter_context(IngestServer(folder, {**OPEN, **settings}))
            for way, settings in WAYS.items()
        }
        asking = {
            way: stack.enter_context(Callers(server.address, requests))
            for way, server in servers.items()
        }
        for way, each in asking.items():  # the vectors are read, the model is loaded
            if part == "precise":
                _await_precise(servers[way].address, requests[0])
            each.run(callers=4, seconds=1)
        for _ in range(size.rounds):
            for callers in CALLERS:
                for way in WAYS:
                    before = servers[way].usage()
                    answered = asking[way].run(callers=callers, seconds=size.seconds)
                    spent = servers[way].usage() - before
                    told.setdefault((way, callers), []).append(answered)
                    if callers == JUDGED:
                        found[f"{way}_costs"] = _costs(spent.seconds, answered)
        for (way, callers), runs in told.items():
            found |= {f"{way}_{callers}_{name}": each for name, each in _of_runs(runs).items()}
        peak = max(found[f"together_{callers}_per_s"] for callers in CALLERS)
        found |= {"peak_per_s": peak, "together_beside_one_by_one": _ratio(told)}
        runs = [
            asking["together"].run(rate=OVERLOAD * peak, seconds=2 * size.seconds)
            for _ in range(size.rounds)
        ]
    over = {f"overload_{name}": each for name, each in _of_runs(runs).items()}
    over["goodput_share_of_peak"] = over["overload_per_s"] / peak
    for callers in CALLERS:
        rates = [found[f"{way}_{callers}_per_s"] for way in WAYS]
        talk(f"  {callers} callers: {rates[0]:.0f}/s together, {rates[1]:.0f}/s one by one")
    talk(f"  asked for {OVERLOAD * peak:.0f}/s: {over['overload_per_s']:.0f}/s in time")
    return {**found, **over}


def _await_precise(address: str, request: bytes) -> None:
    with grpc.insecure_channel(address) as channel:
        search = channel.unary_unary(
            SEARCH, response_deserializer=messages.SearchResponse.FromString
        )
        until = perf_counter() + READY_SECONDS
        while search(request, timeout=READY_SECONDS).answered_by != "photo":
            if perf_counter() > until:
                raise SystemExit("the server does not answer by the float model")
            sleep(0.5)


def _of_runs(runs: Sequence[Told]) -> Figures:
    """Medians over runs."""
    codes: dict[str, int] = {}
    for run in runs:
        for code, count in run.codes.items():
            codes[code] = codes.get(code, 0) + count
    return {
        "per_s": statistics.median(run.per_s for run in runs),
        "p50_ms": statistics.median(run.quantile_ms(0.5) for run in runs),
        "p99_ms": statistics.median(run.quantile_ms(0.99) for run in runs),
        "sent_per_s": statistics.median(run.sent / run.seconds for run in runs),
        "codes": codes,
    }


def _ratio(told: Mapping[tuple[str, int], Sequence[Told]]) -> float:
    """Of answers a second, of runs that followed each other."""
    pairs = zip(told["together", JUDGED], told["one_by_one", JUDGED], strict=True)
    return statistics.median(one.per_s / other.per_s for one, other in pairs)


def _costs(seconds: Mapping[str, float], answered: Told) -> Figures:
    """Microseconds of a core for each answer, by what for."""
    done = answered.codes["OK"]
    costs = {f"{name}_us": each / done * 1e6 for name, each in seconds.items()}
    costs["callers_us"] = answered.cores * answered.seconds / done * 1e6
    return {name: each for name, each in costs.items() if each >= 1}


def goals_of(figures: Mapping[str, Any]) -> list[dict[str, Any]]:
    """An entry for each goal whose figure is there."""
    found = []
    for part in PARTS:
        measured = figures.get(part, {})
        for name, goal in (
            ("together_beside_one_by_one", LEAST_RATIO),
            ("goodput_share_of_peak", LEAST_GOODPUT),
        ):
            if name in measured:
                value = measured[name]
                entry = {"name": f"{part}_{name}", "value": value, "goal": goal}
                found.append({**entry, "met": value >= goal})
    return found


def _as_json(figures: Mapping[str, Any]) -> str:
    return json.dumps({"figures": figures, "goals": goals_of(figures)}, indent=1) + "\n"


def talk(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    raise SystemExit(main())

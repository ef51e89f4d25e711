"""What a server makes of what backends send: operations a second, what bounds them, who waits.

    python benchmarks/ingest.py [--quick] [--parts patches,pictures,small,memory] [--json FILE]
        [--model SHOP.tflite]

A server with a catalogue of 100,000 products, in a process of its own; backends in others, over
real gRPC on the loopback. Without --model pictures are embedded by a small one that costs nothing.
With --json the figures of other parts in FILE stay.

- patches: prices with request ids and revisions, on one stream and on four; beside the same one at
  a time, on a stream that stays open and in a call each.
- pictures: new ones, known ones with their bytes, and known ones by their hash alone, until all of
  their images hold.
- small: milliseconds of another backend's price and of a device's poll from when each was due,
  alone and beside the above.
- memory: of the server and its decoders, beside streams that send without a pause and read no
  answer, and against what waits in it; see `ingest_memory`.

Of everything the server did it is told what its threads and processes had of the cores.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import argparse
import json
import sqlite3
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import ingest_catalogue
import ingest_memory
import machine
import numpy as np
from ingest_clients import Client
from ingest_server import IngestServer, Usage

PARTS = ("patches", "pictures", "small", "memory")
LEAST_RATIO = 5  # of patches on a stream, beside one at a time
# How pictures are sent, in this order: the first are new to the server, the others known then.
KNOWN = {"new": "bytes", "known": "bytes", "hash": "hash"}
# The same in rounds, beside which small requests are looked at.
LOOKED = {"new": "new", "known": "bytes", "hash": "hash"}
MEMORY_SHARE = 0.3  # of the seconds of the other parts, for each of its many points

Figures = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Size:
    """Of a run.

    Attributes:
        products: Of the catalogue.
        seconds: That what has no end goes on.
        pictures: That are sent.
        floods: Streams that read nothing, at once.
        queues: Operations, and pictures, that wait.
    """

    products: int = 100_000
    seconds: float = 20
    pictures: int = 2000
    floods: tuple[int, ...] = (4, 16)
    queues: tuple[int, ...] = (0, 1000, 10_000)


QUICK = Size(products=2000, seconds=1.5, pictures=64, floods=(1, 4), queues=(0, 200))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="2,000 products, seconds each")
    parser.add_argument("--json", type=Path, help="write figures and goals there")
    parser.add_argument("--parts", default=",".join(PARTS), help="those above; all by default")
    parser.add_argument("--model", type=Path, help="the bundle that embeds")
    arguments = parser.parse_args()
    size = QUICK if arguments.quick else Size()
    figures = _earlier(arguments.json) if arguments.json and not arguments.quick else {}
    figures |= {"quick": arguments.quick, **machine.described()}
    figures["sqlite"] = sqlite3.sqlite_version
    if arguments.quick:
        talk("QUICK: 2,000 products and a second each show that it runs, not what it costs")
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        model = arguments.model or _small_model(work)
        figures |= {"model": model.name, "pictures_of": ingest_catalogue.Pictures("").source}
        ingest_catalogue.made(work / "server", model, products=size.products)
        talk(f"a catalogue of {size.products:,} products")
        for part in arguments.parts.split(","):
            figures[part] = _measured(part, work / "server", size)
            if arguments.json:
                arguments.json.write_text(_as_json(figures))
    for goal in goals_of(figures):
        talk(f"{'reached' if goal['met'] else 'MISSED '} {goal['name']}: {goal['value']:.4g}")
    if not arguments.json:
        sys.stdout.write(_as_json(figures))
    return 0


def _measured(part: str, folder: Path, size: Size) -> Figures:
    """One part, of a server that is started for it."""
    talk(f"{part}:")
    if part == "memory":
        return ingest_memory.measured(
            folder,
            floods=size.floods,
            queues=size.queues,
            seconds=size.seconds * MEMORY_SHARE,
            products=size.products,
        )
    with IngestServer(folder) as server:
        bench = Bench(server, size)
        bench.images("warm", "bytes", "warm", 16)  # decoders and the model are loaded
        ways = {"patches": bench.patches, "pictures": bench.pictures, "small": bench.small}
        return ways[part]()


class Bench:
    """What is measured of one server."""

    def __init__(self, server: IngestServer, size: Size) -> None:
        self._server, self._size = server, size
        self._names = count()

    def patches(self) -> Figures:
        found: Figures = {}
        ways = {
            "stream": ("patching", 1),
            "streams_4": ("patching", 4),
            "one_by_one": ("asking", 1),
            "calls": ("calling", 1),
        }
        for name, (function, clients) in ways.items():
            with self._patching(function, clients) as told:
                before = self._server.usage()
                time.sleep(self._size.seconds)
                spent = self._server.usage() - before
            found |= _prefixed(name, _of_run(spent, told))
            talk(f"  {name}: {found[f'{name}_per_s']:.0f}/s")
        for other in ("one_by_one", "calls"):
            found[f"stream_beside_{other}"] = found["stream_per_s"] / found[f"{other}_per_s"]
        return found

    def pictures(self) -> Figures:
        found: Figures = {}
        for name, how in KNOWN.items():
            found |= _prefixed(name, self.images(name, how, "pictures", self._size.pictures))
            talk(f"  {name}: {found[f'{name}_per_s']:.0f}/s")
        return found

    def images(self, name: str, how: str, word: str, images: int) -> Figures:
        """So many images, until all hold."""
        client = Client(
            "putting", self._server.address, how, f"{name}-{next(self._names)}", word, images
        )
        before = self._server.usage()
        told = client.run()
        found = _of_run(self._server.usage() - before, [told])
        found["answered_per_s"] = told["operations"] / told["answered_s"]
        found["bytes_each"] = told["bytes"] / told["operations"]
        return found

    def small(self) -> Figures:
        """Of somebody who asks for little, beside each of the others."""
        found = _prefixed("quiet", self._looked())
        for name, clients in (("stream", 1), ("streams_4", 4)):
            with self._patching("patching", clients):
                took = self._looked()
            found |= _prefixed(name, took)
        for name, how in LOOKED.items():
            address = self._server.address
            with _working([Client("putting_on", address, how, name, self._size.pictures)]) as told:
                took = self._looked()
            rate = told[0]["operations"] / told[0]["s"]
            found |= _prefixed(name, took | {"beside_per_s": rate})
            talk(f"  beside {name}, {rate:.0f}/s: {took['patch_p99_ms']:.0f} ms")
        return found

    def _looked(self) -> Figures:
        """Milliseconds of small requests."""
        client = Client("looking", self._server.address, self._size.products)
        client.begin()
        time.sleep(self._size.seconds)
        told = client.stop()
        found: Figures = {"requests": len(told["patch"])}
        for name, each in told.items():
            found[f"{name}_p50_ms"] = float(np.median(each))
            found[f"{name}_p99_ms"] = float(np.quantile(each, 0.99))
        return found

    def _patching(
        self, function: str, clients: int
    ) -> AbstractContextManager[list[dict[str, Any]]]:
        """Clients that send prices."""
        address, products = self._server.address, self._size.products
        return _working([Client(function, address, number, products) for number in range(clients)])


@contextmanager
def _working(clients: list[Client]) -> Iterator[list[dict[str, Any]]]:
    """Clients that work while the context lasts; what they tell is there after it."""
    for each in clients:
        each.begin()
    told: list[dict[str, Any]] = []
    yield told
    told += [each.stop() for each in clients]


def _of_run(spent: Usage, told: list[dict[str, Any]]) -> Figures:
    """Operations a second, and what each cost: microseconds of a core, by what for."""
    rate = sum(each["operations"] / each["s"] for each in told)
    operations = sum(each["operations"] for each in told)
    done = rate * spent.at
    costs = {f"{name}_us": each / done * 1e6 for name, each in spent.seconds.items()}
    return {
        "per_s": rate,
        **{name: each for name, each in costs.items() if each >= 0.5},
        "server_cores": spent.cores,
        "client_us": sum(each["cores_s"] for each in told) / operations * 1e6,
        "flushes_per_s": spent.flushes / spent.at,
        "flushing_share": spent.flush_seconds / spent.at,
    }


# --- what it is for ------------------------------------------------------------------------------


def goals_of(figures: Mapping[str, Any]) -> list[dict[str, Any]]:
    """An entry for each goal whose figure is there."""
    found = []
    patches, memory = figures.get("patches", {}), figures.get("memory", {})
    for name in ("stream_beside_calls", "stream_beside_one_by_one"):
        if name in patches:
            met = patches[name] >= LEAST_RATIO
            value = {"value": patches[name], "goal": LEAST_RATIO, "met": met}
            found.append({"name": f"patches_{name}", **value})
    size = QUICK if figures["quick"] else Size()
    return [*found, *ingest_memory.goals_of(memory, size.queues)]


def _earlier(path: Path) -> Figures:
    """Figures of other parts, of a run before."""
    if not path.exists():
        return {}
    found: Figures = json.loads(path.read_text())["figures"]
    return {} if found["quick"] else found


def _as_json(figures: Mapping[str, Any]) -> str:
    return json.dumps({"figures": figures, "goals": goals_of(figures)}, indent=1) + "\n"


def _prefixed(name: str, figures: Figures) -> Figures:
    return {f"{name}_{each}": value for each, value in figures.items()}


def _small_model(work: Path) -> Path:
    from tests.making.colour_bundle import colour_bundle

    model = work / "colours.tflite"
    model.write_bytes(colour_bundle())
    return model


def talk(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    raise SystemExit(main())

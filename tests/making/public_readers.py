"""Readers of a public folder while it is published to: each follows every name that it finds.

    outcomes = read_while(public, publish, readers=8)
    outcomes.reads, outcomes.wrong

A reader asks a web server on the loopback as a device does: timestamp, snapshot, roles, manifests,
and one file of each manifest, chosen at random. A name that was found must be there, with the
content that was signed. Readers are processes of their own.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import functools
import hashlib
import http.server
import json
import multiprocessing
import random
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import Any

from pocketlens.formats.manifest import Manifest, decode

SECONDS = 30  # that an answer may take on a busy machine


@dataclass(frozen=True)
class Outcomes:
    """What all readers found.

    Attributes:
        reads: Publishes that were followed from the timestamp to a file.
        versions: That were seen.
        wrong: Names that were not there, or were not what was signed.
    """

    reads: int
    versions: frozenset[int]
    wrong: tuple[str, ...]


class Quiet(http.server.SimpleHTTPRequestHandler):
    """Says nothing of what it serves."""

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def served(public: Path) -> Iterator[str]:
    """Address of a web server on the loopback, gone afterwards."""
    handler = functools.partial(Quiet, directory=str(public))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()


def read_while(public: Path, publish: Callable[[], None], *, readers: int) -> Outcomes:
    """Lets readers follow what is visible until `publish` returns."""
    context = multiprocessing.get_context("spawn")
    stop, results = context.Event(), context.Queue()
    with served(public) as address:
        children = [
            context.Process(target=_read_until, args=(address, seed, stop, results))
            for seed in range(readers)
        ]
        for child in children:
            child.start()
        try:
            publish()
        finally:
            stop.set()
        found = [results.get(timeout=SECONDS * 4) for _ in children]
        for child in children:
            child.join()
    return Outcomes(
        sum(reads for reads, _, _ in found),
        frozenset(version for _, versions, _ in found for version in versions),
        tuple(name for _, _, wrong in found for name in wrong),
    )


def _read_until(address: str, seed: int, stop: Event, results: Any) -> None:
    rng = random.Random(seed)
    reads, versions, wrong = 0, set(), []
    while not stop.is_set() or not reads:
        try:
            versions |= set(_follow(address, rng))
        except (urllib.error.HTTPError, ValueError) as exc:
            wrong.append(str(exc))
        reads += 1
    results.put((reads, versions, wrong))


def _follow(address: str, rng: random.Random) -> Iterator[int]:
    """Versions that a reader finds from the timestamp on.

    Raises:
        HTTPError: A name that it found is not there.
        ValueError: What is there is not what was signed.
    """
    timestamp = json.loads(_get(address, "metadata/timestamp.json"))["signed"]
    version = timestamp["meta"]["snapshot.json"]["version"]
    snapshot = _signed(address, f"{version}.snapshot.json", version)
    for role, meta in snapshot["meta"].items():
        targets = _signed(address, f"{meta['version']}.{role}", meta["version"])["targets"]
        for path, target in targets.items():
            if not path.startswith("manifest/"):
                continue
            place, _, name = path.rpartition("/")
            sha256 = target["hashes"]["sha256"]
            data = _get(address, f"targets/{place}/{sha256}.{name}", sha256)
            manifest = decode(data)
            yield manifest.version
            wanted = rng.choice(_hashes(manifest))
            _get(address, f"blobs/{wanted}", wanted)


def _hashes(manifest: Manifest) -> list[str]:
    changes = (manifest.snapshot, *manifest.deltas)
    blobs = (manifest.codebook, *(each.blob for each in changes))
    return [each.sha256.hex() for each in blobs]


def _signed(address: str, name: str, version: int) -> Any:
    found = json.loads(_get(address, f"metadata/{name}"))["signed"]
    if found["version"] != version:
        raise ValueError(f"{name} is version {found['version']}")
    return found


def _get(address: str, name: str, sha256: str | None = None) -> bytes:
    with urllib.request.urlopen(f"{address}/{name}", timeout=SECONDS) as answer:  # noqa: S310 # ours
        data: bytes = answer.read()
    if sha256 is not None and hashlib.sha256(data).hexdigest() != sha256:
        raise ValueError(f"{name} has another content")
    return data

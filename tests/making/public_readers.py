"""Readers of a server while it is published to: each follows every name that it finds.

    outcomes = read_while(server, publish, over_http=6, over_grpc=2)
    outcomes.reads, outcomes.wrong

A server on the loopback is asked as by a device: for timestamp, snapshot, roles, manifests, and one
file of each manifest, chosen at random. A name that was found must be there, with the content that
was signed. Readers are processes of their own, which import this module: what is heavy, and of the
server or of gRPC alone, is imported where it is used.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import hashlib
import json
import multiprocessing
import random
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from multiprocessing.synchronize import Barrier, Event
from pathlib import Path
from typing import Any

from pocketlens.errors import SyncError
from pocketlens.formats.manifest import Blob, Manifest, decode

SECONDS = 30  # that an answer may take on a busy machine

Follow = Callable[[random.Random], Iterator[int]]
"""Versions that a reader finds from the timestamp on.

Raises `HTTPError` or `TransportError` where a name that it found is not there, `ValueError` or
`TrustError` where that is not what was signed.
"""


@dataclass(frozen=True)
class Outcomes:
    """What all readers found.

    Attributes:
        reads: Publishes that were followed from the timestamp to a file.
        reads_over_grpc: Of them.
        versions: That were seen.
        wrong: Names that were not there, or were not what was signed.
    """

    reads: int
    reads_over_grpc: int
    versions: frozenset[int]
    wrong: tuple[str, ...]


def read_while(
    server: Path, publish: Callable[[], None], *, over_http: int, over_grpc: int
) -> Outcomes:
    """Lets readers follow what the catalogue `main` of a server shows, and then publishes.

    Each reads once before, and once after.
    """
    from tests.making.serving import serving

    context = multiprocessing.get_context("spawn")
    begun = context.Barrier(over_http + over_grpc + 1)
    stop, results = context.Event(), context.Queue()
    root = (server / "public" / "main" / "metadata" / "1.root.json").read_bytes()
    with serving(server) as address:
        follows: list[Follow] = [partial(_follow, address.http)] * over_http
        follows += [partial(_follow_over_grpc, address.grpc, root)] * over_grpc
        children = [
            context.Process(target=_read_until, args=(follow, seed, begun, stop, results))
            for seed, follow in enumerate(follows)
        ]
        for child in children:
            child.start()
        try:
            begun.wait(SECONDS * 4)
            publish()
        finally:
            stop.set()
        found = sorted(results.get(timeout=SECONDS * 4) for _ in children)  # by their seeds
        for child in children:
            child.join()
    return Outcomes(
        sum(reads for _, reads, _, _ in found),
        sum(reads for _, reads, _, _ in found[over_http:]),
        frozenset(version for _, _, versions, _ in found for version in versions),
        tuple(name for _, _, _, wrong in found for name in wrong),
    )


def _read_until(follow: Follow, seed: int, begun: Barrier, stop: Event, results: Any) -> None:
    rng = random.Random(seed)
    reads, versions, wrong = 0, set(), []
    is_last = False
    while not is_last:
        is_last = stop.is_set()
        try:
            versions |= set(follow(rng))
        except (urllib.error.HTTPError, ValueError, SyncError) as exc:
            wrong.append(str(exc))
        reads += 1
        if reads == 1:
            begun.wait(SECONDS * 4)
    results.put((seed, reads, versions, wrong))


def _follow(address: str, rng: random.Random) -> Iterator[int]:
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
            wanted = rng.choice(_blobs(manifest)).sha256.hex()
            _get(address, f"blobs/{wanted}", wanted)


def _follow_over_grpc(address: str, root: bytes, rng: random.Random) -> Iterator[int]:
    from pocketlens.sync import trust
    from pocketlens.sync.grpc_transport import GrpcTransport
    from pocketlens.sync.transports import AtHand

    with closing(GrpcTransport(address, "main")) as transport:
        transport.poll(AtHand(b"", 0, {}, b""))
        now = datetime.now(UTC)
        found = trust.verified({}, root=root, fetch=transport.file, generation=None, now=now)
        yield found.manifest.version
        blob = rng.choice(_blobs(found.manifest))
        for number, sha256 in enumerate(blob.pieces):
            data = b"".join(transport.piece(blob, number))
            if hashlib.sha256(data).digest() != sha256:
                raise ValueError(f"piece {number} of {blob.sha256.hex()} has another content")


def _blobs(manifest: Manifest) -> list[Blob]:
    changes = (manifest.snapshot, *manifest.deltas)
    return [manifest.codebook, *(each.blob for each in changes)]


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

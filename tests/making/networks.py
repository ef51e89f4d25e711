"""A device, a server, and a network between them that is cut, slow or silent.

with network(folder, products=150) as net:
    net.cut("http", after=4000, store=folder / "store")
    net.under(TOXICS["black hole"], "grpc", store=folder / "other")
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pocketlens.errors import TransportError
from pocketlens.formats.manifest import Blob
from pocketlens.options import Deadlines
from pocketlens.products import Product
from pocketlens.store.reader import Reader
from pocketlens.sync import session
from pocketlens.sync.grpc_transport import GrpcTransport
from pocketlens.sync.http_transport import HttpTransport
from pocketlens.sync.reports import SyncReport
from pocketlens.sync.transports import AtHand, Transport
from pocketlens_server.catalogue.operations import PutProduct, apply
from tests.making.fault_proxy import Ending, FaultProxy, Toxic
from tests.making.servers import Server
from tests.making.serving import Address, on_disk, serving
from tests.making.shops import make_shop

Kind = Literal["grpc", "http"]
KINDS: tuple[Kind, ...] = ("grpc", "http")
TITLE_BYTES = 120

TOXICS = {
    "latency": Toxic(latency_s=0.05),
    "jitter": Toxic(jitter_s=0.1),
    "64 kB/s": Toxic(bytes_per_second=64_000, slice_bytes=4_000),
    "slicer": Toxic(slice_bytes=64),
    "reset": Toxic(cut_after=2_000, ending=Ending.RESET, heals=False),
    "black hole": Toxic(cut_after=2_000, ending=Ending.SILENCE, heals=False),
    "half-open": Toxic(cut_after=0, ending=Ending.SILENCE, heals=False),
    "trickle": Toxic(bytes_per_second=200, slice_bytes=20),
}


@dataclass(frozen=True)
class Outcome:
    """What a sync under a toxic came to.

    Attributes:
        is_done: Whether the store is at the server's version.
        seconds: That it took.
        cpu_seconds: Of this process, server and proxy included.
        error: Why it is not done.
    """

    is_done: bool
    seconds: float
    cpu_seconds: float
    error: TransportError | None


@dataclass(frozen=True)
class Resumed:
    """What two syncs, the first of which was cut, came to.

    Attributes:
        was_cut: Whether the first failed.
        resent_bytes: Of pieces that came twice.
        largest_piece: Bytes.
        is_right: Whether the store has the state hash of the server's version.
    """

    was_cut: bool
    resent_bytes: int
    largest_piece: int
    is_right: bool


@dataclass(frozen=True)
class Network:
    """A server with one version, and ways to it.

    Attributes:
        server: The catalogue.
        address: Where it is served.
        state_hash: Of its version.
    """

    server: Server
    address: Address
    state_hash: bytes

    def session_bytes(self, kind: Kind, store: Path) -> int:
        """Bytes that an undisturbed install brings, heads and frames included."""
        with FaultProxy(self._port(kind)) as proxy:
            self._sync(store, self._transport(kind, proxy.port))
            return proxy.sent

    def frame_edges(self, store: Path) -> list[int]:
        """After how many bytes from the server each frame of an install over gRPC ends."""
        edges = [0]

        def passed(frame: bytes) -> list[bytes]:
            edges.append(edges[-1] + len(frame))
            return [frame]

        with FaultProxy(self.address.port, Toxic(frames=passed)) as proxy:
            self._sync(store, self._transport("grpc", proxy.port))
        return edges[:-1]

    def cut(self, kind: Kind, *, after: int, store: Path) -> Resumed:
        """Installs over a connection that is cut after so many bytes, then again."""
        counting: list[CountingTransport] = []
        was_cut = False
        with FaultProxy(self._port(kind), Toxic(cut_after=after)) as proxy:
            for _ in range(2):
                counting.append(CountingTransport(self._transport(kind, proxy.port)))
                try:
                    self._sync(store, counting[-1])
                except TransportError:
                    was_cut = True
                    assert len(counting) == 1, "the network has healed"
        received: dict[tuple[bytes, int], int] = {}
        for each in counting:
            for piece, size in each.received.items():
                received[piece] = received.get(piece, 0) + size
        sizes = counting[0].sizes | counting[1].sizes
        resent = sum(size - sizes[piece] for piece, size in received.items())
        return Resumed(was_cut, resent, max(sizes.values()), self.is_right(store))

    def under(
        self, toxic: Toxic, kind: Kind, *, store: Path, deadlines: Deadlines | None = None
    ) -> Outcome:
        """Installs under a toxic."""
        began, cpu = time.monotonic(), time.process_time()
        error: TransportError | None = None
        with FaultProxy(self._port(kind), toxic) as proxy:
            try:
                self._sync(store, self._transport(kind, proxy.port, deadlines))
            except TransportError as exc:
                error = exc
            seconds, cpu_seconds = time.monotonic() - began, time.process_time() - cpu
        return Outcome(error is None and self.is_right(store), seconds, cpu_seconds, error)

    def is_right(self, store: Path) -> bool:
        with Reader.open(store) as reader:
            return reader.facts.state_hash == self.state_hash

    def _sync(self, store: Path, transport: Transport) -> SyncReport:
        server = self.server
        try:
            return session.sync(
                store, transport, catalogue="main", root=server.root, now=server.now
            )
        finally:
            transport.close()

    def _port(self, kind: Kind) -> int:
        return self.address.port if kind == "grpc" else self.address.http_port

    def _transport(self, kind: Kind, port: int, deadlines: Deadlines | None = None) -> Transport:
        if kind == "grpc":
            return GrpcTransport(f"127.0.0.1:{port}", "main", deadlines=deadlines)
        return HttpTransport(f"http://127.0.0.1:{port}/main", deadlines=deadlines)


class CountingTransport:
    """Counts what comes of each piece.

    Attributes:
        received: Bytes of each piece, by blob and number.
        sizes: What they should be.
    """

    def __init__(self, transport: Transport) -> None:
        self._transport = transport
        self.received: dict[tuple[bytes, int], int] = {}
        self.sizes: dict[tuple[bytes, int], int] = {}

    def poll(self, have: AtHand) -> None:
        self._transport.poll(have)

    def file(self, name: str) -> Iterator[bytes] | None:
        return self._transport.file(name)

    def piece(self, blob: Blob, number: int) -> Iterator[bytes]:
        key = blob.sha256, number
        self.sizes[key] = blob.piece_size(number)
        self.received.setdefault(key, 0)
        for chunk in self._transport.piece(blob, number):
            self.received[key] += len(chunk)
            yield chunk

    def close(self) -> None:
        self._transport.close()


@contextmanager
def network(folder: Path, *, products: int, title_bytes: int = TITLE_BYTES) -> Iterator[Network]:
    """A server of a shop; an install brings about `title_bytes` + 30 a product, and 7 kB.

    Titles are noise, which does not compress: many bytes, and little to write.
    """
    made = Server.of_shop(make_shop(folder / "shop", products=products), folder / "made")
    rng = random.Random(products)
    for number in range(products):
        product = Product(f"sku-{number}", rng.randbytes(title_bytes).hex())
        apply(made.catalogue.history, PutProduct(product))
    (manifest,) = made.publish().manifests
    on_disk(made, folder / "server")
    with serving(folder / "server") as address:
        yield Network(made, address, manifest.state_hash)

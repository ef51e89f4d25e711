"""A way to a server that repeats, reorders, holds back, cuts and rewrites what passes, by a seed.

    with lying_paths(folder) as paths:
        paths.schedule(7, folder / "scratch")

Over HTTP whole answers are exchanged, as a proxy that caches does, or one that asks to sign in;
over gRPC frames of HTTP/2 are.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import http.server
import random
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path

from pocketlens.errors import SyncError
from pocketlens.options import Deadlines
from pocketlens.store.reader import Reader
from pocketlens.sync import session
from pocketlens.sync.grpc_transport import GrpcTransport
from pocketlens.sync.http_transport import HttpTransport
from pocketlens.sync.transports import FolderTransport, Transport
from tests.making.answering_threads import in_a_thread
from tests.making.fault_proxy import FaultProxy, Toxic
from tests.making.servers import Server, change
from tests.making.serving import on_disk, serving
from tests.making.shops import make_shop

VERSIONS = 4
DEADLINES = Deadlines(connect_seconds=1, idle_seconds=0.3, call_seconds=1)
PAGE = b"<html><body>Sign in to the network of this hotel.</body></html>"
_DATA = 0  # a frame of HTTP/2


@dataclass
class Paths:
    """A server of some versions, what it served at each, and the ways to it.

    Attributes:
        server: At its newest version.
        folders: Public files at each version, oldest first.
        states: State hash of each version.
        stores: A store at each version but the newest, and a folder without any.
        lies: How often each was told, and how often a sync was refused.
    """

    server: Server
    folders: list[Path]
    states: dict[int, bytes]
    stores: list[Path]
    http: LyingServer
    frames: FaultProxy
    lies: Counter[str] = field(default_factory=Counter)

    def schedule(self, seed: int, scratch: Path, *, tries: int = 1) -> None:
        """One device, and some syncs on a way that lies; then one on a way that does not.

        Raises:
            AssertionError: The store is, at any time, at no version of the server's, or at an older
                one than before, or in the end not at the newest.
        """
        rng = random.Random(seed)
        store = scratch / f"schedule-{seed}"
        shutil.copytree(rng.choice(self.stores), store)
        version = self._checked(store, 0)
        over_frames = rng.random() < 0.3
        for _ in range(tries):
            try:
                self._sync(store, self._lying(rng, over_frames=over_frames))
            except SyncError as exc:
                self.lies[f"refused: {type(exc).__name__}"] += 1
            else:
                self.lies["synced all the same"] += 1
            version = self._checked(store, version)
        self._sync(store, FolderTransport(self.server.public))
        assert self._checked(store, version) == VERSIONS
        shutil.rmtree(store)

    def _lying(self, rng: random.Random, *, over_frames: bool) -> Transport:
        if over_frames:
            mangler = Mangler(rng, self.lies)
            self.frames.toxic = Toxic(frames=mangler.changed)
            return GrpcTransport(f"127.0.0.1:{self.frames.port}", "main", deadlines=DEADLINES)
        self.http.lies = Lies(rng, self.folders, self.lies)
        return HttpTransport(f"http://127.0.0.1:{self.http.server_port}", deadlines=DEADLINES)

    def _sync(self, store: Path, transport: Transport) -> None:
        server = self.server
        try:
            session.sync(store, transport, catalogue="main", root=server.root, now=server.now)
        finally:
            transport.close()

    def _checked(self, store: Path, at_least: int) -> int:
        """The version of a store, whose state is that of the server's version."""
        if not (store / "CURRENT").exists():
            assert at_least == 0
            return 0
        with Reader.open(store) as reader:
            version, state = reader.facts.version, reader.facts.state_hash
        assert state == self.states[version], f"another state than version {version} has"
        assert version >= at_least
        return version


@dataclass(frozen=True)
class Answered:
    """An answer over HTTP, as it is sent."""

    status: HTTPStatus
    headers: dict[str, str]
    body: bytes


class Lies:
    """What a way makes of answers: half of them are what they should be."""

    def __init__(self, rng: random.Random, folders: list[Path], told: Counter[str]) -> None:
        self._rng, self._folders, self._told = rng, folders, told
        self._sent: list[Answered] = []

    def answer(self, name: str) -> Answered:
        true = self._true(name, self._folders[-1])
        lies: list[Callable[[str, Answered], Answered]] = [
            self._duplicate, self._reordered, self._stale, self._cut, self._page, self._redirect,
            self._rewritten, self._newer,
        ]  # fmt: skip
        if self._rng.random() < 0.75:
            answered = true
        else:
            lie = self._rng.choice(lies)
            self._told[lie.__name__.strip("_")] += 1
            answered = lie(name, true)
        self._sent.append(true)
        return answered

    def _true(self, name: str, folder: Path) -> Answered:
        path = folder / name
        if not path.is_file():
            return Answered(HTTPStatus.NOT_FOUND, {"Content-Length": "0"}, b"")
        return _ok(path.read_bytes())

    def _duplicate(self, name: str, true: Answered) -> Answered:
        """What was sent before, again."""
        return self._rng.choice(self._sent) if self._sent else true

    def _reordered(self, name: str, true: Answered) -> Answered:
        """What another of the same folder would get."""
        beside = sorted((self._folders[-1] / name).parent.glob("*"))
        return _ok(self._rng.choice(beside).read_bytes()) if beside else true

    def _stale(self, name: str, true: Answered) -> Answered:
        return self._true(name, self._rng.choice(self._folders))

    def _cut(self, name: str, true: Answered) -> Answered:
        """Short, and said to be; or short, and said to be whole."""
        body = true.body[: self._rng.randrange(len(true.body) + 1)]
        return Answered(true.status, true.headers, body) if self._rng.random() < 0.5 else _ok(body)

    def _page(self, name: str, true: Answered) -> Answered:
        kind = self._rng.choice(["text/html", "application/json", "application/octet-stream"])
        headers = {"Content-Type": kind, "Content-Length": str(len(PAGE))}
        return Answered(HTTPStatus.OK, headers, PAGE)

    def _redirect(self, name: str, true: Answered) -> Answered:
        headers = {"Location": "/sign-in", "Content-Length": "0"}
        return Answered(HTTPStatus.FOUND, headers, b"")

    def _rewritten(self, name: str, true: Answered) -> Answered:
        body = bytearray(true.body or b"x")
        for _ in range(self._rng.randint(1, 3)):
            body[self._rng.randrange(len(body))] ^= 1 << self._rng.randrange(8)
        return _ok(bytes(body))

    def _newer(self, name: str, true: Answered) -> Answered:
        """Metadata that says more than was signed."""
        return _ok(true.body.replace(b'"version":', b'"version":1'))


class LyingServer(http.server.ThreadingHTTPServer):
    """Sends what its lies make of each file."""

    daemon_threads = True
    lies: Lies

    def handle_error(self, request: object, client_address: object) -> None:
        """Devices that are lied to hang up."""


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        assert isinstance(self.server, LyingServer)
        name = self.path[1:]
        answered = _ok(PAGE) if name == "sign-in" else self.server.lies.answer(name)
        self.send_response(answered.status)
        for header in answered.headers.items():
            self.send_header(*header)
        self.end_headers()
        self.wfile.write(answered.body)
        if len(answered.body) < int(answered.headers["Content-Length"]):
            self.close_connection = True

    def log_message(self, *_: object) -> None:
        pass


class Mangler:
    """Changes frames of HTTP/2: two of five that carry data."""

    def __init__(self, rng: random.Random, told: Counter[str]) -> None:
        self._rng, self._told = rng, told
        self._held: list[bytes] = []

    def changed(self, frame: bytes) -> list[bytes]:
        if frame[3] != _DATA or len(frame) == 9 or self._rng.random() > 0.4:
            return [frame, *self._released()]
        what = self._rng.choice(["frame twice", "frame late", "frame lost", "frame rewritten"])
        self._told[what] += 1
        match what:
            case "frame twice":
                return [frame, frame]
            case "frame late":
                self._held.append(frame)
                return []
            case "frame lost":
                return []
            case _:
                at = self._rng.randrange(9, len(frame))
                return [frame[:at] + bytes([frame[at] ^ 1]) + frame[at + 1 :]]

    def _released(self) -> list[bytes]:
        held, self._held = self._held, []
        return held


@contextmanager
def lying_paths(folder: Path) -> Iterator[Paths]:
    """A server of some versions, and stores at each of them."""
    server = Server.of_shop(make_shop(folder / "shop", products=25), folder / "made")
    rng, folders, states, stores = random.Random(3), [], {}, [folder / "store-0"]
    stores[0].mkdir()
    for version in range(1, VERSIONS + 1):
        if version > 1:
            change(server, rng)
        (manifest,) = server.publish().manifests
        states[version] = manifest.state_hash
        folders.append(folder / f"public-{version}")
        shutil.copytree(server.public, folders[-1])
        stores.append(folder / f"store-{version}")
        transport = FolderTransport(server.public)
        session.sync(stores[-1], transport, catalogue="main", root=server.root, now=server.now)
    on_disk(server, folder / "server")
    with (
        in_a_thread(LyingServer(("127.0.0.1", 0), _Handler)) as lying,
        serving(folder / "server") as address,
        FaultProxy(address.port) as frames,
    ):
        yield Paths(server, folders, states, stores[:-1], lying, frames)


def _ok(body: bytes) -> Answered:
    headers = {"Content-Type": "application/octet-stream", "Content-Length": str(len(body))}
    return Answered(HTTPStatus.OK, headers, body)

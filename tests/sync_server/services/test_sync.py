"""Devices and a real server on the loopback: what they ask, what it costs, what cannot be asked."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import asyncio
import random
import socket
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from time import monotonic, sleep
from typing import Any

import grpc
import pytest
from securesystemslib.signer import CryptoSigner
from tests.making.certificates import make_certificates
from tests.making.servers import Server
from tests.making.serving import on_disk, serving
from tests.making.shops import Shop, make_shop
from tuf.api.metadata import Metadata, Root

from pocketlens import Lens, install
from pocketlens.errors import ServerError, TransportError
from pocketlens.following import update
from pocketlens.formats.manifest import PIECE_BYTES
from pocketlens.options import SyncOptions
from pocketlens.store.verification import verify
from pocketlens.sync.grpc_transport import GrpcTransport
from pocketlens.sync.observed import Observed
from pocketlens.sync.planner import Action
from pocketlens.sync.retrying import RetryingTransport
from pocketlens_protos.v1 import sync_service_pb2 as messages
from pocketlens_protos.v1 import sync_service_pb2_grpc as stubs
from pocketlens_server.catalogue.operations import PatchProduct, apply
from pocketlens_server.config import Listen, ServerConfig, Tls
from pocketlens_server.folders import CatalogueFolder, ServerFolder
from pocketlens_server.limits import Limits
from pocketlens_server.publishing import releasing, signing
from pocketlens_server.server import serve


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Shop:
    return make_shop(tmp_path_factory.mktemp("shop"), products=40, images_each=2)


@pytest.fixture
def server(shop: Shop, tmp_path: Path) -> Server:
    """A catalogue whose public files lie where a server on disk has them."""
    made = Server.of_shop(shop, tmp_path / "made")
    made.publish()
    on_disk(made, tmp_path / "server")
    return made


@pytest.fixture
def address(server: Server, tmp_path: Path) -> Iterator[str]:
    with serving(tmp_path / "server") as found:
        yield found.grpc


def stub(address: str) -> stubs.SyncServiceStub:
    return stubs.SyncServiceStub(grpc.insecure_channel(address))


def test_a_device_follows_a_server(server: Server, address: str, tmp_path: Path) -> None:
    store = tmp_path / "store"

    def clock() -> datetime:
        return server.now  # the server's versions are of another day

    first = install(store, server=address, root=server.root, clock=clock)
    assert (first.action, first.version) == (Action.INSTALL, 1)
    for stock in range(5):
        apply(server.catalogue.history, PatchProduct("sku-3", stock=stock + 50))
        server.publish()
    report = install(store, server=address, root=server.root, clock=clock)

    assert (report.action, report.before, report.version) == (Action.DELTA, 1, 6)
    assert verify(store).findings == ()
    with Lens.open(store) as lens:
        found = lens.search_vector(server.shop.embeddings[6])
        assert found.best is not None
        assert (found.version, found.best.product.stock) == (6, 54)


@pytest.mark.parametrize(
    ("roots", "padding", "expected"),
    [
        (64, 0, [1]),
        (65, 0, [1, 65]),
        (200, 0, [1, 65, 129, 193]),
        (9, 200_000, [1, 3, 5, 7, 9]),
    ],
)
def test_a_device_that_was_away_for_many_roots_asks_as_often_as_it_must(
    server: Server,
    address: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    roots: int,
    padding: int,
    expected: list[int],
) -> None:
    store = tmp_path / "store"
    install(store, server=address, root=server.root, clock=lambda: server.now)
    more_roots(server, roots, padding=padding)
    server.publish()
    transport = GrpcTransport(address, "main")
    poll, asked = transport._stub.Poll, list[int]()

    def counted(request: messages.PollRequest, **options: Any) -> messages.PollResponse:
        asked.append(request.root)
        return poll(request, **options)

    monkeypatch.setattr(transport._stub, "Poll", counted)

    report = install(
        store, server=address, transport=transport, root=server.root, clock=lambda: server.now
    )
    new = install(tmp_path / "new", server=address, root=server.root, clock=lambda: server.now)

    assert (report.before, report.version) == (1, 2)
    assert asked == expected
    assert new.version == 2
    observed = Observed.of(store, "main", server.now)
    assert observed is not None
    assert f"{roots + 1}.root.json" in observed.trusted.metadata


def test_a_question_for_more_roots_that_fails_is_asked_again(
    server: Server, address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = tmp_path / "store"
    install(store, server=address, root=server.root, clock=lambda: server.now)
    more_roots(server, 100)
    server.publish()
    transport = GrpcTransport(address, "main")
    poll, asked = transport._stub.Poll, list[int]()

    def unreliable(request: messages.PollRequest, **options: Any) -> messages.PollResponse:
        asked.append(request.root)
        if len(asked) == 2:
            raise Busy
        return poll(request, **options)

    monkeypatch.setattr(transport._stub, "Poll", unreliable)
    patient = RetryingTransport(transport, rng=random.Random(1), wait=lambda seconds: None)

    install(store, server=address, transport=patient, root=server.root, clock=lambda: server.now)

    observed = Observed.of(store, "main", server.now)
    assert observed is not None
    assert "101.root.json" in observed.trusted.metadata
    assert asked == [1, 65, 65]


class Busy(grpc.RpcError):
    def code(self) -> grpc.StatusCode:
        return grpc.StatusCode.UNAVAILABLE

    def details(self) -> str:
        return "busy"

    def trailing_metadata(self) -> tuple[tuple[str, str], ...]:
        return ()


def test_the_root_of_a_newer_app_counts(server: Server, address: str, tmp_path: Path) -> None:
    store = tmp_path / "store"
    install(store, server=address, root=server.root, clock=lambda: server.now)
    more_roots(server, 100, other_timestamp_key=True)
    server.publish()
    newer = (server.public / "metadata/90.root.json").read_bytes()

    report = install(store, server=address, root=newer, clock=lambda: server.now)

    assert (report.before, report.version) == (1, 2)


def more_roots(
    server: Server, count: int, *, other_timestamp_key: bool = False, padding: int = 0
) -> None:
    """Root versions that the same keys sign; the last may name another key for timestamps."""
    root = Metadata[Root].from_bytes(server.root)
    for version in range(2, count + 2):
        root.signed.version = version
        if other_timestamp_key and version == count + 1:
            for key in list(root.signed.roles["timestamp"].keyids):
                root.signed.revoke_key(key, "timestamp")
            signer = CryptoSigner.generate_ed25519()
            root.signed.add_key(signer.public_key, "timestamp")
            server.signers["timestamp"] = [signer]
        for number, signer in enumerate(server.signers["root"]):
            root.sign(signer, append=number > 0)
        path = server.public / f"metadata/{version}.root.json"
        path.write_bytes(root.to_bytes() + b" " * padding)


def test_what_has_not_changed_costs_next_to_nothing(
    server: Server, address: str, tmp_path: Path
) -> None:
    service = stub(address)
    new = service.Poll(messages.PollRequest(catalogue="main"), timeout=20)
    names = {file.name.rpartition("/")[2].split(".", 1)[-1] for file in new.files}
    assert names == {
        "root.json",
        "json",
        "snapshot.json",
        "targets.json",
        "models.json",
        "publishing.json",
        "newest",
    }
    versions = {
        "root": 1,
        "timestamp": 3,
        "snapshot": 3,
        "targets": 1,
        "models": 2,
        "publishing": 2,
    }

    same = service.Poll(messages.PollRequest(catalogue="main", version=1, **versions), timeout=20)
    assert same.ByteSize() == 0

    apply(server.catalogue.history, PatchProduct("sku-3", stock=50))
    server.publish()
    changed = service.Poll(
        messages.PollRequest(catalogue="main", version=1, **versions), timeout=20
    )
    assert [name.rpartition("/")[2] for name in (file.name for file in changed.files)][:3] == [
        "timestamp.json",
        "4.snapshot.json",
        "3.publishing.json",
    ]
    assert len(changed.delta) > 0
    assert changed.ByteSize() < 4096
    request = messages.PollRequest(catalogue="main", version=1, without_delta=True, **versions)
    assert service.Poll(request, timeout=20).files == changed.files
    assert service.Poll(request, timeout=20).delta == b""


@pytest.mark.parametrize("allowed", [None, 3000, 64 << 10])
def test_a_delta_comes_unasked_only_where_it_may_be_fetched(
    server: Server, address: str, tmp_path: Path, allowed: int | None
) -> None:
    store = tmp_path / "store"
    install(store, server=address, root=server.root, clock=lambda: server.now)
    for number in range(30):
        apply(server.catalogue.history, PatchProduct(f"sku-{number}", stock=number + 50))
    server.publish()
    options = SyncOptions(max_bytes=allowed)

    def follow(*, only_plan: bool) -> tuple[int, bytes]:
        transport = GrpcTransport(address, "main")
        report = update(
            store,
            transport=transport,
            options=options,
            only_plan=only_plan,
            clock=lambda: server.now,
        )
        return report.fetched_bytes, transport._delta

    planned, came_with_the_plan = follow(only_plan=True)
    fetched, came = follow(only_plan=False)

    assert came_with_the_plan == b""
    assert fetched == planned > 0
    assert (came == b"") == (allowed == 3000)


@pytest.mark.parametrize(
    ("request_", "code"),
    [
        (messages.PollRequest(catalogue="other"), grpc.StatusCode.NOT_FOUND),
        (messages.PollRequest(catalogue="../main"), grpc.StatusCode.NOT_FOUND),
        (messages.PollRequest(catalogue=""), grpc.StatusCode.NOT_FOUND),
        (
            messages.PollRequest(catalogue="main", generation=b"short"),
            grpc.StatusCode.INVALID_ARGUMENT,
        ),
        (messages.PollRequest(catalogue="x" * (1 << 20)), grpc.StatusCode.RESOURCE_EXHAUSTED),
    ],
)
def test_polls_that_cannot_be_answered(
    address: str, request_: messages.PollRequest, code: grpc.StatusCode
) -> None:
    with pytest.raises(grpc.RpcError) as failed:
        stub(address).Poll(request_, timeout=20)

    assert failed.value.code() is code  # type: ignore[attr-defined] # of a call it has one


@pytest.mark.parametrize(
    ("pieces", "code"),
    [
        ([], grpc.StatusCode.INVALID_ARGUMENT),
        ([(bytes(32), 0)] * 65, grpc.StatusCode.INVALID_ARGUMENT),
        ([(bytes(32), 0)], grpc.StatusCode.NOT_FOUND),
        ([(b"../../catalogues", 0)], grpc.StatusCode.NOT_FOUND),
        ([(b"", 0)], grpc.StatusCode.NOT_FOUND),
    ],
)
def test_pieces_that_are_not_there(
    address: str, pieces: list[tuple[bytes, int]], code: grpc.StatusCode
) -> None:
    wanted = [messages.PieceRequest(blob_sha256=sha256, number=n) for sha256, n in pieces]
    request = messages.GetPiecesRequest(catalogue="main", pieces=wanted)

    with pytest.raises(grpc.RpcError) as failed:
        list(stub(address).GetPieces(request, timeout=20))

    assert failed.value.code() is code  # type: ignore[attr-defined] # of a call it has one


@pytest.mark.parametrize("number", [1, 2**20, 2**32 - 1])
def test_there_is_no_piece_beyond_the_end_of_a_blob(
    server: Server, address: str, number: int
) -> None:
    blob = server.catalogue.blobs.put([b"a small one"])
    piece = messages.PieceRequest(blob_sha256=blob.sha256, number=number)
    request = messages.GetPiecesRequest(catalogue="main", pieces=[piece])

    with pytest.raises(grpc.RpcError) as failed:
        list(stub(address).GetPieces(request, timeout=20))

    assert failed.value.code() is grpc.StatusCode.NOT_FOUND  # type: ignore[attr-defined]


def test_a_server_that_is_gone_is_told(server: Server, tmp_path: Path) -> None:
    with pytest.raises(TransportError, match="cannot be reached"):
        install(tmp_path / "store", server="127.0.0.1:9", root=server.root)
    assert not (tmp_path / "store" / "CURRENT").exists()


def test_connections_that_say_nothing_are_closed(server: Server, tmp_path: Path) -> None:
    with serving(tmp_path / "server", ServerConfig(limits=Limits(handshake_seconds=1))) as address:
        silent = [socket.create_connection(("127.0.0.1", address.port)) for _ in range(20)]
        began = monotonic()
        for each in silent:
            each.settimeout(10)
            while each.recv(1000):
                pass
            each.close()

    assert monotonic() - began < 2


def test_connections_without_a_call_are_closed(server: Server, tmp_path: Path) -> None:
    greeting = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0])  # SETTINGS
    with (
        serving(tmp_path / "server", ServerConfig(limits=Limits(idle_seconds=1))) as address,
        socket.create_connection(("127.0.0.1", address.port)) as idle,
    ):
        idle.sendall(greeting)
        idle.settimeout(20)
        began = monotonic()
        while idle.recv(1000):
            pass

    assert 0.5 < monotonic() - began < 15


def test_who_does_not_read_on_holds_a_chunk_and_nobody_up(
    server: Server, address: str, tmp_path: Path
) -> None:
    large = random.Random(1).randbytes(2 * PIECE_BYTES)
    blob = server.catalogue.blobs.put([large])
    wanted = [messages.PieceRequest(blob_sha256=blob.sha256, number=n % 2) for n in range(64)]
    request = messages.GetPiecesRequest(catalogue="main", pieces=wanted)
    channels = [grpc.insecure_channel(address, [("sep", n)]) for n in range(4)]
    calls = [
        stubs.SyncServiceStub(channels[n % 4]).GetPieces(request, timeout=60) for n in range(80)
    ]
    for call in calls[:8]:
        assert next(call).data == large[: 64 << 10]

    install(tmp_path / "store", server=address, root=server.root, clock=lambda: server.now)

    for call in calls:
        call.cancel()
    for channel in channels:
        channel.close()


@pytest.mark.parametrize("what", ["no timestamp", "no database", "files run out"])
def test_a_catalogue_that_fails_stops_no_signing_of_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    now = datetime.now(UTC)
    folder = ServerFolder.create(
        tmp_path / "s", offline_keys=tmp_path / "k", now=now - timedelta(days=2)
    )
    folder.add_catalogue("another", now=now)
    if what == "no timestamp":
        (folder.path / "public/another/metadata/timestamp.json").unlink()
    if what == "no database":
        (folder.path / "catalogues/another/catalogue.sqlite").write_bytes(b"rot" * 9000)
    refresh, failed = releasing.refresh, list[str]()

    def without_files(catalogue: CatalogueFolder, *, now: datetime) -> bool:
        if catalogue.name == "another" and what == "files run out":
            raise OSError(24, "Too many open files")
        try:
            return refresh(catalogue, now=now)
        except ServerError:
            failed.append(catalogue.name)
            raise

    monkeypatch.setattr(releasing, "refresh", without_files)
    with serving(folder.path):
        public = folder.catalogue("main").public
        ends = monotonic() + 20
        while monotonic() < ends:
            signed = {each.role: each.expires for each in signing.status(public)}
            if signed["timestamp"] > now + timedelta(days=2):
                break
            sleep(0.05)

    assert signed["timestamp"] > now + timedelta(days=2)
    assert failed == (["another"] if what != "files run out" else [])


def test_without_tls_only_the_loopback_is_served(server: Server, tmp_path: Path) -> None:
    folder = ServerFolder(tmp_path / "server")

    with pytest.raises(ServerError, match="Expected TLS to listen on"):
        asyncio.run(serve(folder, ServerConfig(Listen("0.0.0.0", 0))))  # noqa: S104 # refused


def test_what_only_the_operator_can_mend_is_not_told_to_devices(
    server: Server, address: str, caplog: pytest.LogCaptureFixture
) -> None:
    (server.public / "metadata" / "timestamp.json").write_text("rot")

    with pytest.raises(grpc.RpcError) as failed:
        stub(address).Poll(messages.PollRequest(catalogue="main"), timeout=20)

    assert failed.value.code() is grpc.StatusCode.INTERNAL  # type: ignore[attr-defined]
    assert failed.value.details() == "The server failed."  # type: ignore[attr-defined]
    assert str(server.public) not in str(failed.value)
    assert "are damaged" in caplog.text


@pytest.mark.parametrize("wrong", ["certificate", "key"])
def test_a_certificate_that_cannot_be_used_is_told(
    server: Server, tmp_path: Path, wrong: str
) -> None:
    made = make_certificates(tmp_path / "tls")
    getattr(made, wrong).write_text("no PEM")

    with pytest.raises(ServerError, match="cannot be used"):
        asyncio.run(
            serve(
                ServerFolder(tmp_path / "server"),
                ServerConfig(Listen(port=0), Tls(made.certificate, made.key)),
            )
        )

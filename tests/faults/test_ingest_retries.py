"""The same request after a failure at any point is answered, and applied once.

The short form of benchmarks/faults/ingest_retries.py.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import errno
import random
import sqlite3
from collections.abc import Callable
from contextlib import closing, suppress
from dataclasses import replace
from pathlib import Path

import grpc
import pytest
from tests.making.backend_contents import contents_of
from tests.making.backend_processes import BackendProcesses
from tests.making.backend_retries import REQUESTS, cut_streams, disk_rounds
from tests.making.backend_shop import NOW, backend_folder, sent
from tests.making.fault_shim import KILL, TAKES_ROOM, Fault, Kind
from tests.making.serving import serving
from tests.making.tiles import TileShop, tile

from pocketlens.errors import ServerError
from pocketlens.products import Image, Product
from pocketlens_protos.v1 import catalog_service_pb2 as messages
from pocketlens_protos.v1 import catalog_service_pb2_grpc as stubs
from pocketlens_server.catalogue.ingest import Ingest
from pocketlens_server.catalogue.operations import PatchProduct, PutImage, PutProduct
from pocketlens_server.catalogue.results import Result
from pocketlens_server.client import CatalogueClient
from pocketlens_server.client.connections import Patience

EVERY, CUTS, EACH = 30, 25, 8  # calls; the long form takes each
FULL = Fault(errno.ENOSPC, kinds=TAKES_ROOM)
FAULTS = {
    "a kill": Fault(KILL),
    "no room, once": FULL,
    "no room, for good": replace(FULL, lasting=True),
    "a flush that fails": Fault(errno.EIO, kinds=Kind.SYNC),
}


@pytest.mark.parametrize("is_kept", [False, True], ids=["a process a time", "a server that runs"])
@pytest.mark.parametrize("name", FAULTS)
def test_requests_after_a_failure_of_the_disk_or_the_process_are_applied_once(
    backend_processes: BackendProcesses, scratch: Path, name: str, *, is_kept: bool
) -> None:
    every = 5 if name == "a flush that fails" else EVERY

    done = list(
        disk_rounds(backend_processes, scratch, FAULTS[name], is_kept=is_kept, every=every, first=3)
    )

    assert [each.complaints for each in done if each.complaints] == []
    assert sum(each.doubled for each in done) == 0
    assert sum(each.retried for each in done) >= REQUESTS
    if name.startswith("no room"):
        assert "StoreFull" in {each.ending.error for each in done}


def test_requests_after_a_connection_was_cut_are_applied_once(scratch: Path) -> None:
    shop = TileShop(scratch / "cut streams", {})
    with serving(shop.folder / "server") as address:
        found = cut_streams(shop.catalogue, address.port, random.Random(24), cuts=CUTS, each=EACH)

    assert found.differences == []
    assert (found.doubled, found.lost) == (0, 0)
    assert found.operations >= CUTS * EACH
    assert found.results["cut"] > CUTS // 4
    assert found.results["repeated"] > 0


def test_a_request_while_another_process_writes_is_applied_once_when_it_comes_again(
    tmp_path: Path,
) -> None:
    folder = replace(backend_folder(tmp_path / "main"), busy_seconds=0.05)
    ingest = Ingest(folder, clock=lambda: NOW)
    job = ingest.open(caller="shop").number
    put = [sent(job, PutProduct(Product("mug")), id_="put")]
    before = contents_of(folder)
    with closing(sqlite3.connect(folder.database, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(ServerError, match="locked"):
            ingest.submit(put)

    assert contents_of(folder) == before
    assert [each.is_repeated for _ in range(2) for each in ingest.submit(put)] == [False, True]


def test_a_full_disk_is_told_and_with_room_everybody_goes_on(
    small_disk: Callable[[int], Path],
) -> None:
    disk = small_disk(3 << 20)
    shop = TileShop(disk / "shop", {})
    ballast = disk / "ballast"
    patience = Patience(seconds=60, first_seconds=0.02, longest_seconds=0.1)
    with (
        serving(shop.folder / "server") as address,
        CatalogueClient(address.grpc, patience=patience) as client,
        client.stream() as stream,
    ):
        stream.send(PutProduct(Product("mug", stock=0))).result(20)
        stream.send(PutImage(Image("i"), b"", ["mug"]), picture=tile(1)).result(20)
        while client.status().waiting_pictures:
            pass  # what embedding gives back would be room
        fill(ballast)

        assert status_of_a_put(address.grpc) == "RESOURCE_EXHAUSTED"
        fill(ballast)  # what that has given back
        shown = stream.send(PutImage(Image("j"), b"", ["mug"]), picture=tile(2))
        waiting = [stream.send(PatchProduct("mug", stock=number)) for number in range(1, 20)]
        with pytest.raises(TimeoutError):
            shown.result(0.2)
        ballast.unlink()

        assert {each.result(30).result for each in waiting} == {Result.APPLIED}
        assert shown.result(30).result in (Result.WAITING, Result.APPLIED)
        assert client.apply(PatchProduct("mug", stock=99)).result is Result.APPLIED
    assert contents_of(shop.catalogue).products["mug"].stock == 99
    assert not list(disk.rglob("*.tmp"))


def fill(ballast: Path) -> None:
    """Takes all room of a disk."""
    with suppress(OSError), ballast.open("ab", buffering=0) as file:
        while file.write(bytes(4096)):
            pass


def status_of_a_put(address: str) -> str:
    """What a server says to a stream of one large product."""
    product = messages.PutProduct()
    product.product.id, product.product.title = "large", "x" * 8000
    requests = [
        messages.IngestRequest(catalogue="main", open=messages.OpenJob()),
        messages.IngestRequest(operation=messages.Operation(request_id="l", put_product=product)),
    ]
    with grpc.insecure_channel(address) as channel, pytest.raises(grpc.RpcError) as caught:
        list(stubs.CatalogServiceStub(channel).Ingest(iter(requests), timeout=20))
    return str(caught.value.code().name)

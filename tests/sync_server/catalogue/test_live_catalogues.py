"""Catalogues that are served stop soon, whatever waits to be embedded."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import asyncio
import os
import sys
import threading
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import pytest
from tests.making.backend_shop import NOW, add_model, sent
from tests.making.held_pictures import HeldPicture

from pocketlens.errors import NotFound, ServerUnavailable
from pocketlens.products import Image, Product
from pocketlens_server.catalogue.ingest import Ingest
from pocketlens_server.catalogue.live_catalogues import LiveCatalogues
from pocketlens_server.catalogue.operations import PutImage, PutProduct
from pocketlens_server.folders import CatalogueFolder, ServerFolder


@pytest.fixture
def server(tmp_path: Path) -> ServerFolder:
    return ServerFolder.create(tmp_path / "server", offline_keys=tmp_path / "keys", now=NOW)


def held_pictures(folder: CatalogueFolder, count: int) -> list[HeldPicture]:
    """Pictures of images that wait; who decodes one is in the middle of it until it is let go."""
    ingest = Ingest(folder, clock=lambda: NOW)
    job = ingest.open(caller="shop").number
    ingest.submit([sent(job, PutProduct(Product("mug")))])
    held = []
    for number in range(count):
        sha256 = number.to_bytes(32, "big")
        folder.picture(sha256).parent.mkdir(exist_ok=True)
        held.append(HeldPicture(folder.picture(sha256)))
        put = PutImage(Image(f"i{number}"), sha256, ["mug"])
        ingest.submit([sent(job, put, has_picture=True)])
    return held


def let_go(held: Sequence[HeldPicture], until: threading.Event) -> int:
    """Lets go whatever somebody is in the middle of, until it is told to end; how many it let."""
    left = [each.path for each in held]
    while not until.wait(0.002):
        for path in list(left):
            with suppress(OSError):  # nobody reads it
                os.close(os.open(path, os.O_WRONLY | os.O_NONBLOCK))
                left.remove(path)
    return len(held) - len(left)


@pytest.mark.skipif(sys.platform != "linux", reason="a pipe is opened as Linux does")
def test_stopping_waits_for_the_pictures_at_hand_and_no_others(
    server: ServerFolder, caplog: pytest.LogCaptureFixture
) -> None:
    folder = server.catalogue("main")
    add_model(folder)
    held = held_pictures(folder, 60)

    async def begun() -> int:
        lives, stopped = LiveCatalogues(server, clock=lambda: NOW), threading.Event()
        lives.start()
        await asyncio.to_thread(held[0].wait_until_read)
        stopping = asyncio.create_task(lives.stop())
        stopping.add_done_callback(lambda _: stopped.set())
        held[0].let_go()
        letting_go = asyncio.create_task(asyncio.to_thread(let_go, held[1:], stopped))
        await stopping
        return 1 + await letting_go

    # Of so many, eight are at hand at most, and a few more may begin before it knows.
    assert asyncio.run(begun()) < len(held) / 2

    with folder.reading() as tables:
        assert tables.waiting.count() == len(held)  # for the next start
    assert "embedding.failed" not in caplog.text


def test_who_comes_too_late_is_told_to_come_again(server: ServerFolder) -> None:
    async def stopped() -> None:
        lives = LiveCatalogues(server, clock=lambda: NOW)
        with pytest.raises(NotFound, match="'nowhere'"):
            lives.get("nowhere")
        await lives.stop()
        with pytest.raises(ServerUnavailable):
            lives.get("main")

    asyncio.run(stopped())

"""What a caller has begun to send, and will not finish, is not kept."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import TypeVar

import pytest
from tests.making.backend_shop import NOW, backend_folder

from pocketlens_protos.v1 import catalog_pb2 as nouns
from pocketlens_protos.v1 import catalog_service_pb2 as messages
from pocketlens_server import callers
from pocketlens_server.catalogue.decoders import Decoders
from pocketlens_server.catalogue.live_catalogue import LiveCatalogue
from pocketlens_server.folders import CatalogueFolder
from pocketlens_server.services.ingesting import Ingesting
from pocketlens_server.telemetry import Telemetry

Value = TypeVar("Value")
PICTURE = b"a picture that comes in parts"


class Stalling(LiveCatalogue):
    """A catalogue whose disk stands still after so many pieces of work on pictures.

    Attributes:
        works: That are still done.
        stands_still: Set when one is not.
    """

    works: int
    stands_still: asyncio.Event

    async def keep(self, work: Callable[[], Value]) -> Value:
        if self.works == 0:
            self.stands_still.set()
            await asyncio.Event().wait()
        self.works -= 1
        return await super().keep(work)


@pytest.mark.parametrize("works", [0, 1, 2], ids=["no part", "half", "all but its name"])
def test_a_picture_whose_caller_goes_leaves_no_file(works: int, tmp_path: Path) -> None:
    folder = backend_folder(tmp_path / "main")

    asyncio.run(cut_off(folder, works=works))

    assert [each for each in (folder.folder / "pictures").rglob("*") if each.is_file()] == []


async def cut_off(folder: CatalogueFolder, *, works: int) -> None:
    """Sends a picture in two parts, and goes when the server stands still."""
    put = messages.PutImage(
        image=nouns.Image(id="i"), product_ids=["mug"], picture_bytes=len(PICTURE)
    )

    async def requests() -> AsyncIterator[messages.IngestRequest]:
        yield messages.IngestRequest(catalogue="main", open=messages.OpenJob())
        yield messages.IngestRequest(operation=messages.Operation(request_id="r", put_image=put))
        yield messages.IngestRequest(picture_part=PICTURE[:9])
        yield messages.IngestRequest(picture_part=PICTURE[9:])

    callers.enter(callers.INSECURE)
    with Decoders(workers=1) as decoders:
        live = Stalling(folder, clock=lambda: NOW, decoders=decoders, telemetry=Telemetry())
        live.works, live.stands_still = works, asyncio.Event()
        live.start()
        responses = Ingesting(live, requests()).responses()
        await anext(responses)
        answering = asyncio.create_task(anext(responses))
        await live.stands_still.wait()
        answering.cancel()
        await asyncio.gather(answering, return_exceptions=True)
        await live.stop()

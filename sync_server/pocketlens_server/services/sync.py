"""SyncService: what devices ask, answered from the public files alone."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import grpc.aio

from pocketlens.errors import InvalidOperation, NotFound
from pocketlens.formats.manifest import PIECE_BYTES
from pocketlens_protos.v1 import sync_service_pb2 as messages
from pocketlens_protos.v1 import sync_service_pb2_grpc as stubs
from pocketlens_server.folders import CatalogueFolder, ServerFolder
from pocketlens_server.publishing import answers
from pocketlens_server.publishing.ahead import Sightings
from pocketlens_server.publishing.answers import Asked, Remembered
from pocketlens_server.services.answering import answered

MAX_PIECES = 64  # in one request
CHUNK_BYTES = 64 << 10
_ROLES = ("root", "timestamp", "snapshot", "targets", "models", "publishing")


class SyncService(stubs.SyncServiceServicer):
    """Answers devices; files are read in threads, so that a slow disk holds few others up."""

    def __init__(
        self, server: ServerFolder, sightings: Sightings, *, counted: Callable[[str], None]
    ) -> None:
        """Answers from a server's folder.

        Args:
            server: The server.
            sightings: Where devices are noted that have what the server has not.
            counted: Called with the name of the catalogue at each poll of such a device.
        """
        self._server, self._sightings, self._counted = server, sightings, counted
        self._remembered = Remembered()

    async def Poll(  # noqa: N802 # as the service names it
        self, request: messages.PollRequest, context: grpc.aio.ServicerContext
    ) -> messages.PollResponse:
        """See sync_service.proto."""
        async with answered(context):
            if len(request.generation) not in (0, 32):
                raise InvalidOperation(
                    "Expected a generation of 0 or 32 bytes. Received "
                    f"{len(request.generation)} bytes."
                )
            asked = Asked(
                bytes(request.generation),
                request.version,
                {role: getattr(request, role) for role in _ROLES},
                request.without_delta,
            )
            catalogue = self._catalogue(request.catalogue)
            answer, moment = self._remembered.find(catalogue.public, asked)
            if answer is None:
                answer = await asyncio.to_thread(answers.newer, catalogue.public, asked)
                if await asyncio.to_thread(self._sightings.notice, catalogue, asked, answer):
                    self._counted(catalogue.name)
                elif moment is not None:
                    self._remembered.keep(catalogue.public, asked, answer, moment)
        return messages.PollResponse(
            files=[messages.File(name=name, data=data) for name, data in answer.files.items()],
            delta=answer.delta,
        )

    async def GetPieces(  # noqa: N802 # as the service names it
        self, request: messages.GetPiecesRequest, context: grpc.aio.ServicerContext
    ) -> AsyncIterator[messages.PieceChunk]:
        """See sync_service.proto."""
        async with answered(context):
            if not 1 <= len(request.pieces) <= MAX_PIECES:
                raise InvalidOperation(
                    f"Expected 1 to {MAX_PIECES} pieces. Received {len(request.pieces)}."
                )
            blobs = self._catalogue(request.catalogue).public / "blobs"
            for place, piece in enumerate(request.pieces):
                for start in range(0, PIECE_BYTES, CHUNK_BYTES):
                    # No more than a chunk in memory for each who does not read on.
                    data = await asyncio.to_thread(_chunk, blobs, piece, start)
                    if not data:
                        break
                    yield messages.PieceChunk(place=place, data=data)

    def _catalogue(self, catalogue: str) -> CatalogueFolder:
        try:
            return self._server.catalogue(catalogue)
        except NotFound as exc:  # whose text names the others
            raise NotFound(f"There is no catalogue {catalogue[:64]!r}.") from exc


def _chunk(blobs: Path, piece: messages.PieceRequest, start: int) -> bytes:
    """What lies at a place of a piece; nothing beyond its end."""
    if len(piece.blob_sha256) != 32:
        raise NotFound("Expected the SHA-256 of a blob, 32 bytes.")
    name, at, data = piece.blob_sha256.hex(), piece.number * PIECE_BYTES + start, b""
    try:
        with (blobs / name).open("rb") as file:
            if at < os.fstat(file.fileno()).st_size:  # no place that the file system cannot have
                file.seek(at)
                data = file.read(CHUNK_BYTES)
    except FileNotFoundError as exc:
        raise NotFound(f"There is no blob {name}.") from exc
    if not data and start == 0:
        raise NotFound(f"There is no piece {piece.number} of the blob {name}.")
    return data

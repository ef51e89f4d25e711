"""SyncService: what devices ask, answered from the public files alone."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import grpc.aio

from pocketlens.errors import ServerError
from pocketlens.formats.manifest import PIECE_BYTES
from pocketlens_protos.v1 import sync_service_pb2 as messages
from pocketlens_protos.v1 import sync_service_pb2_grpc as stubs
from pocketlens_server.folders import ServerFolder
from pocketlens_server.publishing import answers
from pocketlens_server.publishing.answers import Asked

MAX_PIECES = 64  # in one request
CHUNK_BYTES = 64 << 10
_ROLES = ("root", "timestamp", "snapshot", "targets", "models", "publishing")


class SyncService(stubs.SyncServiceServicer):
    """Answers devices; files are read in threads, so that a slow disk holds nobody else up."""

    def __init__(self, server: ServerFolder) -> None:
        self._server = server

    async def Poll(  # noqa: N802 # as the service names it
        self, request: messages.PollRequest, context: grpc.aio.ServicerContext
    ) -> messages.PollResponse:
        """See sync_service.proto."""
        if len(request.generation) not in (0, 32):
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, "generation: 0 or 32 bytes")
        folder = await self._folder(request.catalogue, context)
        asked = Asked(
            bytes(request.generation),
            request.version,
            {role: getattr(request, role) for role in _ROLES},
        )
        answer = await asyncio.to_thread(answers.newer, folder, asked)
        return messages.PollResponse(
            files=[messages.File(name=name, data=data) for name, data in answer.files.items()],
            delta=answer.delta,
        )

    async def GetPieces(  # noqa: N802 # as the service names it
        self, request: messages.GetPiecesRequest, context: grpc.aio.ServicerContext
    ) -> AsyncIterator[messages.PieceChunk]:
        """See sync_service.proto."""
        if not 1 <= len(request.pieces) <= MAX_PIECES:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, f"1 to {MAX_PIECES} pieces")
        folder = await self._folder(request.catalogue, context)
        for place, piece in enumerate(request.pieces):
            path = folder / "blobs" / bytes(piece.blob_sha256).hex()
            if len(piece.blob_sha256) != 32 or not path.is_file():
                await context.abort(grpc.StatusCode.NOT_FOUND, "no such blob")
            data = await asyncio.to_thread(_piece, path, piece.number)
            if not data:
                await context.abort(grpc.StatusCode.OUT_OF_RANGE, "no such piece")
            for start in range(0, len(data), CHUNK_BYTES):
                yield messages.PieceChunk(place=place, data=data[start : start + CHUNK_BYTES])

    async def _folder(self, catalogue: str, context: grpc.aio.ServicerContext) -> Path:
        try:
            return self._server.catalogue(catalogue).public
        except ServerError:
            await context.abort(grpc.StatusCode.NOT_FOUND, "no such catalogue")
            raise  # never reached: abort raises


def _piece(path: Path, number: int) -> bytes:
    with path.open("rb") as file:
        file.seek(number * PIECE_BYTES)
        return file.read(PIECE_BYTES)

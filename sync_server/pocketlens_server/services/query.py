"""QueryService: photos, vectors and products to products, in the words of values."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import grpc.aio

from pocketlens.errors import QueryError
from pocketlens.fallback import messages as codec
from pocketlens.query.filters import Filter
from pocketlens_protos.v1 import query_service_pb2 as messages
from pocketlens_protos.v1 import query_service_pb2_grpc as stubs
from pocketlens_server.query.queries import MATCHES, Photo, Queries, Vector
from pocketlens_server.query.questions import AutoCategory
from pocketlens_server.services.answering import answered


class QueryService(stubs.QueryServiceServicer):
    """Answers who looks for products."""

    def __init__(self, queries: Queries) -> None:
        self._queries = queries

    async def Search(  # noqa: N802 # as the service names it
        self, request: messages.SearchRequest, context: grpc.aio.ServicerContext
    ) -> messages.SearchResponse:
        """See query_service.proto."""
        async with answered(context):
            found = await self._queries.search(
                request.catalogue,
                _query(request),
                k=request.k or MATCHES,
                wanted=_wanted(request),
                auto_category=_auto_category(request),
                within=context.time_remaining(),
            )
        return codec.result_message(found)

    async def Similar(  # noqa: N802
        self, request: messages.SimilarRequest, context: grpc.aio.ServicerContext
    ) -> messages.SearchResponse:
        """See query_service.proto."""
        async with answered(context):
            to = request.WhichOneof("to")
            found = await self._queries.similar(
                request.catalogue,
                product=request.product if to == "product" else None,
                image=request.image if to == "image" else None,
                k=request.k or MATCHES,
                wanted=_wanted(request),
                variety=request.variety,
                within=context.time_remaining(),
            )
        return codec.result_message(found)

    async def Embed(  # noqa: N802
        self, request: messages.EmbedRequest, context: grpc.aio.ServicerContext
    ) -> messages.EmbedResponse:
        """See query_service.proto."""
        async with answered(context):
            by_bundle = request.model == messages.EmbedRequest.BUNDLE
            photo = Photo(request.photo, _box(request))
            found = await self._queries.embed(
                request.catalogue, photo, by_bundle=by_bundle, within=context.time_remaining()
            )
        return messages.EmbedResponse(
            values=codec.embedding_bytes(found.embedding),
            pipeline=found.pipeline,
            generation=bytes.fromhex(found.generation),
            accelerator=found.accelerator,
            timings=codec.timings_message(found.timings),
        )


def _query(request: messages.SearchRequest) -> Photo | Vector:
    kind = request.WhichOneof("query")
    if kind == "photo":
        return Photo(request.photo, _box(request))
    if kind != "embedding":
        raise QueryError("Expected a photo or an embedding.")
    if request.HasField("box"):
        raise QueryError("Expected no box with an embedding: it is of what was embedded.")
    if len(request.embedding.generation) not in (0, 32):
        raise QueryError(
            "Expected a generation of 0 or 32 bytes. Received "
            f"{len(request.embedding.generation)} bytes."
        )
    return Vector(request.embedding.generation, request.embedding.values)


def _wanted(request: messages.SearchRequest | messages.SimilarRequest) -> Filter | None:
    return codec.filter_of(request.filter) if request.HasField("filter") else None


def _auto_category(request: messages.SearchRequest) -> AutoCategory | None:
    known: dict[int, AutoCategory | None] = {
        messages.SearchRequest.OFF: None,
        messages.SearchRequest.SEARCH: "search",
        messages.SearchRequest.TELL: "tell",
    }
    if request.auto_category not in known:
        raise QueryError(
            f"Expected auto_category of {min(known)} to {max(known)}. "
            f"Received {request.auto_category}."
        )
    return known[request.auto_category]


def _box(
    request: messages.SearchRequest | messages.EmbedRequest,
) -> tuple[float, float, float, float] | None:
    box = request.box
    return (box.left, box.top, box.right, box.bottom) if request.HasField("box") else None

"""QueryService: photos, vectors and products to products, in the words of values."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import grpc.aio

from pocketlens.errors import QueryError
from pocketlens.fallback import messages as codec
from pocketlens.products import Price
from pocketlens.query.filters import Filter
from pocketlens_protos.v1 import catalog_pb2 as nouns
from pocketlens_protos.v1 import query_service_pb2 as messages
from pocketlens_protos.v1 import query_service_pb2_grpc as stubs
from pocketlens_server.query.queries import MATCHES, Photo, Queries, Vector
from pocketlens_server.query.questions import AutoCategory, Valued
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

    async def EstimatePrice(  # noqa: N802
        self, request: messages.EstimatePriceRequest, context: grpc.aio.ServicerContext
    ) -> messages.EstimatePriceResponse:
        """See query_service.proto."""
        async with answered(context):
            found = await self._queries.estimate(
                request.catalogue,
                _query(request),
                wanted=_wanted(request),
                within=context.time_remaining(),
            )
        return _valued_message(found)

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


def _valued_message(found: Valued) -> messages.EstimatePriceResponse:
    price, band = found.estimate.price, found.estimate.price.band
    return messages.EstimatePriceResponse(
        currency=price.currency,
        band=None
        if band is None
        else messages.PriceBand(
            low=_price_message(band.low),
            middle=_price_message(band.middle),
            high=_price_message(band.high),
        ),
        items=[
            messages.Sale(
                product=codec.product_message(each.product),
                similarity=each.similarity,
                age_days=each.age_days,
                weight=each.weight,
            )
            for each in price.items
        ],
        suggestions=[
            messages.Suggestion(
                name=each.name, value=each.value, share=each.share, votes=each.votes
            )
            for each in found.estimate.suggestions
        ],
        fitted_on=price.weighting.fitted_on,
        generation=bytes.fromhex(found.generation),
        version=found.version,
        answered_by=found.pipeline,
        accelerator=found.accelerator,
        timings=codec.timings_message(found.timings),
    )


def _price_message(price: Price) -> nouns.Price:
    return nouns.Price(minor_units=price.minor_units, currency=price.currency)


def _query(request: messages.SearchRequest | messages.EstimatePriceRequest) -> Photo | Vector:
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


def _wanted(
    request: messages.SearchRequest | messages.SimilarRequest | messages.EstimatePriceRequest,
) -> Filter | None:
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
    request: messages.SearchRequest | messages.EstimatePriceRequest | messages.EmbedRequest,
) -> tuple[float, float, float, float] | None:
    box = request.box
    return (box.left, box.top, box.right, box.bottom) if request.HasField("box") else None

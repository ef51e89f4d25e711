"""CatalogService: what backends ask, in the words of values."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from datetime import datetime

import grpc.aio
import numpy as np

from pocketlens.errors import BundleError, InvalidOperation, ServerError
from pocketlens_protos.v1 import catalog_service_pb2 as messages
from pocketlens_protos.v1 import catalog_service_pb2_grpc as stubs
from pocketlens_server import callers
from pocketlens_server.catalogue import settling
from pocketlens_server.catalogue.live_catalogue import LiveCatalogue
from pocketlens_server.catalogue.live_catalogues import LiveCatalogues
from pocketlens_server.publishing import comparing, releasing
from pocketlens_server.publishing.gate_limits import Gate
from pocketlens_server.publishing.releasing import Terms
from pocketlens_server.services import catalog_messages
from pocketlens_server.services.answering import answered
from pocketlens_server.services.ingesting import Ingesting
from pocketlens_server.storage.jobs import JobState

MAX_LISTED, LISTED = 1000, 100
_LONGEST_WAIT_SECONDS = 3600.0
_TO_ANSWER_SECONDS = 0.5  # before the caller's deadline


class CatalogService(stubs.CatalogServiceServicer):
    """Answers backends; every call waits for threads of its catalogue, never in the loop."""

    def __init__(self, lives: LiveCatalogues, *, clock: Callable[[], datetime]) -> None:
        self._lives, self._clock = lives, clock

    async def Ingest(  # noqa: N802 # as the service names it
        self,
        requests: AsyncIterator[messages.IngestRequest],
        context: grpc.aio.ServicerContext,
    ) -> AsyncIterator[messages.IngestResponse]:
        """See catalog_service.proto."""
        async with answered(context):
            first = await anext(requests, None)
            if first is None:
                raise InvalidOperation("Expected `open` in the first message of a stream.")
            ingesting = Ingesting(self._live(first.catalogue), _behind(first, requests))
            async with aclosing(ingesting.responses()) as responses:
                async for response in responses:
                    yield response

    async def GetJob(  # noqa: N802
        self, request: messages.GetJobRequest, context: grpc.aio.ServicerContext
    ) -> messages.GetJobResponse:
        """See catalog_service.proto."""
        async with answered(context):
            live = self._live(request.catalogue)
            job = await live.ask(lambda: live.job(request.job))
        return messages.GetJobResponse(job=catalog_messages.job_message(job))

    async def WaitForJob(  # noqa: N802
        self, request: messages.WaitForJobRequest, context: grpc.aio.ServicerContext
    ) -> messages.WaitForJobResponse:
        """See catalog_service.proto."""
        async with answered(context):
            left = context.time_remaining()
            seconds = _LONGEST_WAIT_SECONDS if left is None else left - _TO_ANSWER_SECONDS
            if request.milliseconds:
                seconds = min(seconds, request.milliseconds / 1000)
            live = self._live(request.catalogue)
            await live.ask(lambda: _check_ends(live, request.job))
            job = await live.wait_for(request.job, seconds=seconds)
        return messages.WaitForJobResponse(job=catalog_messages.job_message(job))

    async def ListJobs(  # noqa: N802
        self, request: messages.ListJobsRequest, context: grpc.aio.ServicerContext
    ) -> messages.ListJobsResponse:
        """See catalog_service.proto."""
        async with answered(context):
            limit, live = _limit(request.limit), self._live(request.catalogue)
            found = await live.ask(lambda: live.jobs(limit=limit, before=request.before))
        return messages.ListJobsResponse(jobs=map(catalog_messages.job_message, found))

    async def CancelJob(  # noqa: N802
        self, request: messages.CancelJobRequest, context: grpc.aio.ServicerContext
    ) -> messages.CancelJobResponse:
        """See catalog_service.proto."""
        async with answered(context):
            live = self._live(request.catalogue)
            job = await live.change(lambda: live.ingest.cancel(request.job))
        return messages.CancelJobResponse(job=catalog_messages.job_message(job))

    async def ListDeadLetters(  # noqa: N802
        self, request: messages.ListDeadLettersRequest, context: grpc.aio.ServicerContext
    ) -> messages.ListDeadLettersResponse:
        """See catalog_service.proto."""
        async with answered(context):
            limit, live = _limit(request.limit), self._live(request.catalogue)
            found = await live.ask(lambda: live.dead_letters(limit=limit, after=request.after))
        return messages.ListDeadLettersResponse(letters=map(catalog_messages.letter_message, found))

    async def RetryDeadLetters(  # noqa: N802
        self, request: messages.RetryDeadLettersRequest, context: grpc.aio.ServicerContext
    ) -> messages.RetryDeadLettersResponse:
        """See catalog_service.proto."""
        async with answered(context):
            live = self._live(request.catalogue)
            retried = await live.change(lambda: settling.retry(live.folder, request.numbers))
            live.embed_soon()
        return messages.RetryDeadLettersResponse(retried=retried)

    async def PurgeDeadLetters(  # noqa: N802
        self, request: messages.PurgeDeadLettersRequest, context: grpc.aio.ServicerContext
    ) -> messages.PurgeDeadLettersResponse:
        """See catalog_service.proto."""
        async with answered(context):
            live = self._live(request.catalogue)
            purged = await live.change(lambda: settling.purge(live.folder, request.numbers))
        return messages.PurgeDeadLettersResponse(purged=purged)

    async def Publish(  # noqa: N802
        self, request: messages.PublishRequest, context: grpc.aio.ServicerContext
    ) -> messages.PublishResponse:
        """See catalog_service.proto."""
        async with answered(context):
            live, terms = self._live(request.catalogue), _terms(request)
            published = await live.publish(
                lambda: releasing.publish(
                    live.folder, now=self._clock(), rng=np.random.default_rng(0), terms=terms
                )
            )
            if published is not None:  # by the next look another may have published the newest
                manifests = list(published.manifests)
            else:
                manifests = await live.ask(lambda: releasing.newest(live.folder))
        return messages.PublishResponse(
            version=manifests[-1].version if manifests else 0,
            is_new=published is not None,
            generations=[
                messages.ServedGeneration(
                    id=each.generation,
                    state_hash=each.state_hash,
                    images=each.images,
                    products=each.products,
                    snapshot_version=each.snapshot.head,
                    snapshot_bytes=each.snapshot.blob.size,
                )
                for each in manifests
            ],
        )

    async def Diff(  # noqa: N802
        self, request: messages.DiffRequest, context: grpc.aio.ServicerContext
    ) -> messages.DiffResponse:
        """See catalog_service.proto."""
        async with answered(context):
            limit, live = _limit(request.limit), self._live(request.catalogue)
            found = await live.compare(
                lambda: comparing.compare(live.folder, request.base, request.head, listed=limit)
            )
        return catalog_messages.comparison_message(found)

    async def Rollback(  # noqa: N802
        self, request: messages.RollbackRequest, context: grpc.aio.ServicerContext
    ) -> messages.RollbackResponse:
        """See catalog_service.proto."""
        async with answered(context):
            live = self._live(request.catalogue)
            parent = request.parent if request.HasField("parent") else None
            changed = await live.change(
                lambda: releasing.roll_back(live.folder, request.version, parent=parent)
            )
        return messages.RollbackResponse(changed=changed)

    async def Replace(  # noqa: N802
        self, request: messages.ReplaceRequest, context: grpc.aio.ServicerContext
    ) -> messages.ReplaceResponse:
        """See catalog_service.proto."""
        async with answered(context):
            live, caller = self._live(request.catalogue), callers.current().id
            lost_share = request.lost_share if request.HasField("lost_share") else None
            found = await live.change(
                lambda: live.ingest.replace(
                    request.job, caller=caller, revision=request.revision, lost_share=lost_share
                )
            )
        return messages.ReplaceResponse(
            deleted_products=found.products,
            deleted_images=found.images,
            job=catalog_messages.job_message(found.job),
        )

    async def GetCatalogue(  # noqa: N802
        self, request: messages.GetCatalogueRequest, context: grpc.aio.ServicerContext
    ) -> messages.GetCatalogueResponse:
        """See catalog_service.proto."""
        async with answered(context):
            live = self._live(request.catalogue)
            found = await live.ask(lambda: comparing.status(live.folder))
        return catalog_messages.status_message(found)

    def _live(self, catalogue: str) -> LiveCatalogue:
        return self._lives.get(catalogue)


async def _behind(
    first: messages.IngestRequest, requests: AsyncIterator[messages.IngestRequest]
) -> AsyncIterator[messages.IngestRequest]:
    yield first
    async for request in requests:
        yield request


def _check_ends(live: LiveCatalogue, number: int) -> None:
    """Refuses to wait for a job whose pictures nothing will embed."""
    with live.folder.reading() as tables:
        is_embedding = tables.jobs.get(number).state is JobState.EMBEDDING
        if is_embedding and not tables.vectors.bundles():
            raise BundleError(
                "Expected a model, for which the job's pictures wait. Nothing need be sent again "
                "when there is one: pocketlens-server model add SHOP.tflite"
            )


def _limit(asked: int) -> int:
    if asked > MAX_LISTED:
        raise InvalidOperation(f"Expected a limit of {MAX_LISTED:,} at most. Received {asked:,}.")
    return asked or LISTED


def _terms(request: messages.PublishRequest) -> Terms:
    known = {each.value: each for each in Gate}
    unknown = [each for each in request.allowed_gates if each not in known]
    if unknown:
        raise InvalidOperation(f"Expected gates of {', '.join(known)}. Received {unknown[0]!r}.")
    try:
        return Terms(
            allowed=[known[each] for each in request.allowed_gates],
            rollout=request.rollout if request.HasField("rollout") else None,
            parent=request.parent if request.HasField("parent") else None,
        )
    except ServerError as exc:  # to an operator; here it is the caller's
        raise InvalidOperation(str(exc)) from exc

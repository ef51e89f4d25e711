"""Load balancers learn that a server answers, and at once that it is about to stop."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import grpc
import grpc.aio
import pytest
from grpc_health.v1 import health_pb2 as messages
from grpc_health.v1 import health_pb2_grpc as stubs
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from pocketlens_protos.v1 import sync_service_pb2
from pocketlens_server.limits import Limits
from pocketlens_server.services.health import Health, add_reflection
from pocketlens_server.services.limiting import Admitting, Limiting
from pocketlens_server.services.observing import Observes
from pocketlens_server.telemetry import Telemetry

NAME = sync_service_pb2.DESCRIPTOR.services_by_name["SyncService"].full_name
SERVING = messages.HealthCheckResponse.SERVING
NOT_SERVING = messages.HealthCheckResponse.NOT_SERVING


@asynccontextmanager
async def channel_to(
    health: Health | None, *, reflects: bool = False
) -> AsyncIterator[grpc.aio.Channel]:
    """A channel to a server that has room for one call of anything else."""
    limits = Limits(host_calls=1, streams=1, calls=1, client_rate=0.001, client_burst=1)
    server = grpc.aio.server(
        interceptors=[Observes(Telemetry()), Admitting(limits), Limiting(limits, lambda: 0.0)]
    )
    if health is not None:
        health.add_to(server)
    if reflects:
        add_reflection(server, [NAME])
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        yield channel
    await server.stop(1)


def told(story: Callable[[], Awaitable[None]]) -> None:
    async def run() -> None:
        async with asyncio.timeout(20):
            await story()

    asyncio.run(run())


def test_a_server_serves_until_it_drains() -> None:
    async def story() -> None:
        health = Health([NAME])
        async with channel_to(health) as channel:
            stub = stubs.HealthStub(channel)
            found = []
            for _ in range(2):
                for service in ("", NAME):
                    answer = await stub.Check(
                        messages.HealthCheckRequest(service=service), timeout=5
                    )
                    found.append(answer.status)
                listed = await stub.List(messages.HealthListRequest(), timeout=5)
                assert {name: each.status for name, each in listed.statuses.items()} == {
                    "": found[-1],
                    NAME: found[-1],
                }
                health.drain()
            assert found == [SERVING, SERVING, NOT_SERVING, NOT_SERVING]
            assert not health.is_serving

    told(story)


def test_a_service_that_is_not_there_is_not_found() -> None:
    async def story() -> None:
        async with channel_to(Health([NAME])) as channel:
            request = messages.HealthCheckRequest(service="another")
            with pytest.raises(grpc.aio.AioRpcError) as failed:
                await stubs.HealthStub(channel).Check(request, timeout=5)
            assert failed.value.code() is grpc.StatusCode.NOT_FOUND

    told(story)


def test_those_who_watch_without_a_deadline_are_told_at_once_and_hold_nothing_up() -> None:
    async def story() -> None:
        health = Health([NAME])
        async with channel_to(health) as channel:
            stub = stubs.HealthStub(channel)
            watching = [stub.Watch(messages.HealthCheckRequest(service=NAME)) for _ in range(5)]
            assert [(await each.read()).status for each in watching] == [SERVING] * 5
            another = stub.Watch(messages.HealthCheckRequest(service="another"))
            unknown = messages.HealthCheckResponse.SERVICE_UNKNOWN
            assert (await another.read()).status == unknown
            health.drain()
            for each in watching:
                assert (await each.read()).status == NOT_SERVING
                assert await each.read() == grpc.aio.EOF
            assert await another.read() == grpc.aio.EOF

    told(story)


def test_health_is_told_where_there_is_room_for_nothing_else() -> None:
    async def story() -> None:
        async with channel_to(Health([NAME]), reflects=True) as channel:
            asked = reflection_pb2.ServerReflectionRequest(list_services="")
            reflection = reflection_pb2_grpc.ServerReflectionStub(channel)
            call = reflection.ServerReflectionInfo(timeout=9)
            await call.write(asked)
            await call.read()  # it runs, and takes all there is
            another = reflection.ServerReflectionInfo(timeout=9)
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await another.read()
            assert refused.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
            answer = await stubs.HealthStub(channel).Check(messages.HealthCheckRequest(), timeout=5)
            assert answer.status == SERVING
            call.cancel()

    told(story)


@pytest.mark.parametrize("reflects", [False, True])
def test_what_there_is_to_call_is_told_only_where_that_was_asked_for(*, reflects: bool) -> None:
    async def story() -> None:
        async with channel_to(None, reflects=reflects) as channel:
            stub = reflection_pb2_grpc.ServerReflectionStub(channel)
            asked = reflection_pb2.ServerReflectionRequest(list_services="")
            call = stub.ServerReflectionInfo(iter([asked]), timeout=5)
            if not reflects:
                with pytest.raises(grpc.aio.AioRpcError) as failed:
                    await call.read()
                assert failed.value.code() is grpc.StatusCode.UNIMPLEMENTED
                return
            answer = await call.read()
            names = [each.name for each in answer.list_services_response.service]
            assert names == ["grpc.reflection.v1alpha.ServerReflection", NAME]

    told(story)

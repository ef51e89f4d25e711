"""Whether the server answers, as load balancers ask (grpc.health.v1); what it offers, if asked for.

    health = Health(["pocketlens.v1.SyncService"])
    health.add_to(server)
    ...
    health.drain()                            # before the server stops

The servicer of grpcio-health-checking would wait, when it drains, for the slowest of those who
watch; and they for the end of the server.
Source: https://github.com/grpc/grpc/blob/master/doc/health-checking.md
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable

import grpc.aio
from grpc_health.v1 import health_pb2 as messages
from grpc_health.v1 import health_pb2_grpc as stubs
from grpc_reflection.v1alpha import reflection

_SERVING = messages.HealthCheckResponse(status=messages.HealthCheckResponse.SERVING)
_NOT_SERVING = messages.HealthCheckResponse(status=messages.HealthCheckResponse.NOT_SERVING)
_UNKNOWN = messages.HealthCheckResponse(status=messages.HealthCheckResponse.SERVICE_UNKNOWN)


class Health(stubs.HealthServicer):  # type: ignore[misc]  # grpc has no types
    """SERVING from its beginning on, since nothing answers before the server starts."""

    def __init__(self, services: Iterable[str]) -> None:
        """Takes the full names of the services; the server itself is named "" besides."""
        self._services = frozenset(["", *services])
        self._draining = asyncio.Event()

    @property
    def is_serving(self) -> bool:
        """Whether new calls are welcome."""
        return not self._draining.is_set()

    def add_to(self, server: grpc.aio.Server) -> None:
        """Lets a server, which has not started, answer."""
        stubs.add_HealthServicer_to_server(self, server)

    def drain(self) -> None:
        """Says NOT_SERVING from now on, and at once to those who watch; again is no error."""
        self._draining.set()

    async def Check(  # noqa: N802 # as the service names it
        self, request: messages.HealthCheckRequest, context: grpc.aio.ServicerContext
    ) -> messages.HealthCheckResponse:
        """The status of one service."""
        if request.service not in self._services:
            await context.abort(grpc.StatusCode.NOT_FOUND, "There is no such service.")
        return self._status()

    async def List(  # noqa: N802 # as the service names it
        self, request: messages.HealthListRequest, context: grpc.aio.ServicerContext
    ) -> messages.HealthListResponse:
        """The status of all services."""
        return messages.HealthListResponse(
            statuses=dict.fromkeys(sorted(self._services), self._status())
        )

    async def Watch(  # noqa: N802 # as the service names it
        self, request: messages.HealthCheckRequest, context: grpc.aio.ServicerContext
    ) -> AsyncIterator[messages.HealthCheckResponse]:
        """The status of a service, and again when it changes; ends when the server drains."""
        is_known = request.service in self._services
        yield self._status() if is_known else _UNKNOWN
        await self._draining.wait()
        if is_known:
            yield _NOT_SERVING

    def _status(self) -> messages.HealthCheckResponse:
        return _SERVING if self.is_serving else _NOT_SERVING


def add_reflection(server: grpc.aio.Server, services: Iterable[str]) -> None:
    """Lets a server say which methods and messages it has, to whoever may ask.

    Args:
        server: Which has not started.
        services: Their full names.
    """
    reflection.enable_server_reflection([*services, reflection.SERVICE_NAME], server)

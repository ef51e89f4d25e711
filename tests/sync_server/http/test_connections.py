"""Connections that are ended, whatever state they are in."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import asyncio
import ssl
from asyncio import sslproto
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from tests.making.certificates import make_certificates

from pocketlens_server.http.connections import abort


def abort_of_3_11_2(transport: Any) -> None:
    """What asyncio's TLS did then, word for word; where it has let go of itself, it fails."""
    transport._closed = True
    transport._ssl_protocol._abort()


@pytest.mark.parametrize("is_of_3_11_2", [False, True])
@pytest.mark.parametrize("times", [0, 1, 2])
def test_a_tls_connection_is_ended_however_often_it_was_closed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, times: int, is_of_3_11_2: bool
) -> None:
    if is_of_3_11_2:
        monkeypatch.setattr(sslproto._SSLProtocolTransport, "abort", abort_of_3_11_2)
    made = make_certificates(tmp_path)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(made.certificate, made.key)
    trusting = ssl.create_default_context(cafile=str(made.ca))
    failures: list[object] = []

    async def ended() -> bytes:
        accepted: list[asyncio.StreamWriter] = []

        def accept(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            accepted.append(writer)
            for _ in range(times):
                writer.transport.close()
            abort(writer.transport)

        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: failures.append(context))
        async with await asyncio.start_server(
            accept, "127.0.0.1", 0, ssl=tls, ssl_shutdown_timeout=2
        ) as server:
            port = server.sockets[0].getsockname()[1]
            reader, writer = await asyncio.open_connection(
                "127.0.0.1", port, ssl=trusting, ssl_shutdown_timeout=2
            )
            try:
                async with asyncio.timeout(10):
                    return await reader.read()
            except ConnectionResetError:
                return b""
            finally:
                writer.close()
                for side in (writer, *accepted):  # before the loop ends, which would leave it open
                    with suppress(OSError):
                        await side.wait_closed()

    assert asyncio.run(ended()) == b""
    assert failures == []

"""`serve`: answers devices."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pocketlens.cli import output
from pocketlens_server.cli.options import Data


def register(app: typer.Typer) -> None:
    """Adds the command to the program."""
    app.command("serve")(_serve)


def _serve(
    *,
    data: Data,
    host: Annotated[str, typer.Option("--host", help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="0 for a free one.")] = 8443,
    http_port: Annotated[
        int | None,
        typer.Option(
            "--http-port",
            min=0,
            max=65535,
            help="The public files over HTTP(S) there too; 0 for a free one.",
        ),
    ] = None,
    tls_cert: Annotated[
        Path | None, typer.Option("--tls-cert", metavar="FILE", help="Certificate chain, PEM.")
    ] = None,
    tls_key: Annotated[
        Path | None, typer.Option("--tls-key", metavar="FILE", help="Its private key, PEM.")
    ] = None,
) -> None:
    """Answer devices over gRPC, and plain HTTP, until Ctrl-C; without TLS on the loopback only."""
    if (tls_cert is None) != (tls_key is None):
        output.usage_error("--tls-cert", "--tls-cert and --tls-key together", str(tls_cert))
    import asyncio
    import signal

    from pocketlens_server.folders import ServerFolder
    from pocketlens_server.server import Settings, serve

    settings = Settings(host, port, http_port, tls_cert, tls_key)
    scheme = "https" if tls_cert else "http"
    folder = ServerFolder(data)

    async def run() -> None:
        until = asyncio.Event()
        for each in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(each, until.set)
        await serve(
            folder,
            settings,
            started=lambda found: output.say(f"serving {data} on {host}:{found}"),
            http_started=lambda found: output.say(
                f"public files on {scheme}://{host}:{found}/CATALOGUE"
            ),
            until=until,
        )

    asyncio.run(run())

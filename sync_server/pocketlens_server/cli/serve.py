"""`serve`: answers devices and backends."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pocketlens.cli import output
from pocketlens_server.cli.options import Data

_EXAMPLE = """\b
Example:
  pocketlens-server tokens make --scope device --data shop-server --out token
  pocketlens-server serve --data shop-server --host 0.0.0.0 --tls-cert cert.pem --tls-key key.pem
  pocketlens-server serve --data shop-server --page          # and a browser on this machine
  pocketlens-server serve --data shop-server --insecure      # this machine alone, no tokens
"""


def register(app: typer.Typer) -> None:
    """Adds the command to the program."""
    app.command("serve", epilog=_EXAMPLE)(_serve)


def _serve(
    *,
    data: Data,
    host: Annotated[
        str | None, typer.Option("--host", help="Address to listen on; 127.0.0.1 if left.")
    ] = None,
    port: Annotated[
        int | None,
        typer.Option("--port", min=0, max=65535, help="Of gRPC, 0 for a free one; 8443 if left."),
    ] = None,
    http_port: Annotated[
        int | None,
        typer.Option(
            "--http-port",
            min=0,
            max=65535,
            help="The public files over HTTP(S) there too; 0 for a free one.",
        ),
    ] = None,
    metrics_port: Annotated[
        int | None,
        typer.Option(
            "--metrics-port", min=0, max=65535, help="Metrics for Prometheus; 0 for a free one."
        ),
    ] = None,
    rest_port: Annotated[
        int | None,
        typer.Option(
            "--rest-port",
            min=0,
            max=65535,
            help="Questions in JSON over HTTP(S) there; 0 for a free one.",
        ),
    ] = None,
    page: Annotated[
        bool,
        typer.Option("--page", help="A page to search on, there too; port 8090 if none is said."),
    ] = False,
    page_catalogue: Annotated[
        str | None,
        typer.Option("--page-catalog", metavar="NAME", help="That the page shows; main if left."),
    ] = None,
    tls_cert: Annotated[
        Path | None, typer.Option("--tls-cert", metavar="FILE", help="Certificate chain, PEM.")
    ] = None,
    tls_key: Annotated[
        Path | None, typer.Option("--tls-key", metavar="FILE", help="Its private key, PEM.")
    ] = None,
    tls_client_ca: Annotated[
        Path | None,
        typer.Option(
            "--tls-client-ca",
            metavar="FILE",
            help="Clients must show a certificate of this authority too, PEM.",
        ),
    ] = None,
    insecure: Annotated[
        bool,
        typer.Option("--insecure", help="Ask nobody for a token: on the loopback only, for tests."),
    ] = False,
) -> None:
    """Answer devices and backends over gRPC, and devices over HTTP, until Ctrl-C.

    Without TLS on the loopback only. Over gRPC everybody shows a token. What is not given here is
    as in server.toml of the server's folder and in the environment: `config show` prints it.
    """
    if (tls_cert is None) != (tls_key is None):
        output.usage_error("--tls-cert", "--tls-cert and --tls-key together", str(tls_cert))
    import asyncio
    import os
    import signal
    from datetime import UTC, datetime

    # Read when numpy loads. Searches have threads of their own; those of BLAS wait in a loop for
    # more to do, and took more of two cores than all that was asked (benchmarks/query.py).
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

    from pocketlens_server import allocation

    allocation.share_one_heap()  # before there are threads

    from pocketlens_server import config, logs, server
    from pocketlens_server.folders import ServerFolder
    from pocketlens_server.services.batches import Loop

    folder = ServerFolder(data)
    options: dict[tuple[str, str], config.Value] = {
        ("listen", "host"): host,
        ("listen", "port"): port,
        ("listen", "http_port"): http_port,
        ("listen", "metrics_port"): metrics_port,
        ("listen", "rest_port"): rest_port,
        ("listen", "page"): True if page else None,
        ("listen", "page_catalogue"): page_catalogue,
        ("tls", "certificate"): tls_cert,
        ("tls", "key"): tls_key,
        ("tls", "client_ca"): tls_client_ca,
    }
    wanted = config.read(data, os.environ, options).config
    logs.configure(wanted.logs)
    listen = wanted.listen

    def say_started(found: int) -> None:
        output.say(f"serving {data} on {config.address(listen.host, found)}")
        for warning in server.warnings(folder, insecure=insecure, now=datetime.now(UTC)):
            output.say(warning)

    def say_public(found: int) -> None:
        scheme = "https" if wanted.tls.certificate else "http"
        output.say(f"public files on {scheme}://{config.address(listen.host, found)}/CATALOGUE")

    def say_metrics(found: int) -> None:
        scheme = "http" if wanted.has_plain_metrics else "https"
        output.say(f"metrics on {scheme}://{config.address(listen.metrics_host, found)}/metrics")

    def say_web(found: int) -> None:
        scheme = "https" if wanted.tls.certificate else "http"
        place = f"{scheme}://{config.address(listen.host, found)}"
        output.say(f"questions over HTTP on {place}/v1")
        if listen.page:
            output.say(f"a page to search on: {place}/")

    async def run() -> None:
        until = asyncio.Event()
        for each in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(each, until.set)
        await server.serve(
            folder,
            wanted,
            insecure=insecure,
            started=server.Started(say_started, say_public, say_metrics, say_web),
            until=until,
        )

    _take_descriptors()
    with asyncio.Runner(loop_factory=Loop) as runner:
        runner.run(run())


def _take_descriptors() -> None:
    """Lets the process open as many files as it may: each connection is one."""
    import resource

    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))

"""A real server on the loopback, in a thread of its own, for as long as a context lasts.

with served(tmp_path) as address: ...
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pocketlens_server.folders import ServerFolder
from pocketlens_server.server import Settings, serve


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """HOST:PORT of a server of the folder, which `ServerFolder.create` made."""
    ports: list[int] = []
    ready, loop, until = threading.Event(), asyncio.new_event_loop(), asyncio.Event()

    def started(port: int) -> None:
        ports.append(port)
        ready.set()

    def run() -> None:
        serving = serve(ServerFolder(folder), Settings(port=0), started=started, until=until)
        loop.run_until_complete(serving)

    thread = threading.Thread(target=run)
    thread.start()
    assert ready.wait(20)
    try:
        yield f"127.0.0.1:{ports[0]}"
    finally:
        loop.call_soon_threadsafe(until.set)
        thread.join(20)
        assert not thread.is_alive()
        loop.close()

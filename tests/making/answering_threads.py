"""Servers of the standard library that answer from a thread of this process."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TypeVar

AnyServer = TypeVar("AnyServer", bound=socketserver.BaseServer)


@contextmanager
def in_a_thread(server: AnyServer) -> Iterator[AnyServer]:
    """The server, which answers until the context is left, and is closed then."""
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    with server:
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()

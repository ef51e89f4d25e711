"""What monitoring asks for over HTTP, on a port of its own: /metrics and /healthz.

    pages = Pages(telemetry, health)
    server = HttpServer(pages, listening_on("127.0.0.1", 9090), tls=None, limits=LIMITS)

/healthz is 200 while the server takes calls, and 503 from the moment on that it drains.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import hashlib
import io
from http import HTTPStatus

from pocketlens_server.http.connections import HttpLimits
from pocketlens_server.http.files import NEVER_KEPT, OpenFile
from pocketlens_server.http.messages import Refused
from pocketlens_server.services.health import Health
from pocketlens_server.telemetry import CONTENT_TYPE, Telemetry

# A few programs ask, each every few seconds.
LIMITS = HttpLimits(connections=16, host_connections=8)


class Pages:
    """What there is to read, as it is when it is asked for."""

    def __init__(self, telemetry: Telemetry, health: Health) -> None:
        self._telemetry, self._health = telemetry, health

    def open(self, path: str) -> OpenFile:
        """The page at a path; see `http.files.PublicFiles.open`.

        Raises:
            Refused: There is none, or the server drains.
        """
        if path == "/metrics":
            return _page(self._telemetry.text(), CONTENT_TYPE)
        if path != "/healthz":
            raise Refused(HTTPStatus.NOT_FOUND)
        if not self._health.is_serving:
            raise Refused(HTTPStatus.SERVICE_UNAVAILABLE)
        return _page(b"serving\n", "text/plain; charset=utf-8")


def _page(data: bytes, content_type: str) -> OpenFile:
    etag = f'"{hashlib.sha256(data).hexdigest()}"'
    headers = {"Content-Type": content_type, "ETag": etag, **NEVER_KEPT}
    return OpenFile(io.BytesIO(data), len(data), etag, headers)

"""All of the web side, put together.

application = web_application(queries, settings, recognises=recognises, telemetry=telemetry)
await ServedApplication(application, listening, tls=tls).run(grace_seconds=8)
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import secrets
import time
from dataclasses import dataclass
from pathlib import Path

from starlette.applications import Starlette

from pocketlens_server.limits import Limits
from pocketlens_server.query.queries import Queries
from pocketlens_server.services.recognising import Recognises
from pocketlens_server.telemetry import Telemetry
from pocketlens_server.web.admitting import Admission
from pocketlens_server.web.application import Application
from pocketlens_server.web.endpoints import Endpoints
from pocketlens_server.web.guarding import Guards
from pocketlens_server.web.limits import WebLimits
from pocketlens_server.web.observing import Observing
from pocketlens_server.web.page_files import FOLDER, PageFiles
from pocketlens_server.web.routes import PAGE_ROUTES, ROUTES
from pocketlens_server.web.visitors import Visitors


@dataclass(frozen=True, slots=True)
class WebSettings:
    """How the web side is set.

    Attributes:
        page_catalogue: Shown on the page; None for no page.
        origins: Of websites whose pages may ask.
        photo_bytes: Of a photo.
        limits: Of clients.
        web_limits: Of the rest.
        page_folder: Of the page's files.
    """

    page_catalogue: str | None
    origins: tuple[str, ...]
    photo_bytes: int
    limits: Limits
    web_limits: WebLimits
    page_folder: Path = FOLDER


def web_application(
    queries: Queries,
    settings: WebSettings,
    *,
    recognises: Recognises,
    telemetry: Telemetry,
) -> Starlette:
    """What answers over HTTP.

    Args:
        queries: Who is asked.
        settings: How.
        recognises: Who shows a token.
        telemetry: Where requests are counted.

    Raises:
        ServerError: There is no page to show.
    """
    limits, web_limits = settings.limits, settings.web_limits
    visitors = page = None
    routes = ROUTES
    if settings.page_catalogue is not None:
        visitors = Visitors(secret=secrets.token_bytes(32), clock=time.monotonic)
        page = PageFiles.of(settings.page_folder, visitors, catalogue=settings.page_catalogue)
        routes += PAGE_ROUTES
    admission = Admission(limits, web_limits, time.monotonic, refused=telemetry.refused)
    application = Application(
        routes,
        Endpoints(
            queries,
            page,
            web_limits,
            photo_bytes=settings.photo_bytes,
            working=admission.working,
        ),
        Guards(recognises, visitors, page_catalogue=settings.page_catalogue or ""),
        admission,
        Observing(telemetry, time.monotonic),
        seconds=limits.unary_seconds,
    )
    return application.starlette(origins=settings.origins)

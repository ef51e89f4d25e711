"""What is logged of requests; what is counted is in test_application.py."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import logging
from contextvars import copy_context

import pytest
from starlette.requests import Request

from pocketlens_server import callers
from pocketlens_server.services.recognising import ANYBODY
from pocketlens_server.telemetry import Telemetry
from pocketlens_server.web.observing import Observing

REQUEST = Request({"type": "http", "headers": [], "client": ("192.0.2.7", 50_000)})


def test_a_flood_of_strangers_is_counted_whole_and_logged_in_part(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, "pocketlens_server")
    telemetry = Telemetry()
    observing = Observing(telemetry, lambda: 0.0)

    def open_page() -> None:
        with observing.around("page", REQUEST):
            callers.enter(ANYBODY)

    for _ in range(150):
        copy_context().run(open_page)

    assert len(caplog.records) == 100
    assert b'pocketlens_calls_total{code="OK",method="rest/page"} 150.0' in telemetry.text()

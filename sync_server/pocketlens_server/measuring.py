"""What a server's catalogues are like now -> metrics, whoever changed them.

measure(folder, telemetry, now=clock())
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import logging
from datetime import datetime

from pocketlens.errors import PocketLensError
from pocketlens_server.folders import CatalogueFolder, ServerFolder
from pocketlens_server.publishing import comparing, signing
from pocketlens_server.telemetry import Telemetry

logger = logging.getLogger(__name__)


def measure(folder: ServerFolder, telemetry: Telemetry, *, now: datetime) -> None:
    """Sets the gauges of every catalogue; one that cannot be read leaves its own as they are."""
    for name in folder.catalogues():
        try:
            _measure(folder.catalogue(name), telemetry, now)
        except PocketLensError as exc:
            logger.warning("metrics.failed catalogue=%s error=%s", name, exc)


def _measure(catalogue: CatalogueFolder, telemetry: Telemetry, now: datetime) -> None:
    name = catalogue.name
    status = comparing.status(catalogue)
    telemetry.pictures_waiting.labels(catalogue=name).set(status.waiting_pictures)
    telemetry.dead_letters.labels(catalogue=name).set(status.dead_letters)
    telemetry.published_version.labels(catalogue=name).set(status.version)
    if status.as_of is not None:
        telemetry.published_at.labels(catalogue=name).set(status.as_of.timestamp())
    signed = signing.status(catalogue.public)
    for each in signed:
        expires_at = telemetry.expires_at.labels(catalogue=name, role=each.role)
        expires_at.set(each.expires.timestamp())
    expiring = sum(each.expires - now < signing.warned_before(each.role) for each in signed)
    telemetry.expiring_roles.labels(catalogue=name).set(expiring)

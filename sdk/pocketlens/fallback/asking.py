"""The servers that one Lens may ask: what the device found goes in, what is known then comes out.

    refined, report = asking.refined(found, question, fallback, reader)

Nothing here fails because of a server, a network or a ledger: the device's answer stands, and the
report says why.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import logging
import random
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from pocketlens import followed
from pocketlens.answering import Auto
from pocketlens.closing import Closing
from pocketlens.errors import PictureError, QueryError, SyncError
from pocketlens.fallback import merging, store_products
from pocketlens.fallback import messages as codec
from pocketlens.fallback.breaker import Breaker
from pocketlens.fallback.crops import crop_of
from pocketlens.fallback.ledger import NAME, Ledger
from pocketlens.fallback.options import Fallback, is_address
from pocketlens.fallback.servers import CLOSED, Answer, Call, Server
from pocketlens.formats.bundle import Spec
from pocketlens.options import PictureLimits
from pocketlens.query.filters import Filter
from pocketlens.results import FallbackOutcome, FallbackReport, Match, SearchResult
from pocketlens.store.reader import Reader
from pocketlens.sync.credentials import Credentials
from pocketlens_protos.v1 import query_service_pb2 as messages

if TYPE_CHECKING:
    from pocketlens.query.pictures import Box, Picture

logger = logging.getLogger(__name__)

MOST_MATCHES = 100  # that a server is asked for: see query_service.proto
_AUTO_CATEGORY = {None: messages.SearchRequest.OFF, "auto": messages.SearchRequest.SEARCH}


@dataclass(frozen=True, slots=True)
class Question:
    """What the device was asked, and what it made of it.

    Attributes:
        photo: As it was given, to be opened again where a copy of it is sent.
        box: The part that was searched.
        embedding: float32 (dim,), unit length.
        k: Matches wanted.
        wanted: Filter.
        category: Whether the likely categories are searched.
        spec: Of the bundle.
        limits: Beyond which a picture is refused.
    """

    photo: Picture
    box: Box | None
    embedding: npt.NDArray[np.float32]
    k: int
    wanted: Filter | None
    category: Auto | None
    spec: Spec
    limits: PictureLimits


class Asking(Closing):
    """Connections and breakers, one a server; any thread may ask."""

    def __init__(
        self,
        directory: Path,
        *,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        seconds: Callable[[], float] = monotonic,
        rng: random.Random | None = None,
    ) -> None:
        """Connects to nobody yet.

        Args:
            directory: Of the store.
            clock: The device's, in UTC, for the ledger.
            seconds: That only grow, for breakers.
            rng: Draws how long a server is left alone.
        """
        self._directory, self._clock, self._seconds = directory, clock, seconds
        self._rng = rng or random.Random()  # noqa: S311 # it spreads load, no more
        self._lock = threading.Lock()
        self._servers: dict[tuple[str, bytes | None], Server] = {}
        self._is_closed = False

    def refined(
        self, found: SearchResult, question: Question, fallback: Fallback, reader: Reader
    ) -> tuple[SearchResult | None, FallbackReport]:
        """Asks a server, where that is allowed and wanted.

        Args:
            found: By the device.
            question: That it answered.
            fallback: What is allowed.
            reader: Of the store that answered.

        Returns:
            The server's answer, merged with what the store knows, or None where the device's
            stands; and what came of it.

        Raises:
            StoreCorrupt: A product that had to be read is damaged.
        """
        began = monotonic()
        report = FallbackReport(
            FallbackOutcome.NOT_NEEDED, generation=found.generation, version=found.version
        )
        if found.is_blank:
            return None, replace(report, reason="The photo is of one colour.")
        if not fallback.asks(found):
            return None, report
        try:
            address, ca, request = self._prepared(found, question, fallback, reader)
        except (SyncError, PictureError, QueryError) as exc:
            return None, replace(report, outcome=FallbackOutcome.NOT_ASKED, reason=str(exc))
        size, limit = request.ByteSize(), fallback.metered_bytes
        if fallback.is_metered and size > limit:
            reason = f"The question has {size:,} bytes; {limit:,} are allowed on this network."
            return None, replace(report, outcome=FallbackOutcome.METERED, reason=reason)
        call = Call(
            request,
            fallback.token,
            began + fallback.deadline,
            Ledger(fallback.ledger or self._directory / NAME),
            fallback.daily_bytes,
            self._clock,
        )
        answer = self._asked(address, ca, call)
        report = replace(
            report,
            outcome=answer.outcome,
            reason=answer.reason,
            sent_bytes=call.sent_bytes,
            waited_ms=(monotonic() - began) * 1e3,
        )
        logger.debug(
            "fallback.complete outcome=%s sent_bytes=%d waited_ms=%.1f",
            report.outcome.value, report.sent_bytes, report.waited_ms,
        )  # fmt: skip
        if answer.result is None:
            return None, report
        held = store_products.held(reader, request.catalogue, question.wanted)
        merged = merging.merge(answer.result, held)
        report = replace(report, reason=merged.reason, unknown=merged.unknown, gone=merged.gone)
        if merged.result is None:
            return None, replace(report, outcome=FallbackOutcome.OUTDATED)
        shown = _shown_by(reader.thumbnails.of, merged.result)
        return replace(shown, fallback=report), report

    def close(self) -> None:
        """Ends all connections; who waits for an answer goes on without one."""
        with self._lock:
            self._is_closed = True
            servers = list(self._servers.values())
        for server in servers:
            server.close()

    def _prepared(
        self, found: SearchResult, question: Question, fallback: Fallback, reader: Reader
    ) -> tuple[str, bytes | None, messages.SearchRequest]:
        """Whom to ask, with which certificates, and what.

        Raises:
            SyncError: The store does not say whom.
            PictureError: The photo is not what it was when it was searched.
            QueryError: Nor is it, or there are words.
        """
        if found.words is not None and found.words.asked:
            raise QueryError("Servers take no words.")
        address, ca = fallback.address, fallback.ca
        catalogue = fallback.catalogue or reader.facts.catalogue or "main"
        if not address:
            known = followed.read(self._directory)
            if known is None or not is_address(known.server):
                raise SyncError(
                    "The store follows no server that can be asked. Name one: "
                    'Fallback("HOST:PORT").'
                )
            address = known.server
            if ca is None and known.ca:
                ca = Credentials.read(ca=Path(known.ca), token_file=None).ca
        request = messages.SearchRequest(
            catalogue=catalogue,
            k=min(question.k, MOST_MATCHES),
            filter=None if question.wanted is None else codec.filter_message(question.wanted),
            auto_category=_AUTO_CATEGORY[question.category],
        )
        if fallback.send == "photo":
            request.photo = crop_of(
                question.photo, question.spec, limits=question.limits, box=question.box
            )
        else:
            request.embedding.generation = bytes.fromhex(found.generation)
            request.embedding.values = codec.embedding_bytes(question.embedding)
        return address, ca, request

    def _asked(self, address: str, ca: bytes | None, call: Call) -> Answer:
        with self._lock:
            server = self._servers.get((address, ca))
            if server is None and not self._is_closed:
                breaker = Breaker(clock=self._seconds, rng=self._rng)
                server = self._servers[address, ca] = Server(address, ca, breaker)
        return CLOSED if server is None else server.ask(call)


def _shown_by(thumbnails: Callable[[str], bytes | None], found: SearchResult) -> SearchResult:
    """A server's answer, whose images are shown as the store has them."""

    def shown(match: Match) -> Match:
        return replace(match, image=match.image.shown_by(thumbnails))

    return replace(
        found, best=found.best and shown(found.best), matches=tuple(map(shown, found.matches))
    )

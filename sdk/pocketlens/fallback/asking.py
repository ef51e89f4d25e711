"""Asks a server after the device has answered, if it may: what `Lens` does with a `Fallback`.

    asker = Asker(directory)
    refined, told = asker.refined(fallback, device_result, question)

Order: whether the app wants it, whether the breaker and the budgets allow it, the ledger, and only
then the network. Whatever goes wrong is told beside the device's answer, and is no error of the
search.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import logging
import random
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from time import monotonic, perf_counter
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from pocketlens.errors import PocketLensError
from pocketlens.fallback import merging
from pocketlens.fallback.breaker import Breaker
from pocketlens.fallback.ledger import FILE_NAME, Ledger
from pocketlens.fallback.options import Fallback
from pocketlens.products import Product
from pocketlens.query.filters import Filter
from pocketlens.results import Refinement, SearchResult

if TYPE_CHECKING:
    from pocketlens.fallback.client import QueryClient
    from pocketlens_protos.v1 import query_service_pb2 as messages

logger = logging.getLogger(__name__)

_DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Question:
    """What was asked of the device.

    Attributes:
        embedding: float32 (dim,), of the photo.
        k: Matches wanted.
        wanted: Filter, or None.
        photo: Makes the JPEG that may leave; None where there is no photo.
        known: Products of the device by their ids.
    """

    embedding: npt.NDArray[np.float32]
    k: int
    wanted: Filter | None
    photo: Callable[[], bytes] | None
    known: Callable[[Sequence[str]], Mapping[str, Product]]


class Asker:
    """Connections and breakers of one Lens; any number of threads."""

    def __init__(self, directory: Path, *, clock: Callable[[], datetime]) -> None:
        """Connects to nothing yet.

        Args:
            directory: Of the store.
            clock: For the ledger.
        """
        self._directory, self._clock = directory, clock
        self._lock = threading.Lock()
        self._clients: dict[tuple[object, ...], QueryClient] = {}
        self._breakers: dict[str, Breaker] = {}

    def refined(
        self, fallback: Fallback, device: SearchResult, question: Question
    ) -> tuple[SearchResult | None, Refinement]:
        """The answer of the server in the light of the device's, and how it went.

        Returns:
            None where the device's answer stays; the other says why.
        """
        began = perf_counter()
        if not fallback.wants(device):
            return None, Refinement("not wanted", "the device is sure enough")
        breaker = self._breaker(fallback.address)
        if (why_not := breaker.why_not()) is not None:
            return None, Refinement("held back", why_not)
        has_left, size = False, 0
        try:
            request = self._request(fallback, device, question)
            size = request.ByteSize()
            if (why_not := self._over_budget(fallback, size)) is not None:
                breaker.let_go()
                return None, Refinement("held back", why_not)
            ledger = self._ledger(fallback)
            number = ledger.note(
                self._clock(),
                kind=fallback.send,
                address=fallback.address,
                catalogue=fallback.catalogue,
                size=size,
            )
            has_left = True
            try:
                found = self._asked(fallback, request, began)
            except PocketLensError:
                ledger.settle(number, "failed")
                raise
            ledger.settle(number, "answered")
        except PocketLensError as exc:
            self._note_failure(breaker, exc, has_left=has_left)
            return None, self._told("failed", str(exc), fallback, size if has_left else 0, began)
        except BaseException:
            breaker.let_go()
            raise
        breaker.answered()
        reason = ""
        if merging.differs(found, device):
            reason = f"of version {found.version}, the device has {device.version}"
            found = merging.merged(found, device, question.known(merging.ids(found)))
        return found, self._told("answered", reason, fallback, size, began)

    def close(self) -> None:
        """Closes connections; closing again is no error."""
        with self._lock:
            clients, self._clients = list(self._clients.values()), {}
        for each in clients:
            each.close()

    def _asked(
        self, fallback: Fallback, request: messages.SearchRequest, began: float
    ) -> SearchResult:
        from pocketlens.fallback.messages import result_of

        seconds = max(fallback.deadline_seconds - (perf_counter() - began), 0.001)
        return result_of(self._client(fallback).search(request, seconds=seconds))

    def _request(
        self, fallback: Fallback, device: SearchResult, question: Question
    ) -> messages.SearchRequest:
        from pocketlens.fallback.messages import embedding_bytes, filter_message
        from pocketlens_protos.v1 import query_service_pb2 as messages

        request = messages.SearchRequest(catalogue=fallback.catalogue, k=min(question.k, 100))
        if fallback.send == "photo" and question.photo is not None:
            request.photo = question.photo()
        else:
            request.embedding.generation = bytes.fromhex(device.generation)
            request.embedding.values = embedding_bytes(question.embedding)
        if question.wanted is not None and not question.wanted.is_empty:
            request.filter.CopyFrom(filter_message(question.wanted))
        return request

    def _over_budget(self, fallback: Fallback, size: int) -> str | None:
        if fallback.is_metered and size > fallback.metered_bytes:
            return (
                f"{size:,} bytes are more than the {fallback.metered_bytes:,} of a metered network"
            )
        if fallback.daily_bytes is None:
            return None
        spent = self._ledger(fallback).bytes_since(self._clock() - _DAY)
        if spent + size > fallback.daily_bytes:
            return f"{spent:,} of {fallback.daily_bytes:,} bytes a day have left already"
        return None

    def _ledger(self, fallback: Fallback) -> Ledger:
        return Ledger(fallback.ledger or self._directory / FILE_NAME)

    def _client(self, fallback: Fallback) -> QueryClient:
        from pocketlens.fallback.client import QueryClient

        key = (fallback.address, fallback.credentials.ca, fallback.credentials.token)
        with self._lock:
            if key not in self._clients:
                self._clients[key] = QueryClient(fallback.address, fallback.credentials)
            return self._clients[key]

    def _breaker(self, address: str) -> Breaker:
        with self._lock:
            if address not in self._breakers:
                self._breakers[address] = Breaker(clock=monotonic, rng=random.Random())  # noqa: S311 # spreads, hides nothing
            return self._breakers[address]

    def _note_failure(self, breaker: Breaker, exc: PocketLensError, *, has_left: bool) -> None:
        logger.debug("fallback.failed error=%s", exc)
        if has_left:
            breaker.failed(retry_seconds=getattr(exc, "retry_seconds", 0))
        else:
            breaker.let_go()

    def _told(
        self, outcome: str, reason: str, fallback: Fallback, size: int, began: float
    ) -> Refinement:
        elapsed_ms = (perf_counter() - began) * 1e3
        return Refinement(outcome, reason, fallback.send if size else "", size, elapsed_ms)

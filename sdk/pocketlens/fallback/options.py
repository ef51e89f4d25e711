"""When a device may ask a server, what it may send, and what that may cost. Values only.

Fallback("shop.example:8443", credentials=Credentials(token="..."))
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from pocketlens.errors import QueryError
from pocketlens.results import SearchResult, Verdict
from pocketlens.sync.credentials import Credentials

Sent = Literal["embedding", "photo"]
When = Literal["unsure", "always"] | Callable[[SearchResult], bool]

KIB = 1 << 10


@dataclass(frozen=True, slots=True)
class Fallback:
    """Asking a server where the device is not sure; nothing is ever asked without one.

    Attributes:
        address: HOST:PORT of a server's gRPC.
        catalogue: Its name there.
        when: "unsure" asks after UNSURE and NO_MATCH, "always" after every answer, and a function
            of the device's answer says so itself.
        deadline_seconds: For the server's answer, its connection included: a shopper who looks at
            the device's answer already waits no longer.
        send: "embedding" sends some 600 bytes and no picture; "photo" a small JPEG made anew of
            what was searched, which is answered from the pixels on.
        photo_consent: Whether the shopper has agreed that photos leave the phone; without it
            "photo" is refused here.
        credentials: A token, and certificates of the shop's own.
        is_metered: Whether the network at hand is paid for by the byte.
        metered_bytes: That one question may send there: embeddings, and no photo.
        daily_bytes: That may leave within 24 hours, as the ledger counts; None for no limit.
        ledger: File that lists what left; None for `ledger.sqlite` in the store's folder, which
            must be writable then.
    """

    address: str
    catalogue: str = "main"
    when: When = "unsure"
    deadline_seconds: float = 1.0
    send: Sent = "embedding"
    photo_consent: bool = False
    credentials: Credentials = field(default_factory=Credentials)
    is_metered: bool = False
    metered_bytes: int = 4 * KIB
    daily_bytes: int | None = 5 * KIB * KIB
    ledger: Path | None = None

    def __post_init__(self) -> None:
        if not (callable(self.when) or self.when in ("unsure", "always")):
            raise QueryError(
                f'Expected when as "unsure", "always" or a function. Received {self.when!r}.'
            )
        if self.send not in ("embedding", "photo"):
            raise QueryError(f'Expected send as "embedding" or "photo". Received {self.send!r}.')
        if self.send == "photo" and not self.photo_consent:
            raise QueryError(
                "Expected photo_consent=True to send photos: ask the shopper first. "
                'send="embedding" sends no picture.'
            )
        if not 0 < self.deadline_seconds <= 60:
            raise QueryError(
                f"Expected a deadline of 0 to 60 seconds. Received {self.deadline_seconds}."
            )
        if not self.address.rpartition(":")[2].isdecimal():
            raise QueryError(f"Expected HOST:PORT of a server. Received {self.address!r}.")

    def wants(self, found: SearchResult) -> bool:
        """Whether to ask after this answer of the device."""
        if self.when == "always":
            return True
        if self.when == "unsure":
            return found.verdict is not Verdict.MATCH
        return bool(self.when(found))

"""Fallback: what an app allows a server to be asked where the device is unsure. A value.

    lens.search(photo, fallback=Fallback("shop.example:8443", token=token))

Whoever makes none asks nobody.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

from pocketlens.errors import MissingExtraError, QueryError
from pocketlens.options import MIB
from pocketlens.products import is_catalogue_name
from pocketlens.results import SearchResult, Verdict
from pocketlens.sync.credentials import MAX_TOKEN_BYTES

When = Literal["unsure", "always"] | Callable[[SearchResult], bool]
Sent = Literal["embedding", "photo"]

_ADDRESS = re.compile(r"([^\s:/\[\]]+|\[[0-9a-fA-F:.]+\]):[0-9]{1,5}")
_TOKEN = re.compile(r"[!-~]*")


def is_address(text: str) -> bool:
    """Whether that is HOST:PORT."""
    return _ADDRESS.fullmatch(text) is not None


@dataclass(frozen=True, slots=True)
class Fallback:
    """Who may be asked, when, with what, and what that may cost.

    Attributes:
        address: HOST:PORT; "" for the server that the store follows, where that speaks gRPC. All
            but this machine is asked over TLS.
        catalogue: Its name; "" for the store's own, or main for a store that has none.
        when: "unsure" asks if the verdict is UNSURE or NO_MATCH: a MATCH is right as often as its
            confidence says. "always" asks for every photo; a function of the device's result
            decides for itself.
        deadline: Seconds that an answer may take, above 0: who waits longer looks elsewhere. A
            question takes some 10 ms at a server, and a connection two round trips more.
        send: What leaves. "embedding": the numbers that the model made, some 500 bytes, and no
            picture. "photo": a copy of the photo, or of its box, at most twice as large as the
            model's input, without EXIF.
        photo_consent: Whether the shopper has agreed to photos being sent; "photo" needs it.
        token: Of the scope `query`; "" for none.
        ca: Certificates to trust in place of the system's, PEM.
        is_metered: Whether the network at hand is paid for by the byte.
        metered_bytes: Of one question on such a network, at most: any embedding, and no photo.
        daily_bytes: Of all questions in 24 hours, by the ledger; None for no limit. The default
            are 10,000 embeddings, which is all that a ledger keeps of a day, or some 150 photos:
            more than anybody points a phone at.
        ledger: File that lists what left; None for `ledger.sqlite` in the store, which may be
            read-only: then nothing is asked.
    """

    address: str = ""
    catalogue: str = ""
    when: When = "unsure"
    deadline: float = 1.5
    send: Sent = "embedding"
    photo_consent: bool = False
    token: str = field(default="", repr=False)
    ca: bytes | None = field(default=None, repr=False)
    is_metered: bool = False
    metered_bytes: int = 8192
    daily_bytes: int | None = 10 * MIB
    ledger: Path | None = None

    def __post_init__(self) -> None:
        if self.address and not is_address(self.address):
            raise QueryError(
                f"Expected a server as HOST:PORT. Received {self.address!r}. Try "
                '"shop.example:8443".'
            )
        if self.catalogue and not is_catalogue_name(self.catalogue):
            raise QueryError(f"Expected the name of a catalogue. Received {self.catalogue!r}.")
        if not (callable(self.when) or self.when in ("unsure", "always")):
            raise QueryError(
                f'Expected when="unsure", "always" or a function. Received {self.when!r}.'
            )
        if not 0 < self.deadline < float("inf"):
            raise QueryError(f"Expected a deadline above 0 seconds. Received {self.deadline!r}.")
        if self.send not in ("embedding", "photo"):
            raise QueryError(f'Expected send="embedding" or "photo". Received {self.send!r}.')
        if self.send == "photo" and self.photo_consent is not True:
            raise QueryError(
                'Expected photo_consent=True beside send="photo": a photo leaves the device only '
                "if the shopper has agreed. Ask them, or send the embedding."
            )
        if len(self.token) > MAX_TOKEN_BYTES or not _TOKEN.fullmatch(self.token):
            raise QueryError(
                f"Expected a token: one word in ASCII, of at most {MAX_TOKEN_BYTES} bytes. "
                "Received something else."
            )
        if find_spec("grpc") is None:
            raise MissingExtraError(
                "A fallback needs an extra. Install it: pip install 'pocketlens[sync]'"
            )

    def asks(self, found: SearchResult) -> bool:
        """Whether a server is to be asked after the device found this."""
        if callable(self.when):
            return bool(self.when(found))
        return self.when == "always" or found.verdict in (Verdict.UNSURE, Verdict.NO_MATCH)

"""What leaves a device that asks a server, byte by byte, beside what its ledger says.

left = asked(store, port, send="embedding", count=50)
left.traces, left.unlisted_bytes              # nothing, and 0
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import io
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from PIL import Image

from pocketlens import Embedder, Fallback, Lens
from pocketlens.fallback.ledger import Ledger
from tests.making.canaries import canary_photo, found_in, traces_of
from tests.making.fault_proxy import FaultProxy

FRAMES_BYTES = 1_500  # of HTTP/2 and gRPC around a question, its settings and acknowledgements


@dataclass(frozen=True)
class Left:
    """What left.

    Attributes:
        answered: Questions that a server answered.
        traces: Of what must not leave, by name.
        listed: Questions in the ledger.
        listed_bytes: Of them, as the ledger says.
        sent_bytes: That went over the wire.
        unlisted_bytes: Beyond what the ledger says and what frames take.
        pictures: Whole JPEGs that were found in what was sent, by their size.
    """

    answered: int
    traces: tuple[str, ...]
    listed: int
    listed_bytes: int
    sent_bytes: int
    unlisted_bytes: int
    pictures: tuple[tuple[int, int], ...]


def asked(store: Path, port: int, *, send: Literal["embedding", "photo"], count: int) -> Left:
    """Searches photos that can be recognised, and asks the server at a port after each.

    Args:
        store: Of the device; a ledger that is there is removed.
        port: Of a server's gRPC, which is reached through a proxy that listens.
        send: What may leave.
        count: Photos.
    """
    ledger = store / "ledger.sqlite"
    ledger.unlink(missing_ok=True)
    device = json.loads((store / "sync.json").read_text())["device"]
    (bundle,) = store.glob("files/*.tflite")
    answered, traces, sent, unlisted = 0, set[str](), 0, 0
    pictures: set[tuple[int, int]] = set()
    with FaultProxy(port) as proxy, Lens.open(store) as lens, Embedder.open(bundle) as embedder:
        fallback = Fallback(
            f"127.0.0.1:{proxy.port}",
            when="always",
            deadline_seconds=20,
            send=send,
            photo_consent=send == "photo",
        )
        for seed in range(count):
            photo = canary_photo(seed)
            proxy.asked.clear()
            found = lens.search(photo, 3, fallback=fallback)
            data, told = bytes(proxy.asked), found.refinement
            assert told is not None
            answered += told.outcome == "answered"
            looked_for = traces_of(photo, embedder.embed(photo), seed=seed, secrets={"id": device})
            if send == "embedding":  # which is what leaves, as it is
                looked_for.pop("its vector")
            traces |= set(found_in(data, looked_for))
            sent += len(data)
            unlisted = max(unlisted, len(data) - told.sent_bytes - FRAMES_BYTES)
            pictures |= _pictures(data)
    totals = Ledger(ledger).totals()
    assert totals is not None
    return Left(
        answered,
        tuple(sorted(traces)),
        sum(totals.counts.values()),
        sum(totals.bytes.values()),
        sent,
        max(0, unlisted),
        tuple(sorted(pictures)),
    )


def _pictures(data: bytes) -> set[tuple[int, int]]:
    """Sizes of the JPEGs that begin somewhere in what was sent; none may say a word in EXIF."""
    found, start = set(), data.find(b"\xff\xd8\xff")
    while start >= 0:
        with Image.open(io.BytesIO(data[start:])) as picture:
            found.add(picture.size)
            assert not picture.getexif()
        start = data.find(b"\xff\xd8\xff", start + 1)
    return found

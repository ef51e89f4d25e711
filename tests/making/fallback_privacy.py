"""Searches that may ask a server, and every byte that left the device for it.

told = searched(store, work, "embedding", count=50)
told.traces, told.unexpected, told.unlisted
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import io
import json
import logging
import shutil
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from PIL import Image

from pocketlens import Embedder, Fallback, Lens
from pocketlens.fallback import messages as codec
from pocketlens.fallback.ledger import NAME, summary
from pocketlens_protos.v1 import query_service_pb2 as messages
from tests.making.canaries import canary_photo, found_in, traces_of
from tests.making.fault_proxy import FaultProxy
from tests.making.http2 import DATA, PREFACE, Frames
from tests.making.query_servers import StoreService, answering

Kind = Literal["not needed", "embedding", "photo"]

TOKEN = "canary-token-0123456789"  # noqa: S105 # of no server
MOST_BYTES_A_PIXEL = 3  # of a copy that is sent


@dataclass
class Told:
    """What came of some searches.

    Attributes:
        searches, answered: How many there were, and how many a server answered.
        sent_bytes: Of all questions.
        wire_bytes: That left in all, heads and frames included.
        traces: Of photos, by their names, that were found in what left and do not belong there.
        logged: The same in logs.
        unexpected: Questions that are not the one that was to be asked, to the byte.
        unlisted: Questions that left and are not in the ledger, or the other way round.
    """

    searches: int = 0
    answered: int = 0
    sent_bytes: int = 0
    wire_bytes: int = 0
    traces: list[str] = field(default_factory=list)
    logged: list[str] = field(default_factory=list)
    unexpected: list[str] = field(default_factory=list)
    unlisted: int = 0


def searched(store: Path, work: Path, kind: Kind, *, count: int) -> Told:
    """Searches a copy of a store, whose server answers from another.

    Args:
        store: That follows the catalogue main.
        work: Folder for the copies.
        kind: What is sent.
        count: Searches.
    """
    here, there = (shutil.copytree(store, work / f"{kind}-{name}") for name in ("a", "b"))
    device = json.loads((here / "sync.json").read_text())["device"]
    told, wanted = Told(searches=count), list[messages.SearchRequest]()
    with (
        answering(StoreService(there)) as address,
        FaultProxy(int(address.rpartition(":")[2])) as proxy,
        Lens.open(here) as lens,
        Embedder.open(next(here.glob("files/*.tflite"))) as embedder,
        _log() as lines,
    ):
        fallback = Fallback(
            f"127.0.0.1:{proxy.port}",
            when=(lambda found: False) if kind == "not needed" else "always",
            deadline=30,
            send="photo" if kind == "photo" else "embedding",
            photo_consent=kind == "photo",
            token=TOKEN,
            daily_bytes=None,
        )
        seen = 0
        for seed in range(count):
            photo = canary_photo(seed)
            embedding = embedder.embed(photo)
            lines.clear()  # Pillow logs what EXIF it writes
            found = lens.search(photo, 3, fallback=fallback)
            logged = "\n".join(lines).encode()
            told.answered += found.answered_by != "device"
            told.sent_bytes += found.fallback.sent_bytes if found.fallback else 0
            request = messages.SearchRequest(catalogue="main", k=3)
            request.embedding.generation = bytes.fromhex(lens.facts.generation)
            request.embedding.values = codec.embedding_bytes(embedding)
            wanted.append(request)
            traces = traces_of(photo, embedding, seed=seed, secrets={"the device's id": device})
            belongs = {"its vector"} if kind == "embedding" else set()
            left, seen = bytes(proxy.asked[seen:]), len(proxy.asked)
            told.traces += set(found_in(left, traces)) - belongs
            told.logged += found_in(logged, traces | {"the token": TOKEN.encode()})
        told.wire_bytes = len(proxy.asked)
        asked = _questions(bytes(proxy.asked))
        size = embedder.spec.width * 2, embedder.spec.height * 2
    if kind == "embedding":
        told.unexpected = [str(place) for place, pair in enumerate(zip(asked, wanted, strict=True))
                           if pair[0] != pair[1]]  # fmt: skip
    else:
        told.unexpected = [what for each in asked for what in _wrong_photo(each, size)]
    listed = summary(here / NAME)
    rows = sum(listed.questions.values()) if listed else 0
    told.unlisted = abs(rows - len(asked)) + (bool(listed) if kind == "not needed" else 0)
    return told


def _wrong_photo(question: messages.SearchRequest, size: tuple[int, int]) -> Iterator[str]:
    """What of a question is not a small copy of a photo, with nothing but pixels in it."""
    bare = messages.SearchRequest(catalogue="main", k=3, photo=question.photo)
    if question != bare:
        yield "another question"
    copy = Image.open(io.BytesIO(question.photo))
    if copy.format != "JPEG" or copy.size != size:
        yield f"{copy.format} of {copy.size}"
    if dict(copy.getexif()) or b"Exif" in question.photo or "icc_profile" in copy.info:
        yield "EXIF or a profile"
    if len(question.photo) > MOST_BYTES_A_PIXEL * size[0] * size[1]:
        yield f"{len(question.photo)} bytes"


def _questions(sent: bytes) -> list[messages.SearchRequest]:
    """The messages in what one connection sent."""
    if not sent:
        return []
    assert sent.startswith(PREFACE)
    streams: dict[int, bytearray] = {}
    for frame in Frames().received(sent[len(PREFACE) :]):
        if frame.kind == DATA:
            streams.setdefault(frame.stream, bytearray()).extend(frame.payload)
    found = []
    for data in streams.values():
        is_compressed, length = struct.unpack(">BI", data[:5])
        assert (is_compressed, length) == (0, len(data) - 5)
        found.append(messages.SearchRequest.FromString(bytes(data[5:])))
    return found


class _Lines(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.lines: list[str] = []
        self.setFormatter(logging.Formatter("%(message)s"))

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(self.format(record))


@contextmanager
def _log() -> Iterator[list[str]]:
    """All lines that anybody logs."""
    root, handler = logging.getLogger(), _Lines()
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    try:
        yield handler.lines
    finally:
        root.setLevel(level)
        root.removeHandler(handler)

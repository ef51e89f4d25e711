"""Protobuf messages that lie: mutants that know the wire format, and what reads them.

    for mutant in READERS["manifest"].mutants(2_000, random.Random(33)):
        outcome(READERS["manifest"], mutant)

A mutant is made of the fields of a message that is right: doubled, dropped, moved, renumbered, of
another kind, of the largest numbers, of a length that is not theirs, nested, or drowned in fields
that nobody knows.
Source: protobuf.dev, "Encoding".
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import random
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import grpc

from pocketlens.errors import BundleError, StateMismatch, TrustError, UpdateRequired
from pocketlens.formats import bundle as bundles
from pocketlens.formats import manifest as manifests
from pocketlens.formats.delta import DeltaReader
from pocketlens.formats.delta_blocks import decode_block, encode_block
from pocketlens_protos.v1 import sync_service_pb2 as messages
from pocketlens_server.folders import ServerFolder
from pocketlens_server.publishing import keys, signing
from pocketlens_server.storage.blobs import Blobs
from tests.making.histories import History, encoded
from tests.making.repositories import BUNDLE, blob, manifest
from tests.making.shops import bare_description
from tests.making.tflite_files import tflite_file

DIM = 4
VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
NUMBERS = (
    0, 1, 2, 127, 128, 255, 256, 65_535, 65_536, (1 << 31) - 1, 1 << 31, (1 << 32) - 1, 1 << 32,
    (1 << 53) + 1, (1 << 63) - 1, 1 << 63, (1 << 64) - 1,
)  # fmt: skip
TEXTS = (
    b"", b"\0", b"\xff\xfe", b"../../etc/passwd", b"'; DROP TABLE products; --", b"\xed\xa0\x80",
    b"a" * 201, "\N{COMBINING ACUTE ACCENT}".encode() * 100, b"NaN", b"\x00\x00\xc0\x7f" * 4,
)  # fmt: skip
FLOOD = 2_000  # fields
DEPTH = 10_000
MOST_SECONDS = 2.0  # of one message


@dataclass
class Field:
    """A field as it stands on the wire.

    Attributes:
        number: Of the field.
        kind: How the wire says where it ends: `VARINT`, ...
        value: Bytes of its value, without a length.
        said: The length that is written, where it is not the true one.
    """

    number: int
    kind: int
    value: bytes
    said: int | None = None

    def encoded(self) -> bytes:
        key = varint(self.number << 3 | self.kind)
        length = len(self.value) if self.said is None else self.said
        return key + (varint(length) if self.kind == BYTES else b"") + self.value


def varint(number: int) -> bytes:
    made = bytearray()
    while number > 127:
        made.append(number & 127 | 128)
        number >>= 7
    made.append(number)
    return bytes(made)


def fields(data: bytes) -> list[Field] | None:
    """The fields of a message; None if `data` is none."""
    found, at = [], 0
    while at < len(data):
        read = _number(data, at)
        if read is None:
            return None
        key, at = read
        number, kind = key >> 3, key & 7
        if number == 0:
            return None
        if kind == VARINT:
            read = _number(data, at)
            end = read[1] if read else len(data) + 1
        elif kind == BYTES:
            read = _number(data, at)
            if read is None:
                return None
            length, at = read
            end = at + length
        else:
            end = at + {FIXED64: 8, FIXED32: 4}.get(kind, len(data) + 1)
        if end > len(data):
            return None
        found.append(Field(number, kind, data[at:end]))
        at = end
    return found


def _number(data: bytes, at: int) -> tuple[int, int] | None:
    value = shift = 0
    while at < len(data) and shift < 70:
        value |= (data[at] & 127) << shift
        at, shift = at + 1, shift + 7
        if data[at - 1] < 128:
            return value, at
    return None


def mutants(seeds: Sequence[bytes], count: int, rng: random.Random) -> Iterator[bytes]:
    """Messages with one to four things wrong."""
    for number in range(count):
        data = seeds[number % len(seeds)]
        for _ in range(rng.randint(1, 4)):
            data = _mutated(data, rng)
        yield data


def _mutated(data: bytes, rng: random.Random) -> bytes:
    """One change, in the message or in one that is inside it."""
    found = fields(data)
    if not found or rng.random() < 0.1:
        return _bytes_mutated(data, rng)
    place = rng.randrange(len(found))
    field = found[place]
    if field.kind == BYTES and rng.random() < 0.5:
        field.value = _mutated(field.value, rng)
        return b"".join(each.encoded() for each in found)
    match rng.randrange(10):
        case 0:
            found.insert(rng.randrange(len(found) + 1), field)
        case 1:
            del found[place]
        case 2:
            rng.shuffle(found)
        case 3:
            field.number = rng.choice((1, 2, 3, 19_000, (1 << 29) - 1))
        case 4:
            field.kind = rng.choice((VARINT, FIXED64, BYTES, 3, 4, FIXED32, 6, 7))
        case 5:
            field.value = varint(rng.choice(NUMBERS))
            field.kind = VARINT if rng.random() < 0.8 else field.kind
        case 6:
            field.said = rng.choice(NUMBERS)
        case 7:
            field.value = rng.choice(TEXTS)
            field.kind = BYTES
        case 8:
            field.value = varint(rng.choice(NUMBERS)) * rng.choice((1, 100, FLOOD))
            field.kind = BYTES
        case 9:
            found.append(_much(field.number, rng))
    return b"".join(each.encoded() for each in found)


def _much(number: int, rng: random.Random) -> Field:
    """Fields without end, or messages within messages."""
    if rng.random() < 0.5:
        unknown = Field(rng.randrange(1_000, 2_000), VARINT, b"\1").encoded()
        return Field(number, BYTES, unknown * FLOOD)
    if rng.random() < 0.5:
        return Field(number, 3, varint(number << 3 | 3) * DEPTH)  # groups that do not end
    return Field(number, BYTES, nested(number, 200))


def nested(number: int, depth: int) -> bytes:
    """A message within itself, so many times."""
    made = b""
    for _ in range(depth):
        made = Field(number, BYTES, made).encoded()
    return made


def _bytes_mutated(data: bytes, rng: random.Random) -> bytes:
    made = bytearray(data)
    place = rng.randrange(len(made) + 1)
    match rng.randrange(4):
        case 0 if place < len(made):
            made[place] ^= 1 << rng.randrange(8)
        case 1:
            del made[place:]
        case 2:
            made[place:place] = rng.randbytes(rng.randint(1, 8))
        case _:
            del made[place : place + rng.randint(1, 8)]
    return bytes(made)


# --- who reads them -------------------------------------------------------------------------------


@dataclass(frozen=True)
class Reader:
    """A decoder of ours.

    Attributes:
        read: Takes a message's bytes.
        errors: That it may raise, and no other.
        seeds: Messages that are right.
    """

    read: Callable[[bytes], object]
    errors: tuple[type[Exception], ...]
    seeds: Callable[[], list[bytes]]

    def mutants(self, count: int, rng: random.Random) -> Iterator[bytes]:
        return mutants(self.seeds(), count, rng)


def _read_header(data: bytes) -> object:
    stream = len(data).to_bytes(4, "little") + data
    return DeltaReader([zlib.compress(stream, 1)], len(stream)).header


def _read_bundle(data: bytes) -> object:
    sealed = bundles.seal(tflite_file(data + bytes(bundles.DIGEST_BYTES)))
    return bundles.decode(sealed)


def _histories() -> list[tuple[object, object]]:
    made = []
    for seed in range(3):
        history = History(seed)
        for _ in range(3):
            history.go_on(8)
        made += [history.delta(0, 4), history.delta(2, 4)]
    return made


def _headers() -> list[bytes]:
    found = []
    for header, block in _histories():
        pieces, _ = encoded(header, block)  # type: ignore[arg-type]
        stream = zlib.decompress(b"".join(pieces))
        length = int.from_bytes(stream[:4], "little")
        found.append(stream[4 : 4 + length])
    return found


READERS = {
    "delta header": Reader(_read_header, (StateMismatch, UpdateRequired), _headers),
    "delta block": Reader(
        lambda data: decode_block(data, DIM),
        (StateMismatch,),
        lambda: [encode_block(block) for _, block in _histories()],  # type: ignore[arg-type]
    ),
    "manifest": Reader(
        manifests.decode,
        (TrustError, UpdateRequired),
        lambda: [manifests.encode(manifest(version)) for version in (1, 300)],
    ),
    "bundle": Reader(
        _read_bundle,
        (BundleError,),
        lambda: [bundles.encode(bare_description(DIM))[: -bundles.DIGEST_BYTES]],
    ),
}


def outcome(reader: Reader, data: bytes) -> str:
    """What became of a message: "read", the error's name, or "escaped: ..."."""
    try:
        reader.read(data)
    except reader.errors as exc:
        return type(exc).__name__
    except Exception as exc:  # which is what is looked for
        return f"escaped: {exc!r}"
    return "read"


def poll_requests() -> list[bytes]:
    """Of devices that ask for what is new."""
    known = dict.fromkeys(("root", "timestamp", "snapshot", "targets", "models", "publishing"), 3)
    return [
        messages.PollRequest(catalogue="main").SerializeToString(),
        messages.PollRequest(
            catalogue="main", generation=bytes(32), version=1, **known
        ).SerializeToString(),
    ]


def piece_requests(blob_sha256: bytes) -> list[bytes]:
    """Of devices that fetch a blob that is there."""
    piece = messages.PieceRequest(blob_sha256=blob_sha256, number=0)
    one = messages.GetPiecesRequest(catalogue="main", pieces=[piece])
    many = messages.GetPiecesRequest(catalogue="main", pieces=[piece] * 3)
    return [one.SerializeToString(), many.SerializeToString()]


# --- a server that reads them ---------------------------------------------------------------------

# What a hostile request may be answered: nothing there has gone wrong.
ANSWERS = frozenset({"OK", "INVALID_ARGUMENT", "RESOURCE_EXHAUSTED", "NOT_FOUND", "OUT_OF_RANGE"})


def make_server(folder: Path) -> bytes:
    """A server's folder with one version of one blob; that blob's hash."""
    now = datetime.now(UTC)
    server = ServerFolder.create(folder / "server", offline_keys=folder / "safe", now=now)
    catalogue = server.catalogue("main")
    signers = keys.load([catalogue.online_keys, catalogue.offline_keys], keys.ROLES)
    signing.add_model(catalogue.public, blob(BUNDLE), signers, now=now)
    made = manifest(1)
    signing.publish(catalogue.public, {made.generation: manifests.encode(made)}, signers, now=now)
    return Blobs(catalogue.public / "blobs").put([bytes(100_000)]).sha256


class Caller:
    """Sends bytes to a server as requests."""

    def __init__(self, address: str) -> None:
        self._channel = grpc.insecure_channel(address)
        service = "/pocketlens.v1.SyncService"
        self._poll = self._channel.unary_unary(f"{service}/Poll")
        self._pieces = self._channel.unary_stream(f"{service}/GetPieces")

    def poll(self, data: bytes) -> str:
        """The status of the answer."""
        try:
            self._poll(data, timeout=MOST_SECONDS)
        except grpc.RpcError as exc:
            return _status(exc)
        return "OK"

    def pieces(self, data: bytes) -> str:
        """The status of the answer."""
        try:
            for _ in self._pieces(data, timeout=MOST_SECONDS):
                pass
        except grpc.RpcError as exc:
            return _status(exc)
        return "OK"

    def close(self) -> None:
        self._channel.close()


def _status(exc: grpc.RpcError) -> str:
    assert isinstance(exc, grpc.Call)
    return str(exc.code().name)

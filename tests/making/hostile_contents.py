"""What a shop that was taken over may sign: contents that lie, and what a device makes of them.

    shop = HostileShop(folder, bundle)
    outcome = shop.received(REFUSED["stream cut"], folder / "device")

Everything is signed by the right keys, models too, and has the length and the hash that were
signed, unless a case says otherwise: what is left is what the bytes say.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import gzip
import hashlib
import random
import struct
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from google.protobuf.message import DecodeError

from pocketlens import Lens
from pocketlens.errors import PocketLensError, StateMismatch, UpdateRequired
from pocketlens.formats import parts, state_hash
from pocketlens.formats.delta import DeltaReader, DeltaStream, Header
from pocketlens.formats.delta_blocks import MAX_MESSAGE_BYTES, Block, encode_block
from pocketlens.formats.manifest import Changes, encode
from pocketlens.formats.parts import ImagePart, OfferPart, PlacementPart, ProductPart
from pocketlens.store import database, installs, snapshots
from pocketlens.store.applying.applier import Applier
from pocketlens.store.facts import Origin
from pocketlens.store.verification import verify
from pocketlens.sync import session
from pocketlens.sync.transports import FolderTransport
from pocketlens_protos.v1 import delta_pb2
from pocketlens_server.publishing import signing
from pocketlens_server.storage.blobs import Blobs
from tests.making.hostile_messages import VARINT, Field, mutants
from tests.making.repositories import BEGAN, Repository, manifest

DIM = 4
PRODUCTS = 5
CENTROIDS = np.eye(1, DIM, dtype="<f2")


@dataclass
class Contents:
    """What is signed, and what lies behind it.

    Attributes:
        header: Of the snapshot.
        products, offers, images, placements: Its parts; the signed state hash is of them.
        blocks: Messages in the place of theirs.
        stream: Bytes in the place of the whole compressed stream.
        inflated: Length that is signed in the place of the true one.
        codebook, bundle: Files.
        served: Bytes that come in the place of "snapshot", "codebook" or "bundle".
    """

    header: Header
    products: list[ProductPart]
    offers: list[OfferPart]
    images: list[ImagePart]
    placements: list[PlacementPart]
    codebook: bytes
    bundle: bytes
    blocks: list[bytes] | None = None
    stream: bytes | None = None
    inflated: int | None = None
    served: dict[str, bytes] = field(default_factory=dict)

    @property
    def block(self) -> Block:
        return Block((), (), self.products, self.images, self.offers, self.placements)

    @property
    def messages(self) -> list[bytes]:
        """The header's, and those of blocks."""
        stream = zlib.decompress(b"".join(DeltaStream(self.header, [])))
        return [stream[4:], *(self.blocks or [encode_block(self.block)])]

    def packed(self) -> tuple[bytes, int]:
        """The compressed stream, and the length that is signed of it."""
        plain = b"".join(struct.pack("<I", len(each)) + each for each in self.messages)
        stream = zlib.compress(plain, 1) if self.stream is None else self.stream
        return stream, len(plain) if self.inflated is None else self.inflated

    @property
    def state_hash(self) -> bytes:
        total = state_hash.StateSum()
        rows: list[Any] = [*self.products, *self.offers, *self.images, *self.placements]
        total.add(map(parts.encode, rows))
        counts = state_hash.Counts(
            len(self.images), len(self.placements), len(self.products), len(self.offers)
        )
        header = self.header
        identity = state_hash.Identity(header.catalogue, header.generation, header.codebook_sha256)
        return state_hash.digest(identity, counts, total.value)


@dataclass(frozen=True)
class Outcome:
    """What a device made of it.

    Attributes:
        said: "installed", or the error's name.
        written: Bytes in the folder of a store that was refused.
        signed: Bytes that were signed of files.
        is_tidy: Whether nothing appeared outside of the store's folder.
        is_whole: Whether what was installed verifies, and answers a search.
    """

    said: str
    written: int
    signed: int
    is_tidy: bool
    is_whole: bool


class HostileShop:
    """Signs whatever it is told."""

    def __init__(self, folder: Path, bundle: bytes) -> None:
        self._repository = Repository.make(folder)
        self._blobs = Blobs(self._repository.folder / "blobs")
        self._bundle, self._number = bundle, 0

    def contents(self) -> Contents:
        """What an honest shop would sign."""
        codebook = struct.pack("<II", *CENTROIDS.shape) + CENTROIDS.tobytes()
        generation = hashlib.sha256(
            hashlib.sha256(self._bundle).digest() + np.ones(DIM, "<f4").tobytes()
        ).digest()
        header = Header(
            "main", generation, hashlib.sha256(codebook).digest(), 0, self._number + 1, BEGAN, DIM
        )
        keys = range(1, PRODUCTS + 1)
        return Contents(
            header=header,
            products=[ProductPart(key, f"sku-{key}", "Mug", "cups", "", {}) for key in keys],
            offers=[OfferPart(key, 100 * key, "EUR", key) for key in keys],
            images=[
                ImagePart(key, f"{key}.jpg", "", (key,), bytes([127, key, 0, 0])) for key in keys
            ],
            placements=[PlacementPart(key, 0) for key in keys],
            codebook=codebook,
            bundle=self._bundle,
        )

    def sign(self, contents: Contents) -> int:
        """Lets devices find it; how many bytes of files are signed."""
        self._number += 1
        stream, inflated = contents.packed()
        files = {"snapshot": stream, "codebook": contents.codebook, "bundle": contents.bundle}
        blobs = {name: self._blobs.put([data]) for name, data in files.items()}
        for name, data in contents.served.items():
            self._blobs.path(blobs[name].sha256).write_bytes(data)
        made = replace(
            manifest(self._number),
            generation=contents.header.generation,
            state_hash=contents.state_hash,
            images=len(contents.images),
            products=len(contents.products),
            scale=np.ones(DIM, np.float32),
            bundle=blobs["bundle"],
            codebook=blobs["codebook"],
            snapshot=Changes(0, self._number, inflated, blobs["snapshot"]),
        )
        public, signers = self._repository.folder, self._repository.signers
        signing.add_model(public, blobs["bundle"], signers, now=BEGAN)
        signing.publish(public, {made.generation: encode(made)}, signers, now=BEGAN)
        return sum(map(len, files.values()))

    def received(self, change: Callable[[Contents], None], folder: Path) -> Outcome:
        """What a new device in a folder makes of changed contents."""
        contents = self.contents()
        change(contents)
        signed = self.sign(contents)
        folder.mkdir()
        (folder / "a neighbour").write_text("not ours")
        store = folder / "store"
        try:
            session.sync(
                store,
                FolderTransport(self._repository.folder),
                catalogue="main",
                root=self._repository.root,
                now=BEGAN,
            )
            said, is_whole = "installed", _is_whole(store)
        except PocketLensError as exc:
            said, is_whole = type(exc).__name__, not (store / "CURRENT").exists()
        written = sum(path.stat().st_size for path in store.rglob("*") if path.is_file())
        others = {path.name for path in folder.iterdir()} - {"store"}
        is_tidy = others == {"a neighbour"} and (folder / "a neighbour").read_text() == "not ours"
        return Outcome(said, written, signed, is_tidy, is_whole)


def _is_whole(store: Path) -> bool:
    with Lens.open(store) as lens:
        found = lens.search_vector(np.array([1, 0, 0, 0], np.float32))
    return verify(store).is_whole and bool(found.matches)


class Mutants:
    """Streams with something wrong in a message or in their bytes, and what a store makes of them.

    Keys stay below 100,000: a larger one makes the store larger than what was signed
    (docs/reliability.md).
    """

    def __init__(self, contents: Contents, folder: Path, rng: random.Random) -> None:
        self._contents, self._folder, self._rng = contents, folder, rng
        self._store = folder / "store"
        folder.mkdir()
        with (
            installs.writing(self._store),
            installs.new_install(self._store, contents.bundle) as new,
        ):
            new.generation = contents.header.generation.hex()
            self._write(new.folder / database.FILE_NAME, *contents.packed())
        self._path = installs.current(self._store) / database.FILE_NAME
        changed = replace(
            contents,
            header=replace(contents.header, base=1, head=2),
            products=[replace(each, title="Cup") for each in contents.products],
            offers=[replace(each, stock=9) for each in contents.offers],
            images=[replace(each, url="x") for each in contents.images],
        )
        self._feeds = [
            (messages, [mutants([each], 1 << 40, rng) for each in messages], outcome)
            for messages, outcome in (
                (contents.messages, self._snapshot),
                (changed.messages, self._delta),
            )
        ]

    def outcomes(self, count: int) -> Iterator[str]:
        """Of so many: "read", the error's name, or "escaped: ..."."""
        for number in range(count):
            messages, feeds, outcome = self._feeds[number % 2]
            place = number // 2 % len(messages)
            mutant = next(feeds[place])
            while place and _largest_key(mutant) > 100_000:
                mutant = next(feeds[place])
            changed = [*messages[:place], mutant, *messages[place + 1 :]]
            plain = b"".join(struct.pack("<I", len(each)) + each for each in changed)
            stream = bytearray(zlib.compress(plain, 1))
            if number % 5 == 0:
                stream[self._rng.randrange(len(stream))] ^= 1 << self._rng.randrange(8)
            try:
                outcome(bytes(stream), len(plain))
            except (StateMismatch, UpdateRequired) as exc:
                yield type(exc).__name__
            except Exception as exc:  # which is what is looked for
                yield f"escaped: {exc!r}"
            else:
                yield "read"

    @property
    def left(self) -> list[str]:
        """What lies there and is no part of the store."""
        install = self._path.parent
        found = [*self._folder.iterdir(), *install.iterdir(), *install.parent.iterdir()]
        expected = {self._store, install}
        return [
            path.name
            for path in found
            if path not in expected and not path.name.startswith(database.FILE_NAME)
        ]

    def _snapshot(self, stream: bytes, inflated: int) -> None:
        path = self._folder / "new.sqlite"
        try:
            self._write(path, stream, inflated)
        finally:
            path.unlink(missing_ok=True)

    def _write(self, path: Path, stream: bytes, inflated: int) -> None:
        reader, contents = DeltaReader([stream], inflated), self._contents
        origin = Origin(
            generation=contents.header.generation.hex(),
            bundle_sha256=hashlib.sha256(contents.bundle).digest(),
            catalogue=contents.header.catalogue,
            version=1,
            as_of=BEGAN,
            scale=np.ones(DIM, np.float32),
            probes=1,
            probes_estimated=False,
            codebook_sha256=contents.header.codebook_sha256,
            saturated_share=0.0,
        )
        snapshots.write(path, reader, CENTROIDS.astype(np.float16), origin)

    def _delta(self, stream: bytes, inflated: int) -> None:
        reader = DeltaReader([stream], inflated)
        with suppress(_Undone), database.changing(self._path) as connection:
            Applier(connection, self._path).apply(reader.header, reader.blocks())
            raise _Undone


class _Undone(Exception):
    """Rolls a change back."""


def _largest_key(data: bytes) -> int:
    message = delta_pb2.PartsBlock()
    try:
        message.ParseFromString(data)
    except DecodeError:
        return 0
    columns = (message.products, message.images, message.offers)
    steps = [sum(each.key_steps) for each in columns] + [sum(message.placements.image_key_steps)]
    return max(*steps, *map(abs, message.images.product_key_steps), 0)


# --- named cases ----------------------------------------------------------------------------------

Case = Callable[[Contents], None]


def _streams() -> dict[str, Case]:
    """Streams that are not as long, or not as whole, as was signed."""

    def stream(
        make: Callable[[bytes], bytes], inflated: Callable[[int], int] = lambda n: n
    ) -> Case:
        def case(contents: Contents) -> None:
            packed, size = contents.packed()
            contents.stream, contents.inflated = make(packed), inflated(size)

        return case

    def plain(make: Callable[[bytes], bytes]) -> Case:
        def case(contents: Contents) -> None:
            data = make(zlib.decompress(contents.packed()[0]))
            contents.stream, contents.inflated = zlib.compress(data, 9), len(data)

        return case

    def raw(data: bytes) -> bytes:
        deflate = zlib.compressobj(9, wbits=-15)
        return deflate.compress(data) + deflate.flush()

    def with_dictionary(data: bytes) -> bytes:
        deflate = zlib.compressobj(9, zdict=b"sku")
        return deflate.compress(data) + deflate.flush()

    length = struct.Struct("<I").pack
    return {
        "zlib bomb beyond what was signed": stream(lambda _: zlib.compress(bytes(64 << 20), 9)),
        "zlib bomb as large as was signed": stream(
            lambda _: zlib.compress(bytes(64 << 20), 9), lambda _: 64 << 20
        ),
        "stream longer than was signed": stream(lambda data: data, lambda size: size - 1),
        "stream shorter than was signed": stream(lambda data: data, lambda size: size + 1),
        "stream cut": stream(lambda data: data[: len(data) // 2]),
        "stream with a tail": stream(lambda data: data + b"tail"),
        "two streams": stream(lambda data: data + data),
        "stream of gzip": stream(lambda data: gzip.compress(zlib.decompress(data))),
        "stream without a frame": stream(lambda data: raw(zlib.decompress(data))),
        "stream with a dictionary": stream(lambda data: with_dictionary(zlib.decompress(data))),
        "stream of nothing": stream(lambda _: zlib.compress(b""), lambda _: 1),
        "stream not compressed": stream(zlib.decompress),
        "message longer than a message": plain(
            lambda data: length(MAX_MESSAGE_BYTES + 1) + bytes(MAX_MESSAGE_BYTES + 1)
        ),
        "message longer than memory": plain(lambda data: length((1 << 32) - 1) + data[4:]),
        "message of no bytes": plain(lambda data: length(0) + data),
        "header alone": plain(lambda data: data[: 4 + struct.unpack_from("<I", data)[0]]),
    }


def _headers() -> dict[str, Case]:
    """Headers of something else."""

    def header(**changes: Any) -> Case:
        def case(contents: Contents) -> None:
            contents.header = replace(contents.header, **changes)

        return case

    return {
        "header of another catalogue": header(catalogue="../../other"),
        "header of a later version": header(head=77),
        "header of a base": header(base=1, head=2),
        "header of another codebook": header(codebook_sha256=bytes(32)),
        "header of other codes": header(dim=2),
        "header of the largest codes": header(dim=4096),
    }


def _parts() -> dict[str, Case]:
    """Parts that do not belong together."""

    def case(change: Callable[[Contents], object]) -> Case:
        def changed(contents: Contents) -> None:
            change(contents)

        return changed

    def edited(name: str, **changes: Any) -> Case:
        def changed(contents: Contents) -> None:
            rows = getattr(contents, name)
            rows[-1] = replace(rows[-1], **changes)

        return changed

    def raw(change: Callable[[delta_pb2.PartsBlock], object]) -> Case:
        def changed(contents: Contents) -> None:
            message = delta_pb2.PartsBlock.FromString(encode_block(contents.block))
            change(message)
            contents.blocks = [message.SerializeToString()]

        return changed

    def twice(contents: Contents) -> None:
        contents.blocks = [encode_block(contents.block)] * 2

    return {
        "product without an offer": case(lambda each: each.offers.pop()),
        "offer without a product": case(lambda each: each.products.pop()),
        "image without a list": case(lambda each: each.placements.pop()),
        "list without an image": case(lambda each: each.images.pop()),
        "list that is not there": edited("placements", list_number=1),
        "everything twice": twice,
        "deletions in a snapshot": raw(lambda each: each.deleted_product_steps.append(1)),
        "code out of range": raw(
            lambda each: setattr(each.images, "codes", b"\x80" * len(each.images.codes))
        ),
        "code too short": raw(lambda each: setattr(each.images, "codes", each.images.codes[1:])),
        "keys that stand still": raw(lambda each: each.products.key_steps.__setitem__(1, 0)),
        "category that is not there": raw(lambda each: each.products.categories.__setitem__(0, 9)),
        "attribute given twice": raw(_attribute_twice),
        "id of no bytes": raw(lambda each: each.products.ids.__setitem__(0, "")),
        "id of 201 bytes": raw(lambda each: each.products.ids.__setitem__(0, "a" * 201)),
        "price beyond counting": raw(lambda each: each.offers.prices.__setitem__(0, 1 << 62)),
        "price below nothing": raw(lambda each: each.offers.prices.__setitem__(0, -2)),
        "currency of small letters": raw(
            lambda each: each.offers.currency_names.__setitem__(0, "eur")
        ),
        "stock below nothing": raw(lambda each: each.offers.stocks.__setitem__(0, -2)),
        "image of no product": raw(lambda each: each.images.product_counts.__setitem__(0, 0)),
    }


def _attribute_twice(message: delta_pb2.PartsBlock) -> None:
    products = message.products
    products.attribute_counts[0] = 2
    products.attribute_names.extend([0, 0])
    products.attribute_name_texts.append("colour")
    products.attribute_values.extend(["red", "blue"])


def _files() -> dict[str, Case]:
    """Files that are not what they are said to be."""

    def served(name: str, make: Callable[[bytes], bytes]) -> Case:
        def case(contents: Contents) -> None:
            files = {
                "snapshot": contents.packed()[0],
                "codebook": contents.codebook,
                "bundle": contents.bundle,
            }
            contents.served[name] = make(files[name])

        return case

    return {
        f"{name} {what}": served(name, make)
        for name in ("snapshot", "codebook", "bundle")
        for what, make in {
            "shorter than was signed": lambda data: data[:-1],
            "of other bytes": lambda data: bytes(len(data)),
        }.items()
    }


def _harmless() -> dict[str, Case]:
    """Texts that mean something elsewhere and are texts here, and much of what is nothing."""

    def ids(*names: str) -> Case:
        def case(contents: Contents) -> None:
            for place, name in enumerate(names):
                contents.products[place] = replace(contents.products[place], id=name)
                contents.images[place] = replace(contents.images[place], id=name, url=name)

        return case

    def text(**fields: Any) -> Case:
        def case(contents: Contents) -> None:
            contents.products[0] = replace(contents.products[0], **fields)

        return case

    def empty(contents: Contents) -> None:
        contents.blocks = [encode_block(contents.block), *[b""] * 50_000]

    def unknown(contents: Contents) -> None:
        contents.blocks = [encode_block(contents.block) + Field(1_000, VARINT, b"\1").encoded() * 9]

    def longer(contents: Contents) -> None:
        contents.served["codebook"] = contents.codebook + bytes(1 << 20)

    return {
        "fifty thousand messages of nothing": empty,
        "fields that nobody knows": unknown,
        "a file with a tail that was not signed": longer,  # nothing asks for it
        "ids that climb": ids("../../../a neighbour", "..", "/etc/passwd", "C:\\con", "."),
        "ids of SQL": ids("'; DROP TABLE products; --", '" OR 1=1', "%", "x' UNION SELECT 1"),
        "ids with NUL": ids("a\0b", "\0", "a\0"),
        "ids that differ in case": ids("Mug", "mug", "MUG"),
        "ids that look alike": ids("\u00e9", "e\u0301", "\u0435"),
        "ids of control characters": ids("\x1b[2J", "\r\n", "\u202egpj.exe", "\ufeff"),
        "ids that are alike": ids("mug", "mug"),
        "title of a megabyte": text(title="x" * (1 << 20)),
        "category that climbs": text(category="../../a neighbour"),
        "url of a program": text(url="javascript:alert(1)"),
        "attributes of SQL": text(attributes={"'; DROP TABLE attributes; --": "\0", "..": "/"}),
    }


REFUSED: Mapping[str, Case] = {**_streams(), **_headers(), **_parts(), **_files()}
INSTALLED: Mapping[str, Case] = _harmless()

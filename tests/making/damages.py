"""Damages of a store that follows a server, and what must come of each.

    clinic = Clinic.make(folder)
    for damage in some_of(damages(), 30, rng):
        clinic.round(damage, rng)           # raises where a promise is broken

A damaged store answers as a whole one would, or says in a typed error that it cannot; at most two
syncs later it is at the server's state, whole, and answers.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import itertools
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from pocketlens import Lens, SearchOptions
from pocketlens.errors import BundleError, StoreError, SyncError
from pocketlens.store import installs
from pocketlens.store.pieces import Pieces
from pocketlens.store.reader import Reader
from pocketlens.store.verification import verify
from pocketlens_server.catalogue.operations import PatchProduct, apply
from tests.making import followers
from tests.making.servers import Server
from tests.making.shops import make_shop

_PAGE = 4096
_PRODUCTS = 30


@dataclass(frozen=True)
class Damage:
    """What is damaged, by its name below the store, and how."""

    place: str
    kind: str


def _gone(path: Path, rng: np.random.Generator) -> None:
    shutil.rmtree(path) if path.is_dir() else path.unlink()


def _empty(path: Path, rng: np.random.Generator) -> None:
    path.write_bytes(b"")


def _cut(path: Path, rng: np.random.Generator) -> None:
    data = path.read_bytes()
    path.write_bytes(data[: int(rng.integers(len(data) + 1))])


def _flipped(path: Path, rng: np.random.Generator) -> None:
    data = bytearray(path.read_bytes())
    if data:
        data[rng.integers(len(data))] ^= 1 << int(rng.integers(8))
    path.write_bytes(data)


def _blanked(path: Path, rng: np.random.Generator) -> None:
    data = path.read_bytes()
    start = int(rng.integers(len(data) // _PAGE + 1)) * _PAGE
    path.write_bytes(data[:start] + bytes(len(data[start : start + _PAGE])) + data[start + _PAGE :])


def _noise(path: Path, rng: np.random.Generator) -> None:
    path.write_bytes(rng.bytes(path.stat().st_size))


def _unreadable(path: Path, rng: np.random.Generator) -> None:
    path.chmod(0)


KINDS: dict[str, Callable[[Path, np.random.Generator], None]] = {
    "gone": _gone,
    "empty": _empty,
    "cut": _cut,
    "flipped": _flipped,
    "blanked": _blanked,
    "noise": _noise,
    "unreadable": _unreadable,  # root reads it all the same
}
FILES = (
    "install/store.sqlite",
    "install/store.sqlite-wal",
    "install/store.sqlite-shm",
    "install/verified",
    "files/*.tflite",
    "CURRENT",
    "sync.json",
    "sync-copy.json",
    "pieces/*",
    "cache/golden-*",
    "cache/codebook-*",
)
FOLDERS = ("install", "installs", "files", "cache", "pieces")


def damages(*kinds: str) -> list[Damage]:
    """Every damage of these kinds; of all if none is named."""
    wanted = kinds or tuple(KINDS)
    found = [Damage(place, kind) for place, kind in itertools.product(FILES, wanted)]
    return found + [Damage(place, "gone") for place in FOLDERS if "gone" in wanted]


@dataclass
class Clinic:
    """A server, stores that are whole, and what came of the damages so far.

    Attributes:
        stores: At the server's version, its last changes still in the log; and one version behind,
            with pieces of the next at hand.
        seen: Counts: damages, noticed by a search, noticed by reading all, syncs.
    """

    folder: Path
    server: Server
    stores: list[Path] = field(default_factory=list)
    answers: dict[int, list[Any]] = field(default_factory=dict)
    seen: dict[str, int] = field(
        default_factory=lambda: dict.fromkeys(
            ("damages", "noticed_by_search", "noticed_by_reading", "syncs"), 0
        )
    )

    @classmethod
    def make(cls, folder: Path) -> Clinic:
        shop = make_shop(folder / "shop", products=_PRODUCTS)
        made = cls(folder, Server.of_shop(shop, folder / "server"))
        behind, newest = folder / "behind", folder / "newest"
        made.server.publish()
        for store in (behind, newest):
            followers.install(made.server, store)
            made._warm(store)
        made.answers[1] = made._answers(behind)
        for number in range(_PRODUCTS):
            apply(made.server.catalogue.history, PatchProduct(f"sku-{number}", stock=number + 40))
        made.server.publish()
        with Reader.open(newest):  # keeps what is new in the log
            made._sync(newest)
            shutil.copytree(newest, folder / "logged")
        made.answers[2] = made._answers(newest)
        pieces = Pieces(behind / "pieces")
        for blob in (made.server.public / "blobs").iterdir():
            data = blob.read_bytes()
            pieces.put(bytes.fromhex(blob.name), [data], size=len(data))
        made.stores = [folder / "logged", behind]
        return made

    def round(self, damage: Damage, rng: np.random.Generator) -> None:
        """Damages a copy of a store, and follows it back to health."""
        store = self.folder / "patient"
        shutil.rmtree(store, ignore_errors=True)  # of a round that failed
        shutil.copytree(self.stores[int(rng.integers(len(self.stores)))], store)
        path = self._path(store, damage.place)
        if path is None:
            return
        KINDS[damage.kind](path, rng)
        self.seen["damages"] += 1
        self.seen["noticed_by_search"] += not self._is_right(store)
        try:
            self.seen["noticed_by_reading"] += not verify(store).is_whole
        except StoreError:
            self.seen["noticed_by_reading"] += 1
        for _ in range(2):
            self.seen["syncs"] += 1
            try:
                self._sync(store)
                break
            except (SyncError, StoreError) as exc:
                last = exc
        else:
            raise AssertionError(f"{damage}: not mended by two syncs: {last}")
        found = verify(store)
        assert found.is_whole, f"{damage}: {found.findings}"
        assert found.facts is not None
        assert found.facts.version == 2, damage
        assert self._is_right(store), damage

    def _path(self, store: Path, place: str) -> Path | None:
        """What `place` names; None where this store has no such file."""
        first, _, rest = place.partition("/")
        below = installs.current(store) if first == "install" else store / first
        found = sorted(below.glob(rest)) if rest else [below]
        return next((path for path in found if path.exists()), None)

    def _sync(self, store: Path) -> None:
        followers.sync(self.server, store)

    def _is_right(self, store: Path) -> bool:
        """Whether it answers; fails where it answers otherwise than a whole one."""
        try:
            found = self._answers(store)
        except (StoreError, BundleError):
            return False
        assert found in self.answers.values(), "a damaged store gave another answer"
        return True

    def _answers(self, store: Path) -> list[Any]:
        with Lens.open(store) as lens:
            return [
                (match.product, match.image, match.similarity)
                for embedding in self.server.shop.embeddings
                for match in lens.search_vector(embedding, 3).matches
            ]

    def _warm(self, store: Path) -> None:
        """Lets everything be made that a device keeps in the cache."""
        with Lens.open(store, options=SearchOptions(codebook_index="annoy")) as lens:
            lens.search(np.full((8, 16, 3), 90, np.uint8))


def some_of(found: list[Damage], count: int, rng: np.random.Generator) -> Iterator[Damage]:
    """`count` of them, all different as long as there are enough."""
    while count > 0:
        for number in rng.permutation(len(found))[:count]:
            yield found[number]
        count -= len(found)


def become_nobody(folder: Path) -> None:
    """Goes on as an ordinary user, to whom everything in `folder` belongs."""
    if os.geteuid() != 0:
        return
    for path in (folder, *folder.rglob("*")):
        os.chown(path, 65534, 65534)
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)

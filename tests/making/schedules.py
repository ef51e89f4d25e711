"""Readers, installs and cleaning in threads, in an order that a seed chooses.

    editions = Editions.make(folder)        # some versions of one catalogue, each a whole install
    run(editions, folder / "store", seed)   # raises what is wrong

At each step one to three of the actors do their next thing at the same time. A reader that is
pinned to an install reads what it never read before, whatever became of that.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from pocketlens import Lens
from pocketlens.errors import StoreLocked
from pocketlens.formats.manifest import Manifest
from pocketlens.store import database, installs
from pocketlens.store.reader import Reader
from pocketlens.sync import session
from pocketlens.sync.transports import FolderTransport
from tests.making.servers import Server
from tests.making.shops import bare_bundle, make_shop

INSTALLS = 5  # after the first
_PRODUCTS = 20
_GREY = np.full((8, 16, 3), 90, np.uint8)

Step = Callable[[], Any]


@dataclass(frozen=True)
class Edition:
    """An install to put into a store, and what it answers."""

    database: Path
    bundle: bytes
    manifest: Manifest
    answer: list[str]


@dataclass
class Editions:
    """Versions of one catalogue, each of a model of its own.

    Attributes:
        query: float32 (dim,): what all of them are asked.
        by_version: Editions.
    """

    query: np.ndarray
    by_version: dict[int, Edition] = field(default_factory=dict)

    @classmethod
    def make(cls, folder: Path) -> Editions:
        shop = make_shop(folder / "shop", products=_PRODUCTS)
        server = Server.of_shop(shop, folder / "server")
        made = cls(shop.embeddings[3])
        for version in range(1, INSTALLS + 2):
            if version > 1:
                server.add_model(bare_bundle(16, name=f"model {version}"))
            (*_, manifest) = server.publish().manifests
            store, transport = folder / f"edition-{version}", FolderTransport(server.public)
            session.sync(store, transport, catalogue="main", root=server.root, now=server.now)
            with Lens.open(store) as lens:
                answer = ids(lens.search_vector(made.query))
                file = lens.facts.bundle_sha256
            made.by_version[version] = Edition(
                installs.current(store) / database.FILE_NAME,
                installs.bundle_path(store, file).read_bytes(),
                manifest,
                answer,
            )
        return made

    def put(self, store: Path, version: int) -> None:
        """Makes the install of a version, as a sync does."""
        edition = self.by_version[version]
        signed = edition.manifest if version > 1 else None
        with (
            installs.writing(store),
            installs.new_install(store, edition.bundle, manifest=signed) as new,
        ):
            shutil.copy(edition.database, new.folder / database.FILE_NAME)
            new.generation = edition.manifest.generation.hex()


def ids(found: Any) -> list[str]:
    return [match.product.id for match in found.matches]


def run(editions: Editions, store: Path, seed: int) -> None:
    """One schedule; afterwards nothing is left of installs that nobody needs."""
    rng = np.random.default_rng(seed)
    editions.put(store, 1)
    actors = [_writer(editions, store), _cleaner(store)]
    actors += [_searcher(editions, store), _searcher(editions, store), _pinned(editions, store)]
    with ThreadPoolExecutor(3) as threads:
        while actors:
            count = min(len(actors), int(rng.integers(1, 4)))
            chosen = [actors[n] for n in rng.permutation(len(actors))[:count]]
            for actor, goes_on in zip(chosen, threads.map(_go_on, chosen), strict=True):
                if not goes_on:
                    actors.remove(actor)
    with Lens.open(store) as lens:
        assert lens.search_vector(editions.query).version == INSTALLS + 1
    for folder in ("installs", "files"):
        left = [path.name for path in (store / folder).iterdir()]
        assert len(left) == 1, f"seed {seed}: {folder} has {left}"
    assert not list(store.glob("installs/*/starts/*")), f"seed {seed}: a start was left"


def _go_on(actor: Iterator[None]) -> bool:
    return next(actor, _END) is not _END


_END = object()


def _writer(editions: Editions, store: Path) -> Iterator[None]:
    for version in range(2, INSTALLS + 2):
        while True:
            try:
                editions.put(store, version)
                break
            except StoreLocked:  # a search ends a trial, or somebody cleans
                yield
        yield


def _cleaner(store: Path) -> Iterator[None]:
    for _ in range(INSTALLS):
        try:
            with installs.writing(store):
                installs.remove_unneeded(store)
        except StoreLocked:
            pass
        yield


def _searcher(editions: Editions, store: Path) -> Iterator[None]:
    """Opens, searches, moves on, and closes."""
    for _ in range(2):
        with Lens.open(store) as lens:
            for _ in range(2):
                yield
                found = lens.search_vector(editions.query)
                assert ids(found) == editions.by_version[found.version].answer
                yield
                lens.refresh()
        yield


def _pinned(editions: Editions, store: Path) -> Iterator[None]:
    """Stays at the first install, and reads ever more of it."""
    with Reader.open(store) as reader, Lens.open(store) as lens:
        version = lens.facts.version
        steps: list[Step] = [
            lambda: len(reader.read_list(0)[0]) == _PRODUCTS,
            lambda: len(reader.columns().keys) == _PRODUCTS,
            lambda: reader.products([7])[7].id == "sku-6",
            lambda: len(reader.images([7])[7][1]) == 1,
            lambda: len(reader.products_with("colour", "red")) > 0,
            lambda: lens.bundle.spec.dim == 16,
            lambda: lens.search(_GREY).version == version,
            lambda: ids(lens.search_vector(editions.query)) == editions.by_version[version].answer,
        ]
        for step in steps:
            yield
            assert step()

"""A catalogue's first versions, each a folder that a device may follow, and what is right then.

course = Course.make(folder, ("install", "delta", "sign", "swap"))
step = course.steps[1]
shutil.copytree(step.before, store)
step.follow(store)
assert step.outcome(store) == "new"
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import hashlib
import random
import shutil
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import numpy as np
import numpy.typing as npt

import pocketlens
from pocketlens.errors import StoreError
from pocketlens.products import Product
from pocketlens.progress import Progress
from pocketlens.store import database, installs, trusted
from pocketlens.store.facts import from_rows
from pocketlens.store.reader import Reader
from pocketlens.store.verification import verify
from pocketlens.sync.reports import SyncReport
from pocketlens_server.catalogue.operations import PutProduct, apply
from pocketlens_server.publishing.images import image_of
from pocketlens_server.storage.history import IMAGE
from tests.making import golden
from tests.making.servers import Server, change
from tests.making.shops import bare_bundle, make_shop

INSTALL, DELTA, SIGN, SWAP = "install", "delta", "sign", "swap"
EACH_ONCE = (INSTALL, DELTA, SIGN, SWAP)
QUERIES = 8


@dataclass(frozen=True)
class State:
    """Which version of which generation a store is, and what it trusts."""

    version: int
    state_hash: bytes
    trusted: bytes


@dataclass(frozen=True)
class Step:
    """A device's way from one state of its store to the next.

    Attributes:
        kind: INSTALL (into a new folder), DELTA, SIGN (nothing new but a signature), SWAP (to
            another generation).
        before: A store as it was, to be copied; a folder that is not there before an INSTALL.
        after: A store that went this way without faults.
        public: What the server serves, a folder.
        old, new: States of the store before and after; `old` is None before an INSTALL.
        shown_before, shown: Thumbnails by the ids of their images, before and after; none on a
            course without.
    """

    kind: str
    before: Path
    after: Path
    public: Path
    root: bytes
    now: datetime
    queries: npt.NDArray[np.float32]
    old: State | None
    new: State
    old_answers: Sequence[golden.Answer]
    new_answers: Sequence[golden.Answer]
    shown_before: Mapping[str, bytes]
    shown: Mapping[str, bytes]

    def follow(self, store: Path, progress: Progress = lambda *_: None) -> SyncReport:
        """Syncs without any fault."""
        return pocketlens.install(
            store,
            server=str(self.public),
            root=self.root,
            clock=lambda: self.now,
            progress=progress,
            thumbnails=bool(self.shown),
        )

    def outcome(self, store: Path) -> str:
        """What became of a store on this way: "old", "new", or what is wrong with it.

        Before a first install has ended, a folder without a store is what was before.
        """
        if self.old is None and not (store / installs.CURRENT).exists():
            return "old"
        try:
            state = state_of(store)
            found = golden.answers(store, self.queries)
            shown = thumbnails_of(store, {*self.shown_before, *self.shown})
        except (StoreError, OSError) as exc:
            return f"{type(exc).__name__}: {exc}"
        if findings := verify(store).findings:
            return f"damaged: {findings[0]}"
        for id_, each in shown.items():
            if each not in (self.shown_before.get(id_), self.shown.get(id_)):
                return f"thumbnail of neither the state before nor the one after: {id_}"
        known = {self.old: ("old", self.old_answers), self.new: ("new", self.new_answers)}
        if state not in known:
            return "mixed: neither the state before nor the one after"
        name, answers = known[state]
        return name if found == answers else f"answers of another state than {name}"

    def healed(self, store: Path) -> str:
        """What a sync without faults makes of it: "healed", or what is wrong."""
        self.follow(store)
        if (outcome := self.outcome(store)) != "new":
            return outcome
        if self.shown != thumbnails_of(store, self.shown):
            return "thumbnails are missing"
        left = [path for path in unfinished(store) if path.exists()]
        return f"left over: {left}" if left else "healed"


@dataclass(frozen=True)
class Course:
    """Steps, each of which begins where the one before it ended."""

    steps: Sequence[Step]

    @classmethod
    def make(
        cls,
        folder: Path,
        kinds: Sequence[str] = EACH_ONCE,
        *,
        products: int = 60,
        thumbnails: bool = False,
    ) -> Course:
        """Publishes a version for each kind of step and lets a device follow; INSTALL is first.

        With thumbnails there are two versions to a step, each with a pack, and the device wants
        them.
        """
        shop = make_shop(folder / "shop", products=products, images_each=2)
        server = Server.of_shop(shop, folder / "server")
        server.thumbnail_of = drawn if thumbnails else None
        shown_before: Mapping[str, bytes] = {}
        rng, steps = random.Random(4), list[Step]()
        queries = shop.embeddings[: QUERIES * 7 : 7]
        before, old, old_answers = folder / "no store", None, ()
        for number, kind in enumerate(kinds):
            if kind == SIGN:
                server.sign_again()
            else:
                if kind == SWAP:
                    server.add_model(bare_bundle(16, name=f"bundle {number}"))
                change(server, rng)
                new = Product(f"of step {number}", "Always something new", stock=1)
                apply(server.catalogue.history, PutProduct(new))
                server.publish()
                if thumbnails:
                    server.put_image(f"image of step {number}", shop.embeddings[number], ["sku-1"])
                    server.publish()
            public = shutil.copytree(server.public, folder / f"public-{number}")
            after = folder / f"store-{number}"
            if before.exists():
                shutil.copytree(before, after)
            pocketlens.install(
                after,
                server=str(public),
                root=server.root,
                clock=lambda: server.now,
                thumbnails=thumbnails,
            )
            images = (image_of(value) for _, value in server.catalogue.history.values(IMAGE))
            shown = {each.id: drawn(each.code) for each in images} if thumbnails else {}
            new, new_answers = state_of(after), golden.answers(after, queries)
            steps.append(
                Step(
                    kind,
                    before,
                    after,
                    public,
                    server.root,
                    server.now,
                    queries,
                    old,
                    new,
                    old_answers,
                    new_answers,
                    shown_before,
                    shown,
                )
            )
            before, old, old_answers, shown_before = after, new, new_answers, shown
        return cls(steps)


def drawn(picture: bytes) -> bytes:
    """A stand-in for a thumbnail: what is in one is no business of a sync."""
    return picture + b"drawn"


def thumbnails_of(store: Path, ids: Iterable[str]) -> dict[str, bytes | None]:
    """What a store shows of some images."""
    with Reader.open(store) as reader:
        return {each: reader.thumbnails.of(each) for each in ids}


def state_of(store: Path) -> State:
    """Read from its database alone.

    Raises:
        StoreError: There is none, or it is damaged.
    """
    path = installs.current(store) / database.FILE_NAME
    with closing(database.open_to_read(path)) as connection, database.errors(path):
        connection.execute("BEGIN")
        facts = from_rows(connection.execute("SELECT * FROM facts").fetchall())
        believed = trusted.read(connection)
    digest = hashlib.sha256(believed.manifest)
    for name, data in sorted(believed.metadata.items()):
        digest.update(f"{name} {len(data)} ".encode() + data)
    return State(facts.version, facts.state_hash, digest.digest())


def unfinished(store: Path) -> list[Path]:
    """What a writer that was cut off leaves, and the next one removes; fetched pieces are not."""
    return [path for path in store.rglob(".*") if path.suffix in (".tmp", ".new")]

"""A writer that is killed while it holds a store, and the one that takes over from it.

rivals = Rivals.make(folder)
rivals.round(3, is_install=True)        # killed at the third step; raises what is wrong
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import multiprocessing
import os
import signal
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from time import perf_counter

import pytest

from pocketlens import Lens
from pocketlens.errors import StoreLocked
from pocketlens.store import installs
from pocketlens.store.verification import verify
from pocketlens.sync import session
from pocketlens.sync.planner import Action
from pocketlens.sync.transports import FolderTransport
from pocketlens_server.catalogue.operations import PatchProduct, apply
from tests.making.servers import Server
from tests.making.shops import bare_bundle, make_shop

TAKEOVER_SECONDS = 1.0


def hold(server: str, store: Path, root: bytes, now: object, stage: int, tell: Connection) -> None:
    """Syncs, and stops at a step of it for ever, holding the store."""
    steps = 0

    def progress(name: str, done: int, total: int) -> None:
        nonlocal steps
        steps += 1
        if steps == stage:
            tell.send(name)
            signal.pause()

    transport = FolderTransport(Path(server))
    session.sync(store, transport, catalogue="main", root=root, now=now, progress=progress)  # type: ignore[arg-type]
    tell.send("done")


@dataclass
class Rivals:
    """A server that goes on, and a store that two processes write to.

    Attributes:
        takeovers: Seconds from each kill until the store was another's.
        stages: At what the holders were killed.
    """

    server: Server
    store: Path
    takeovers: list[float] = field(default_factory=list)
    stages: list[str] = field(default_factory=list)
    models: int = 1

    @classmethod
    def make(cls, folder: Path) -> Rivals:
        server = Server.of_shop(make_shop(folder / "shop", products=30), folder / "server")
        server.publish()
        made = cls(server, folder / "store")
        made.sync()
        return made

    def sync(self) -> session.SyncReport:
        transport = FolderTransport(self.server.public)
        server = self.server
        return session.sync(
            self.store, transport, catalogue="main", root=server.root, now=server.now
        )

    def round(self, stage: int, *, is_install: bool) -> None:
        """One is killed at its step `stage`; another, refused before, takes over and ends it.

        Args:
            stage: From 1 on; a sync that has fewer steps ends, and nobody is killed.
            is_install: Whether a new install is made, or rows change.
        """
        server = self.server
        if is_install:
            self.models += 1
            server.add_model(bare_bundle(16, name=f"model {self.models}"))
        apply(server.catalogue.history, PatchProduct("sku-3", stock=len(self.takeovers) + 50))
        (*_, newest) = server.publish().manifests
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(["tests.making.rivals"])
        ours, theirs = context.Pipe()
        given = str(server.public), self.store, server.root, server.now, stage, theirs
        holder = context.Process(target=hold, args=given, daemon=True)
        holder.start()
        assert ours.poll(60), "the holder says nothing"
        self.stages.append(ours.recv())
        if self.stages[-1] != "done":
            with pytest.raises(StoreLocked):
                self.sync()
            assert holder.pid is not None
            os.kill(holder.pid, signal.SIGKILL)
            began = perf_counter()
            self.wait_for_lock(began)
        holder.join()
        report = self.sync()
        found = verify(self.store)
        assert found.is_whole, found.findings
        assert found.facts is not None
        assert (found.facts.version, found.facts.state_hash) == (newest.version, newest.state_hash)
        assert report.action is not Action.WAIT
        with Lens.open(self.store) as lens:
            assert lens.search_vector(server.shop.embeddings[0]).version == newest.version
        assert len(list((self.store / "installs").iterdir())) == 1
        assert not list(self.store.glob("pieces/*"))

    def wait_for_lock(self, began: float) -> None:
        """Takes the store over, and notes how long that took."""
        while True:
            try:
                with installs.writing(self.store):
                    self.takeovers.append(perf_counter() - began)
                    return
            except StoreLocked:
                assert perf_counter() - began < TAKEOVER_SECONDS, "nobody takes over"

"""A device's clock that is wrong, at each state of a device and its server.

    cases = ClockCases(folder, shop)
    outcome = cases.tell("years ahead", "behind", folder)

What must come is computed from times alone: the time that counts is the later of the clock and of
what the device knows to have been signed.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import shutil
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from pocketlens import Lens
from pocketlens.errors import ClockSuspect, SyncCancelled, TrustError
from pocketlens.store.reader import Reader
from pocketlens.sync import session
from pocketlens.sync.transports import FolderTransport
from pocketlens_server.catalogue.operations import PatchProduct, apply
from tests.making.servers import BEGAN, Server
from tests.making.shops import Shop

DAY = timedelta(days=1)
CLOCKS = {
    "right": BEGAN,
    "30 years behind": BEGAN - 30 * 365 * DAY,
    "at the beginning of time": datetime(1970, 1, 1, tzinfo=UTC),
    "at the end of a century": datetime(1999, 12, 31, 23, 59, 59, tzinfo=UTC),
    "a day behind": BEGAN - DAY,
    "an hour ahead": BEGAN + timedelta(hours=1),
    "four days ahead": BEGAN + 4 * DAY,
    "two months ahead": BEGAN + 60 * DAY,
    "12 years ahead": BEGAN + 12 * 365 * DAY,
    "where 32 bits end": datetime(2038, 1, 19, 3, 14, 8, tzinfo=UTC),
    "in 2090": datetime(2090, 1, 1, tzinfo=UTC),
    "at the end of all time": datetime(9999, 12, 28, tzinfo=UTC),
}
STATES = (
    "new",  # a device without a store
    "behind",  # at version 1 of 2
    "at head",
    "behind a server that stands still",  # whose timestamp holds for one day more
    "offered an older copy",  # at version 2, the server at 1
    "cut off in mid-sync",  # with pieces at hand, the clock right until then
)


@dataclass(frozen=True)
class Outcome:
    """What became of a sync, and of the device.

    Attributes:
        said: "synced", or the error's name.
        version: That searches are answered of afterwards; 0 where there was no store to search.
    """

    said: str
    version: int


class ClockCases:
    """A server at two versions, and stores at each."""

    def __init__(self, folder: Path, shop: Shop) -> None:
        self._shop, self._folder = shop, folder
        self.server = Server.of_shop(shop, folder / "server")
        self.server.publish()
        self.signed = [self.server.now]
        shutil.copytree(self.server.public, folder / "older")
        self._sync(folder / "at 1", self.server.public, BEGAN)
        apply(self.server.catalogue.history, PatchProduct("sku-3", stock=77))
        self.server.now = BEGAN + timedelta(minutes=10)
        self.server.publish()
        self.signed.append(self.server.now)
        self._sync(folder / "at 2", self.server.public, BEGAN)

    def tell(self, clock: str, state: str, folder: Path) -> Outcome:
        """Lets a device sync by a clock, and search."""
        store, public = folder / "store", self._folder / "server" / "public"
        if state in ("behind", "behind a server that stands still"):
            shutil.copytree(self._folder / "at 1", store)
        elif state in ("at head", "offered an older copy"):
            shutil.copytree(self._folder / "at 2", store)
        elif state == "cut off in mid-sync":
            shutil.copytree(self._folder / "at 1", store)
            self._cut_off(store)
        if state == "offered an older copy":
            public = self._folder / "older"
        now = CLOCKS[clock]
        if state == "behind a server that stands still":
            now += 2 * DAY
        try:
            self._sync(store, public, now)
            said = "synced"
        except (ClockSuspect, TrustError) as exc:
            said = type(exc).__name__
        return Outcome(said, self._searched(store))

    def expected(self, clock: str, state: str) -> Outcome:
        """What must come."""
        has = {"new": 0, "at head": 2, "offered an older copy": 2}.get(state, 1)
        now = CLOCKS[clock]
        if state == "behind a server that stands still":
            now += 2 * DAY
        if has:
            now = max(now, self.signed[has - 1])
        offered = 1 if state == "offered an older copy" else 2
        if now >= BEGAN + 730 * DAY:
            return Outcome("ClockSuspect", has)
        if now >= self.signed[offered - 1] + 3 * DAY or offered < has:
            return Outcome("TrustError", has)
        return Outcome("synced", offered)

    def recovers(self, folder: Path) -> bool:
        """Whether the device comes to head by a right clock, whatever was before."""
        self._sync(folder / "store", self.server.public, BEGAN)
        return self._searched(folder / "store") == 2

    def _sync(self, store: Path, public: Path, now: datetime) -> None:
        transport = FolderTransport(public)
        session.sync(store, transport, catalogue="main", root=self.server.root, now=now)

    def _cut_off(self, store: Path) -> None:
        try:
            session.sync(
                store,
                FolderTransport(self.server.public),
                catalogue="main",
                root=self.server.root,
                now=BEGAN,
                cancelled=lambda: True,
            )
        except SyncCancelled:
            return
        raise AssertionError("nothing was to be fetched")

    def _searched(self, store: Path) -> int:
        """The version of the answer to a search that has one right answer."""
        if not (store / "CURRENT").exists():
            return 0
        with Lens.open(store) as lens:
            found = lens.search_vector(self._shop.embeddings[5])
            assert found.matches[0].product.id == "sku-5"
        with Reader.open(store) as reader:
            assert reader.facts.version == found.version
        return found.version

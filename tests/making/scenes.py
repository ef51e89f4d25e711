"""A catalogue whose keys change, a thief who has some of them, and devices that follow either.

    scene = MetadataScene(folder)
    device = scene.device()
    scene.publish()
    assert device.sync(scene) == 1
    thief = scene.robbed(keys.ONLINE)

`MetadataScene` has signed metadata alone, and its devices believe or refuse it; `ShopScene` has a
shop, and its devices are stores that sync.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import dataclasses
import itertools
import shutil
from abc import ABC, abstractmethod
from collections.abc import Collection, Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Protocol

from securesystemslib.signer import Signer

from pocketlens.formats.manifest import decode, encode
from pocketlens.store.reader import Reader
from pocketlens.sync import session
from pocketlens.sync.transports import FolderTransport
from pocketlens.sync.trust import verified
from pocketlens_server.catalogue.operations import PatchProduct, apply
from pocketlens_server.folders import CatalogueFolder
from pocketlens_server.publishing import holdings, keys, signing
from pocketlens_server.storage.blobs import Blobs
from tests.making.databases import make_database
from tests.making.repositories import BUNDLE, Repository, blob, manifest
from tests.making.servers import BEGAN, Server
from tests.making.shops import Shop


class Device(Protocol):
    """Follows a catalogue."""

    def sync(self, scene: Scene, *, now: datetime | None = None) -> int:
        """The version that it is at afterwards; raises what a device raises."""

    @property
    def state(self) -> object:
        """Everything that it believes and holds."""


class Scene(ABC):
    """A catalogue on disk.

    Attributes:
        catalogue: Its folders.
        root: That apps come with.
        now: The time of its day.
        robbed_of: Keys that sign, where a thief has it; None: all that its folders name.
    """

    def __init__(
        self,
        catalogue: CatalogueFolder,
        root: bytes,
        robbed_of: Mapping[str, list[Signer]] | None = None,
    ) -> None:
        self.catalogue, self.root, self.robbed_of = catalogue, root, robbed_of
        self.now = BEGAN
        self._copies = itertools.count(1)

    @property
    def public(self) -> Path:
        return self.catalogue.public

    @property
    def signers(self) -> Mapping[str, list[Signer]]:
        if self.robbed_of is not None:
            return self.robbed_of
        return keys.load([self.catalogue.online_keys, self.catalogue.offline_keys], keys.ROLES)

    @abstractmethod
    def publish(self, times: int = 1, *, signed_at: datetime | None = None) -> None:
        """Publishes a version, or several; `signed_at` is what a liar says of the last."""

    @abstractmethod
    def robbed(self, roles: Collection[str]) -> Scene:
        """A copy of the public files in the hands of one who has the keys of some roles."""

    @abstractmethod
    def device(self) -> Device:
        """A new one, with the app's root."""

    def copied(self, roles: Collection[str]) -> tuple[CatalogueFolder, dict[str, list[Signer]]]:
        folder = self.catalogue.folder / f"thief-{next(self._copies)}"
        shutil.copytree(self.public, folder / "public")
        stolen = {role: found if role in roles else [] for role, found in self.signers.items()}
        copied = CatalogueFolder("main", folder, folder / "public", folder / "no")
        make_database(copied)
        return copied, stolen


class MetadataScene(Scene):
    """Signed metadata, and manifests that name blobs which are not there."""

    def __init__(self, folder: Path) -> None:
        made = Repository.make(folder)
        super().__init__(made.catalogue, made.root)
        self.version, self.bundle = 0, BUNDLE

    def add_model(self, data: bytes) -> None:
        """Lets further versions be of another bundle."""
        signing.add_model(self.public, blob(data), self.signers, now=self.now)
        self.bundle = data

    def publish(self, times: int = 1, *, signed_at: datetime | None = None) -> None:
        for _ in range(times):
            self.version += 1
            made = manifest(self.version, bundle=self.bundle)
            made = dataclasses.replace(made, signed_at=signed_at or self.now)
            named = {made.generation: encode(made)}
            signing.publish(self.public, named, self.signers, now=self.now)

    def robbed(self, roles: Collection[str]) -> MetadataScene:
        thief = MetadataScene.__new__(MetadataScene)
        catalogue, stolen = self.copied(roles)
        Scene.__init__(thief, catalogue, self.root, stolen)
        thief.version, thief.bundle, thief.now = self.version, self.bundle, self.now
        return thief

    def device(self) -> Device:
        return _Believer()


class _Believer:
    """A device that keeps what it believes and nothing else."""

    def __init__(self) -> None:
        self._trusted: Mapping[str, bytes] = {}
        self._signed_at: datetime | None = None

    def sync(self, scene: Scene, *, now: datetime | None = None) -> int:
        def fetch(name: str) -> Iterator[bytes] | None:
            path = scene.public / name
            return iter([path.read_bytes()]) if path.is_file() else None

        found = verified(
            self._trusted,
            root=scene.root,
            fetch=fetch,
            generation=None,
            now=now or scene.now,
            signed_before=self._signed_at,
        )
        self._trusted, self._signed_at = found.metadata, found.manifest.signed_at
        return found.manifest.version

    @property
    def state(self) -> object:
        return self._trusted


class ShopScene(Scene):
    """A shop whose prices change."""

    def __init__(self, folder: Path, shop: Shop) -> None:
        self._server = Server.of_shop(shop, folder)
        (folder / "online").rename(folder / "keys")
        catalogue = CatalogueFolder("main", folder, folder / "public", folder / "offline")
        make_database(catalogue)
        super().__init__(catalogue, self._server.root)

    def publish(self, times: int = 1, *, signed_at: datetime | None = None) -> None:
        server, thief = self._server, self.robbed_of is not None
        server.signers = dict(self.signers)
        for _ in range(times):
            stock = server.catalogue.history.head + (1_000 if thief else 0)
            apply(server.catalogue.history, PatchProduct("sku-3", stock=stock))
            server.now = max(server.now, self.now)
            (made,) = server.publish().manifests
        if signed_at is not None:
            made = dataclasses.replace(made, signed_at=signed_at)
            signing.publish(
                self.public, {made.generation: encode(made)}, self.signers, now=self.now
            )

    def robbed(self, roles: Collection[str]) -> ShopScene:
        """The thief has the same shop, and changes its prices."""
        thief = ShopScene.__new__(ShopScene)
        catalogue, stolen = self.copied(roles)
        Scene.__init__(thief, catalogue, self.root, stolen)
        thief.now = self.now
        twin = Server.of_shop(self._server.shop, catalogue.folder / "twin")
        twin.public = catalogue.public
        twin.catalogue = dataclasses.replace(
            twin.catalogue, blobs=Blobs(catalogue.public / "blobs")
        )
        thief._server = twin
        while twin.catalogue.history.head < self._server.catalogue.history.head:
            thief.publish()
        return thief

    def device(self) -> Device:
        return _Store(self.catalogue.folder / f"store-{next(self._copies)}")


class _Store:
    """A device with a store that syncs from the public files."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def sync(self, scene: Scene, *, now: datetime | None = None) -> int:
        transport = FolderTransport(scene.public)
        session.sync(
            self._folder, transport, catalogue="main", root=scene.root, now=now or scene.now
        )
        newest = decode(list(holdings.read_visible(scene.public).manifests.values())[-1])
        with Reader.open(self._folder) as reader:
            assert reader.facts.state_hash == newest.state_hash
            return int(reader.facts.version)

    @property
    def state(self) -> object:
        if not self._folder.exists():
            return None
        with Reader.open(self._folder) as reader:
            return reader.facts.version, reader.facts.state_hash

"""Servers that are lost and restored to an older day, and devices that followed the lost one.

    shop = template(folder / "template")
    for number, story in enumerate(STORIES.values()):
        outcome = told(story, shop, folder / str(number))
        outcome.rewound, outcome.untold, outcome.late

A device polls as over gRPC: the server sees what it has, and notes who is ahead. The backend knows
what was sold on the lost server, and pushes it again.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import copy
import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path

import numpy as np

from pocketlens import Lens
from pocketlens.errors import ServerError, SyncError
from pocketlens.store.facts import StoreFacts
from pocketlens.store.reader import Reader
from pocketlens.store.verification import verify
from pocketlens.sync.planner import Action
from pocketlens.sync.reports import SyncReport
from pocketlens.sync.session import sync
from pocketlens.sync.transports import AtHand, FolderTransport
from pocketlens_server.folders import MAIN, CatalogueFolder, ServerFolder
from pocketlens_server.maintenance.backup import backup
from pocketlens_server.maintenance.findings import Check
from pocketlens_server.maintenance.fsck import examine
from pocketlens_server.maintenance.restoring import restore
from pocketlens_server.publishing import answers, rekeying, releasing, restored
from pocketlens_server.publishing.ahead import Sightings
from pocketlens_server.publishing.answers import Asked
from pocketlens_server.publishing.keys import ONLINE
from pocketlens_server.publishing.releasing import Terms
from tests.making.tiles import TileShop

KEPT = 3  # versions in the backup
SOLD = 5  # a tile that is sold all the while


def copied(shop: TileShop, folder: Path) -> TileShop:
    """The shop once more, in another folder, with its server, keys and stores."""
    shutil.copytree(shop.folder, folder)
    settings = folder / "server" / "server.json"
    value = json.loads(settings.read_text()) | {"offline_keys": str(folder / "keys")}
    settings.write_text(json.dumps(value))
    made = copy.copy(shop)
    made.folder, made.stock = folder, dict(shop.stock)
    made.catalogue = ServerFolder(folder / "server").catalogue(MAIN)
    return made


def template(folder: Path) -> TileShop:
    """A shop with a device at each of the versions that a backup will have."""
    shop = TileShop(folder, dict.fromkeys(range(8), 1))
    for version in range(1, KEPT + 1):
        shop.stock[version] = version
        shop.publish()
        shop.sync(f"v{version}")
    return shop


class Polled(FolderTransport):
    """The server's public files, and the server, which is told what a device has."""

    def __init__(self, catalogue: CatalogueFolder, sightings: Sightings) -> None:
        super().__init__(catalogue.public)
        self._catalogue, self._sightings = catalogue, sightings

    def poll(self, have: AtHand) -> None:
        asked = Asked(have.generation, have.version, have.versions, have.without_delta)
        answer = answers.newer(self._catalogue.public, asked)
        self._sightings.notice(self._catalogue, asked, answer)


@dataclass(frozen=True)
class Outcome:
    """What became of the devices of a story.

    Attributes:
        devices: How many there were.
        ahead: Of them that had what the restored server had not.
        rewound: That have an older version, or another state of it, than before.
        silent: That do not answer, or are not whole.
        untold: Whether somebody was ahead and the operator could not know, or none and they were
            told so.
        late: That are not at the head after one sync.
        installed: Of those at a version, and a generation, that the server knows, that did not come
            to the head by a delta.
    """

    devices: int
    ahead: int
    rewound: int
    silent: int
    untold: bool
    late: int
    installed: int


@dataclass
class Scene:
    """A server and its devices.

    Attributes:
        had: What each device had when it was last seen.
        saved: What was sold when the backup was made.
        rewound, silent: Names of devices; see `Outcome`.
    """

    shop: TileShop
    had: dict[str, StoreFacts] = field(default_factory=dict)
    rewound: set[str] = field(default_factory=set)
    silent: set[str] = field(default_factory=set)
    saved: dict[int, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.root = (self.shop.public / "metadata" / "1.root.json").read_bytes()
        self.sightings = Sightings(lambda: self.shop.now)
        for path in sorted(self.shop.folder.glob("v*")):
            self.had[path.name] = self.facts(path.name)

    def facts(self, device: str) -> StoreFacts:
        with Reader.open(self.shop.folder / device) as reader:
            return reader.facts

    @property
    def highest(self) -> int:
        """Version that a device has."""
        return max(facts.version for facts in self.had.values())

    def sync(self, device: str) -> SyncReport | None:
        """What a sync did; None where it was refused. The device answers all the same."""
        store = self.shop.folder / device
        try:
            report = sync(
                store,
                Polled(self.shop.catalogue, self.sightings),
                catalogue=MAIN,
                root=self.root,
                now=self.shop.now,
                device=device,
            )
        except SyncError:
            report = None
        now, before = self.facts(device), self.had.get(device)
        if before and (now.version < before.version or now.as_of < before.as_of):
            self.rewound.add(device)
        with Lens.open(store) as lens:
            found = lens.search(self.shop.folder / f"{SOLD}.png").matches
        if not verify(store).is_whole or not found or found[0].product.id != f"sku-{SOLD}":
            self.silent.add(device)
        self.had[device] = now
        return report

    def lose(
        self, change: Callable[[Scene, int], None], days: int = 3, *, followed: int = 1
    ) -> None:
        """Versions that no backup has; a device takes each, or the last of so many."""
        for day in range(days):
            change(self, day)
            self.shop.publish()
            if (day + 1) % followed == 0:
                self.follow()

    def follow(self) -> None:
        """A device is at the newest version."""
        self.sync(f"v{releasing.newest(self.shop.catalogue)[-1].version}")

    def save(self, out: str = "backup") -> None:
        self.saved = dict(self.shop.stock)
        server = ServerFolder(self.shop.folder / "server")
        backup(server, self.shop.folder / out, now=self.shop.now)

    def bring_back(self, saved: str = "backup") -> None:
        """The disk of the server is lost; an hour later its backup is another server."""
        data = self.shop.folder / "server"
        shutil.rmtree(data)
        self.shop.now += timedelta(hours=1)
        restore(self.shop.folder / saved, data, now=self.shop.now)
        self.shop.catalogue = ServerFolder(data).catalogue(MAIN)

    def is_told(self, said: str) -> bool:
        """Whether `fsck` says this of devices, and `publish`, which refuses; "" for nothing."""
        notes = examine(ServerFolder(self.shop.folder / "server"), now=self.shop.now)
        texts = [each.text for each in notes if each.check is Check.AHEAD]
        if restored.mark_of(self.shop.catalogue):
            try:
                self.shop.publish()
            except ServerError as exc:
                texts.append(str(exc).partition("Devices said")[2])
            else:
                return False
        return all(said in text for text in texts) if said else not any(texts)


@dataclass(frozen=True)
class Story:
    """What is lost, and how the operator goes on.

    Attributes:
        lost: What the server did after its backup.
        after: What is done with the restored server before devices ask.
        waits: What is changed before the version that is published above theirs.
        terms: Of that, but for `above`.
        last: What is done after it.
    """

    lost: Callable[[Scene], None]
    after: Callable[[Scene], None] = lambda scene: None
    waits: Callable[[Scene], None] = lambda scene: None
    terms: Callable[[Scene], Terms] = lambda scene: Terms()
    last: Callable[[Scene], None] = lambda scene: None


def told(story: Story, shop: TileShop, folder: Path) -> Outcome:
    """Lets a story happen.

    Args:
        story: Which.
        shop: As `template` makes it; it stays as it is.
        folder: New; its copy is made there.
    """
    scene = Scene(copied(shop, folder))
    scene.save()
    story.lost(scene)
    scene.bring_back()
    story.after(scene)
    (*_, manifest) = releasing.newest(scene.shop.catalogue)
    devices, above = list(scene.had), scene.highest
    refused = [device for device in devices if scene.sync(device) is None]
    ahead = {*refused, *(each for each in devices if scene.had[each].version > manifest.version)}
    if above == manifest.version:
        above = 0
    said = f"version {above} (" if above else "signed metadata"
    is_told = scene.is_told(said if ahead else "")

    story.waits(scene)
    scene.shop.publish(replace(story.terms(scene), above=above))
    story.last(scene)

    (*_, head) = releasing.newest(scene.shop.catalogue)
    before = dict(scene.had)
    reports = {device: scene.sync(device) for device in (*devices, "new")}
    late = [
        device
        for device, report in reports.items()
        if report is None or scene.had[device].state_hash != head.state_hash
    ]
    installed = [
        device
        for device in devices
        if device not in ahead
        and before[device].generation == head.generation.hex()
        and not _is_delta(reports[device])
    ]
    return Outcome(
        len(reports),
        len(ahead),
        len(scene.rewound),
        len(scene.silent),
        not is_told,
        len(late),
        len(installed),
    )


def _is_delta(report: SyncReport | None) -> bool:
    return report is not None and report.action in (Action.DELTA, Action.NOTHING)


# --- what is lost ---------------------------------------------------------------------------------


def price(scene: Scene, day: int) -> None:
    scene.shop.stock[day % 3] += 7


def comes(scene: Scene, day: int) -> None:
    scene.shop.stock[20 + day] = 1


def goes(scene: Scene, day: int) -> None:
    del scene.shop.stock[day]


def everything(scene: Scene, day: int) -> None:
    price(scene, day)
    comes(scene, day)
    scene.shop.stock.pop(6 + day, None)


def roll_back(scene: Scene) -> None:
    scene.lose(price, 1)
    releasing.roll_back(scene.shop.catalogue, 2)
    scene.shop.now += timedelta(minutes=5)
    rng = np.random.default_rng(0)
    releasing.publish(scene.shop.catalogue, now=scene.shop.now, rng=rng)
    scene.follow()


def sign_again(scene: Scene) -> None:
    """No version, only a timestamp."""
    scene.shop.now += timedelta(days=2)
    scene.shop.publish()
    scene.follow()


def begin(scene: Scene, day: int) -> None:
    """Another model, and its generation."""
    if day == 0:
        scene.shop.add_model("second")
    price(scene, day)


def model_alone(scene: Scene) -> None:
    """A model that no version names."""
    scene.shop.add_model("second")
    scene.follow()


def slowly(scene: Scene, day: int) -> None:
    """To some devices first."""
    price(scene, day)
    scene.shop.publish(Terms(rollout=0.5))


def rotate(scene: Scene) -> None:
    catalogue = scene.shop.catalogue
    rekeying.rotate(catalogue, ONLINE, offline=[catalogue.offline_keys], now=scene.shop.now)


def other_keys(scene: Scene) -> None:
    rotate(scene)
    scene.lose(price, 2)


def few_versions(scene: Scene) -> None:
    settings = scene.shop.catalogue.folder / "settings.toml"
    settings.write_text("[keeping]\nversions = 2\n")
    scene.lose(everything, 2)


# --- how it goes on -------------------------------------------------------------------------------


def as_saved(scene: Scene) -> None:
    """The backend has forgotten what was lost too."""
    scene.shop.stock = dict(scene.saved)


def other_order(scene: Scene) -> None:
    """What came on the lost server comes again, with other keys."""
    scene.shop.stock = dict(reversed(scene.shop.stock.items()))


def again(scene: Scene) -> None:
    """The same backup is needed once more."""
    scene.shop.publish(Terms(above=scene.highest))
    scene.follow()
    scene.lose(price, 2)
    scene.bring_back()


def signs_on(scene: Scene) -> None:
    """It serves for days before devices ask, whose timestamps have the numbers of its own."""
    for _ in range(2):
        scene.shop.now += timedelta(days=2)
        releasing.refresh(scene.shop.catalogue, now=scene.shop.now)


def backup_of_restored(scene: Scene) -> None:
    """The restored server is lost too, and a backup of it restored."""
    scene.shop.publish(Terms(above=scene.highest))
    scene.follow()
    scene.save("second")
    scene.lose(price, 2)
    scene.bring_back("second")


def with_offline_keys(scene: Scene) -> Terms:
    return Terms(offline=[scene.shop.catalogue.offline_keys])


def rotate_beyond(scene: Scene) -> None:
    """Until there is a root that is newer than the one that was lost."""
    rotate(scene)
    rotate(scene)


STORIES: Mapping[str, Story] = {
    "a price": Story(lambda scene: scene.lose(price, 1)),
    "prices": Story(lambda scene: scene.lose(price, 5)),
    "prices, and devices ask days later": Story(lambda scene: scene.lose(price), after=signs_on),
    "new products": Story(lambda scene: scene.lose(comes)),
    "deletions": Story(lambda scene: scene.lose(goes)),
    "everything": Story(lambda scene: scene.lose(everything)),
    "everything, and the backend lost it too": Story(
        lambda scene: scene.lose(everything), after=as_saved, waits=as_saved
    ),
    "products that come again by other keys": Story(
        lambda scene: scene.lose(comes), after=other_order
    ),
    "a rollback": Story(roll_back),
    "a timestamp": Story(sign_again),
    "a timestamp, and nothing waits": Story(sign_again, waits=as_saved),
    "nothing": Story(lambda scene: None, waits=lambda scene: price(scene, 0)),
    "a generation": Story(lambda scene: scene.lose(begin), terms=with_offline_keys),
    "a generation that comes again": Story(
        lambda scene: scene.lose(begin), waits=lambda scene: begin(scene, 0)
    ),
    "a model without a version": Story(model_alone, terms=with_offline_keys),
    "versions for some devices": Story(lambda scene: scene.lose(slowly)),
    "the restored server, by the same backup": Story(lambda scene: scene.lose(price), after=again),
    "the restored server, by another backup": Story(
        lambda scene: scene.lose(everything), after=backup_of_restored
    ),
    "prices, and another model comes": Story(
        lambda scene: scene.lose(price), waits=lambda scene: scene.shop.add_model("third")
    ),
    "keys": Story(other_keys, last=rotate_beyond),
    "more versions than are kept": Story(few_versions),
    "more versions than a snapshot lasts": Story(lambda scene: scene.lose(price, 66, followed=11)),
    "prices, and the operator says too low a number": Story(
        lambda scene: scene.lose(price, 4), after=lambda scene: scene.shop.publish(Terms(above=5))
    ),
}

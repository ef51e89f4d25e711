"""Power cuts at any moment of what a server takes: recorded once, then cut off often.

recording = recorded(processes, scratch, rounds=2, is_kept=True)
cuts = cut(recording, scratch, images=200, rng=random.Random(5))
assert cuts.is_clean, cuts.wrong
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import hashlib
import random
import shutil
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path

from pocketlens.products import Image, Product
from pocketlens.sync.session import sync
from pocketlens.sync.transports import FolderTransport
from pocketlens_server.catalogue.batches import Arrived, Request
from pocketlens_server.catalogue.operations import (
    DeleteImage,
    DeleteProduct,
    PatchProduct,
    PutImage,
    PutProduct,
)
from pocketlens_server.folders import MAIN, CatalogueFolder, ServerFolder
from pocketlens_server.publishing.images import picture_of
from pocketlens_server.storage.history import IMAGE
from tests.making import crash_images, fault_shim
from tests.making.backend_contents import Contents, contents_of
from tests.making.backend_model import BackendModel
from tests.making.backend_operations import Sending
from tests.making.backend_processes import BackendProcesses
from tests.making.backend_program import Named, Session, Step, Work
from tests.making.fault_shim import Call, Fault
from tests.making.tiles import TileShop, tile

SYNCED_EVERY = 10  # images: by a device, which sees whether what is visible is whole
NO_PICTURE = b"no picture at all"


@dataclass(frozen=True)
class Recording:
    """All that a server did to its folder.

    Attributes:
        before: The folder as it was.
        place: The folder.
        contents: Of its tables: before, with a job, and after each step.
        versions: That were acknowledged after so many steps.
        now: After all of them.
    """

    before: Path
    place: Path
    calls: list[Call]
    contents: Sequence[Contents]
    versions: Sequence[int]
    now: datetime


@dataclass
class Cuts:
    """What power cuts left.

    Attributes:
        images: That were judged; no two are alike.
        corrupt: Of them that cannot be read.
        half: That hold what no number of steps leads to.
        lost: That hold less than was acknowledged.
        pictures_lost: Pictures that something names and that are not there whole.
        not_whole: That show devices no version, or an older one than was acknowledged.
        synced: That a device followed.
        wrong: What was wrong, a text an image; the first few.
        steps: Images by how far they are.
    """

    images: int = 0
    corrupt: int = 0
    half: int = 0
    lost: int = 0
    pictures_lost: int = 0
    not_whole: int = 0
    synced: int = 0
    wrong: list[str] = field(default_factory=list)
    steps: Counter[int] = field(default_factory=Counter)

    @property
    def is_clean(self) -> bool:
        return not (self.corrupt or self.half or self.lost or self.pictures_lost or self.not_whole)


def steps(rounds: int) -> Iterator[Step]:
    """Operations with and without pictures, pictures that are embedded, versions."""
    yield [
        Sending(f"put {number}", PutProduct(Product(f"p{number}", "P", stock=0)), 1)
        for number in range(6)
    ]
    for round_ in range(rounds):
        yield [Sending(f"one by one {round_}", PatchProduct("p0", stock=round_), 0)]
        yield [
            _image(f"i{round_}-{number}", tile(10 * round_ + number), number) for number in range(4)
        ]
        yield [_patch(round_, number) for number in range(6)]
        yield Work.SETTLE
        yield Named(tile(10 * round_ + 7))
        yield [
            _image(f"late {round_}", tile(10 * round_ + 7), round_),
            _image(f"none {round_}", NO_PICTURE + bytes([round_]), round_),
            Sending(f"delete {round_}", DeleteImage(f"i{round_}-0"), 9),
            _patch(round_, 0),  # again
        ]
        if round_ % 2:
            yield Work.PUBLISH
    yield [Sending("delete p5", DeleteProduct("p5"), 9)]
    yield Work.SETTLE
    yield Work.PUBLISH


def _patch(round_: int, number: int) -> Sending:
    patch = PatchProduct(f"p{number}", stock=round_)
    return Sending(f"patch {round_} {number}", patch, round_ + 2)


def _image(id_: str, picture: bytes, number: int) -> Sending:
    put = PutImage(Image(id_), b"", (f"p{number}", f"p{(number + 1) % 5}"))
    return Sending(f"put {id_}", put, 3, picture, hash_first=number % 2 == 0)


def recorded(
    processes: BackendProcesses, scratch: Path, *, rounds: int, is_kept: bool
) -> Recording:
    """Lets a process go all steps, and writes down every call.

    Args:
        processes: That take them.
        scratch: For the folder and the log.
        rounds: Of steps.
        is_kept: See `Session`.

    Raises:
        RuntimeError: It did not arrive.
    """
    place, before, log = (scratch / name for name in ("cut shop", "before", "backend log"))
    for each in (place, before):
        shutil.rmtree(each, ignore_errors=True)
    shop = TileShop(place, {1: 1})
    shop.publish()
    shutil.copytree(place / "server", before)
    model, versions, contents = BackendModel(broken=_broken()), [1], list[Contents]()
    went = tuple(steps(rounds))
    found = contents_of(shop.catalogue)
    model.adopt(found)
    job = model.open()
    contents.append(model.contents())
    for step in went:
        _take(model, job, step)
        contents.append(model.contents())
        versions.append(versions[-1] + (step is Work.PUBLISH))
    now = shop.now + timedelta(hours=1)
    order = Session(
        place / "server", partial(steps, rounds), now, fault=Fault(), log=log, is_kept=is_kept
    )
    ending = processes.carry_out(order)
    if len(ending.results) != len(went):
        raise RuntimeError(f"The process did not arrive: {ending}.")
    calls = list(fault_shim.read_log(log))
    now += timedelta(hours=len(went))
    return Recording(before, place / "server", calls, [found, *contents], versions, now)


def _take(model: BackendModel, job: int, step: Step) -> None:
    if step is Work.SETTLE:
        model.settle()
    elif not isinstance(step, Work | Named):
        for each in step:
            request = Request(each.id, each.body)
            model.take(Arrived(job, each.shown, each.revision, request, has_picture=True))


def _broken() -> list[bytes]:
    return [hashlib.sha256(NO_PICTURE + bytes([number])).digest() for number in range(9)]


def cut(recording: Recording, scratch: Path, *, images: int, rng: random.Random) -> Cuts:
    """Cuts the power again and again, after calls all over it, until so many images were judged."""
    cuts, seen = Cuts(), set[bytes]()
    while cuts.images < images:
        disk, found = crash_images.Disk(recording.place, recording.before), cuts.images
        count = len(recording.calls)
        chosen = set(rng.sample(range(count), min(count, images - found)))
        for number, call in enumerate(recording.calls):
            disk.take(call)
            if number not in chosen:
                continue
            image = disk.crash(rng)
            told = image.digest + disk.acknowledged.to_bytes(2, "big")
            if told in seen:
                continue
            seen.add(told)
            _judge(recording, image, disk.acknowledged, scratch, cuts, f"call {number}")
        if count <= images - found and cuts.images == found:
            raise RuntimeError(f"There are only {found} different images of this session.")
    return cuts


def _judge(
    recording: Recording,
    image: crash_images.Image,
    acknowledged: int,
    scratch: Path,
    cuts: Cuts,
    where: str,
) -> None:
    place = scratch / "backend image"
    shutil.rmtree(place, ignore_errors=True)
    image.write_to(place)
    cuts.images += 1
    wrong = ""
    try:
        folder = ServerFolder(place).catalogue(MAIN)
        found = contents_of(folder)
        at = [number for number, each in enumerate(recording.contents) if each == found]
        damaged = _damaged(folder)
        if cuts.images % SYNCED_EVERY == 0:
            version = _synced(folder, scratch / "image device", recording.now)
            cuts.synced += 1
            if version < recording.versions[acknowledged]:
                cuts.not_whole += 1
                wrong = f"devices see version {version}"
    except Exception as exc:  # whatever a damaged table leads to
        cuts.corrupt += 1
        wrong = f"{type(exc).__name__}: {exc}"
    else:
        cuts.steps[max(at, default=0)] += 1
        if damaged:
            cuts.pictures_lost += len(damaged)
            wrong = f"pictures are not there: {damaged}"
        if not at:
            cuts.half += 1
            wrong = "the tables hold what no number of steps leads to"
        elif max(at) < acknowledged + (acknowledged > 0):
            cuts.lost += 1
            wrong = f"the tables are at step {max(at) - 1}"
        elif min(at) > acknowledged + 2:
            raise RuntimeError(f"Tables are at step {min(at) - 1}, which was not begun.")
    if wrong and len(cuts.wrong) < 10:
        cuts.wrong.append(f"{where}, {acknowledged} steps acknowledged: {wrong}")


def _damaged(folder: CatalogueFolder) -> list[str]:
    """Pictures that images or dead letters name and that are not there whole."""
    with folder.reading() as tables:
        named = {picture_of(value) for _, value in tables.history.values(IMAGE)}
        named |= tables.waiting.kept_pictures()
    return [each.hex() for each in named if not is_there(folder, each)]


def is_there(folder: CatalogueFolder, picture: bytes) -> bool:
    """Whether the file of a picture is there, whole."""
    place = folder.picture(picture)
    return place.is_file() and hashlib.sha256(place.read_bytes()).digest() == picture


def _synced(folder: CatalogueFolder, store: Path, now: datetime) -> int:
    """The version that a new device comes to, every row and the state hash checked."""
    shutil.rmtree(store, ignore_errors=True)
    report = sync(
        store,
        FolderTransport(folder.public),
        catalogue=MAIN,
        root=(folder.public / "metadata" / "1.root.json").read_bytes(),
        now=now,
    )
    return report.version

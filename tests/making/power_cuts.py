"""Power cuts at any moment of a device's way: what it wrote is recorded once, then cut off often.

session = recorded(device, course, scratch)
cuts = cut(session, scratch, images=500, rng=random.Random(5))
cuts.corrupt, cuts.torn, cuts.lost
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import hashlib
import random
import shutil
from collections import Counter
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from pocketlens.errors import StoreError
from pocketlens.store import database, installs
from tests.making import fault_shim, golden
from tests.making.courses import Course, Step
from tests.making.crash_images import Disk, Image
from tests.making.devices import Device, order_of
from tests.making.fault_shim import Call, Fault

SEARCHED_EVERY = 20  # images: the others have the same rows as a store that was searched


@dataclass(frozen=True)
class Session:
    """All that a device did to its store on its way.

    Attributes:
        contents: Of a store after so many steps; there is none after none.
    """

    course: Course
    store: Path
    calls: list[Call]
    contents: Mapping[str, int]


@dataclass
class Cuts:
    """What power cuts left.

    Attributes:
        images: That were judged; no two are alike.
        corrupt: Of them that do not open.
        torn: That open, and are no version.
        lost: That are an older version than was acknowledged.
        wrong: What was wrong, a text an image; the first few.
        steps: Images by how far they are.
    """

    images: int = 0
    corrupt: int = 0
    torn: int = 0
    lost: int = 0
    wrong: list[str] = field(default_factory=list)
    steps: Counter[int] = field(default_factory=Counter)


def recorded(device: Device, course: Course, scratch: Path, *, keeps_open: bool) -> Session:
    """Lets a device go all steps of a course, and writes down every call.

    Args:
        device: That goes them.
        course: Its first step begins with no store.
        scratch: For the store and the log.
        keeps_open: Whether somebody reads all the while: then nothing leaves the WAL.

    Raises:
        RuntimeError: It did not arrive.
    """
    store, log = scratch / "cut store", scratch / "log"
    shutil.rmtree(store, ignore_errors=True)
    order = order_of(*course.steps, store=store, fault=Fault(), log=log, keeps_open=keeps_open)
    ending = device.carry_out(order)
    if len(ending.versions) != len(course.steps):
        raise RuntimeError(f"The device did not arrive: {ending}.")
    contents = {digest(step.after): number for number, step in enumerate(course.steps, 1)}
    return Session(course, store, list(fault_shim.read_log(log)), contents)


def cut(session: Session, scratch: Path, *, images: int, rng: random.Random) -> Cuts:
    """Cuts the power again and again, after calls all over it, until so many images were judged."""
    cuts, seen = Cuts(), set[bytes]()
    while cuts.images < images:
        disk, found = Disk(session.store), cuts.images
        count = len(session.calls)
        chosen = set(rng.sample(range(count), min(count, images - found)))
        for number, call in enumerate(session.calls):
            disk.take(call)
            if number not in chosen:
                continue
            image = disk.crash(rng)
            told = image.digest + disk.acknowledged.to_bytes(2, "big")
            if told in seen:
                continue
            seen.add(told)
            _judge(session, image, disk.acknowledged, scratch / "image", cuts, f"call {number}")
        if count <= images - found and cuts.images == found:
            raise RuntimeError(f"There are only {found} different images of this session.")
    return cuts


def _judge(
    session: Session, image: Image, acknowledged: int, folder: Path, cuts: Cuts, where: str
) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    image.write_to(folder)
    cuts.images += 1
    steps, wrong = 0, ""
    if (folder / installs.CURRENT).exists() or acknowledged:
        try:
            found = session.contents.get(digest(folder))
            if cuts.images % SEARCHED_EVERY == 0 and found is not None:
                _search(session.course.steps[found - 1], folder)
        except (StoreError, OSError) as exc:
            cuts.corrupt += 1
            wrong = f"{type(exc).__name__}: {exc}"
        else:
            if found is None:
                cuts.torn += 1
                wrong = "the store is at no version"
            steps = found or 0
    if not wrong and steps < acknowledged:
        cuts.lost += 1
        wrong = f"the store is at step {steps}"
    if not wrong and steps > acknowledged + 1:
        raise RuntimeError(f"A store is at step {steps} before step {acknowledged + 1} was done.")
    cuts.steps[steps] += 1
    if wrong and len(cuts.wrong) < 10:
        cuts.wrong.append(f"{where}, {acknowledged} steps acknowledged: {wrong}")


def _search(step: Step, folder: Path) -> None:
    if golden.answers(folder, step.queries) != step.new_answers:
        raise StoreError("searches give other answers")


def digest(store: Path) -> str:
    """Of every row of every table, and of the bundle.

    Raises:
        StoreError: There is no store, or it cannot be read.
    """
    path = installs.current(store) / database.FILE_NAME
    told = hashlib.sha256()
    with closing(database.open_to_read(path)) as connection, database.errors(path):
        connection.execute("BEGIN")
        names = "SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY name"
        for (name,) in connection.execute(names).fetchall():
            for row in connection.execute(f"SELECT * FROM {name} ORDER BY 1"):  # noqa: S608
                told.update(repr(row).encode())
        facts = dict(connection.execute("SELECT name, value FROM facts").fetchall())
    bundle = installs.bundle_path(store, facts["bundle_sha256"]).read_bytes()
    told.update(bundle)
    return told.hexdigest()

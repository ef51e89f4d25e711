"""The same requests again after a failure of the disk, of the process or of the network.

for round_ in disk_rounds(processes, scratch, Fault(KILL), every=10):
    assert round_.complaints == []

What is sent twice would show if it were applied twice: between the first time and the last another
value is put, and every request, answer and counter is looked at in the end.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import errno
import json
import random
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path

from pocketlens.products import Image, Product
from pocketlens_server.catalogue.operations import PatchProduct, PutImage, PutProduct
from pocketlens_server.client import CatalogueClient
from pocketlens_server.client.connections import Patience
from pocketlens_server.folders import MAIN, CatalogueFolder, ServerFolder
from pocketlens_server.publishing.images import picture_of
from pocketlens_server.storage.history import IMAGE
from tests.making.backend_contents import contents_of, requests_of
from tests.making.backend_operations import (
    TWICE,
    Answer,
    Judgement,
    Sending,
    drawn,
    judged,
    sent_by,
)
from tests.making.backend_power_cuts import is_there
from tests.making.backend_processes import BackendProcesses
from tests.making.backend_program import Ending, Session, Step
from tests.making.backend_shop import NOW, backend_folder
from tests.making.crash_images import Disk
from tests.making.fault_proxy import Ending as Cut
from tests.making.fault_proxy import FaultProxy, Toxic
from tests.making.fault_rounds import OF_POCKETLENS
from tests.making.fault_shim import KILL, Fault, Kind, read_log
from tests.making.tiles import tile

IMPATIENT = Patience(seconds=30, first_seconds=0.02, longest_seconds=0.1)


def requests() -> Iterator[Step]:
    """What comes first, and again after the failure."""
    yield [Sending("mug", PutProduct(Product("mug", stock=1)), 0)]
    yield [Sending("patch", PatchProduct("mug", stock=2), 0)]
    for number in range(2):  # whole, and in parts
        put = PutImage(Image(f"i{number}"), b"", ("mug",))
        yield [Sending(f"image {number}", put, 0, tile(number), hash_first=number == 0)]
    yield [Sending(f"cup {n}", PutProduct(Product("cup", stock=n)), n + 1) for n in range(5)]


def requests_again() -> Iterator[Step]:
    """All of them, what is newer, and all of them once more."""
    yield from requests()
    yield [Sending("later", PatchProduct("mug", stock=9), 0)]
    yield from requests()


REQUESTS = sum(len(step) for step in requests() if isinstance(step, list))


@dataclass(frozen=True)
class Round:
    """One fault, and the requests again.

    Attributes:
        ending: Of the process with the fault.
        retried: Requests that came again and were answered as known.
        doubled: Requests, values or counters of which there is one too many.
        complaints: What should not be; none if all is well.
    """

    fault: Fault
    ending: Ending
    retried: int
    doubled: int
    complaints: list[str]


def bare_server(place: Path) -> CatalogueFolder:
    """A server that takes operations and publishes nothing."""
    backend_folder(place / "catalogues" / MAIN)
    (place / "server.json").write_text(json.dumps({"format": 1, "offline_keys": "/nowhere"}))
    return ServerFolder(place).catalogue(MAIN)


def disk_rounds(
    processes: BackendProcesses,
    scratch: Path,
    fault: Fault,
    *,
    is_kept: bool,
    every: int = 1,
    first: int = 1,
) -> Iterator[Round]:
    """Lets every so many calls of the requests be the one that fails, from call `first` on.

    Raises:
        RuntimeError: No call was counted.
    """
    made = scratch / "made server"
    shutil.rmtree(made, ignore_errors=True)
    bare_server(made)
    place = _copied(made, scratch)
    counted = processes.carry_out(
        Session(place, requests, NOW, fault=Fault(kinds=fault.kinds), is_kept=is_kept)
    )
    if counted.calls == 0 or counted.error:
        raise RuntimeError(f"The requests do not go through the shim: {counted}.")
    for at in range(first, counted.calls + 1, every):
        place, log = _copied(made, scratch), scratch / "retry log"
        order = Session(place, requests, NOW, fault=replace(fault, at=at), log=log, is_kept=is_kept)
        ending = processes.carry_out(order)
        complaints = [*_of_ending(order.fault, ending)]
        if fault.kinds == Kind.SYNC:
            complaints += _of_flushes(made, place, log, ending, scratch)
        again = Session(place, requests_again, NOW + timedelta(hours=9), is_kept=is_kept)
        retried = processes.carry_out(again)
        doubled, found = _of_retries(ServerFolder(place).catalogue(MAIN), ending, retried)
        known = sum(is_repeated for step in retried.results for _, is_repeated in step)
        yield Round(order.fault or fault, ending, known, doubled, complaints + found)


def _copied(made: Path, scratch: Path) -> Path:
    place = scratch / "retried server"
    shutil.rmtree(place, ignore_errors=True)
    return shutil.copytree(made, place)


def _of_ending(fault: Fault | None, ending: Ending) -> Iterator[str]:
    """What is wrong with how a process took a call that failed."""
    assert fault is not None
    if ending.signal and fault.what != KILL:
        yield f"signal {ending.signal}"
    if ending.error and ending.error not in OF_POCKETLENS:
        yield f"{ending.error} escaped: {ending.message}"
    # Where SQLite cannot make a file, nothing says why, but a disk that is full indeed.
    if fault.what == errno.ENOSPC and ending.error not in ("", "StoreFull", "ServerError"):
        yield f"a full disk was reported as {ending.error}: {ending.message}"


def _of_flushes(made: Path, place: Path, log: Path, ending: Ending, scratch: Path) -> Iterator[str]:
    """What was acknowledged outlasts a power cut without what the failed flush was to save."""
    disk = Disk(place, made)
    for call in read_log(log):
        disk.take(call)
    image = scratch / "retry image"
    shutil.rmtree(image, ignore_errors=True)
    disk.worst().write_to(image)
    folder = ServerFolder(image).catalogue(MAIN)
    known = dict(requests_of(folder))
    for step in list(requests())[: len(ending.results)]:
        assert isinstance(step, list)
        for each in step:
            if each.id not in known:
                yield f"{each.id} was acknowledged, and is lost in a power cut"
    yield from _lost_pictures(folder)


def _of_retries(folder: CatalogueFolder, ending: Ending, retried: Ending) -> tuple[int, list[str]]:
    """How much is there twice, and what else is wrong."""
    if retried.error or retried.signal:
        return 0, [f"the requests again: {retried}"]
    doubled, wrong = 0, list[str]()
    count = len(retried.results) // 2
    for number, (before, again) in enumerate(zip(ending.results, retried.results, strict=False)):
        if again != [(result, True) for result, _ in before]:
            doubled += 1
            wrong.append(f"step {number} was answered {before} and then {again}")
    for number, again in enumerate(retried.results[count + 1 :]):
        if not all(is_repeated for _, is_repeated in again):
            doubled += 1
            wrong.append(f"step {number} was applied again: {again}")
    contents, ids = contents_of(folder), [id_ for id_, _ in requests_of(folder)]
    doubled += len(ids) - len(set(ids))
    if len(ids) != REQUESTS + 1:
        wrong.append(f"{len(ids)} requests are remembered")
    stock = {id_: product.stock for id_, product in contents.products.items()}
    if stock != {"mug": 9, "cup": 4}:
        doubled += 1
        wrong.append(f"what was newer does not hold: {stock}")
    if set(contents.waiting) != {"i0", "i1"}:
        wrong.append(f"images that wait: {list(contents.waiting)}")
    taken = sum(
        counted.get("received", 0) - counted.get("repeated", 0) - counted.get("refused", 0)
        for _, counted in contents.jobs.values()
    )
    if taken != REQUESTS + 1:
        doubled += taken > REQUESTS + 1
        wrong.append(f"{taken} were counted as taken")
    with closing(sqlite3.connect(folder.database)) as connection:
        doubled += len(connection.execute(TWICE).fetchall())
    return doubled, [*wrong, *_lost_pictures(folder)]


def _lost_pictures(folder: CatalogueFolder) -> Iterator[str]:
    with folder.reading() as tables:
        named = {picture_of(value) for _, value in tables.history.values(IMAGE)}
        named |= tables.waiting.kept_pictures()
    for each in named:
        if not is_there(folder, each):
            yield f"the picture {each.hex()} is not there whole"


# --- the network ----------------------------------------------------------------------------------


def cut_streams(
    folder: CatalogueFolder, port: int, rng: random.Random, *, cuts: int, each: int
) -> Judgement:
    """Streams of operations whose connection is cut once, at any byte of what is sent or answered.

    Args:
        folder: Of the catalogue, which is empty.
        port: Of its server.
        rng: Draws operations and bytes.
        cuts: How many.
        each: Operations of a stream.

    Returns:
        What is wrong, as of a catalogue that all of them were sent to; `results["cut"]` are the
        streams that were.
    """
    answers, sendings, cut = list[Answer](), list[Sending](), 0
    for number in range(cuts):
        (some,) = drawn(rng, clients=1, each=each)
        some = [replace(sending, id=f"{number} {sending.id}") for sending in some]
        if answers:  # and what came before, which is known
            some += [answer.sending for answer in rng.sample(answers, min(5, len(answers)))]
        sendings += some
        with (
            FaultProxy(port, _cut(rng)) as proxy,
            CatalogueClient(f"127.0.0.1:{proxy.port}", patience=IMPATIENT) as client,
        ):
            answers += sent_by(client, some)
            cut += proxy.connections > 1
    found = judged(folder, answers, sendings)
    found.results["cut"] = cut
    return found


def _cut(rng: random.Random) -> Toxic:
    """Near the beginning, where calls begin, or anywhere in some kilobytes."""
    after = rng.randrange(rng.choice((600, 6000)))
    ending = rng.choice((Cut.CLOSE, Cut.RESET))
    if rng.random() < 0.5:
        return Toxic(cut_after=after, ending=ending)
    return Toxic(cut_asked_after=rng.randrange(rng.choice((600, 60_000))), ending=ending)

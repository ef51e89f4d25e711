"""Many backends at once, whose operations are duplicated, reordered and in conflict.

What came of them is looked at beside a model that takes the same ones in the server's order.

    sendings = drawn(random.Random(7), clients=4, each=500)
    found = judged(folder, send_all(address, sendings))
    found.differences, found.doubled
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import functools
import hashlib
import random
import sqlite3
import threading
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import closing, suppress
from dataclasses import dataclass, field, replace

from pocketlens.errors import InvalidOperation
from pocketlens.products import Image, Price, Product
from pocketlens_server.catalogue.batches import Arrived, Request
from pocketlens_server.catalogue.operations import (
    DeleteImage,
    DeleteProduct,
    KeepImage,
    Operation,
    PatchProduct,
    PutImage,
    PutProduct,
)
from pocketlens_server.catalogue.results import LASTING, Outcome, Result
from pocketlens_server.client import CatalogueClient
from pocketlens_server.folders import CatalogueFolder
from pocketlens_server.publishing.gate_limits import Gate
from pocketlens_server.services import catalog_messages
from tests.making.backend_contents import Contents, contents_of
from tests.making.backend_model import BackendModel
from tests.making.backend_refusals import Refusals
from tests.making.tiles import tile

PRODUCTS, IMAGES, PICTURES = 24, 12, 6
ALLOWED = [gate.value for gate in Gate if gate is not Gate.VECTORS]  # what changes is of no shop
BROKEN = "broken"  # begins the ids of images whose pictures are none: they never hold
REORDERED = 20  # neighbours among which operations change places

# Values of one key that follow each other without a difference.
TWICE = """
SELECT old.kind, old.key, count(*) FROM history AS old JOIN history AS new
ON new.kind = old.kind AND new.key = old.key AND new.valid_from = old.valid_to
WHERE new.value = old.value GROUP BY old.kind, old.key
"""


@dataclass(frozen=True)
class Sending:
    """What a client sends, once."""

    id: str
    operation: Operation
    revision: int
    picture: bytes | None = None
    hash_first: bool = False

    @property
    def shown(self) -> Operation:
        """The operation, with the hash of its picture."""
        if isinstance(self.operation, PutImage) and self.picture is not None:
            return replace(self.operation, picture_sha256=hashlib.sha256(self.picture).digest())
        return self.operation

    @property
    def body(self) -> bytes:
        """Digest of what is asked for, as the server makes it."""
        message = catalog_messages.operation_message(self.shown)
        message.request_id, message.revision = self.id, self.revision
        return catalog_messages.digest(message)


@dataclass(frozen=True)
class Answer:
    """What came of a sending.

    Attributes:
        stream: Of several, each of which was sent and taken in its order; None where connections
            may have been cut, and what was taken have been sent again.
    """

    sending: Sending
    outcome: Outcome
    stream: int | None = None


@dataclass
class Judgement:
    """What is wrong; all of it is 0 or empty if nothing is.

    Attributes:
        operations: That were answered.
        results: How, and how many of them as repeated.
        doubled: Requests that were taken more than once.
        lost: Requests that were answered and are not remembered so.
        differences: Texts; the first few.
    """

    operations: int = 0
    results: Counter[str] = field(default_factory=Counter)
    doubled: int = 0
    lost: int = 0
    differences: list[str] = field(default_factory=list)


def drawn(
    rng: random.Random, *, clients: int, each: int, pictures: int = PICTURES
) -> list[list[Sending]]:
    """What each client sends; some requests are sent by several, or again, or are not the same."""
    tiles = _tiles(pictures)
    own = [
        [_operation(rng, f"{client}-{number}", tiles, number) for number in range(each)]
        for client in range(clients)
    ]
    drawn_first = [list(sendings) for sendings in own]

    def near(place: int) -> Sending:
        """What a client sends at about that moment."""
        moment = place + rng.randint(-2 * REORDERED, 2 * REORDERED)
        return rng.choice(drawn_first)[min(max(moment, 0), each - 1)]

    for sendings in own:
        for place in rng.sample(range(each), each // 6):
            sendings[place] = near(place)
        for place in rng.sample(range(each), each // 40):
            other = near(place)
            sendings[place] = Sending(other.id, PatchProduct("p0", stock=place), other.revision)
        for start in range(0, each, REORDERED):
            some = sendings[start : start + REORDERED]
            rng.shuffle(some)
            sendings[start : start + REORDERED] = some
    return own


@functools.cache
def _tiles(count: int) -> list[bytes]:
    return [tile(number) for number in range(count)]


def _operation(rng: random.Random, id_: str, tiles: list[bytes], number: int) -> Sending:
    """Of some moment; its revision is of that moment, more or less, or none."""
    product, image = f"p{rng.randrange(PRODUCTS)}", f"i{rng.randrange(IMAGES)}"
    revision = max(1, number + rng.randint(-8, 8)) if rng.random() < 0.6 else 0
    price = Price(rng.randint(1, 4), "EUR") if rng.random() < 0.5 else None
    stock = rng.randint(0, 4) if rng.random() < 0.5 else None
    texts = {name: rng.choice("xy") for name in rng.sample(["colour", "size", "weight"], 2)}
    kind, picture = rng.random(), None
    operation: Operation
    if kind < 0.3:
        title = rng.choice(["", "A", "B"])
        operation = PutProduct(Product(product, title, price=price, stock=stock, attributes=texts))
    elif kind < 0.68:
        removed: dict[str, str | None] = {name: None for name in texts if rng.random() < 0.3}
        patched = {**texts, **removed} if rng.random() < 0.4 else {}
        operation = PatchProduct(product, price, stock, patched)
    elif kind < 0.74:
        operation = DeleteProduct(product)
    elif kind < 0.8:
        operation = DeleteImage(image) if rng.random() < 0.5 else KeepImage(image)
    else:
        picture = rng.choice(tiles)
        if rng.random() < 0.1:
            image, picture = f"{BROKEN}{rng.randrange(3)}", f"no picture {id_}".encode()
        shown = [product, *(f"p{rng.randrange(PRODUCTS)}" for _ in range(rng.randrange(2)))]
        url = rng.choice(["", "u"])
        operation = PutImage(Image(image, url), b"", tuple(dict.fromkeys(shown)))
    return Sending(id_, operation, revision, picture, hash_first=rng.random() < 0.5)


def send_all(address: str, sendings: Sequence[Sequence[Sending]]) -> list[Answer]:
    """Lets each client send at once, and waits until no picture waits; versions come meanwhile.

    Raises:
        PocketLensError: A client failed.
    """
    answers, errors, has_ended = list[Answer](), list[BaseException](), threading.Event()

    def send(number: int, some: Sequence[Sending]) -> None:
        try:
            with CatalogueClient(address) as client:
                found = sent_by(client, some)
                answers.extend(replace(each, stream=number) for each in found)
        except BaseException as exc:
            errors.append(exc)

    def publish() -> None:
        with CatalogueClient(address) as client:
            while not has_ended.wait(0.1):
                with suppress(InvalidOperation):  # there is no image yet
                    client.publish(allowed_gates=ALLOWED)

    threads = [threading.Thread(target=send, args=each) for each in enumerate(sendings)]
    publisher = threading.Thread(target=publish)
    for thread in (*threads, publisher):
        thread.start()
    for thread in threads:
        thread.join()
    has_ended.set()
    publisher.join()
    if errors:
        raise errors[0]
    return answers


def sent_by(client: CatalogueClient, sendings: Sequence[Sending]) -> list[Answer]:
    """Sends in one stream, and waits until none of its pictures waits."""
    found: list[tuple[Sending, Future[Outcome]]] = []
    with client.stream(expected=len(sendings)) as stream:
        for each in sendings:
            future = stream.send(
                each.operation,
                picture=each.picture,
                revision=each.revision,
                request_id=each.id,
                # What is sent of the image meanwhile would be older, and come later.
                hash_first=each.hash_first and each.revision > 0,
            )
            found.append((each, future))
    client.wait(stream.job.number)
    return [Answer(sending, future.result()) for sending, future in found]


def judged(
    folder: CatalogueFolder,
    answers: Sequence[Answer],
    sendings: Iterable[Sending] | None = None,
    *,
    begun: Contents | None = None,
    is_settled: bool = True,
) -> Judgement:
    """What a catalogue holds, beside what the model does after the same requests.

    Args:
        folder: Of the catalogue.
        answers: All that were told.
        sendings: All that were sent; those of the answers if None.
        begun: What the catalogue held before, by operations that were no requests.
        is_settled: Whether no picture waits any more.
    """
    found, kept = Judgement(len(answers)), remembered(folder)
    sent = defaultdict[str, dict[bytes, Sending]](dict)
    for sending in sendings or (each.sending for each in answers):
        sent[sending.id][sending.body] = sending
    firsts = Counter[str]()
    for each in answers:
        outcome, id_ = each.outcome, each.sending.id
        found.results[outcome.result.value] += 1
        found.results["repeated"] += outcome.is_repeated
        if outcome.result in LASTING:
            firsts[id_] += not outcome.is_repeated
            known, told = kept.get(id_), (each.sending.body, outcome.result.value)
            found.lost += known is None or (known.body, known.result) != told
    found.doubled += sum(count - 1 for count in firsts.values() if count > 1)
    model, taken = BackendModel(embeds_at_once=True), list[Sending]()
    if begun is not None:
        model.adopt(begun)
    for request in kept.values():
        if request.body in sent[request.id]:
            taken.append(sent[request.id][request.body])
        else:
            found.differences.append(f"{request} was never sent")
    refusals = Refusals(answers, {id_: place for place, id_ in enumerate(kept)})
    found.differences += [f"{each} was taken out of order" for each in refusals.misplaced]
    results = [each.result for each in kept.values()]
    found.differences += _replayed(model, taken, results, refusals)
    found.differences += _compared(contents_of(folder), model.contents(), is_settled=is_settled)
    found.differences += _added_up(folder, len(answers), len(begun.jobs) if begun else 0)
    del found.differences[9:]
    return found


@dataclass(frozen=True)
class Remembered:
    """A request as the server keeps it."""

    id: str
    body: bytes
    result: str


def remembered(folder: CatalogueFolder) -> dict[str, Remembered]:
    """By id, in the order in which they were taken."""
    with closing(sqlite3.connect(folder.database)) as connection:
        query = "SELECT id, body, result FROM requests ORDER BY number"
        return {row[0]: Remembered(*row) for row in connection.execute(query)}


def _replayed(
    model: BackendModel, taken: Sequence[Sending], results: Sequence[str], refusals: Refusals
) -> Iterator[str]:
    """Takes requests in their order; those whose result was another, or that had no reason."""
    job, known = model.open(), dict[str, bytes]()

    def unfounded() -> Iterator[str]:
        for each in refusals.unfounded(len(known), model, known):
            yield f"{each} was refused without a reason"

    for sending, found in zip(taken, results, strict=False):
        yield from unfounded()
        operation, request = sending.shown, Request(sending.id, sending.body)
        known[sending.id] = sending.body
        if isinstance(operation, PutImage) and operation.image.id.startswith(BROKEN):
            continue
        result, _ = model.take(Arrived(job, operation, sending.revision, request, True))
        assert result is not None  # the job is open
        expected = {result.value}
        if isinstance(operation, PutImage) and result in (Result.APPLIED, Result.UNCHANGED):
            expected = {"applied", "unchanged", "waiting"}  # by when the picture was embedded
        elif isinstance(operation, DeleteImage) and result is Result.APPLIED:
            expected = {"applied", "unchanged"}  # it waited, and did not hold yet
        if found not in expected:
            yield f"{sending}: {found}, not {expected}"
    yield from unfounded()


def _compared(found: Contents, wanted: Contents, *, is_settled: bool) -> Iterator[str]:
    """What tables hold and the model does not; an image that waits will hold."""
    waiting = {id_: shown for id_, (_, shown) in found.waiting.items() if BROKEN not in id_}
    if found.products != wanted.products:
        yield "the products are others"
    if {**found.images, **waiting} != wanted.images:
        yield "the images are others"
    if is_settled and found.waiting:
        yield "images wait"


def _added_up(folder: CatalogueFolder, answered: int, jobs_before: int) -> Iterator[str]:
    """Counters are of what came, and of nothing else."""
    contents, received, lasting = contents_of(folder), 0, 0
    for number, (_, counted) in contents.jobs.items():
        count = Counter(counted)
        named = ("applied", "unchanged", "skipped", "refused", "repeated", "waiting", "dead")
        if sum(count[name] for name in named) != count["received"]:
            yield f"the counters of job {number} do not add up: {counted}"
        if number > jobs_before:
            received += count["received"]
            lasting += count["received"] - count["repeated"] - count["refused"]
    if received < answered:
        yield f"{answered} were answered and {received} were counted"
    if lasting != len(contents.requests):
        yield f"{lasting} were taken and {len(contents.requests)} requests are remembered"

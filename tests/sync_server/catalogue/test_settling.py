"""Pictures that wait are looked at, and what was told of their images meanwhile counts."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import hashlib
import io
import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from tests.making.backend_contents import contents_of
from tests.making.backend_shop import NOW, add_model, backend_folder, sent
from tests.making.colour_bundle import colour_bundle
from tests.making.tiles import TileShop, tile

from pocketlens.errors import ModelUnsupported
from pocketlens.formats import bundle as bundles
from pocketlens.products import Image, Product
from pocketlens.query.embedder import Embedder
from pocketlens.query.pictures import tensor as tensor_of
from pocketlens_server.catalogue import settling
from pocketlens_server.catalogue.batches import Arrived
from pocketlens_server.catalogue.decoders import Decoders
from pocketlens_server.catalogue.ingest import Ingest
from pocketlens_server.catalogue.operations import (
    DeleteImage,
    DeleteProduct,
    Operation,
    PutImage,
    PutProduct,
)
from pocketlens_server.catalogue.pictures import keep
from pocketlens_server.catalogue.results import Outcome, Result
from pocketlens_server.catalogue.settling import AT_ONCE, Settled
from pocketlens_server.folders import CatalogueFolder
from pocketlens_server.publishing import releasing
from pocketlens_server.storage.jobs import JobState
from pocketlens_server.storage.waiting_images import DeadLetter

NOTHING = b"no picture at all"


@pytest.fixture(scope="module")
def decoders() -> Iterator[Decoders]:
    with Decoders(workers=1) as made:
        yield made


@pytest.fixture
def folder(tmp_path: Path) -> CatalogueFolder:
    return backend_folder(tmp_path / "main")


class Waiting:
    """A catalogue with the products "mug" and "cup", whose images wait until they are settled."""

    def __init__(self, folder: CatalogueFolder, decoders: Decoders) -> None:
        self.folder, self._decoders = folder, decoders
        self.ingest = Ingest(folder, clock=lambda: NOW)
        self.job = self.ingest.open(caller="shop").number
        self.take(PutProduct(Product("mug")))
        self.take(PutProduct(Product("cup")))

    def take(self, operation: Operation) -> None:
        self.ingest.submit([Arrived(self.job, operation, has_picture=True)])

    def show(self, id_: str, picture: bytes, *products: str) -> None:
        self.take(PutImage(Image(id_), keep(self.folder, picture), products))

    def settle(self, happens: Callable[[], None] = lambda: None) -> Settled:
        """Settles once; something happens when the pictures have been looked at."""
        return settling.settle(
            self.folder,
            clock=lambda: NOW,
            decoders=self._decoders,
            progress=lambda stage, done, total: happens(),
        )

    @property
    def letters(self) -> list[DeadLetter]:
        with self.folder.reading() as tables:
            return tables.dead_letters.listed(limit=9)

    @property
    def shown(self) -> dict[str, set[str]]:
        return {id_: set(each.products) for id_, each in contents_of(self.folder).images.items()}

    @property
    def counted(self) -> dict[str, int]:
        return dict(contents_of(self.folder).jobs[self.job][1])


@pytest.fixture
def waiting(folder: CatalogueFolder, decoders: Decoders) -> Waiting:
    return Waiting(folder, decoders)


def test_pictures_are_looked_at_some_at_a_time(waiting: Waiting) -> None:
    for number in range(AT_ONCE + 2):
        waiting.show(f"i{number}", tile(number), "mug")

    assert waiting.settle() == Settled(pictures=AT_ONCE, embedded=AT_ONCE, images=AT_ONCE)
    assert waiting.settle() == Settled(pictures=2, embedded=2, images=2)
    assert waiting.settle() == Settled()


def test_one_picture_of_many_images_is_looked_at_once(waiting: Waiting) -> None:
    for number in range(5):
        waiting.show(f"i{number}", tile(1), "mug", "cup")

    assert waiting.settle() == Settled(pictures=1, embedded=1, images=5)
    assert waiting.counted == {"received": 7, "applied": 7, "embedded": 1, "reused": 4}


def test_what_is_told_while_a_picture_is_embedded_counts(waiting: Waiting) -> None:
    waiting.show("deleted", tile(1), "mug")
    waiting.show("replaced", tile(2), "mug")
    waiting.show("moved", tile(3), "mug", "cup")
    waiting.show("without product", tile(4), "mug")
    began = list[bool]()

    def meanwhile() -> None:
        if not began:
            began.append(True)
            waiting.take(DeleteImage("deleted"))
            waiting.show("replaced", tile(9), "cup")
            waiting.take(DeleteProduct("mug"))

    assert waiting.settle(meanwhile) == Settled(pictures=4, embedded=4, images=1)
    assert waiting.shown == {"moved": {"cup"}}
    waiting.settle()

    assert waiting.shown == {"moved": {"cup"}, "replaced": {"cup"}}
    assert waiting.counted["skipped"] == 3


def test_a_job_that_is_cancelled_meanwhile_brings_nothing(waiting: Waiting) -> None:
    waiting.show("i", tile(1), "mug")

    def cancel() -> None:
        waiting.ingest.cancel(waiting.job)

    waiting.settle(cancel)

    assert waiting.shown == {}
    assert waiting.counted["skipped"] == 1


def test_a_picture_that_is_none_is_a_dead_letter_with_its_reason(waiting: Waiting) -> None:
    waiting.show("i", NOTHING, "mug", "cup")
    waiting.ingest.close(waiting.job)

    assert waiting.settle() == Settled(pictures=1, dead=1)

    (letter,) = waiting.letters
    assert (letter.image.id, letter.job, letter.at) == ("i", waiting.job, NOW)
    assert sorted(letter.product_ids) == ["cup", "mug"]
    assert letter.reason
    assert contents_of(waiting.folder).jobs[waiting.job][0] == "done"
    assert waiting.counted == {"received": 3, "applied": 2, "dead": 1}


def test_what_held_before_a_dead_letter_goes_on_holding(waiting: Waiting) -> None:
    waiting.show("i", tile(1), "mug")
    waiting.settle()

    waiting.show("i", NOTHING, "cup")
    waiting.settle()

    assert waiting.shown == {"i": {"mug"}}
    assert len(waiting.letters) == 1


def test_a_dead_letter_is_retried_for_the_products_that_are_left(waiting: Waiting) -> None:
    waiting.show("i", NOTHING, "mug", "cup")
    waiting.show("of a product that goes", NOTHING + b"2", "cup")
    waiting.settle()
    waiting.take(DeleteProduct("cup"))
    place = waiting.folder.picture(waiting.letters[0].picture)
    place.write_bytes(tile(1))  # mended by hand

    assert settling.retry(waiting.folder, []) == 1
    assert waiting.counted == {"received": 5, "applied": 3, "waiting": 1, "dead": 1}
    waiting.settle()

    assert waiting.shown == {"i": {"mug"}}
    assert [each.image.id for each in waiting.letters] == ["of a product that goes"]
    assert waiting.counted == {"received": 5, "applied": 4, "dead": 1, "embedded": 1}


def test_a_job_is_done_again_when_a_letter_of_it_was_retried(waiting: Waiting) -> None:
    """Who waits for the job, or cancels it, means the image that waits again."""
    waiting.show("i", NOTHING, "mug")
    waiting.ingest.close(waiting.job)
    waiting.settle()
    assert waiting.ingest.close(waiting.job).state is JobState.DONE

    settling.retry(waiting.folder, [])
    again = waiting.ingest.close(waiting.job)
    assert (again.state, again.ended_at, again.counters.waiting) == (JobState.EMBEDDING, None, 1)
    waiting.settle()
    assert waiting.ingest.close(waiting.job).state is JobState.DONE

    settling.retry(waiting.folder, [])
    cancelled = waiting.ingest.cancel(waiting.job)
    assert (cancelled.state, cancelled.counters.skipped) == (JobState.CANCELLED, 1)
    waiting.settle()
    assert waiting.letters == []


def test_a_letter_that_was_retried_has_its_request(waiting: Waiting) -> None:
    """So that the same may be asked for again, once what waits is dropped after all."""
    put = PutImage(Image("i"), keep(waiting.folder, NOTHING), ["mug"])
    asked = sent(waiting.job, put, id_="event 1", has_picture=True)
    waiting.ingest.submit([asked])
    waiting.settle()
    settling.retry(waiting.folder, [])
    waiting.ingest.cancel(waiting.job)
    waiting.job = waiting.ingest.open(caller="shop").number

    (outcome,) = waiting.ingest.submit([replace(asked, job=waiting.job)])

    assert outcome == Outcome("event 1", Result.WAITING)


def test_letters_that_are_named_are_retried_and_purged_alone(waiting: Waiting) -> None:
    for number in range(3):
        waiting.show(f"i{number}", NOTHING + bytes([number]), "mug")
    waiting.settle()
    first, second, third = (each.number for each in waiting.letters)

    assert settling.retry(waiting.folder, [first, 2**64 - 1]) == 1
    assert settling.purge(waiting.folder, [third, 2**64 - 1]) == 1

    assert [each.number for each in waiting.letters] == [second]
    waiting.settle()  # it dies again, by another number
    assert [each.image.id for each in waiting.letters] == ["i1", "i0"]
    assert settling.purge(waiting.folder, []) == 2


@pytest.mark.parametrize("operation", ["another picture", "a delete", "the same picture again"])
def test_a_newer_operation_takes_the_place_of_a_dead_letter(
    waiting: Waiting, operation: str
) -> None:
    waiting.show("i", NOTHING, "mug")
    waiting.settle()

    if operation == "another picture":
        waiting.show("i", tile(1), "mug")
    elif operation == "a delete":
        waiting.take(DeleteImage("i"))
    else:
        waiting.show("i", NOTHING, "mug")

    assert waiting.letters == []
    assert settling.retry(waiting.folder, []) == 0
    waiting.settle()
    assert len(waiting.letters) == (operation == "the same picture again")
    assert waiting.shown == ({"i": {"mug"}} if operation == "another picture" else {})


def test_without_a_model_nothing_is_looked_at(tmp_path: Path, decoders: Decoders) -> None:
    waiting = Waiting(backend_folder(tmp_path / "main", has_model=False), decoders)
    waiting.show("i", tile(1), "mug")
    assert waiting.settle() == Settled()

    add_model(waiting.folder)

    assert waiting.settle() == Settled(pictures=1, embedded=1, images=1)


# --- what fails -----------------------------------------------------------------------------------


def failing(monkeypatch: pytest.MonkeyPatch, error: Exception, *pictures: bytes) -> None:
    """Lets the embedding of some pictures fail, and of no others."""
    embed, spec = Embedder.embed_tensor, bundles.decode(colour_bundle()).spec
    bad = {tensor_of(io.BytesIO(each), spec).tobytes() for each in pictures}

    def embedded(self: Embedder, tensor: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        if tensor.tobytes() in bad:
            raise error
        return embed(self, tensor)

    monkeypatch.setattr(Embedder, "embed_tensor", embedded)


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (ModelUnsupported("It gave no number."), "The model cannot embed it: It gave no number."),
        (ZeroDivisionError("a bug"), "The server failed on it"),
    ],
    ids=["the model", "a bug"],
)
def test_a_picture_that_alone_cannot_be_embedded_holds_up_no_other(
    waiting: Waiting,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    error: Exception,
    reason: str,
) -> None:
    failing(monkeypatch, error, tile(2))
    for number in range(4):
        waiting.show(f"i{number}", tile(number), "mug")

    assert waiting.settle() == Settled(pictures=4, embedded=3, images=3, dead=1)
    assert waiting.settle() == Settled()

    assert waiting.shown.keys() == {"i0", "i1", "i3"}
    (letter,) = waiting.letters
    assert (letter.image.id, letter.reason[: len(reason)]) == ("i2", reason)
    assert ("Traceback" in caplog.text) == isinstance(error, ZeroDivisionError)


def test_one_that_waits_alone_and_cannot_be_embedded_waits_no_more(
    waiting: Waiting, monkeypatch: pytest.MonkeyPatch
) -> None:
    failing(monkeypatch, ZeroDivisionError(), tile(1))
    waiting.show("i", tile(1), "mug")

    assert waiting.settle() == Settled(pictures=1, dead=1)


@pytest.mark.parametrize("error", [OSError("too many files"), ZeroDivisionError()])
def test_what_every_picture_meets_is_no_fault_of_any(
    waiting: Waiting, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    for number in range(3):
        waiting.show(f"i{number}", tile(number), "mug")
    with monkeypatch.context() as broken:
        failing(broken, error, *map(tile, range(3)))
        with pytest.raises(type(error)):
            waiting.settle()

    assert waiting.letters == []
    assert waiting.settle() == Settled(pictures=3, embedded=3, images=3)


def test_a_dead_letter_names_no_file_of_the_server(waiting: Waiting) -> None:
    waiting.show("text", NOTHING, "mug")
    waiting.show("gone", NOTHING + b"2", "mug")
    waiting.folder.picture(hashlib.sha256(NOTHING + b"2").digest()).unlink()
    waiting.settle()

    reasons = {each.image.id: each.reason for each in waiting.letters}
    assert reasons["text"].startswith("Expected a JPEG, PNG or WebP picture.")
    assert reasons["gone"].startswith("Cannot read the picture: No such file")
    assert str(waiting.folder.folder) not in str(reasons)


# --- beside publishes -----------------------------------------------------------------------------


@pytest.fixture
def shop(tmp_path: Path) -> TileShop:
    return TileShop(tmp_path / "shop", {1: 1})


def test_an_image_that_waits_for_a_product_that_was_rolled_back_shows_nothing(
    shop: TileShop, decoders: Decoders
) -> None:
    shop.publish()
    waiting = Waiting(shop.catalogue, decoders)
    waiting.show("i", tile(7), "mug")
    waiting.show("j", tile(8), "mug", "sku-1")

    releasing.roll_back(shop.catalogue, 1)
    waiting.settle()

    shown = waiting.shown
    assert "i" not in shown
    assert shown.get("j", {"sku-1"}) == {"sku-1"}
    shop.publish()
    assert shop.sync("device").version >= 1


def test_pictures_that_may_be_embedded_yet_are_not_collected(
    shop: TileShop, decoders: Decoders
) -> None:
    shop.publish()
    waiting = Waiting(shop.catalogue, decoders)
    waiting.show("dead", NOTHING, "mug")
    waiting.settle()
    waiting.show("waiting", tile(7), "mug")
    forgotten = keep(shop.catalogue, b"shown by nothing")
    kept = [keep(shop.catalogue, each) for each in (NOTHING, tile(7))]
    long_ago = (shop.now - timedelta(days=9)).timestamp()
    for picture in (*kept, forgotten):
        os.utime(shop.catalogue.picture(picture), (long_ago, long_ago))

    assert releasing.collect(shop.catalogue, now=shop.now).pictures == 1
    assert [shop.catalogue.picture(each).exists() for each in kept] == [True, True]
    settling.purge(shop.catalogue, [])
    waiting.ingest.cancel(waiting.job)
    assert releasing.collect(shop.catalogue, now=shop.now).pictures == 2

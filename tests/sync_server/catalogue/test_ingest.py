"""Operations in: each once, each answered, and jobs whose counters add up."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import sqlite3
from contextlib import closing
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from tests.making.backend_contents import contents_of, images_of, products_of, requests_of
from tests.making.backend_shop import NOW, backend_folder, request_of, sent
from tests.making.tiles import tile

from pocketlens.errors import Conflict, InvalidOperation, NotAuthorized, NotFound
from pocketlens.products import Image, Price, Product
from pocketlens_server.catalogue.batches import Arrived, Refused
from pocketlens_server.catalogue.ingest import Ingest
from pocketlens_server.catalogue.operations import (
    DeleteImage,
    DeleteProduct,
    KeepImage,
    Operation,
    PatchProduct,
    PutImage,
    PutProduct,
)
from pocketlens_server.catalogue.pictures import keep
from pocketlens_server.catalogue.results import Outcome, Refusal, Result
from pocketlens_server.catalogue.settling import purge, settle
from pocketlens_server.folders import CatalogueFolder
from pocketlens_server.storage.history import IMAGE, PRODUCT
from pocketlens_server.storage.jobs import Job, JobState
from pocketlens_server.storage.requests import KEPT, MAX_ID_BYTES
from pocketlens_server.storage.revisions import MAX_REVISION

MUG = PutProduct(Product("mug", "Mug"))


class Backend:
    """A catalogue that a test sends to, one operation a transaction."""

    def __init__(self, folder: CatalogueFolder) -> None:
        self.folder, self.now = folder, NOW
        self.ingest = Ingest(folder, clock=lambda: self.now)
        self.job = self.ingest.open(caller="shop").number

    def take(self, operation: Operation, id_: str = "", *, revision: int = 0) -> Outcome:
        (outcome,) = self.ingest.submit([sent(self.job, operation, revision, id_)])
        if isinstance(outcome, Conflict):
            raise outcome
        return outcome

    def show(
        self, id_: str, number: int, *products: str, job: int = 0, request: str = ""
    ) -> Outcome:
        """Puts an image with the picture of a tile."""
        return self.show_bytes(id_, tile(number), *products, job=job, request=request)

    def show_bytes(
        self, id_: str, picture: bytes, *products: str, job: int = 0, request: str = ""
    ) -> Outcome:
        put = PutImage(Image(id_), keep(self.folder, picture), products)
        arrived = sent(job or self.job, put, 0, request, has_picture=True)
        (outcome,) = self.ingest.submit([arrived])
        return outcome

    def settle(self) -> None:
        while settle(self.folder, clock=lambda: self.now).pictures:
            pass

    def counted(self, number: int = 0) -> dict[str, int]:
        found = contents_of(self.folder).jobs[number or self.job][1]
        named = ("applied", "unchanged", "skipped", "refused", "repeated", "waiting", "dead")
        assert sum(found.get(name, 0) for name in named) == found.get("received", 0)
        return dict(found)

    def state(self, number: int = 0) -> str:
        return contents_of(self.folder).jobs[number or self.job][0]

    def products(self) -> dict[str, Product]:
        with self.folder.reading() as tables:
            return products_of(tables)

    def shown(self) -> dict[str, set[str]]:
        """Products of the images that hold."""
        with self.folder.reading() as tables:
            return {id_: set(each.products) for id_, each in images_of(tables).items()}


@pytest.fixture
def backend(tmp_path: Path) -> Backend:
    made = Backend(backend_folder(tmp_path / "main"))
    made.take(MUG)
    return made


# --- requests -------------------------------------------------------------------------------------


def test_a_request_that_comes_again_is_answered_and_not_applied_again(backend: Backend) -> None:
    first = backend.take(PatchProduct("mug", stock=1), "first")
    backend.take(PatchProduct("mug", stock=2), "second")

    again = backend.take(PatchProduct("mug", stock=1), "first")

    assert (first.result, first.version, first.is_repeated) == (Result.APPLIED, 1, False)
    assert again == Outcome("first", Result.APPLIED, 1, is_repeated=True)
    assert backend.products()["mug"].stock == 2
    assert backend.counted() == {"received": 4, "applied": 3, "repeated": 1}


def test_a_request_is_known_again_in_its_own_batch_in_another_job_and_after_a_publish(
    backend: Backend,
) -> None:
    put = sent(backend.job, PatchProduct("mug", stock=1), id_="first")
    outcomes = backend.ingest.submit([put, sent(backend.job, MUG, id_="between"), put])
    with backend.folder.changing() as tables:
        tables.history.publish(NOW)
    backend.job = backend.ingest.open(caller="shop").number

    last = backend.take(PatchProduct("mug", stock=1), "first")

    assert [each.is_repeated for each in outcomes] == [False, False, True]
    assert (last.is_repeated, last.version) == (True, 1)
    assert backend.products()["mug"].stock is None  # as the one between put it


@pytest.mark.parametrize("other", ["another operation", "another revision"])
def test_one_id_is_not_two_requests(backend: Backend, other: str) -> None:
    backend.take(PatchProduct("mug", stock=1), "first")

    operation = PatchProduct("mug", stock=9 if other == "another operation" else 1)
    refused = backend.take(operation, "first", revision=int(other == "another revision"))

    assert (refused.result, refused.request_id) == (Result.REFUSED, "first")
    assert "was another operation's" in refused.reason
    assert refused.refusal is Refusal.REQUEST_ID_TAKEN
    assert backend.products()["mug"].stock == 1
    assert requests_of(backend.folder) == [("first", "applied")]


def test_what_was_refused_may_be_sent_again(backend: Backend) -> None:
    patch = PatchProduct("cup", stock=1)
    assert backend.take(patch, "patch").result is Result.REFUSED
    backend.take(PutProduct(Product("cup")), "put")

    again = backend.take(patch, "patch")

    assert (again.result, again.is_repeated) == (Result.APPLIED, False)
    assert backend.products()["cup"].stock == 1
    assert backend.counted() == {"received": 4, "applied": 3, "refused": 1}


def test_every_lasting_answer_is_the_same_again(backend: Backend) -> None:
    backend.take(PutProduct(Product("cup")), revision=5)
    asked = {
        Result.APPLIED: (PutProduct(Product("cup", "Cup")), 6),
        Result.UNCHANGED: (MUG, 0),
        Result.SKIPPED: (DeleteProduct("cup"), 5),
    }
    first = {
        result: backend.take(operation, result.value, revision=revision)
        for result, (operation, revision) in asked.items()
    }

    for result, (operation, revision) in asked.items():
        again = backend.take(operation, result.value, revision=revision)

        assert (first[result].result, again.result) == (result, result)
        assert (first[result].version, again.is_repeated) == (again.version, True)
        assert first[result].reason == again.reason
    assert "newer revision than 5" in first[Result.SKIPPED].reason


def test_requests_are_forgotten_while_one_job_goes_on(backend: Backend) -> None:
    """A worker may keep one stream open for months."""
    patch = PatchProduct("mug", stock=1)
    backend.take(patch, "first")
    with closing(sqlite3.connect(backend.folder.database)) as connection, connection:
        connection.execute(
            "INSERT INTO requests VALUES (?, 'a million later', x'00', 'applied', 1)", (KEPT,)
        )
    assert backend.take(patch, "first").is_repeated

    backend.take(PatchProduct("mug", stock=2), "another")
    backend.ingest.submit([])

    assert [id_ for id_, _ in requests_of(backend.folder)] == ["a million later", "another"]
    assert not backend.take(patch, "first").is_repeated


@pytest.mark.parametrize("id_", ["", "r" * (MAX_ID_BYTES + 1), "ü" * 65])
def test_ids_that_are_none_are_refused(backend: Backend, id_: str) -> None:
    request = request_of(MUG, id_)
    (outcome,) = backend.ingest.submit([Arrived(backend.job, DeleteProduct("mug"), 0, request)])

    assert outcome.result is Result.REFUSED
    assert f"1 to {MAX_ID_BYTES} bytes" in outcome.reason
    assert "mug" in backend.products()


@pytest.mark.parametrize(
    ("operation", "revision", "says", "refusal"),
    [
        (DeleteProduct("x" * 201), 0, "1 to 200 bytes", Refusal.INVALID),
        (DeleteImage(""), 3, "image id of 1 to 200 bytes", Refusal.INVALID),
        (KeepImage("x" * 201), 0, "1 to 200 bytes", Refusal.INVALID),
        (PatchProduct("cup", stock=1), 0, "no product 'cup'", Refusal.NOT_THERE_YET),
        (DeleteProduct("mug"), -1, "revision from 0", Refusal.INVALID),
        (DeleteProduct("mug"), MAX_REVISION + 1, "revision from 0", Refusal.INVALID),
        (PutImage(Image("i"), bytes(32), ["cup"]), 0, "no product 'cup'", Refusal.NOT_THERE_YET),
        (KeepImage("i"), 0, "no image 'i'", Refusal.NOT_THERE_YET),
    ],
)
def test_what_cannot_be_is_refused_alone(
    backend: Backend, operation: Operation, revision: int, says: str, refusal: Refusal
) -> None:
    before = contents_of(backend.folder)

    outcomes = backend.ingest.submit(
        [
            sent(backend.job, operation, revision, "wrong"),
            sent(backend.job, PatchProduct("mug", stock=7), 0, "right"),
        ]
    )

    assert [each.result for each in outcomes] == [Result.REFUSED, Result.APPLIED]
    assert says in outcomes[0].reason
    assert [each.refusal for each in outcomes] == [refusal, None]
    after = contents_of(backend.folder)
    assert (after.products["mug"].stock, after.images) == (7, before.images)
    assert requests_of(backend.folder) == [("right", "applied")]


# --- images ---------------------------------------------------------------------------------------


def test_an_image_waits_for_its_picture_and_then_holds(backend: Backend) -> None:
    assert backend.show("i", 1, "mug").result is Result.WAITING
    assert backend.shown() == {}
    backend.ingest.close(backend.job)
    assert backend.state() == "embedding"

    backend.settle()

    assert (backend.shown(), backend.state()) == ({"i": {"mug"}}, "done")
    assert backend.counted() == {"received": 2, "applied": 2, "embedded": 1}


def test_a_picture_that_was_embedded_is_used_again(backend: Backend) -> None:
    backend.show("i", 1, "mug")
    backend.show("j", 1, "mug")
    backend.settle()

    other = backend.show("k", 1, "mug")
    same = backend.show("k", 1, "mug")

    assert (other.result, other.is_embedding_reused) == (Result.APPLIED, True)
    assert (same.result, same.is_embedding_reused) == (Result.UNCHANGED, False)
    assert backend.counted()["embedded"] == 1
    assert backend.counted()["reused"] == 2


def test_images_and_products_show_each_other_many_to_many(backend: Backend) -> None:
    backend.take(PutProduct(Product("cup")))
    backend.show("both", 1, "cup", "mug", "cup")
    backend.show("mug only", 2, "mug")
    backend.settle()
    assert backend.shown() == {"both": {"mug", "cup"}, "mug only": {"mug"}}

    backend.take(DeleteProduct("mug"))

    assert backend.shown() == {"both": {"cup"}}


def test_the_hash_alone_stands_for_a_picture_that_came_before(backend: Backend) -> None:
    picture = keep(backend.folder, tile(1))  # came, and no image was to show it
    put = PutImage(Image("i"), picture, ["mug"])
    assert backend.take(put, "one").result is Result.PICTURE_NEEDED
    assert backend.counted()["received"] == 1  # it comes again, and counts then

    backend.ingest.submit([sent(backend.job, put, 0, "one", has_picture=True)])
    assert backend.take(PutImage(Image("j"), picture, ["mug"])).result is Result.WAITING
    backend.settle()
    assert backend.take(PutImage(Image("k"), picture, ["mug"])).result is Result.APPLIED

    assert set(backend.shown()) == {"i", "j", "k"}
    assert requests_of(backend.folder) == [("one", "waiting")]


def test_an_embedding_does_not_stand_for_a_picture_that_is_gone(backend: Backend) -> None:
    """A process that ends while it collects leaves such: files go before the transaction ends."""
    backend.show("i", 1, "mug")
    backend.settle()
    backend.take(DeleteImage("i"))
    picture = keep(backend.folder, tile(1))
    backend.folder.picture(picture).unlink()

    assert backend.take(PutImage(Image("i"), picture, ["mug"])).result is Result.PICTURE_NEEDED
    assert backend.show("i", 1, "mug").result is Result.APPLIED
    assert backend.folder.picture(picture).read_bytes() == tile(1)


def test_a_picture_that_was_collected_before_it_was_named_is_asked_for(backend: Backend) -> None:
    """By a clock that jumped ahead between the two: its image would never hold."""
    put = PutImage(Image("i"), keep(backend.folder, tile(1)), ["mug"])
    backend.folder.picture(put.picture_sha256).unlink()

    (outcome,) = backend.ingest.submit([sent(backend.job, put, id_="one", has_picture=True)])

    assert outcome == Outcome("one", Result.PICTURE_NEEDED)
    assert contents_of(backend.folder).waiting == {}
    assert backend.show("i", 1, "mug", request="one") == Outcome("one", Result.WAITING)


def test_an_image_is_kept_if_it_holds_waits_or_is_a_dead_letter(backend: Backend) -> None:
    backend.show("holds", 1, "mug")
    backend.show_bytes("dead", b"no picture", "mug")
    backend.settle()
    backend.show("waits", 2, "mug")

    for id_ in ("holds", "dead", "waits"):
        assert backend.take(KeepImage(id_)).result is Result.UNCHANGED
    for gone in (DeleteImage("holds"), DeleteImage("waits")):
        backend.take(gone)
        kept = backend.take(KeepImage(gone.image_id))
        assert (kept.result, kept.refusal) == (Result.REFUSED, Refusal.NOT_THERE_YET)


def test_what_is_told_of_an_image_that_waits_takes_its_place(backend: Backend) -> None:
    backend.take(PutProduct(Product("cup")))
    backend.show("replaced", 1, "mug")
    backend.show("deleted", 2, "mug")
    backend.show("moved", 3, "mug", "cup")
    backend.show("gone", 4, "mug")

    backend.show("replaced", 5, "cup")
    backend.take(DeleteImage("deleted"))
    backend.take(DeleteProduct("mug"))
    assert backend.counted()["skipped"] == 3
    assert backend.counted()["waiting"] == 2
    backend.settle()

    assert backend.shown() == {"replaced": {"cup"}, "moved": {"cup"}}
    assert backend.counted()["applied"] == 5


def test_the_image_of_before_goes_with_the_product_of_what_waits(backend: Backend) -> None:
    """As if its picture had been embedded at once."""
    backend.take(PutProduct(Product("cup")))
    backend.show("i", 1, "mug")
    backend.settle()
    backend.show("i", 2, "cup")
    assert backend.shown() == {"i": {"mug"}}

    backend.take(DeleteProduct("cup"))
    backend.settle()

    assert backend.shown() == {}


def test_an_older_revision_does_not_end_the_waiting_of_an_image(backend: Backend) -> None:
    picture = keep(backend.folder, tile(1))
    put = PutImage(Image("i"), picture, ["mug"])
    backend.ingest.submit([sent(backend.job, put, 5, has_picture=True)])

    assert backend.take(DeleteImage("i"), revision=4).result is Result.SKIPPED
    backend.settle()

    assert backend.shown() == {"i": {"mug"}}


def test_an_image_that_was_dropped_may_be_asked_for_again(backend: Backend) -> None:
    """By the same request: nothing of it is left, and its answer would promise what never comes."""
    backend.show("dropped", 1, "mug", request="event 1")
    backend.show_bytes("dead", b"no picture", "mug", request="event 2")
    backend.show("holds", 3, "mug", request="event 3")
    with backend.folder.reading() as tables:
        waiting = tables.waiting.pictures(limit=9)
    assert len(waiting) == 3
    backend.settle()
    backend.show("dropped", 4, "mug", request="event 4")
    backend.ingest.cancel(backend.job)
    assert purge(backend.folder, []) == 1
    backend.job = backend.ingest.open(caller="shop").number

    assert backend.show("dropped", 4, "mug", request="event 4") == Outcome(
        "event 4", Result.WAITING
    )
    assert backend.show_bytes("dead", b"no picture", "mug", request="event 2") == Outcome(
        "event 2", Result.WAITING
    )
    for event, id_, number in (("event 1", "dropped", 1), ("event 3", "holds", 3)):
        assert backend.show(id_, number, "mug", request=event).is_repeated
    assert backend.counted() == {"received": 4, "repeated": 2, "waiting": 2}
    backend.settle()
    assert set(backend.shown()) == {"dropped", "holds"}
    with backend.folder.reading() as tables:
        picture = images_of(tables)["dropped"].picture
    assert picture == keep(backend.folder, tile(4))


def test_an_image_that_was_superseded_is_not_asked_for_again(backend: Backend) -> None:
    """It was not dropped: what came later holds, and a late retry takes nothing of it back."""
    backend.show("deleted", 1, "mug", request="event 1")
    backend.take(DeleteImage("deleted"))
    backend.show("replaced", 2, "mug", request="event 2")
    other = backend.ingest.open(caller="shop").number
    backend.show("replaced", 3, "mug", job=other)
    backend.ingest.cancel(backend.job)
    backend.job = other

    assert backend.show("deleted", 1, "mug", request="event 1").is_repeated
    assert backend.show("replaced", 2, "mug", request="event 2").is_repeated
    backend.settle()

    assert set(backend.shown()) == {"replaced"}
    with backend.folder.reading() as tables:
        assert images_of(tables)["replaced"].picture == keep(backend.folder, tile(3))


def test_a_product_whose_images_have_rotted_stays_whole(backend: Backend) -> None:
    backend.show("i", 1, "mug")
    backend.settle()
    backend.show("waits", 2, "mug")
    with backend.folder.changing() as tables:
        key = tables.history.known_key(IMAGE, "i")
        assert key is not None
        tables.history.put(IMAGE, key, b"rotten")

    assert backend.take(DeleteProduct("mug")).result is Result.REFUSED

    with backend.folder.reading() as tables:
        assert list(products_of(tables)) == ["mug"]
        assert (tables.waiting.count(), tables.history.count(IMAGE)) == (1, 1)
    assert backend.take(PatchProduct("mug", stock=1)).result is Result.APPLIED


def test_without_a_model_images_wait(tmp_path: Path) -> None:
    backend = Backend(backend_folder(tmp_path / "main", has_model=False))
    backend.take(MUG)
    backend.show("i", 1, "mug")
    backend.settle()

    assert backend.counted()["waiting"] == 1
    assert backend.take(PutImage(Image("j"), keep(backend.folder, tile(1)), ["mug"])).result is (
        Result.WAITING
    )


# --- jobs -----------------------------------------------------------------------------------------


def test_a_job_is_gone_on_with_by_who_opened_it(backend: Backend) -> None:
    assert backend.ingest.resume(backend.job, caller="shop").number == backend.job
    with pytest.raises(NotAuthorized):
        backend.ingest.resume(backend.job, caller="another")
    for number in (99, 2**64 - 1):
        with pytest.raises(NotFound):
            backend.ingest.resume(number, caller="shop")

    backend.ingest.close(backend.job)

    with pytest.raises(Conflict, match="is done"):
        backend.ingest.resume(backend.job, caller="shop")
    with pytest.raises(Conflict, match=r"is done\. Open another"):
        backend.take(DeleteProduct("mug"))
    assert "mug" in backend.products()


def test_the_end_of_a_job_is_no_fault_of_what_comes_for_it(backend: Backend) -> None:
    """Nothing of it is counted or remembered: it may come in another job, under its id."""
    patch = PatchProduct("mug", stock=1)
    backend.take(patch, "answered")
    backend.ingest.cancel(backend.job)
    other = backend.ingest.open(caller="another").number
    before, counted = contents_of(backend.folder), backend.counted()

    answers = backend.ingest.submit(
        [
            sent(backend.job, DeleteProduct("mug"), 0, "late"),
            Refused(backend.job, "unreadable", "no operation"),
            sent(99, DeleteProduct("mug"), 0, "of a job that is forgotten"),
            sent(backend.job, DeleteProduct("mug"), 0, "answered"),
        ]
    )

    assert [type(each) for each in answers] == [Conflict] * 4
    assert [str(each) for each in answers[:3]] == [
        "The job 1 is cancelled. Open another.",
        "The job 1 is cancelled. Open another.",
        "The job 99 has ended. Open another.",
    ]
    assert contents_of(backend.folder) == before
    assert backend.counted() == counted
    for job in (backend.job, 99):  # whatever its job, what was answered is answered so
        (again,) = backend.ingest.submit([sent(job, patch, 0, "answered")])
        assert again == Outcome("answered", Result.APPLIED, 1, is_repeated=True)
    (taken,) = backend.ingest.submit([sent(other, DeleteProduct("mug"), 0, "late")])
    assert (taken.result, taken.is_repeated) == (Result.APPLIED, False)


def test_a_cancelled_job_drops_what_waits_and_keeps_what_was_applied(backend: Backend) -> None:
    backend.show("i", 1, "mug")
    other = backend.ingest.open(caller="shop").number
    backend.show("j", 2, "mug", job=other)

    cancelled = backend.ingest.cancel(backend.job)
    again = backend.ingest.cancel(backend.job)
    backend.settle()

    assert (cancelled.state, again) == (JobState.CANCELLED, cancelled)
    assert backend.counted() == {"received": 2, "applied": 1, "skipped": 1}
    assert (list(backend.shown()), list(backend.products())) == (["j"], ["mug"])
    backend.ingest.close(other)
    with pytest.raises(Conflict, match="done already"):
        backend.ingest.cancel(other)


@pytest.mark.parametrize(
    "operation",
    [DeleteImage("i"), DeleteProduct("mug"), PutImage(Image("i"), b"", ["mug"])],
    ids=["deleted", "deleted with its product", "replaced"],
)
def test_a_job_is_done_when_its_last_image_is_superseded(
    backend: Backend, operation: Operation
) -> None:
    backend.show("i", 1, "mug")
    backend.ingest.close(backend.job)
    first, backend.job = backend.job, backend.ingest.open(caller="another").number

    if isinstance(operation, PutImage):
        backend.show("i", 2, "mug")
    else:
        backend.take(operation)

    assert backend.state(first) == "done"
    assert backend.counted(first) == {"received": 2, "applied": 1, "skipped": 1}


def test_a_full_feed_that_drops_an_image_ends_the_job_that_waits_for_it(backend: Backend) -> None:
    backend.show("i", 1, "mug")
    backend.ingest.close(backend.job)

    replaced(backend, feed(backend, MUG))

    assert backend.state() == "done"


@pytest.mark.parametrize("days", [8, 4000, -4000])
def test_a_clock_that_jumps_ends_no_job(backend: Backend, days: int) -> None:
    other = backend.ingest.open(caller="another").number
    backend.now += timedelta(days=days)
    backend.ingest.open(caller="shop")
    backend.now -= timedelta(days=days)
    backend.ingest.open(caller="shop")

    assert backend.take(PatchProduct("mug", stock=1)).result is Result.APPLIED
    assert (backend.state(), backend.state(other)) == ("open", "open")


def test_of_many_open_jobs_of_a_caller_those_that_are_used_stay_open(backend: Backend) -> None:
    def opened(caller: str = "shop") -> int:
        backend.now += timedelta(seconds=1)
        return backend.ingest.open(caller=caller, is_full_feed=True).number

    other, used, resumed, left = opened("another"), opened(), opened(), opened()
    for _ in range(7):
        opened()
    backend.now += timedelta(seconds=1)
    backend.ingest.submit([sent(used, PatchProduct("mug", stock=1))])
    backend.ingest.resume(resumed, caller="shop")

    last = opened()

    assert backend.state(left) == "done"
    for number in (backend.job, other, used, resumed, left + 1, last):
        assert backend.state(number) == "open"


def test_a_batch_may_be_of_many_jobs(backend: Backend) -> None:
    other = backend.ingest.open(caller="another", expected=9).number

    backend.ingest.submit(
        [
            sent(backend.job, PatchProduct("mug", stock=1)),
            sent(other, PatchProduct("mug", stock=2)),
            sent(other, PatchProduct("cup", stock=2)),
        ]
    )

    assert backend.counted() == {"received": 2, "applied": 2}
    assert backend.counted(other) == {"expected": 9, "received": 2, "applied": 1, "refused": 1}


def test_an_operation_of_a_job_that_is_forgotten_hinders_no_other(backend: Backend) -> None:
    ended, outcome = backend.ingest.submit(
        [sent(99, DeleteProduct("mug")), sent(backend.job, PatchProduct("mug", stock=1))]
    )

    assert isinstance(ended, Conflict)
    assert outcome.result is Result.APPLIED


# --- full feeds -----------------------------------------------------------------------------------


def feed(backend: Backend, *named: Operation | Refused) -> int:
    """A full feed, after which `backend` goes on with its own job."""
    job = backend.ingest.open(caller="shop", is_full_feed=True).number
    backend.ingest.submit(
        [each if isinstance(each, Refused) else sent(job, each) for each in named]
    )
    assert backend.ingest.close(job).state is JobState.OPEN
    return job


def replaced(backend: Backend, job: int, **options: object) -> tuple[int, int]:
    found = backend.ingest.replace(job, caller="shop", **{"lost_share": 1.0, **options})
    return found.products, found.images


def test_a_full_feed_deletes_what_it_does_not_name(backend: Backend) -> None:
    for name in ("cup", "bowl"):
        backend.take(PutProduct(Product(name)))
    backend.show("i", 1, "mug")
    backend.show("j", 2, "mug")
    backend.show("k", 3, "cup")
    backend.settle()

    job = feed(backend, PatchProduct("mug", stock=1), KeepImage("i"), PutProduct(Product("new")))
    assert replaced(backend, job) == (2, 2)

    assert (sorted(backend.products()), list(backend.shown())) == (["mug", "new"], ["i"])
    assert (backend.state(job), backend.counted(job)["applied"]) == ("done", 2)


def test_a_full_feed_that_is_ended_again_answers_the_same(backend: Backend) -> None:
    backend.take(PutProduct(Product("cup")))
    job = feed(backend, MUG)
    assert replaced(backend, job) == (1, 0)
    backend.take(PutProduct(Product("later")))

    assert replaced(backend, job) == (1, 0)
    assert sorted(backend.products()) == ["later", "mug"]
    with pytest.raises(NotAuthorized):
        backend.ingest.replace(job, caller="another", lost_share=1)


def test_what_a_full_feed_names_stays_whatever_becomes_of_its_operation(backend: Backend) -> None:
    for name in ("cup", "bowl", "pot"):
        backend.take(PutProduct(Product(name)), revision=9)
    backend.show("i", 1, "mug")
    backend.settle()
    backend.take(PutProduct(Product("mug", "again")), "again")

    job = feed(
        backend,
        PatchProduct("cup", stock=-1),  # refused
        PutProduct(Product("bowl")),
        PutImage(Image("i"), bytes(32), ["pot"]),  # its picture is needed, so it comes again
        Refused(99, "no job of it", "no operation", [(PRODUCT, "pot"), (IMAGE, "i")]),
    )
    refused = Refused(job, "unreadable", "no operation", [(PRODUCT, "pot"), (IMAGE, "i")])
    outcomes = backend.ingest.submit(
        [refused, sent(job, PutProduct(Product("mug", "again")), id_="again")]
    )

    assert [each.result for each in outcomes] == [Result.REFUSED, Result.APPLIED]
    assert outcomes[1].is_repeated
    assert replaced(backend, job) == (0, 0)
    assert sorted(backend.products()) == ["bowl", "cup", "mug", "pot"]
    assert backend.counted(job) == {"received": 4, "refused": 2, "unchanged": 1, "repeated": 1}


def test_a_full_feed_ends_the_waiting_of_images_that_it_does_not_name(backend: Backend) -> None:
    backend.show("i", 1, "mug")
    backend.show("j", 2, "mug")

    job = feed(backend, MUG, KeepImage("i"))
    assert replaced(backend, job) == (0, 1)
    backend.settle()

    assert list(backend.shown()) == ["i"]
    assert backend.counted()["skipped"] == 1


def test_a_full_feed_spares_what_is_newer(backend: Backend) -> None:
    for revision in (3, 7):
        backend.take(PutProduct(Product(f"of {revision}")), revision=revision)

    job = feed(backend)
    assert replaced(backend, job, revision=5) == (2, 0)

    assert list(backend.products()) == ["of 7"]
    assert backend.take(PutProduct(Product("of 3")), revision=4).result is Result.SKIPPED
    assert backend.take(PutProduct(Product("of 3")), revision=6).result is Result.APPLIED


def test_a_feed_that_would_let_too_much_vanish_changes_nothing(backend: Backend) -> None:
    for number in range(9):
        backend.take(PutProduct(Product(f"p{number}")))
    job = feed(backend, MUG, *(PatchProduct(f"p{number}") for number in range(6)))
    before = contents_of(backend.folder)

    with pytest.raises(InvalidOperation, match="names 7 of 10 products: more than 20%"):
        replaced(backend, job, lost_share=0.2)
    with pytest.raises(InvalidOperation, match="from 0 to 1"):
        replaced(backend, job, lost_share=1.1)

    assert contents_of(backend.folder) == before
    assert replaced(backend, job, lost_share=0.3) == (3, 0)


def test_images_that_wait_are_not_to_vanish_unseen(backend: Backend) -> None:
    for number in range(12):
        backend.show(f"waits {number}", number, "mug")
    backend.show_bytes("dead", b"no picture", "mug")
    job = feed(backend, MUG)
    before = contents_of(backend.folder)

    with pytest.raises(InvalidOperation, match="names 0 of 13 images: more than 20%"):
        replaced(backend, job, lost_share=None)

    assert contents_of(backend.folder) == before
    assert replaced(backend, job) == (0, 13)
    assert replaced(backend, job) == (0, 13)
    backend.settle()
    assert backend.shown() == {}


def test_a_feed_that_names_nothing_is_meant_only_if_it_is_said(backend: Backend) -> None:
    """However few there are: `lost_least` is of what the next feed has forgotten, not of all."""
    job = feed(backend)

    with pytest.raises(InvalidOperation, match="names nothing"):
        replaced(backend, job, lost_share=None)
    assert list(backend.products()) == ["mug"]
    assert replaced(backend, job, lost_share=1.0) == (1, 0)
    assert replaced(backend, feed(backend), lost_share=None) == (0, 0)


def test_the_settings_say_how_much_may_vanish(backend: Backend) -> None:
    (backend.folder.folder / "settings.toml").write_text(
        "[gates]\nlost_share = 0.1\nlost_least = 2\n"
    )
    for number in range(9):
        backend.take(PutProduct(Product(f"p{number}")))
    kept = [PatchProduct(f"p{number}") for number in range(7)]

    with pytest.raises(InvalidOperation, match="would vanish"):
        replaced(backend, feed(backend, *kept), lost_share=None)
    assert replaced(backend, feed(backend, MUG, *kept), lost_share=None) == (2, 0)


def test_a_full_feed_that_has_ended_remembers_no_more(backend: Backend) -> None:
    cancelled, done = feed(backend), feed(backend, MUG)
    backend.ingest.cancel(cancelled)
    replaced(backend, done)

    backend.ingest.submit(
        [sent(job, PutProduct(Product("cup"))) for job in (cancelled, done)]
        + [Refused(cancelled, "unreadable", "no operation", [(PRODUCT, "pot")])]
    )

    with backend.folder.reading() as tables:
        assert [tables.jobs.named(job, PRODUCT) for job in (cancelled, done)] == [set(), set()]


@pytest.mark.parametrize("revision", [-1, MAX_REVISION + 1, 2**64 - 1])
def test_a_full_feed_is_of_a_revision_that_can_be(backend: Backend, revision: int) -> None:
    job = feed(backend)

    with pytest.raises(InvalidOperation, match="revision from 0"):
        replaced(backend, job, revision=revision)

    assert (backend.state(job), list(backend.products())) == ("open", ["mug"])
    with pytest.raises(NotFound):
        replaced(backend, 2**64 - 1)


def test_what_is_no_full_feed_deletes_nothing(backend: Backend) -> None:
    with pytest.raises(InvalidOperation, match="no full feed"):
        replaced(backend, backend.job)
    cancelled = feed(backend)
    backend.ingest.cancel(cancelled)
    with pytest.raises(Conflict, match="cancelled"):
        replaced(backend, cancelled)

    assert list(backend.products()) == ["mug"]


def test_an_outcome_tells_the_version_in_which_it_will_be_seen(backend: Backend) -> None:
    assert backend.take(PatchProduct("mug", stock=1)).version == 1
    with backend.folder.changing() as tables:
        tables.history.publish(datetime(2026, 11, 26, tzinfo=NOW.tzinfo))

    applied = backend.take(PatchProduct("mug", price=Price(1, "EUR")))

    assert applied.version == 2
    assert backend.show("i", 1, "mug").version == 0


def test_what_held_before_is_seen_in_the_version_that_brings_it(backend: Backend) -> None:
    """A worker that reads its writes may not be told that it need not wait for one."""
    backend.show("i", 1, "mug")
    backend.settle()

    def unchanged() -> list[int]:
        """Versions that are told of a product, of its price, and of an image."""
        outcomes = [
            backend.take(PutProduct(Product("mug", "Mug", stock=3))),
            backend.take(PatchProduct("mug", stock=3)),
            backend.take(KeepImage("i")),
            backend.show("i", 1, "mug"),
        ]
        assert {each.result for each in outcomes} == {Result.UNCHANGED}
        return [each.version for each in outcomes]

    def publish() -> None:
        with backend.folder.changing() as tables:
            tables.history.publish(NOW)

    backend.take(PatchProduct("mug", stock=3))
    assert unchanged() == [1, 1, 1, 1]
    publish()
    assert unchanged() == [0, 0, 0, 0]
    backend.take(PutProduct(Product("mug", "Mug", stock=4)))
    backend.take(PatchProduct("mug", stock=3))  # back again, before anybody saw the other
    assert unchanged() == [0, 0, 0, 0]
    backend.take(DeleteProduct("mug"))
    for gone in (DeleteProduct("mug"), DeleteImage("i")):
        again = backend.take(gone)
        assert (again.result, again.version) == (Result.UNCHANGED, 2)
    publish()
    for gone in (DeleteProduct("mug"), DeleteImage("i"), DeleteProduct("never there")):
        assert backend.take(gone).version == 0


def test_a_job_says_what_it_is(backend: Backend) -> None:
    job: Job = backend.ingest.open(caller="shop", is_full_feed=True, expected=3)

    assert (job.kind, job.state, job.caller) == ("full_feed", "open", "shop")
    assert (job.opened_at, job.ended_at, job.counters.expected) == (NOW, None, 3)

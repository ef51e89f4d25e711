"""A catalogue that backends change, step by step beside a model of it, in any order.

run_state_machine_as_test(BackendStates, settings=any_order(40, 50))
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import tempfile
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from pocketlens.errors import Conflict, InvalidOperation
from pocketlens.products import Image, Price, Product
from pocketlens_server.catalogue import settling
from pocketlens_server.catalogue.batches import Arrived, Batch
from pocketlens_server.catalogue.decoders import Decoders
from pocketlens_server.catalogue.ingest import Ingest, Replaced
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
from tests.making.backend_contents import contents_of
from tests.making.backend_model import BackendModel
from tests.making.backend_shop import NOW, backend_folder, sent
from tests.making.tiles import tile

PRODUCTS, IMAGES = st.sampled_from("abc"), st.sampled_from("ijk")
PRICES = st.none() | st.builds(Price, st.integers(1, 3), st.just("EUR"))
NAMES = st.sampled_from(["colour", "size"])
GOOD, BROKEN = 3, 2  # pictures, by their numbers

put_products = st.builds(
    lambda id_, title, price, stock, attributes: PutProduct(
        Product(id_, title, price=price, stock=stock, attributes=attributes)
    ),
    PRODUCTS,
    st.sampled_from(["", "A"]),
    PRICES,
    st.none() | st.integers(0, 2),
    st.dictionaries(NAMES, st.sampled_from("xy")),
)
patches = st.builds(
    PatchProduct,
    PRODUCTS,
    PRICES,
    st.none() | st.integers(-1, 2),
    st.dictionaries(NAMES, st.none() | st.sampled_from("xy")),
)
plain = st.one_of(
    put_products,
    put_products,
    patches,
    patches,
    st.builds(DeleteProduct, PRODUCTS),
    st.builds(DeleteImage, IMAGES),
    st.builds(KeepImage, IMAGES),
)
# Of an image with the number of its picture, until there is a folder that has it.
images = st.tuples(
    IMAGES,
    st.sampled_from(["", "u"]),
    st.integers(0, GOOD + BROKEN - 1),
    st.lists(PRODUCTS, max_size=2, unique=True),
    st.booleans(),
)
REVISIONS = st.one_of(st.just(0), st.integers(1, 9))
REQUESTS = st.none() | st.integers(0, 12).map(str)
operations = st.tuples(plain | images, REVISIONS, REQUESTS)


class Ended(Exception):
    """Stands for the end of a process."""


class BackendStates(RuleBasedStateMachine):
    """Any order of operations, pictures that are embedded, jobs that end, processes that end."""

    decoders: Decoders | None = None  # that a caller lends to all runs: to start one takes long

    @initialize()
    def begin(self) -> None:
        self.work = tempfile.TemporaryDirectory(prefix="pocketlens-backend-")
        self.folder = backend_folder(Path(self.work.name) / "main")
        self.now = NOW
        drawn = [tile(number) for number in range(GOOD)]
        self.pictures = [*drawn, *(f"no picture {number}".encode() for number in range(BROKEN))]
        self.names = [keep(self.folder, each) for each in self.pictures]
        self.model = BackendModel(broken=self.names[GOOD:])
        self.reopen()
        for _ in range(2):
            self.open(is_feed=False)
        self._submit([sent(1, PutProduct(Product(id_))) for id_ in "abc"])

    def teardown(self) -> None:
        if hasattr(self, "work"):
            self.work.cleanup()

    @rule()
    def reopen(self) -> None:
        """Another process goes on."""
        self.ingest = Ingest(self.folder, clock=lambda: self.now)

    @precondition(lambda self: len(self.model.jobs) < 6)
    @rule(is_feed=st.booleans())
    def open(self, *, is_feed: bool) -> None:
        job = self.ingest.open(caller="shop", is_full_feed=is_feed)
        assert job.number == self.model.open(is_feed=is_feed)

    @rule(came=st.lists(operations, min_size=1, max_size=6), data=st.data())
    def submit(self, came: list[tuple[object, int, str | None]], data: st.DataObject) -> None:
        job = data.draw(st.sampled_from(sorted(self.model.jobs)))
        self._submit([self._arrived(job, *each) for each in came])

    @rule(
        id_=IMAGES,
        picture=st.integers(0, GOOD + BROKEN - 1),
        product=PRODUCTS,
        request=REQUESTS,
        data=st.data(),
    )
    def show(
        self, id_: str, picture: int, product: str, request: str | None, data: st.DataObject
    ) -> None:
        """An image and its picture, which waits where it is new."""
        job = data.draw(st.sampled_from(sorted(self.model.jobs)))
        self._submit([self._arrived(job, (id_, "", picture, [product], True), 0, request)])

    def _submit(self, arrived: list[Arrived]) -> None:
        outcomes = self.ingest.submit(arrived)
        for each, outcome in zip(arrived, outcomes, strict=True):
            if isinstance(outcome, Conflict):
                assert self.model.take(each) == (None, False)
                continue
            assert (outcome.result, outcome.is_repeated) == self.model.take(each)
            assert outcome.request_id == (each.request.id if each.request else "")
            assert bool(outcome.reason) == (outcome.result.value in ("refused", "skipped"))
            assert bool(outcome.refusal) == (outcome.result.value == "refused")

    @rule(came=st.lists(operations, min_size=1, max_size=6))
    def end_within(self, came: list[tuple[object, int, str | None]]) -> None:
        """A process ends in the middle of a batch: nothing of it is there."""
        with suppress(Ended), self.folder.changing() as tables:
            batch = Batch(tables, self.folder)
            for each in came:
                batch.take(self._arrived(1, *each))
            batch.count(now=self.now)
            raise Ended

    @rule()
    def settle(self) -> None:
        settling.settle(self.folder, clock=lambda: self.now, decoders=self.decoders)
        self.model.settle()

    @rule(data=st.data())
    def close(self, data: st.DataObject) -> None:
        job = data.draw(st.sampled_from(sorted(self.model.jobs)))
        self.ingest.close(job)
        self.model.close(job)

    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        job = data.draw(st.sampled_from(sorted(self.model.jobs)))
        try:
            self.ingest.cancel(job)
        except Conflict:
            assert not self.model.cancel(job)
        else:
            assert self.model.cancel(job)

    @rule()
    def retry(self) -> None:
        assert settling.retry(self.folder, []) == self.model.retry()

    @rule()
    def purge(self) -> None:
        assert settling.purge(self.folder, []) == self.model.purge()

    @rule(data=st.data(), revision=REVISIONS, lost_share=st.sampled_from([0.0, 0.4, 1.0]))
    def replace(self, data: st.DataObject, revision: int, lost_share: float) -> None:
        feeds = [
            number for number, job in self.model.jobs.items() if job.is_feed and job.state == "open"
        ]
        if not feeds:
            return
        job = data.draw(st.sampled_from(feeds))
        wanted = self.model.replace(job, revision=revision, lost_share=lost_share)

        def replaced() -> Replaced:
            return self.ingest.replace(job, caller="shop", revision=revision, lost_share=lost_share)

        if wanted is None:
            with pytest.raises(InvalidOperation):
                replaced()
            return
        for _ in range(2):  # again it answers the same
            found = replaced()
            assert (found.products, found.images) == wanted

    @rule()
    def publish(self) -> None:
        """Makes a version, after which what is put back is a change again."""
        with self.folder.changing() as tables:
            tables.history.publish(self.now)

    @rule(days=st.sampled_from([5, 4000, -4000]))
    def let_the_clock_jump(self, days: int) -> None:
        self.now = max(NOW, self.now + timedelta(days=days))

    @invariant()
    def tables_hold_what_the_model_does(self) -> None:
        if hasattr(self, "model"):
            found = contents_of(self.folder)
            assert found == self.model.contents()
            for number, (_, counted) in found.jobs.items():
                named = (
                    "applied",
                    "unchanged",
                    "skipped",
                    "refused",
                    "repeated",
                    "waiting",
                    "dead",
                )
                whole = sum(counted.get(name, 0) for name in named)
                assert whole == counted.get("received", 0), number
            keeps = [shown.picture for _, shown in (*found.waiting.values(), *found.dead.values())]
            with self.folder.reading() as tables:
                assert tables.waiting.kept_pictures() == set(keeps)

    def _arrived(self, job: int, came: object, revision: int, request: str | None) -> Arrived:
        if not isinstance(came, tuple):
            assert isinstance(came, Operation)
            return sent(job, came, revision, request or "")
        id_, url, picture, products, has_picture = came
        put = PutImage(Image(id_, url), self.names[picture], products)
        return sent(job, put, revision, request or "", has_picture=has_picture)

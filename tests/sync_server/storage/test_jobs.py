"""Jobs: what came of each, how far it is, and when nobody goes on with it."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta

import pytest

from pocketlens.errors import NotFound
from pocketlens.products import Image
from pocketlens_server.storage import migrations
from pocketlens_server.storage.history import IMAGE, PRODUCT
from pocketlens_server.storage.jobs import JobKind, Jobs, JobState
from pocketlens_server.storage.waiting_images import WaitingImage, WaitingImages

NOW = datetime(2026, 11, 25, 10, 0, 0, 123, tzinfo=UTC)
DAY = timedelta(days=1)


@pytest.fixture
def connection() -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as made:
        migrations.create(made)
        yield made


@pytest.fixture
def jobs(connection: sqlite3.Connection) -> Jobs:
    return Jobs(connection)


def opened(jobs: Jobs, kind: JobKind = JobKind.INGEST, *, now: datetime = NOW) -> int:
    return jobs.open(kind, caller="shop", now=now).number


def test_a_job_is_open_until_it_is_closed(jobs: Jobs) -> None:
    job = jobs.open(JobKind.INGEST, caller="shop", now=NOW, expected=7)

    assert (job.number, job.kind, job.state, job.caller) == (1, "ingest", "open", "shop")
    assert (job.opened_at, job.ended_at, job.counters.expected) == (NOW, None, 7)
    assert jobs.kind_and_state(1) == (JobKind.INGEST, JobState.OPEN)
    jobs.close(1, now=NOW + DAY)

    assert jobs.kind_and_state(1) == (JobKind.INGEST, JobState.DONE)
    assert (jobs.get(1).state, jobs.get(1).ended_at) == (JobState.DONE, NOW + DAY)


def test_a_job_whose_pictures_wait_is_not_done(jobs: Jobs, connection: sqlite3.Connection) -> None:
    waiting = WaitingImages(connection)
    waiting.put(WaitingImage(Image("i"), bytes(32), opened(jobs), [1]))

    jobs.close(1, now=NOW)
    assert (jobs.get(1).state, jobs.get(1).counters.waiting) == (JobState.EMBEDDING, 1)
    waiting.drop("i")
    jobs.end_embedded(now=NOW + DAY)

    assert (jobs.get(1).state, jobs.get(1).counters.waiting) == (JobState.DONE, 0)
    assert jobs.get(1).ended_at == NOW + DAY


def test_what_has_ended_does_not_end_again(jobs: Jobs) -> None:
    opened(jobs)
    jobs.end(1, JobState.CANCELLED, now=NOW)

    jobs.end(1, JobState.DONE, now=NOW + DAY)
    jobs.close(1, now=NOW + DAY)

    assert (jobs.get(1).state, jobs.get(1).ended_at) == (JobState.CANCELLED, NOW)


def test_counters_are_added_to(jobs: Jobs) -> None:
    opened(jobs)
    other = opened(jobs)

    jobs.count(1, {"received": 3, "applied": 2, "dead": 0})
    jobs.count(1, {"applied": 1, "dead": 1})
    jobs.count(1, {"dead": -1})
    jobs.count(99, {"received": 1})

    counters = jobs.get(1).counters
    assert (counters.received, counters.applied, counters.dead) == (3, 3, 0)
    assert jobs.get(other).counters.received == 0
    with pytest.raises(ValueError, match="Expected names of"):
        jobs.count(1, {"number": 1})


def test_numbers_that_no_job_has_are_told(jobs: Jobs) -> None:
    opened(jobs)
    for number in (0, 2, 2**62, 2**64 - 1):
        for look in (jobs.get, jobs.kind_and_state):
            with pytest.raises(NotFound):
                look(number)
        assert jobs.deleted(number) is None
    assert [each.number for each in jobs.newest(limit=9, before=2**64 - 1)] == [1]


def test_the_newest_come_first(jobs: Jobs) -> None:
    for _ in range(5):
        opened(jobs)

    assert [each.number for each in jobs.newest(limit=2)] == [5, 4]
    assert [each.number for each in jobs.newest(limit=2, before=4)] == [3, 2]


def test_of_open_jobs_those_that_were_gone_on_with_last_are_kept(jobs: Jobs) -> None:
    """Not those that were opened last: a worker may go on with one for months."""
    used, left, newest = opened(jobs), opened(jobs), opened(jobs)
    feed, another = opened(jobs, JobKind.FULL_FEED), jobs.open(JobKind.INGEST, caller="x", now=NOW)
    jobs.touch(used, now=NOW + 8 * DAY)

    for _ in range(2):
        jobs.abandon(JobKind.INGEST, caller="shop", kept=2, in_use=(), now=NOW + 9 * DAY)

    assert (jobs.get(left).state, jobs.get(left).ended_at) == (JobState.DONE, NOW + 9 * DAY)
    for number in (used, newest, feed, another.number):
        assert jobs.get(number).state is JobState.OPEN


def test_an_open_job_in_use_is_kept_however_long_it_is_silent(jobs: Jobs) -> None:
    silent, left, newest = opened(jobs), opened(jobs), opened(jobs)

    jobs.abandon(JobKind.INGEST, caller="shop", kept=1, in_use={silent}, now=NOW + 9 * DAY)

    states = [jobs.get(each).state for each in (silent, left, newest)]
    assert states == [JobState.OPEN, JobState.DONE, JobState.OPEN]


def test_only_what_is_done_waits_again(jobs: Jobs, connection: sqlite3.Connection) -> None:
    is_open, done, cancelled = opened(jobs), opened(jobs), opened(jobs)
    jobs.close(done, now=NOW)
    jobs.end(cancelled, JobState.CANCELLED, now=NOW)

    for each in (is_open, done, cancelled):
        jobs.wait_again(each)

    states = [jobs.get(each).state for each in (is_open, done, cancelled)]
    assert states == [JobState.OPEN, JobState.EMBEDDING, JobState.CANCELLED]
    assert jobs.get(done).ended_at is None


def test_what_a_feed_names_is_forgotten_when_it_ends(jobs: Jobs) -> None:
    for feed in (opened(jobs, JobKind.FULL_FEED), opened(jobs, JobKind.FULL_FEED)):
        jobs.name(feed, [(PRODUCT, "a"), (IMAGE, "a"), (PRODUCT, "b")])
        jobs.name(feed, [(PRODUCT, "a")])
    assert (jobs.named(1, PRODUCT), jobs.named(1, IMAGE)) == ({"a", "b"}, {"a"})

    jobs.end_feed(1, products=3, images=4, now=NOW)
    jobs.end(2, JobState.CANCELLED, now=NOW)

    assert (jobs.deleted(1), jobs.deleted(2)) == ((3, 4), None)
    assert jobs.get(1).state is JobState.DONE
    assert jobs.named(1, PRODUCT) == jobs.named(2, PRODUCT) == set()


def test_of_jobs_that_ended_the_newest_are_kept(jobs: Jobs) -> None:
    for _ in range(6):
        opened(jobs)
    for number in (1, 3, 5):
        jobs.end(number, JobState.DONE, now=NOW)

    jobs.forget_old(kept=2)

    assert [each.number for each in jobs.newest(limit=9)] == [6, 5, 4, 2]
    assert opened(jobs) == 7


def test_a_number_is_never_given_twice(jobs: Jobs) -> None:
    jobs.end(opened(jobs), JobState.DONE, now=NOW)
    jobs.forget_old(kept=0)

    assert opened(jobs) == 2

"""A history answers for every version as a copy of everything at that version would."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import sqlite3
from datetime import UTC, datetime

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from pocketlens_server.storage import migrations
from pocketlens_server.storage.history import IMAGE, OFFER, PRODUCT, History, placement_kind

AS_OF = datetime(2026, 11, 25, 9, 15, 0, 123456, tzinfo=UTC)
KEYS = st.integers(1, 4)
KINDS = st.sampled_from([PRODUCT, placement_kind(1)])


def new() -> History:
    connection = sqlite3.connect(":memory:", isolation_level=None)
    migrations.create(connection)
    return History(connection)


class Versions(RuleBasedStateMachine):
    """A history beside a copy of everything at each version."""

    @initialize()
    def begin(self) -> None:
        self.history = new()
        self.now: dict[tuple[int, int], bytes] = {}
        self.copies: list[dict[tuple[int, int], bytes]] = [{}]
        self.oldest = 0

    @rule(kind=KINDS, key=KEYS, value=st.sampled_from([b"a", b"b", b""]))
    def put(self, kind: int, key: int, value: bytes) -> None:
        changes = self.now.get((kind, key)) != value

        assert self.history.put(kind, key, value) == changes

        self.now[kind, key] = value

    @rule(kind=KINDS, key=KEYS)
    def delete(self, kind: int, key: int) -> None:
        assert self.history.delete(kind, key) == ((kind, key) in self.now)

        self.now.pop((kind, key), None)

    @rule()
    def publish(self) -> None:
        self.copies.append(dict(self.now))

        assert self.history.publish(AS_OF) == len(self.copies) - 1

    @rule(data=st.data())
    def roll_back(self, data: st.DataObject) -> None:
        version = data.draw(st.integers(self.oldest, len(self.copies) - 1))
        for kind in (PRODUCT, placement_kind(1)):
            before = {key: v for (k, key), v in self.now.items() if k == kind}
            after = {key: v for (k, key), v in self.copies[version].items() if k == kind}
            keys = {*before, *after}

            changed = self.history.restore(kind, version)

            assert changed == sum(before.get(key) != after.get(key) for key in keys)
        self.now = dict(self.copies[version])

    @rule(data=st.data())
    def prune(self, data: st.DataObject) -> None:
        self.oldest = data.draw(st.integers(self.oldest, len(self.copies) - 1))
        for kind in (PRODUCT, placement_kind(1)):
            self.history.prune(kind, self.oldest)

    @invariant()
    def every_version_is_as_it_was(self) -> None:
        assert self.history.head == len(self.copies) - 1
        for kind in (PRODUCT, placement_kind(1)):
            for version in [*range(self.oldest, len(self.copies)), None]:
                copy = self.now if version is None else self.copies[version]
                mine = {key: value for (k, key), value in copy.items() if k == kind}
                assert dict(self.history.values(kind, version)) == mine
                assert all(
                    self.history.value(kind, key, version) == mine.get(key) for key in range(1, 5)
                )
                if version is not None:
                    assert self.history.values_of(kind, range(6), version) == mine
                    assert self.history.values_of(kind, [], version) == {}

    @invariant()
    def changes_bring_every_version_to_now(self) -> None:
        for kind in (PRODUCT, placement_kind(1)):
            now = {key: value for (k, key), value in self.now.items() if k == kind}
            for base in range(self.oldest, len(self.copies)):
                put = dict(self.history.begun_since(kind, base))
                deleted = self.history.ended_since(kind, base)
                assert not set(put) & set(deleted)
                for copy in self.copies[base:]:
                    state = {key: value for (k, key), value in copy.items() if k == kind}
                    for key in deleted:
                        state.pop(key, None)
                    assert state | put == now


TestVersions = Versions.TestCase
TestVersions.settings = settings(max_examples=60, stateful_step_count=20, deadline=None)


def test_keys_are_given_once_and_never_again() -> None:
    history = new()

    keys = [history.key(PRODUCT, each) for each in ("a", "b", "a", "c")]

    assert keys == [1, 2, 1, 3]
    assert history.key(IMAGE, "a") == 1  # of another kind
    assert history.known_key(PRODUCT, "b") == 2
    assert history.known_key(OFFER, "b") is None


def test_links_are_those_that_were_told_last() -> None:
    history = new()
    history.link(7, [1, 2])
    history.link(8, [2])
    history.link(7, [2, 3])
    assert [history.images_of(key) for key in (1, 2, 3)] == [[], [7, 8], [7]]

    history.relink([(9, [1, 3])])

    assert [history.images_of(key) for key in (1, 2, 3)] == [[9], [], [9]]


def test_what_was_put_back_leaves_no_trace() -> None:
    history = new()
    history.put(PRODUCT, 1, b"a")
    history.publish(AS_OF)

    history.put(PRODUCT, 1, b"b")
    history.put(PRODUCT, 1, b"a")
    history.put(PRODUCT, 2, b"x")
    history.delete(PRODUCT, 2)
    history.delete(PRODUCT, 1)
    history.put(PRODUCT, 1, b"a")

    assert list(history.begun_since(PRODUCT, 1)) == history.ended_since(PRODUCT, 1) == []


def test_what_is_coming_is_what_the_newest_version_does_not_have() -> None:
    history = new()
    assert not history.is_coming(PRODUCT, 1)
    history.put(PRODUCT, 1, b"a")
    assert history.is_coming(PRODUCT, 1)
    assert not history.is_coming(OFFER, 1)
    history.publish(AS_OF)
    assert not history.is_coming(PRODUCT, 1)

    history.put(PRODUCT, 1, b"b")
    assert history.is_coming(PRODUCT, 1)
    history.put(PRODUCT, 1, b"a")  # back
    assert not history.is_coming(PRODUCT, 1)
    history.delete(PRODUCT, 1)
    assert history.is_coming(PRODUCT, 1)
    history.publish(AS_OF)

    assert not history.is_coming(PRODUCT, 1)


@pytest.mark.parametrize("version", [0, 2, 2**62, 2**63, 2**64 - 1])
def test_numbers_that_no_version_has_are_not_known(version: int) -> None:
    history = new()
    history.publish(AS_OF)

    assert history.is_known(1)
    assert not history.is_known(version)


def test_a_version_remembers_when_it_was_published() -> None:
    history = new()
    version = history.publish(AS_OF)

    assert history.as_of(version) == AS_OF
    with pytest.raises(KeyError):
        history.as_of(version + 1)

"""What a device is told: what it lacks, and all of it where keys may have changed."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.making.repositories import BEGAN, Repository, manifest

from pocketlens.errors import ServerError
from pocketlens.sync import trust
from pocketlens_server.publishing import keys, rekeying
from pocketlens_server.publishing.answers import (
    MAX_ROOTS,
    MAX_ROOTS_BYTES,
    Answer,
    Asked,
    Moment,
    Remembered,
    newer,
)


def test_after_another_root_everything_is_told(tmp_path: Path) -> None:
    """A thief may have led the device to the very versions that the owner reached by other keys."""
    repository = Repository.make(tmp_path)
    repository.publish(manifest(1))
    offline = [repository.catalogue.offline_keys]
    rekeying.rotate(repository.catalogue, keys.ONLINE, offline=offline, now=BEGAN)
    found = trust.verified(
        {}, root=repository.root, fetch=repository.fetch, generation=None, now=BEGAN
    )
    versions = trust.versions(found.metadata)

    nothing = newer(repository.folder, Asked(b"", 1, versions)).files
    everything = newer(repository.folder, Asked(b"", 1, versions | {"root": 1})).files

    assert nothing == {}
    roles = {  # and the newest manifest
        name.rpartition("/")[2].removesuffix(".json").rpartition(".")[2] for name in everything
    }
    assert roles == {*keys.ROLES, "newest"}


@pytest.mark.parametrize(
    ("sizes", "told"),
    [
        ([100] * MAX_ROOTS, MAX_ROOTS),
        ([100] * (MAX_ROOTS + 1), MAX_ROOTS),
        ([MAX_ROOTS_BYTES // 3] * 3, 3),
        ([MAX_ROOTS_BYTES // 3] * 4, 3),
        ([MAX_ROOTS_BYTES, 1], 1),
        ([MAX_ROOTS_BYTES + 1, 1], 1),  # no device takes it, and none waits for ever
        ([1, MAX_ROOTS_BYTES, 1], 1),
    ],
)
def test_roots_that_are_too_many_for_one_answer_come_alone(
    tmp_path: Path, sizes: list[int], told: int
) -> None:
    repository = Repository.make(tmp_path)
    repository.publish(manifest(1))
    roots = {f"metadata/{number}.root.json": bytes(size) for number, size in enumerate(sizes, 2)}
    for name, data in roots.items():
        (repository.folder / name).write_bytes(data)

    files = newer(repository.folder, Asked(b"", 1, {"root": 1})).files

    found = {name: data for name, data in files.items() if name in roots}
    assert found == dict(list(roots.items())[:told])
    assert (len(files) > told) == (told == len(sizes))
    assert ("metadata/timestamp.json" in files) == (told == len(sizes))


class Server:
    """Answers as a server does that remembers them, by a clock that is set."""

    def __init__(self, folder: Path) -> None:
        self.seconds = 0.0
        self._folder, self._remembered = folder, Remembered(clock=lambda: self.seconds)

    def poll(self, asked: Asked) -> tuple[Answer, bool]:
        """The answer, and whether it was remembered."""
        answer, moment = self._remembered.find(self._folder, asked)
        if answer is not None:
            return answer, True
        answer = newer(self._folder, asked)
        if moment is not None:
            self._remembered.keep(self._folder, asked, answer, moment)
        return answer, False


NOTHING = Asked(b"", 0, {})


@settings(deadline=None, max_examples=60)
@given(
    steps=st.lists(
        st.one_of(
            st.sampled_from(["publish", "sign again", "rotate", "settle"]),
            st.builds(
                Asked,
                st.sampled_from([b"", bytes([1]) * 32, bytes([9]) * 32]),
                st.integers(0, 3),
                st.fixed_dictionaries({"root": st.integers(0, 2), "timestamp": st.integers(0, 3)}),
                st.booleans(),
            ),
        ),
        max_size=12,
    )
)
def test_what_is_remembered_is_what_would_be_read(
    tmp_path_factory: pytest.TempPathFactory, steps: list[str | Asked]
) -> None:
    repository = Repository.make(tmp_path_factory.mktemp("repository"))
    repository.publish(manifest(1))
    server, version, now = Server(repository.folder), 1, BEGAN

    for step in steps:
        now += timedelta(minutes=1)
        if isinstance(step, Asked):
            for _ in range(2):
                server.seconds += 0.06  # that a change may lie between, and no more
                assert server.poll(step)[0] == newer(repository.folder, step)
        elif step == "settle":
            server.seconds += 1
        elif step == "rotate":
            offline = [repository.catalogue.offline_keys]
            rekeying.rotate(repository.catalogue, keys.ONLINE, offline=offline, now=now)
        else:
            version += step == "publish"
            repository.publish(manifest(version), now=now)


def test_the_same_is_read_once_when_a_version_has_settled(tmp_path: Path) -> None:
    repository = Repository.make(tmp_path)
    repository.publish(manifest(1))
    server = Server(repository.folder)

    assert not server.poll(NOTHING)[1]
    assert not server.poll(NOTHING)[1]  # what came in the same tick of the clock would be missed
    server.seconds = 1
    assert not server.poll(NOTHING)[1]
    assert server.poll(NOTHING)[1]
    repository.publish(manifest(2))
    assert not server.poll(NOTHING)[1]


def test_what_is_remembered_has_bounds(tmp_path: Path) -> None:
    remembered, moment = Remembered(clock=lambda: 1.0), Moment((), 0.0)
    large = Answer({"manifest": bytes(6 << 20)})

    for version in range(3):
        remembered.keep(tmp_path, Asked(b"", version, {}), large, moment)
        remembered.keep(tmp_path, Asked(b"", version, {}), large, moment)
    for version in range(50_000):
        remembered.keep(tmp_path, Asked(b"", version, {}), Answer({}), moment)

    assert remembered.size_bytes <= 16 << 20


def test_a_folder_without_metadata_is_damaged(tmp_path: Path) -> None:
    with pytest.raises(ServerError, match="damaged"):
        Remembered().find(tmp_path, NOTHING)

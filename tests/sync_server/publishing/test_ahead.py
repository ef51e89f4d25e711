"""What devices have that their server lacks is noted, counted and told, and bounded."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Mapping
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from tests.making.servers import BEGAN, Server

from pocketlens_server.folders import CatalogueFolder
from pocketlens_server.publishing import ahead, answers, signing
from pocketlens_server.publishing.ahead import Sightings, seen
from pocketlens_server.publishing.answers import Asked

ROLES = ("root", "timestamp", "snapshot", "targets", "models", "publishing")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Server:
    made = Server.published(tmp_path_factory.mktemp("server"))
    made.publish()
    return made


@pytest.fixture
def folder(server: Server, tmp_path: Path) -> CatalogueFolder:
    (tmp_path / "main").mkdir()
    return CatalogueFolder("main", tmp_path / "main", server.public, tmp_path / "keys")


class Clock:
    """One that may be set, and one that only goes on.

    Attributes:
        now: What the first says.
    """

    def __init__(self) -> None:
        self.now = BEGAN
        self._seconds = 0.0

    def __call__(self) -> datetime:
        return self.now

    def steady(self) -> float:
        return self._seconds

    def go_on(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)
        self._seconds += seconds


def noting(clock: Clock | None = None) -> Sightings:
    clock = clock or Clock()
    return Sightings(clock, clock.steady)


def asked(server: Server, version: int = 2, **metadata: int) -> Asked:
    """By a device that has what the server has, but for what is named."""
    have = {each.role: each.version for each in signing.status(server.public)}
    return Asked(b"", version, have | metadata)


def polls(sightings: Sightings, folder: CatalogueFolder, question: Asked) -> bool:
    return sightings.notice(folder, question, answers.newer(folder.public, question))


def counted(folder: CatalogueFolder) -> int:
    noted = seen(folder)
    return noted.polls if noted else 0


def found(server: Server, question: Asked) -> Mapping[str, int]:
    return ahead.beyond(server.public, question, answers.newer(server.public, question))


def test_who_is_ahead_is_told_from_who_is_not(server: Server) -> None:
    assert found(server, asked(server)) == {}
    assert found(server, Asked(b"", 0, {"root": 1})) == {}
    assert found(server, Asked(b"", 1, dict.fromkeys(ROLES, 1))) == {}
    assert found(server, asked(server, 7, timestamp=9, publishing=8)) == {
        "version": 7,
        "timestamp": 9,
        "publishing": 8,
    }
    for role in ROLES:
        newer = {"timestamp": 90, role: 90}
        assert found(server, asked(server, **newer)) == newer
    # A restored server signs timestamps, and comes by the number that a device has.
    assert found(server, asked(server, 7, snapshot=9)) == {"version": 7, "snapshot": 9}


def test_polls_are_counted_by_the_version_that_they_say(
    server: Server, folder: CatalogueFolder
) -> None:
    clock = Clock()
    sightings = noting(clock)
    assert not polls(sightings, folder, asked(server))
    assert seen(folder) is None

    for version in (5, 7, 5, 6, 5):
        clock.go_on(60)
        assert polls(sightings, folder, asked(server, version, timestamp=9, publishing=version))

    noted = seen(folder)
    assert noted is not None
    assert noted.versions == {5: 3, 6: 1, 7: 1}
    assert noted.metadata == {"timestamp": 9, "publishing": 7}
    assert (noted.polls, noted.first, noted.last) == (
        5,
        BEGAN + timedelta(minutes=1),
        BEGAN + timedelta(minutes=5),
    )
    assert noted.text == (
        "version 7 (1 polls); version 6 (1 polls); version 5 (3 polls); signed metadata of "
        "publishing 7, timestamp 9; last on 2026-11-25 10:05 UTC"
    )
    assert polls(noting(clock), folder, asked(server, 8, timestamp=9))  # of another process
    assert counted(folder) == 6
    ahead.forget(folder)
    ahead.forget(folder)
    assert seen(folder) is None
    clock.go_on(60)
    assert polls(sightings, folder, asked(server, 5, timestamp=9))
    assert counted(folder) == 1


def test_a_file_is_written_for_what_is_new_and_for_counts_now_and_then(
    server: Server, folder: CatalogueFolder, caplog: pytest.LogCaptureFixture
) -> None:
    clock = Clock()
    sightings = noting(clock)
    with caplog.at_level(logging.WARNING, "pocketlens_server.publishing.ahead"):
        for _ in range(50):
            clock.go_on(0.1)
            polls(sightings, folder, asked(server, 5, timestamp=9))
        assert counted(folder) == 1
        polls(sightings, folder, asked(server, 6, timestamp=9))
        assert counted(folder) == 51
        clock.go_on(11)
        polls(sightings, folder, asked(server, 5, timestamp=9))

    assert counted(folder) == 52
    assert len(caplog.records) == 3
    assert "catalogue=main polls=52" in caplog.messages[-1]


def test_a_device_that_says_more_each_time_is_soon_written_once_a_second(
    server: Server, folder: CatalogueFolder, caplog: pytest.LogCaptureFixture
) -> None:
    clock = Clock()
    sightings = noting(clock)
    with caplog.at_level(logging.WARNING, "pocketlens_server.publishing.ahead"):
        for version in range(3, 203):
            polls(sightings, folder, asked(server, version, timestamp=9))
            clock.go_on(0.01)
        assert len(caplog.records) == 16 + 1
        clock.go_on(1)
        polls(sightings, folder, asked(server, 3, timestamp=9))

    assert len(caplog.records) == 16 + 2  # what was not written before is no less new
    assert "version 202 (1 polls)" in caplog.messages[-1]
    assert counted(folder) == 201


def test_a_wall_clock_that_is_set_back_stops_no_writing(
    server: Server, folder: CatalogueFolder
) -> None:
    clock = Clock()
    sightings = noting(clock)
    polls(sightings, folder, asked(server, 5, timestamp=9))

    clock.go_on(11)
    clock.now -= timedelta(days=365)
    polls(sightings, folder, asked(server, 5, timestamp=9))

    assert counted(folder) == 2


def test_a_fleet_that_comes_at_once_is_written_at_once(
    server: Server, folder: CatalogueFolder
) -> None:
    """Nobody may poll again before the operator looks."""
    sightings = noting()
    for version in (4, 7, 5, 9, 8):
        polls(sightings, folder, asked(server, version, timestamp=version + 2))

    noted = seen(folder)
    assert noted is not None
    assert max(noted.versions) == 9
    assert noted.metadata["timestamp"] == 11


def test_a_folder_that_cannot_be_written_is_soon_tried_once_a_second(
    server: Server, folder: CatalogueFolder, caplog: pytest.LogCaptureFixture
) -> None:
    folder.folder.rmdir()
    clock = Clock()
    sightings = noting(clock)
    for _ in range(50):
        assert polls(sightings, folder, asked(server, 5, timestamp=9))
    assert caplog.text.count("ahead.unwritten") == 16

    folder.folder.mkdir()
    clock.go_on(1)
    polls(sightings, folder, asked(server, 5, timestamp=9))

    assert counted(folder) >= 1


def test_devices_that_lie_fill_nothing_and_hide_nobody(
    server: Server, folder: CatalogueFolder
) -> None:
    clock = Clock()
    sightings = noting(clock)
    for number in range(60):
        clock.go_on(20)
        polls(sightings, folder, asked(server, 5, timestamp=9))
        clock.go_on(1)
        polls(sightings, folder, asked(server, 2**63 + number, timestamp=2**64 - 1))

    noted = seen(folder)
    assert noted is not None
    assert len(noted.versions) == 16
    assert noted.versions[5] == 60
    assert "version 5 (60 polls)" in noted.text
    assert (folder.folder / ahead.FILE_NAME).stat().st_size < 1000


def test_many_threads_lose_no_poll(server: Server, folder: CatalogueFolder) -> None:
    clock = Clock()
    sightings = noting(clock)
    question = asked(server, 5, timestamp=9)
    answer = answers.newer(folder.public, question)
    threads = [
        threading.Thread(
            target=lambda: [sightings.notice(folder, question, answer) for _ in range(25)]
        )
        for _ in range(8)
    ]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    clock.go_on(60)
    polls(sightings, folder, question)

    assert counted(folder) == 201


@pytest.mark.parametrize("text", ["", "{}", "[]", json.dumps({"polls": "many"}), "\0"])
def test_a_damaged_file_is_as_none(text: str, server: Server, folder: CatalogueFolder) -> None:
    (folder.folder / ahead.FILE_NAME).write_text(text)

    assert seen(folder) is None
    assert polls(noting(), folder, asked(server, 5, timestamp=9))
    assert counted(folder) == 1


def test_a_folder_that_cannot_be_written_ends_no_poll(
    server: Server, folder: CatalogueFolder, caplog: pytest.LogCaptureFixture
) -> None:
    folder.folder.rmdir()

    assert polls(noting(), folder, asked(server, 5, timestamp=9))

    assert "ahead.unwritten" in caplog.text

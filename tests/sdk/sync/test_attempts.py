"""What turns out to be damaged is fetched again, three times in one sync and no more."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from pathlib import Path

import pytest
from tests.making.followers import answer, install, sync
from tests.making.servers import Server

from pocketlens.errors import StoreCorrupt
from pocketlens.store.verification import verify
from pocketlens.sync.planner import Action
from pocketlens_server.catalogue.operations import PatchProduct, apply


class RottingDisk:
    """Takes the progress of a sync; so many times, what was fetched rots before it is used.

    Attributes:
        attempts: Times that everything had been fetched.
    """

    def __init__(self, store: Path, *, times: int) -> None:
        self._store, self._times, self.attempts = store, times, 0

    def __call__(self, stage: str, done: int, total: int) -> None:
        if stage != "fetching" or done < total:
            return
        self.attempts += 1
        if self.attempts <= self._times:
            for path in (self._store / "pieces").iterdir():
                path.write_bytes(b"rot")


@pytest.fixture
def server(server: Server, store: Path) -> Server:
    """A version ahead of the store."""
    apply(server.catalogue.history, PatchProduct("sku-4", stock=44))
    server.publish()
    return server


def test_the_third_attempt_is_the_last(server: Server, store: Path) -> None:
    disk = RottingDisk(store, times=9)

    with pytest.raises(StoreCorrupt, match="fetched is damaged"):
        sync(server, store, progress=disk)

    assert disk.attempts == 3
    assert verify(store).findings == ()
    assert answer(server, store) == 1
    assert sync(server, store).action is Action.DELTA
    assert answer(server, store) == 2


def test_the_third_attempt_may_succeed_and_fetches_only_what_rotted(
    server: Server, store: Path
) -> None:
    disk = RottingDisk(store, times=2)
    sync_bytes = sync(server, store, only_plan=True).fetched_bytes

    report = sync(server, store, progress=disk)

    assert disk.attempts == 3
    assert (report.action, report.before, report.version) == (Action.DELTA, 1, 2)
    assert report.fetched_bytes == 3 * sync_bytes
    assert verify(store).findings == ()
    assert answer(server, store) == 2


def test_a_first_store_is_tried_three_times_too(server: Server, tmp_path: Path) -> None:
    disk = RottingDisk(tmp_path / "new", times=9)

    with pytest.raises(StoreCorrupt):
        install(server, tmp_path / "new", progress=disk)

    assert disk.attempts == 3
    assert not (tmp_path / "new" / "CURRENT").exists()
    assert install(server, tmp_path / "new").version == 2

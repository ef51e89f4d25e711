"""A new install takes the place of another: it proves itself first, and can be gone back from."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest
from tests.making.followers import answer, install, sync
from tests.making.servers import Server
from tests.making.shops import bare_bundle
from tests.making.tiles import TileShop, tile

from pocketlens import Lens
from pocketlens.errors import GoldenProbeFailed, StoreLocked
from pocketlens.store import installs, marks
from pocketlens.store.marks import Trial
from pocketlens.store.reader import Reader
from pocketlens.store.verification import verify
from pocketlens.sync.planner import Action
from pocketlens_server.catalogue.operations import PatchProduct, apply


@pytest.fixture
def store(server: Server, store: Path) -> Path:
    """It has answered at version 1."""
    assert answer(server, store) == 1
    return store


def names(store: Path) -> list[str]:
    return sorted(path.name.rpartition("-")[2] for path in (store / "installs").iterdir())


def new_model(server: Server, data: bytes) -> None:
    server.add_model(data)
    server.publish()


def good(name: str) -> bytes:
    return bare_bundle(16, name=name)


def poisoned() -> bytes:
    return bare_bundle(16, name="poisoned", is_broken=True)


def test_a_first_version_that_is_bad_leaves_no_store(server: Server, tmp_path: Path) -> None:
    new_model(server, poisoned())
    directory = tmp_path / "new"
    for _ in range(2):  # the second time it is not even tried
        with pytest.raises(GoldenProbeFailed, match="does not work on this device"):
            install(server, directory)
    assert not (directory / "CURRENT").exists()

    new_model(server, good("mended"))

    install(server, directory)
    assert answer(server, directory) == 3


def test_the_install_before_stays_until_the_new_one_has_answered(
    server: Server, store: Path
) -> None:
    new_model(server, good("second"))
    sync(server, store)

    assert names(store) == ["1", "2"]
    assert len(list((store / "files").iterdir())) == 2
    with Lens.open(store) as lens:
        assert names(store) == ["1", "2"]  # opening is no answer
        lens.search_vector(server.shop.embeddings[0])
        assert names(store) == ["2"]
    assert marks.get(installs.current(store), Trial) is None
    assert len(list((store / "files").iterdir())) == 1
    assert sorted(each.name for each in installs.current(store).glob("starts/*")) == []
    assert verify(store).is_whole


QUESTIONS: dict[str, Callable[[Lens], object]] = {
    "photo": lambda lens: lens.search(tile(3)),
    "photos": lambda lens: lens.search_together([tile(3), tile(3)]),
    "similar": lambda lens: lens.similar("sku-3"),
    "words": lambda lens: lens.search_text("mug"),
    "estimate": lambda lens: lens.estimate(tile(3)),
    "explanation": lambda lens: lens.explain(tile(3)),
}


@pytest.mark.parametrize("question", QUESTIONS)
def test_any_question_that_it_answers_ends_the_trial(question: str, tmp_path: Path) -> None:
    shop = TileShop(tmp_path / "shop", dict.fromkeys(range(4), 2))
    shop.publish()
    shop.sync("store")
    shop.add_model("second")
    shop.publish()
    shop.sync("store")
    store = shop.folder / "store"

    with Lens.open(store) as lens:
        assert marks.get(installs.current(store), Trial) is not None
        QUESTIONS[question](lens)

        assert marks.get(installs.current(store), Trial) is None
        assert names(store) == ["2"]


def test_versions_that_nobody_searched_do_not_pile_up(server: Server, store: Path) -> None:
    for number in range(2, 6):
        new_model(server, good(f"model {number}"))
        assert sync(server, store).action is Action.INSTALL
        assert names(store) == ["1", str(number)]

    trial = marks.get(installs.current(store), Trial)
    assert trial is not None
    assert trial.former.endswith("-1")
    assert answer(server, store) == 5
    assert names(store) == ["5"]


def test_starts_are_told_apart_where_all_have_one_number(server: Server, store: Path) -> None:
    new_model(server, good("deadly"))
    sync(server, store)
    for _ in range(3):
        started(store, "dies as number 1")

    assert answer(server, store) == 1


START = """
import os, signal, sys
if sys.argv[2] == "dies as number 1":  # as in a container
    os.getpid = lambda: 1
from pocketlens import Lens
lenses = [Lens.open(sys.argv[1]) for _ in range(3)]
if sys.argv[2].startswith("dies"):
    signal.raise_signal(signal.SIGKILL)
if sys.argv[2] == "waits":
    print("open", flush=True)
    sys.stdin.read()
"""


def started(store: Path, how: str) -> int:
    return subprocess.run([sys.executable, "-c", START, str(store), how], check=False).returncode


def test_three_starts_that_die_undo_the_swap_until_a_newer_version(
    server: Server, store: Path
) -> None:
    new_model(server, good("deadly"))
    sync(server, store)
    for _ in range(3):
        assert installs.current(store).name.endswith("-2")
        assert started(store, "dies") < 0

    assert answer(server, store) == 1  # opening undoes it

    assert names(store) == ["1"]
    report = sync(server, store)
    assert report.action is Action.DELTA
    assert report.held_back is not None
    assert "3 processes" in report.held_back.reason
    assert answer(server, store) == 2
    apply(server.catalogue.history, PatchProduct("sku-3", stock=4))
    server.now += timedelta(days=1)
    server.publish()
    assert sync(server, store).action is Action.INSTALL
    assert answer(server, store) == 3
    assert verify(store).is_whole


def test_a_sync_undoes_the_swap_too(server: Server, store: Path) -> None:
    new_model(server, good("deadly"))
    sync(server, store)
    for _ in range(3):
        started(store, "dies")

    assert sync(server, store).held_back is not None
    assert names(store) == ["1"]


def test_starts_that_end_in_order_or_still_wait_are_no_deaths(server: Server, store: Path) -> None:
    new_model(server, good("second"))
    sync(server, store)
    for _ in range(4):
        assert started(store, "ends") == 0
    command = [sys.executable, "-c", START, str(store), "waits"]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    waiting = [subprocess.Popen(command, **pipes) for _ in range(3)]  # type: ignore[call-overload]
    for process in waiting:
        assert process.stdout.readline() == b"open\n"

    with Lens.open(store) as lens:
        assert lens.facts.version == 2
    for process in waiting:
        process.communicate()

    assert installs.current(store).name.endswith("-2")
    assert answer(server, store) == 2


def test_a_newer_version_of_the_install_on_trial_begins_its_trial_anew(
    server: Server, store: Path
) -> None:
    new_model(server, good("second"))
    sync(server, store)
    for _ in range(2):
        started(store, "dies")
    apply(server.catalogue.history, PatchProduct("sku-3", stock=4))
    server.publish()

    assert sync(server, store).action is Action.DELTA
    started(store, "dies")

    assert answer(server, store) == 3


def test_while_another_writes_a_failed_install_is_passed_over(server: Server, store: Path) -> None:
    new_model(server, good("deadly"))
    sync(server, store)
    for _ in range(3):
        started(store, "dies")

    with installs.writing(store):
        assert answer(server, store) == 1
        assert installs.current(store).name.endswith("-2")

    assert answer(server, store) == 1
    assert installs.current(store).name.endswith("-1")


def test_a_search_while_another_writes_ends_the_trial_later(server: Server, store: Path) -> None:
    new_model(server, good("second"))
    sync(server, store)
    with Lens.open(store) as lens:
        with installs.writing(store), pytest.raises(StoreLocked), installs.writing(store):
            pass
        with installs.writing(store):
            lens.search_vector(server.shop.embeddings[0])
        assert names(store) == ["1", "2"]
        lens.search_vector(server.shop.embeddings[0])
        assert names(store) == ["2"]


def test_a_pinned_reader_goes_on_while_installs_come_and_go(server: Server, store: Path) -> None:
    with Reader.open(store) as reader, Lens.open(store) as lens:
        for number in range(2, 7):
            new_model(server, good(f"model {number}"))
            sync(server, store)
            answer(server, store)

        assert names(store) == ["6"]
        assert len(list((store / "files").iterdir())) == 1
        # Nothing of this was read before.
        keys, codes = reader.read_list(0)
        assert len(keys) == len(codes) == 30
        assert reader.products([5])[5].id == "sku-4"
        assert len(reader.columns().keys) == 30
        assert lens.bundle.spec.name == "bare"
        found = lens.search(np.full((8, 16, 3), 90, np.uint8))
        assert (found.version, len(found.matches)) == (1, 10)

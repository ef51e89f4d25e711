"""What a store follows is kept beside it; what is missing or wrong says what to do."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import json
import random
import subprocess
import sys
from datetime import datetime
from pathlib import Path

import pytest
from tests.making.servers import Server

from pocketlens import Lens, following, install
from pocketlens.cli import main
from pocketlens.errors import SyncError
from pocketlens.followed import COPIES
from pocketlens.indexing import index
from pocketlens.sync.planner import Action
from pocketlens_server.catalogue.operations import PatchOffer, apply


@pytest.fixture
def server(tmp_path: Path) -> Server:
    return Server.published(tmp_path)


@pytest.fixture
def store(server: Server, tmp_path: Path) -> Path:
    install(
        tmp_path / "store", server=str(server.public), root=server.root, clock=lambda: server.now
    )
    return tmp_path / "store"


def test_what_is_followed_is_remembered(store: Path, server: Server) -> None:
    def clock() -> datetime:
        return server.now

    settings = json.loads((store / "sync.json").read_text())
    report = following.update(store, clock=clock)
    again = install(store, server=str(server.public), root=server.root, clock=clock)

    assert settings["server"] == str(server.public)
    assert report.action is again.action is Action.NOTHING
    # The store's id decides when a version is for it: it stays.
    assert json.loads((store / "sync.json").read_text()) == settings


def test_a_store_that_follows_nothing_says_how_to(tmp_path: Path, server: Server) -> None:
    shop = server.shop
    index(shop.list, vectors=shop.vectors, model=shop.bundle, out=tmp_path / "indexed")

    with (
        Lens.open(tmp_path / "indexed") as lens,
        pytest.raises(SyncError, match=r"--server ADDRESS --root root\.json"),
    ):
        lens.sync()


@pytest.mark.parametrize("name", COPIES)
@pytest.mark.parametrize("damage", ["gone", "empty", "a letter", "no JSON", "no text"])
def test_one_copy_of_what_is_followed_mends_the_other(
    store: Path, server: Server, name: str, damage: str
) -> None:
    path = store / name
    whole = path.read_bytes()
    path.unlink()
    match damage:
        case "empty":
            path.touch()
        case "a letter":
            path.write_bytes(whole.replace(b'"main"', b'"mail"'))
        case "no JSON":
            path.write_bytes(whole[: len(whole) // 2])
        case "no text":
            path.write_bytes(b"\xff" + whole)

    report = following.update(store, clock=lambda: server.now)

    assert report.action is Action.NOTHING
    assert path.read_bytes() == whole


def test_two_damaged_copies_say_how_to_go_on(store: Path, server: Server) -> None:
    for name in COPIES:
        (store / name).write_text("{}")

    with pytest.raises(SyncError, match="Name its server again"):
        following.update(store)
    install(store, server=str(server.public), root=server.root, clock=lambda: server.now)
    assert following.update(store, clock=lambda: server.now).action is Action.NOTHING


def test_without_the_extra_the_install_line_is_named(store: Path) -> None:
    program = (
        "import sys; sys.modules['tuf'] = None\n"
        "from pocketlens.cli import main\n"
        f"sys.exit(main(['sync', {str(store)!r}]))"
    )

    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )

    assert done.returncode == 1
    assert "pip install 'pocketlens[sync]'" in done.stderr


def test_a_store_is_watched_at_random_times_and_seldom_after_failures(
    store: Path, server: Server, tmp_path: Path
) -> None:
    told: list[object] = []
    waits: list[float] = []

    def wait(seconds: float) -> bool:
        waits.append(seconds)
        if len(waits) == 1:
            apply(server.catalogue.history, PatchOffer("sku-3", stock=44))
            server.publish()
        if len(waits) == 2:
            server.public.rename(tmp_path / "gone")
        if len(waits) == 6:
            (tmp_path / "gone").rename(server.public)
        return len(waits) == 8

    following.watch(
        store,
        interval_seconds=600,
        told=told.append,
        wait=wait,
        rng=random.Random(1),
        clock=lambda: server.now,
    )

    kinds = [each if isinstance(each, SyncError) else each.action for each in told]  # type: ignore[attr-defined]
    assert kinds[:2] == [Action.NOTHING, Action.DELTA]
    assert all(isinstance(each, SyncError) for each in kinds[2:6])
    assert kinds[6:] == [Action.NOTHING, Action.NOTHING]
    means = [600, 600, 1200, 2400, 3600, 3600, 600, 600]
    for seconds, mean in zip(waits, means, strict=True):
        assert 0.5 * mean <= seconds <= 1.5 * mean
    assert len(set(waits)) == 8


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["--server", "/nowhere/at/all", "--root", "{root}"], 1, "Expected a server"),
        (["--server", "{public}", "--root", "/no/root.json"], 1, "There is no /no/root.json"),
        (["--server", "{public}"], 2, "--server and --root together"),
        ([], 1, "follows no server"),
    ],
)
def test_commands_that_cannot_be(
    tmp_path: Path,
    server: Server,
    arguments: list[str],
    code: int,
    says: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "root.json").write_bytes(server.root)
    names = {"public": server.public, "root": tmp_path / "root.json"}

    found = main(["sync", str(tmp_path / "new"), *(each.format(**names) for each in arguments)])

    assert found == code
    assert says in " ".join(capsys.readouterr().err.split())
    assert not (tmp_path / "new").exists()

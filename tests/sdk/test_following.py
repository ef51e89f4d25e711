"""What a store follows is kept beside it; what is missing or wrong says what to do."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import errno
import json
import random
import shutil
import subprocess
import sys
import tempfile
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from tests.making.servers import Server

from pocketlens import Lens, followed, following, install
from pocketlens.cli import main
from pocketlens.errors import (
    StoreError,
    StoreFull,
    StoreLocked,
    StoreReadOnly,
    SyncError,
    TransportError,
    TrustError,
)
from pocketlens.indexing import index
from pocketlens.store import database, installs, tables
from pocketlens.store.installs import FOLLOWED
from pocketlens.store.verification import verify
from pocketlens.sync.planner import Action
from pocketlens.sync.reports import SyncReport
from pocketlens.sync.transports import AtHand, MemoryTransport
from pocketlens_server.catalogue.operations import PatchProduct, apply


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


@pytest.mark.parametrize("name", FOLLOWED)
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
    for name in FOLLOWED:
        (store / name).write_text("{}")

    with pytest.raises(SyncError, match="Name its server again"):
        following.update(store)
    install(store, server=str(server.public), root=server.root, clock=lambda: server.now)
    assert following.update(store, clock=lambda: server.now).action is Action.NOTHING


class Away(MemoryTransport):
    """A network that is not there."""

    def __init__(self) -> None:
        super().__init__({})

    def poll(self, have: AtHand) -> None:
        raise TransportError("no network")


def test_what_was_named_anew_meanwhile_stays(
    store: Path, server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other, run = tmp_path / "other", following._run
    shutil.copytree(server.public, other)

    def late(*arguments: Any) -> SyncReport:
        monkeypatch.setattr(following, "_run", run)
        install(store, server=str(other), root=server.root, clock=lambda: server.now)
        return run(*arguments)

    monkeypatch.setattr(following, "_run", late)
    following.update(store, clock=lambda: server.now)

    found = followed.read(store)
    assert found is not None
    assert found.server == str(other)


def test_a_folder_that_only_knows_what_to_follow_is_filled_again(
    store: Path, server: Server
) -> None:
    for path in store.iterdir():
        if path.name not in FOLLOWED:
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    for _ in range(2):
        with pytest.raises(TransportError):
            following.update(store, transport=Away(), clock=lambda: server.now)

    assert following.update(store, clock=lambda: server.now).action is Action.INSTALL


def test_a_store_that_came_with_the_app_follows_while_it_is_open(
    store: Path, server: Server, tmp_path: Path
) -> None:
    app, device = tmp_path / "app", tmp_path / "device"
    shutil.copytree(store, app)
    for name in FOLLOWED:
        (app / name).unlink()
    database.settle(installs.current(app) / database.FILE_NAME)
    named = {"server": str(server.public), "root": server.root, "start_from": app}
    with pytest.raises(TransportError):
        install(device, transport=Away(), clock=lambda: server.now, **named)
    apply(server.catalogue.history, PatchProduct("sku-3", stock=44))
    server.publish()

    with Lens.open(device) as lens:
        lens.search_vector(server.shop.embeddings[0])
        report = install(device, clock=lambda: server.now, **named)

    assert (report.action, report.version) == (Action.DELTA, 2)


def test_a_damaged_store_that_came_with_the_app_is_made_anew(
    store: Path, server: Server, tmp_path: Path
) -> None:
    (installs.current(store) / database.FILE_NAME).write_bytes(b"")

    report = install(
        tmp_path / "device",
        server=str(server.public),
        root=server.root,
        start_from=store,
        clock=lambda: server.now,
    )

    assert (report.action, report.version) == (Action.INSTALL, 1)


def test_watching_waits_while_there_is_no_room_for_temporary_files(
    store: Path, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, told = tempfile.TemporaryDirectory, list[object]()

    def full(*arguments: Any, **options: Any) -> Any:
        if not told:
            raise OSError(errno.ENOSPC, "No space left on device")
        return folder(*arguments, **options)

    monkeypatch.setattr(tempfile, "TemporaryDirectory", full)
    following.watch(
        store, told=told.append, wait=lambda seconds: len(told) == 2, clock=lambda: server.now
    )

    assert [type(each) for each in told] == [StoreFull, SyncReport]


def test_the_log_of_a_store_that_stays_open_is_emptied_when_it_is_long(
    store: Path, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tables, "LONG_LOG_BYTES", 60_000)
    path = installs.current(store) / database.FILE_NAME
    sizes = []
    with Lens.open(store) as lens, Lens.open(store) as other:
        for stock in range(30):
            apply(server.catalogue.history, PatchProduct("sku-3", stock=stock))
            server.publish()
            following.update(store, clock=lambda: server.now)
            for each in (lens, other, lens):
                each.refresh()
                best = each.search_vector(server.shop.embeddings[3]).best
                assert best is not None
                assert best.product.stock == stock
            sizes.append(database.log_size(path))

    assert max(sizes) < 60_000 + 2 * sizes[0]
    assert verify(store).findings == ()


def test_watching_waits_while_another_writes(store: Path, server: Server) -> None:
    told: list[object] = []
    with installs.writing(store):
        following.watch(
            store,
            told=told.append,
            wait=lambda seconds: len(told) >= 2,
            clock=lambda: server.now,
        )

    assert [type(each) for each in told] == [StoreLocked, StoreLocked]


def test_what_follows_nothing_is_not_watched(tmp_path: Path) -> None:
    with pytest.raises(SyncError, match="follows no server"):
        following.watch(tmp_path / "nothing", wait=lambda seconds: False)


def test_what_follows_a_server_is_not_indexed(store: Path, server: Server) -> None:
    with pytest.raises(StoreError, match="follows a server"):
        index(server.shop.list, vectors=server.shop.vectors, model=server.shop.bundle, out=store)

    assert following.update(store, clock=lambda: server.now).action is Action.NOTHING


@pytest.mark.parametrize("data", [b"# Read me\n", b"{}", b"[]", b"\xff"])
def test_a_root_that_is_none_is_told(server: Server, tmp_path: Path, data: bytes) -> None:
    with pytest.raises(TrustError, match="Expected the root that the app came with"):
        install(tmp_path / "new", server=str(server.public), root=data)


def test_metadata_that_is_no_root_is_told(server: Server, tmp_path: Path) -> None:
    root = (server.public / "metadata" / "timestamp.json").read_bytes()

    with pytest.raises(TrustError, match="Expected the root that the app came with"):
        install(tmp_path / "new", server=str(server.public), root=root)


def test_a_root_of_another_catalogue_is_asked_about(server: Server, tmp_path: Path) -> None:
    other = Server.published(tmp_path / "other", products=2)

    with pytest.raises(TrustError, match="Is the root that of this catalogue"):
        install(
            tmp_path / "new",
            server=str(server.public),
            root=other.root,
            clock=lambda: server.now,
        )


def test_a_file_in_the_place_of_a_store_is_told(server: Server, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")

    with pytest.raises(StoreReadOnly, match="a file is in its way"):
        install(tmp_path / "file", server=str(server.public), root=server.root)


@pytest.mark.parametrize("option", ["--catalog", "--ca", "--token-file"])
def test_what_is_said_of_no_server_is_wrong_usage(
    store: Path, option: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["sync", str(store), option, "name"]) == 2
    assert f"--server and --root with {option}" in capsys.readouterr().err


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
            apply(server.catalogue.history, PatchProduct("sku-3", stock=44))
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

"""A sync finds what is damaged and mends it, and looks again when there is reason to."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import sqlite3
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest
from tests.making.followers import install, sync
from tests.making.servers import Server

from pocketlens import Lens
from pocketlens.cli import main
from pocketlens.errors import StoreCorrupt
from pocketlens.store import installs, marks
from pocketlens.store.marks import Quarantine, Verified
from pocketlens.store.verification import verify
from pocketlens.sync.planner import Action
from pocketlens_server.catalogue.operations import PatchProduct, apply


def spoil(store: Path) -> None:
    """Changes a row in a way that no search meets which does not show product 5."""
    with closing(sqlite3.connect(installs.current(store) / "store.sqlite")) as connection:
        connection.execute("UPDATE products SET title = 'Stolen' WHERE key = 5")
        connection.commit()


def bundle(store: Path) -> Path:
    (path,) = (store / "files").iterdir()
    return path


@pytest.mark.parametrize("damage", ["gone", "changed", "a folder above gone"])
def test_a_damaged_bundle_is_fetched_alone(server: Server, store: Path, damage: str) -> None:
    path = bundle(store)
    whole = path.read_bytes()
    path.unlink()
    if damage == "changed":
        path.write_bytes(whole[:-1] + b"?")
    if damage == "a folder above gone":
        path.parent.rmdir()

    plan = sync(server, store, only_plan=True)
    report = sync(server, store)

    assert plan == report
    assert (report.action, report.fetched_bytes) == (Action.REPAIR, len(whole))
    assert bundle(store).read_bytes() == whole
    assert sync(server, store).action is Action.NOTHING


def test_a_delta_brings_a_damaged_bundle_with_it(server: Server, store: Path) -> None:
    size = bundle(store).stat().st_size
    bundle(store).write_bytes(b"rot")
    apply(server.catalogue.history, PatchProduct("sku-3", stock=4))
    server.publish()

    report = sync(server, store)

    assert report.action is Action.DELTA
    assert size < report.fetched_bytes < size + 300
    assert verify(store).is_whole


def test_a_lens_moves_to_the_bundle_that_was_mended(server: Server, store: Path) -> None:
    data = bundle(store).read_bytes()
    with bundle(store).open("r+b") as file:  # the file that the Lens will have open
        file.write(b"rot")
    with Lens.open(store) as lens:
        sync(server, store)
        assert lens.refresh()
        assert lens.search_vector(server.shop.embeddings[0]).matches
        assert not lens.refresh()
    assert bundle(store).read_bytes() == data


def test_the_command_says_that_a_bundle_was_mended(
    server: Server, store: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from pocketlens.cli.sync import _summary

    bundle(store).write_bytes(b"rot")

    said = _summary(store, sync(server, store), plan=False)

    assert "at version 1; its bundle was mended by" in said
    assert main(["verify", str(store)]) == 0


def test_what_a_search_meets_is_mended_by_the_next_sync(server: Server, store: Path) -> None:
    spoil(store)
    assert sync(server, store).action is Action.NOTHING  # nobody knows yet
    with Lens.open(store) as lens, pytest.raises(StoreCorrupt):
        lens.search_vector(server.shop.embeddings[4])

    assert sync(server, store).action is Action.INSTALL

    assert verify(store).is_whole
    with Lens.open(store) as lens:
        assert lens.search_vector(server.shop.embeddings[4]).matches[0].product.id == "sku-4"


def test_a_format_that_rotted_is_no_newer_one(server: Server, store: Path) -> None:
    path = installs.current(store) / "store.sqlite"
    data = bytearray(path.read_bytes())
    data[60] ^= 4  # of user_version
    path.write_bytes(data)

    with pytest.raises(StoreCorrupt):
        Lens.open(store)
    assert sync(server, store).action is Action.INSTALL
    assert verify(store).is_whole


def test_what_verify_finds_is_mended_by_the_next_sync(server: Server, store: Path) -> None:
    spoil(store)
    assert not verify(store).is_whole

    assert sync(server, store).action is Action.INSTALL
    assert verify(store).is_whole


def test_an_install_that_was_written_badly_is_made_again_and_not_held_back(
    server: Server, tmp_path: Path
) -> None:
    directory, spoiled = tmp_path / "new", []

    def progress(stage: str, done: int, total: int) -> None:
        if (stage, done) == ("writing", 1) and not spoiled:
            (path,) = directory.glob("installs/.*.new/store.sqlite")
            path.write_bytes(path.read_bytes().replace(b"Thing number 7", b"Thong number 7"))
            spoiled.append(path)

    install(server, directory, progress=progress)

    assert spoiled
    assert verify(directory).is_whole
    assert marks.get(directory, Quarantine) is None
    assert sync(server, directory).action is Action.NOTHING


def test_every_row_is_read_again_after_a_month(server: Server, store: Path) -> None:
    spoil(store)
    server.now += timedelta(days=29)
    server.publish()
    assert sync(server, store).action is Action.DELTA

    server.now += timedelta(days=1)
    server.publish()
    assert sync(server, store).action is Action.INSTALL

    verified = marks.get(installs.current(store), Verified)
    assert verified == Verified(server.now.isoformat())
    assert verify(store).is_whole


def test_every_row_is_read_again_after_a_writer_was_cut_off(server: Server, store: Path) -> None:
    spoil(store)
    assert (store / "lock").read_bytes() == b""
    (store / "lock").write_bytes(b"busy\n")  # as a killed one leaves it

    assert sync(server, store).action is Action.INSTALL

    assert (store / "lock").read_bytes() == b""
    assert verify(store).is_whole


def test_an_error_is_no_cut_and_leaves_the_lock_clean(store: Path) -> None:
    said = b""
    try:
        with installs.writing(store):
            said = (store / "lock").read_bytes()
            (store / "not there").unlink()
    except FileNotFoundError:
        pass

    assert said == b"busy\n"
    assert (store / "lock").read_bytes() == b""


def test_a_whole_store_is_read_once_and_then_left_alone(server: Server, store: Path) -> None:
    marks.remove(installs.current(store), Verified)

    assert sync(server, store).action is Action.NOTHING

    assert marks.get(installs.current(store), Verified) == Verified(server.now.isoformat())

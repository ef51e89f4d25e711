"""A server that goes on serving is copied, and what is restored from the copy is that server."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import json
import os
import signal
import sqlite3
import stat
import threading
from collections.abc import Callable
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from time import sleep

import pytest
from tests.making.backups_under_load import backed_up
from tests.making.restored import copied
from tests.making.tiles import TileShop

from pocketlens.cli import output, programs
from pocketlens.errors import ServerError
from pocketlens.products import Image
from pocketlens.store.reader import Reader
from pocketlens.store.verification import verify
from pocketlens.sync.planner import Action
from pocketlens.sync.reports import SyncReport
from pocketlens.sync.session import sync
from pocketlens.sync.transports import FolderTransport
from pocketlens_server.cli import maintain
from pocketlens_server.folders import MAIN, ServerFolder
from pocketlens_server.maintenance import archives
from pocketlens_server.maintenance.backup import Backup, backup
from pocketlens_server.maintenance.backup_document import Document, Entry
from pocketlens_server.maintenance.restoring import Done, restore
from pocketlens_server.publishing import releasing
from pocketlens_server.publishing.releasing import Terms
from pocketlens_server.storage.waiting_images import WaitingImage


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> TileShop:
    made = TileShop(tmp_path_factory.mktemp("tiles") / "shop", dict.fromkeys(range(6), 1))
    made.publish()
    made.sync("device")
    return made


@pytest.fixture
def shop(template: TileShop, tmp_path: Path) -> TileShop:
    return copied(template, tmp_path / "shop")


def server_of(shop: TileShop) -> Path:
    return shop.folder / "server"


def taken(shop: TileShop, out: Path, **choices: Callable[[str, int, int], None]) -> Backup:
    return backup(ServerFolder(server_of(shop)), out, now=shop.now, **choices)


def brought_back(shop: TileShop, saved: Path, data: Path) -> Done:
    return restore(saved, data, now=shop.now)


def follow(shop: TileShop, store: str, data: Path) -> SyncReport:
    """A device of the shop asks the server in another folder."""
    public = data / "public" / MAIN
    return sync(
        shop.folder / store,
        FolderTransport(public),
        catalogue=MAIN,
        root=(public / "metadata" / "1.root.json").read_bytes(),
        now=shop.now,
    )


def state_of(store: Path) -> tuple[int, str]:
    with Reader.open(store) as reader:
        return reader.facts.version, reader.facts.state_hash.hex()


def files(folder: Path) -> dict[str, bytes]:
    found = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in found}


def damage(done: Done) -> list[str]:
    return [each.text for each in done.findings if each.is_damage]


def test_a_restored_server_has_the_same_state_and_devices_go_on_by_deltas(
    shop: TileShop, tmp_path: Path
) -> None:
    shop.stock[9] = 4
    shop.publish()
    shop.stock[2] = 3
    shop.publish()
    (manifest,) = releasing.newest(shop.catalogue)

    made = taken(shop, tmp_path / "saved")
    done = brought_back(shop, tmp_path / "saved", tmp_path / "server")

    assert made.lacking == ()
    assert damage(done) == []
    point = done.catalogues[MAIN]
    assert point == made.catalogues[MAIN]
    assert (point.version, list(point.state_hashes.values())) == (3, [manifest.state_hash.hex()])
    report = follow(shop, "device", tmp_path / "server")
    assert (report.action, report.before, report.version) == (Action.DELTA, 1, 3)
    assert state_of(shop.folder / "device") == (3, manifest.state_hash.hex())
    assert follow(shop, "new", tmp_path / "server").action is Action.INSTALL
    assert verify(shop.folder / "new").findings == ()


def test_a_server_is_copied_while_it_changes(shop: TileShop, tmp_path: Path) -> None:
    """Pictures come and go, versions are pruned, files collected; each copy is of one moment."""
    (shop.catalogue.folder / "settings.toml").write_text("[keeping]\nversions = 2\n")
    done, failed = threading.Event(), []

    def change() -> None:
        number = 0
        try:
            while not done.is_set():
                number += 1
                shop.stock[number % 6] = number
                shop.stock[10 + number] = 1
                shop.stock.pop(8 + number, None)
                shop.now += timedelta(hours=25)  # so that everything is collected at once
                shop.publish()
        except Exception as exc:  # told in the other thread
            failed.append(exc)

    changing = threading.Thread(target=change)
    changing.start()
    copies = []
    try:
        for number in range(2):
            before = releasing.newest(shop.catalogue)[0].version
            while releasing.newest(shop.catalogue)[0].version == before and not failed:
                sleep(0.01)  # or the other thread would have half the time
            made = backup(ServerFolder(server_of(shop)), tmp_path / f"{number}", now=shop.now)
            copies.append((tmp_path / f"{number}", made))
    finally:
        done.set()
        changing.join(60)
    assert failed == []

    for place, made in copies:
        assert made.lacking == ()
        restored = brought_back(shop, place, place / "server")
        assert damage(restored) == []
        assert made.catalogues[MAIN].version > 1
        head = ServerFolder(place / "server").catalogue(MAIN)
        releasing.refresh(head, now=shop.now)  # as `serve` does
        follow(shop, f"device-{place.name}", place / "server")
        version, state = state_of(shop.folder / f"device-{place.name}")
        assert version == made.catalogues[MAIN].version
        assert [state] == list(made.catalogues[MAIN].state_hashes.values())
        assert verify(shop.folder / f"device-{place.name}").findings == ()


def test_a_backup_beside_backends_and_publishes_is_a_server_whose_devices_go_on_by_deltas(
    tmp_path: Path,
) -> None:
    """The short form of benchmarks/faults/backup_under_load.py."""
    found = backed_up(tmp_path)

    assert found.complaints == []
    assert found.version > 3
    assert found.answered_before > 0
    assert found.answered_meanwhile > 0
    assert found.published_meanwhile > 0


def test_what_goes_and_comes_while_pictures_are_copied_harms_no_copy(
    shop: TileShop, tmp_path: Path
) -> None:
    """The moment of a copy is after its pictures: what went before it is not named by it."""
    (shop.catalogue.folder / "settings.toml").write_text("[keeping]\nversions = 1\n")
    for path in shop.catalogue.folder.glob("pictures/*/*"):
        os.utime(path, (0, 0))

    def other_pictures(stage: str, done: int, total: int) -> None:
        if (stage, done) != ("copying", 2):
            return
        for number in (3, 4):  # the second version forgets what the first took away
            del shop.stock[number]
            shop.stock[number + 10] = 1
            shop.now += timedelta(hours=25)
            shop.publish()
        shop.publish()
        releasing.collect(shop.catalogue, now=shop.now)

    before = set(shop.catalogue.folder.glob("pictures/*/*"))
    made = taken(shop, tmp_path / "saved", progress=other_pictures)

    assert not before <= set(shop.catalogue.folder.glob("pictures/*/*"))
    assert made.catalogues[MAIN].version == 3
    assert made.lacking == ()
    assert damage(brought_back(shop, tmp_path / "saved", tmp_path / "server")) == []


def test_a_version_that_is_not_signed_yet_is_signed_by_the_restored_server(
    shop: TileShop, tmp_path: Path
) -> None:
    timestamp = shop.public / "metadata" / "timestamp.json"
    before = timestamp.read_bytes()
    shop.stock[3] = 7
    shop.publish()
    timestamp.write_bytes(before)  # as if it had been killed before its last file

    made = taken(shop, tmp_path / "saved")
    done = brought_back(shop, tmp_path / "saved", tmp_path / "server")

    assert made.catalogues[MAIN].version == 2
    assert [each.check.value for each in done.findings] == ["unsigned", "restored"]
    assert follow(shop, "device", tmp_path / "server").version == 1
    releasing.refresh(ServerFolder(tmp_path / "server").catalogue(MAIN), now=shop.now)
    assert follow(shop, "device", tmp_path / "server").action is Action.DELTA
    assert state_of(shop.folder / "device")[0] == 2


def test_only_what_is_new_is_copied_again(shop: TileShop, tmp_path: Path) -> None:
    first = taken(shop, tmp_path / "saved")
    written = {path: path.stat().st_mtime_ns for path in (tmp_path / "saved" / "files").rglob("*")}
    shop.stock[3] = 7
    shop.publish()

    second = taken(shop, tmp_path / "saved")

    pictures = [path.name for path in shop.catalogue.folder.glob("pictures/*/*")]
    for name in pictures:
        path = tmp_path / "saved" / "files" / name[:2] / name
        assert path.stat().st_mtime_ns == written[path]
    assert first.copied_bytes > second.copied_bytes > 0
    document = Document.decode((tmp_path / "saved" / "backup.json").read_bytes())
    kept = {path.name for path in (tmp_path / "saved" / "files").glob("*/*")}
    assert kept == {entry.sha256 for entry in document.files}
    done = brought_back(shop, tmp_path / "saved", tmp_path / "server")
    assert (done.catalogues[MAIN].version, damage(done)) == (2, [])


def test_what_is_secret_stays_secret(shop: TileShop, tmp_path: Path) -> None:
    data = server_of(shop)
    with closing(sqlite3.connect(data / "tokens.sqlite")) as tokens:
        tokens.execute("CREATE TABLE tokens (id TEXT)")
        tokens.execute("INSERT INTO tokens VALUES ('one')")
        tokens.commit()
    (data / "tokens.sqlite").chmod(0o600)
    (data / "server.toml").write_text("[listen]\n")
    (shop.catalogue.folder / "settings.toml").write_text("[keeping]\nversions = 50\n")

    taken(shop, tmp_path / "saved")
    brought_back(shop, tmp_path / "saved", tmp_path / "server")

    restored = tmp_path / "server"
    for path in [*(restored / "catalogues/main/keys").glob("*.pem"), restored / "tokens.sqlite"]:
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    private = {
        path.name
        for path in (tmp_path / "saved" / "files").glob("*/*")
        if stat.S_IMODE(path.stat().st_mode) == 0o600
    }
    document = Document.decode((tmp_path / "saved" / "backup.json").read_bytes())
    assert private == {entry.sha256 for entry in document.files if entry.is_private}
    assert len(private) == 4
    assert stat.S_IMODE((tmp_path / "saved").stat().st_mode) == 0o700
    with closing(sqlite3.connect(restored / "tokens.sqlite")) as tokens:
        assert tokens.execute("SELECT id FROM tokens").fetchall() == [("one",)]
    for name in ("server.toml", "catalogues/main/settings.toml"):
        assert (restored / name).read_bytes() == (data / name).read_bytes()


def test_a_backup_that_is_cut_off_leaves_the_one_before_and_is_gone_on_with(
    shop: TileShop, tmp_path: Path
) -> None:
    taken(shop, tmp_path / "saved")
    for number in range(10, 16):
        shop.stock[number] = 1
    shop.publish()
    for at in (1, 5, 9):
        assert killed(shop, tmp_path / "saved", at) == -signal.SIGKILL
        done = brought_back(shop, tmp_path / "saved", tmp_path / f"server-{at}")
        assert (done.catalogues[MAIN].version, damage(done)) == (1, [])

    taken(shop, tmp_path / "saved")

    assert {path.name for path in (tmp_path / "saved").iterdir()} == {
        "backup.json", "backup.lock", "files",
    }  # fmt: skip
    done = brought_back(shop, tmp_path / "saved", tmp_path / "server")
    assert (done.catalogues[MAIN].version, damage(done)) == (2, [])


def killed(shop: TileShop, out: Path, at: int) -> int:
    """How a process ends that is killed when it has copied so many files."""

    def kill(stage: str, done: int, total: int) -> None:
        if done == at:
            os.kill(os.getpid(), signal.SIGKILL)

    child = os.fork()
    if child == 0:
        try:
            taken(shop, out, progress=kill)
        finally:
            os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def test_an_interrupted_backup_is_none(shop: TileShop, tmp_path: Path) -> None:
    def interrupt(stage: str, done: int, total: int) -> None:
        if done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        taken(shop, tmp_path / "saved", progress=interrupt)

    assert {path.name for path in tmp_path.iterdir()} == {"saved", "shop"}
    assert {path.name for path in (tmp_path / "saved").iterdir()} == {"backup.lock", "files"}
    with pytest.raises(ServerError, match=r"has no backup\.json"):
        brought_back(shop, tmp_path / "saved", tmp_path / "server")
    assert not (tmp_path / "server").exists()


def test_every_file_of_a_backup_is_checked(shop: TileShop, tmp_path: Path) -> None:
    """One bit of any file: nothing is restored, and nothing is left."""
    taken(shop, tmp_path / "saved")
    paths = [path for path in (tmp_path / "saved").rglob("*") if path.name != "backup.lock"]
    paths = [path for path in paths if path.is_file()]
    assert len(paths) > 20
    for number, path in enumerate(paths):
        whole = path.read_bytes()
        rotten = bytearray(whole)
        rotten[number * 37 % len(whole)] ^= 1
        path.write_bytes(rotten)

        with pytest.raises(ServerError, match=r"damaged|newer|format"):
            brought_back(shop, tmp_path / "saved", tmp_path / "server")

        assert list((tmp_path / "server").iterdir() if (tmp_path / "server").exists() else []) == []
        path.write_bytes(whole)
    paths[0].rename(tmp_path / "away")
    with pytest.raises(ServerError, match="has no"):
        brought_back(shop, tmp_path / "saved", tmp_path / "server")


@pytest.mark.parametrize("path", ["../away", "/etc/away", "a/../../away", "", ".", "a\\b", "a\nb"])
def test_a_document_names_nothing_outside_the_server(path: str) -> None:
    with pytest.raises(ValueError, match="inside a server's folder"):
        Entry(path, "0" * 64, 0)


def test_a_restore_that_is_killed_is_no_server_and_begins_again(
    shop: TileShop, tmp_path: Path
) -> None:
    taken(shop, tmp_path / "saved")

    def kill(stage: str, done: int, total: int) -> None:
        if done == 9:
            os.kill(os.getpid(), signal.SIGKILL)

    child = os.fork()
    if child == 0:
        try:
            restore(tmp_path / "saved", tmp_path / "server", now=shop.now, progress=kill)
        finally:
            os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    with pytest.raises(ServerError, match="no folder of a server"):
        ServerFolder(tmp_path / "server")

    done = brought_back(shop, tmp_path / "saved", tmp_path / "server")

    assert damage(done) == []
    assert follow(shop, "device", tmp_path / "server").action is Action.NOTHING


def test_a_restore_takes_the_place_of_nothing(shop: TileShop, tmp_path: Path) -> None:
    taken(shop, tmp_path / "saved")
    for place in (server_of(shop), tmp_path / "saved"):
        before = files(place)
        with pytest.raises(ServerError, match="new or empty"):
            brought_back(shop, tmp_path / "saved", place)
        assert files(place) == before
    with pytest.raises(ServerError, match="outside"):
        restore(
            tmp_path / "saved",
            tmp_path / "server",
            offline_keys=tmp_path / "server" / "keys",
            now=shop.now,
        )
    with pytest.raises(ServerError, match="new, empty or of backups"):
        taken(shop, shop.folder)


def test_offline_keys_may_have_moved(shop: TileShop, tmp_path: Path) -> None:
    taken(shop, tmp_path / "saved")
    (shop.folder / "keys").rename(tmp_path / "safe")

    restore(tmp_path / "saved", tmp_path / "server", offline_keys=tmp_path / "safe", now=shop.now)

    restored = ServerFolder(tmp_path / "server").catalogue(MAIN)
    assert restored.offline_keys == tmp_path / "safe" / MAIN


def test_a_server_with_damaged_files_is_copied_all_the_same(shop: TileShop, tmp_path: Path) -> None:
    first, second, *_ = sorted(shop.catalogue.folder.glob("pictures/*/*"))
    first.unlink()
    second.write_bytes(b"rotten")

    made = taken(shop, tmp_path / "saved")

    assert [Path(each).name for each in made.lacking] == [first.name, second.name]
    done = brought_back(shop, tmp_path / "saved", tmp_path / "server")
    assert [each.check.value for each in done.findings if each.is_damage] == ["pictures"]
    assert follow(shop, "device", tmp_path / "server").version == 1


def test_a_backup_that_has_a_file_keeps_it_when_the_server_s_rots(
    shop: TileShop, tmp_path: Path
) -> None:
    taken(shop, tmp_path / "saved")
    first, *_ = sorted(shop.catalogue.folder.glob("pictures/*/*"))
    first.unlink()

    made = taken(shop, tmp_path / "saved")

    assert made.lacking == ()
    assert damage(brought_back(shop, tmp_path / "saved", tmp_path / "server")) == []


def test_pictures_that_wait_or_could_not_be_embedded_are_in_it(
    shop: TileShop, tmp_path: Path
) -> None:
    waiting, dead = bytes([1]) * 32, bytes([2]) * 32  # of which the server has lost the files
    with shop.catalogue.changing() as tables:
        tables.waiting.put(WaitingImage(Image("coming"), waiting, 1, [1]))
        dying = WaitingImage(Image("broken"), dead, 1, [1])
        tables.dead_letters.put(dying, ["sku-1"], "no picture", now=shop.now)

    made = taken(shop, tmp_path / "saved")

    assert {Path(each).name for each in made.lacking} == {waiting.hex(), dead.hex()}


def test_a_server_that_waits_for_an_upgrade_is_copied(shop: TileShop, tmp_path: Path) -> None:
    with closing(sqlite3.connect(shop.catalogue.database)) as connection:
        for table in ("waiting_images", "waiting_links", "dead_letters"):  # as before their step
            connection.execute(f"DROP TABLE {table}")

    assert taken(shop, tmp_path / "saved").lacking == ()


def test_one_backup_at_a_time_is_written_to_a_folder(shop: TileShop, tmp_path: Path) -> None:
    with archives.writing(tmp_path / "saved"), pytest.raises(ServerError, match="Another process"):
        taken(shop, tmp_path / "saved")


def test_every_catalogue_is_in_it(shop: TileShop, tmp_path: Path) -> None:
    ServerFolder(server_of(shop)).add_catalogue("toys", now=shop.now)

    made = taken(shop, tmp_path / "saved")
    done = brought_back(shop, tmp_path / "saved", tmp_path / "server")

    assert {name: point.version for name, point in made.catalogues.items()} == {MAIN: 1, "toys": 0}
    assert damage(done) == []
    server = ServerFolder(tmp_path / "server")
    assert server.catalogues() == [MAIN, "toys"]
    for name in server.catalogues():
        with pytest.raises(ServerError, match="--above"):
            releasing.publish(
                server.catalogue(name),
                now=shop.now,
                rng=None,
                terms=Terms(),  # type: ignore[arg-type]
            )


APP = programs.program("pocketlens-server", "Of these tests.", example="pocketlens-server backup")
maintain.register(APP)


def test_commands_say_what_they_did(
    shop: TileShop, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data, saved, restored = str(server_of(shop)), str(tmp_path / "saved"), str(tmp_path / "server")

    assert output.run(APP, ["backup", "--data", data, "--out", saved]) == 0
    assert "'main': version 1" in capsys.readouterr().out
    assert output.run(APP, ["backup", "--data", data, "--out", saved, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["catalogues"]["main"]["version"] == 1
    assert output.run(APP, ["restore", saved, "--data", restored, "--seen", f"{data}/public"]) == 0
    said = capsys.readouterr().out
    assert "the copy of its public files has version 1" in said
    assert "nothing is damaged" in said
    assert output.run(APP, ["fsck", "--data", restored, "--json"]) == 0
    (finding,) = json.loads(capsys.readouterr().out)["findings"]
    assert (finding["check"], finding["is_damage"]) == ("restored", False)
    next(shop.catalogue.folder.glob("pictures/*/*")).unlink()
    other = str(tmp_path / "other")
    assert output.run(APP, ["backup", "--data", data, "--out", other]) == 1
    assert "is missing or damaged" in capsys.readouterr().err
    assert output.run(APP, ["fsck", "--data", data, "--catalog", "main"]) == 1
    assert "Push their images again" in capsys.readouterr().out
    assert output.run(APP, ["restore", data, "--data", f"{restored}-2"]) == 1
    assert "has no backup.json" in capsys.readouterr().err

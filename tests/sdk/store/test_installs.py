"""CURRENT and installs: a new one takes its place whole, or nothing changes."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path

import pytest

from pocketlens.errors import StoreCorrupt, StoreError, StoreLocked, StoreNotFound
from pocketlens.store import installs

GENERATION = "ab" * 32
BUNDLE = b"a bundle"


def install(directory: Path, text: str, bundle: bytes = BUNDLE) -> None:
    with installs.writing(directory), installs.new_install(directory, bundle) as new:
        (new.folder / "store.sqlite").write_text(text)
        new.generation = GENERATION


def give_up(directory: Path, error: type[BaseException], bundle: bytes = BUNDLE) -> None:
    with installs.writing(directory), installs.new_install(directory, bundle) as new:
        (new.folder / "store.sqlite").write_text("half")
        raise error


def state(directory: Path) -> dict[str, bytes | None]:
    return {
        path.relative_to(directory).as_posix(): path.read_bytes() if path.is_file() else None
        for path in directory.rglob("*")
    }


def test_an_install_becomes_current_and_the_one_before_goes(tmp_path: Path) -> None:
    install(tmp_path / "s", "one")
    first = installs.current(tmp_path / "s")
    install(tmp_path / "s", "two", b"another bundle")

    second = installs.current(tmp_path / "s")

    assert (first.name, second.name) == (f"{GENERATION}-1", f"{GENERATION}-2")
    assert (second / "store.sqlite").read_text() == "two"
    assert [each.name for each in (tmp_path / "s" / "installs").iterdir()] == [second.name]
    assert [each.read_bytes() for each in (tmp_path / "s" / "files").iterdir()] == [
        b"another bundle"
    ]


@pytest.mark.parametrize("error", [KeyboardInterrupt, StoreCorrupt, OSError])
def test_an_error_leaves_the_old_store_as_it_was(
    tmp_path: Path, error: type[BaseException]
) -> None:
    install(tmp_path / "s", "one")
    before = state(tmp_path / "s")

    with pytest.raises(error):
        give_up(tmp_path / "s", error, b"another bundle")

    assert state(tmp_path / "s") == before


@pytest.mark.parametrize("exists", [True, False], ids=["empty folder", "no folder"])
def test_an_error_leaves_no_new_folder_behind(tmp_path: Path, *, exists: bool) -> None:
    directory = tmp_path / "s"
    if exists:
        directory.mkdir()

    with pytest.raises(KeyboardInterrupt):
        give_up(directory, KeyboardInterrupt)

    assert directory.exists() == exists
    assert not exists or not list(directory.iterdir())


def test_what_a_killed_writer_left_is_removed_by_the_next(tmp_path: Path) -> None:
    directory = tmp_path / "s"
    install(directory, "one")
    (directory / "installs" / ".2.new").mkdir()
    (directory / "installs" / ".2.new" / "store.sqlite").write_text("half")
    (directory / ".CURRENT.0123abcd.tmp").write_text("half")
    (directory / "files" / f"{'cd' * 32}.tflite").write_bytes(b"of the killed one")
    (directory / "notes.txt").write_text("somebody's own")

    install(directory, "two")

    assert (directory / "notes.txt").exists()
    assert sorted(state(directory)) == sorted(
        [
            "CURRENT",
            "cache",
            "files",
            f"files/{installs.bundle_path(directory, _sha256(BUNDLE)).name}",
            "installs",
            f"installs/{GENERATION}-2",
            f"installs/{GENERATION}-2/store.sqlite",
            "lock",
            "notes.txt",
        ]
    )


def test_a_damaged_bundle_among_the_files_is_written_again(tmp_path: Path) -> None:
    install(tmp_path / "s", "one")
    path = installs.bundle_path(tmp_path / "s", _sha256(BUNDLE))
    path.write_bytes(b"a bundlf")

    install(tmp_path / "s", "two")

    assert path.read_bytes() == BUNDLE


def test_a_folder_with_other_things_is_refused_untouched(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("all of it")

    with pytest.raises(StoreError, match="holds other things"), installs.writing(tmp_path):
        pass

    assert list(state(tmp_path)) == ["thesis.txt"]


def test_a_file_in_place_of_the_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "s").write_text("a file")

    with pytest.raises((StoreError, OSError)), installs.writing(tmp_path / "s"):
        pass

    assert (tmp_path / "s").read_text() == "a file"


HOLD = """
import sys
from pathlib import Path
from pocketlens.store import installs
with installs.writing(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_a_second_writer_is_told_and_takes_over_from_a_dead_one(tmp_path: Path) -> None:
    directory = tmp_path / "s"
    install(directory, "one")
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(directory)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        before = state(directory)

        with pytest.raises(StoreLocked, match="Another process"):
            install(directory, "two")

        assert state(directory) == before
        holder.kill()
        holder.wait()
    install(directory, "two")
    assert (installs.current(directory) / "store.sqlite").read_text() == "two"


@pytest.mark.parametrize(
    "text", [b"", b"\n", b"nothing\n", f"{GENERATION}-1".encode(), b"../../etc\n", b"\xff\n"]
)
def test_a_damaged_current_is_corruption(tmp_path: Path, text: bytes) -> None:
    install(tmp_path / "s", "one")
    (tmp_path / "s" / "CURRENT").write_bytes(text)

    with pytest.raises(StoreCorrupt, match="CURRENT"):
        installs.current(tmp_path / "s")

    install(tmp_path / "s", "two")  # heals
    assert (installs.current(tmp_path / "s") / "store.sqlite").read_text() == "two"


def test_a_missing_current_beside_installs_is_corruption(tmp_path: Path) -> None:
    install(tmp_path / "s", "one")
    (tmp_path / "s" / "CURRENT").unlink()

    with pytest.raises(StoreCorrupt, match="is missing"):
        installs.current(tmp_path / "s")


def test_a_store_that_is_being_made_is_no_corruption(tmp_path: Path) -> None:
    install(tmp_path / "s", "one")
    with installs.writing(tmp_path / "s"):
        (tmp_path / "s" / "CURRENT").unlink()

        with pytest.raises(StoreNotFound, match="being made"):
            installs.current(tmp_path / "s")


def test_no_store_is_no_corruption(tmp_path: Path) -> None:
    with pytest.raises(StoreNotFound):
        installs.current(tmp_path)


def _sha256(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()

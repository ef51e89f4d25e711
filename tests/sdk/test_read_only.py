"""Copies of stores that follow a server open where nothing may be written, as an ordinary user."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from tests.making.servers import Server
from tests.making.shops import bare_bundle, make_shop

from pocketlens import Lens
from pocketlens.store import installs, marks
from pocketlens.store.checksums import checksum
from pocketlens.store.marks import Trial
from pocketlens.sync import session
from pocketlens.sync.transports import FolderTransport

pytestmark = pytest.mark.skipif(os.name != "posix", reason="has no users to change to")

SEARCH_AS_NOBODY = """
import os, sys
import numpy as np
from pathlib import Path
from pocketlens import Lens
from pocketlens.errors import PocketLensError

directory, writable, vector = Path(sys.argv[1]), Path(sys.argv[2]), np.load(sys.argv[3])
with Lens.open(writable) as lens:  # loads every module, which nobody may be allowed to read
    lens.search_vector(vector)
if os.getuid() == 0:
    os.setgroups([]), os.setgid(65534), os.setuid(65534)
assert not os.access(directory, os.W_OK)
try:
    with Lens.open(directory) as lens:
        for line in sys.stdin:
            found = lens.search_vector(vector)
            print(found.version, found.matches[0].product.id, flush=True)
except PocketLensError as exc:
    print(type(exc).__name__, exc, flush=True)
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Server:
    folder = tmp_path_factory.mktemp("server")
    made = Server.of_shop(make_shop(folder / "shop", products=30), folder / "server")
    made.publish()
    return made


@pytest.fixture
def tmp_path() -> Iterator[Path]:
    """A folder that everybody may enter; every session of pytest closes its own to others."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        yield Path(name)


@pytest.fixture
def store(server: Server, tmp_path: Path) -> Path:
    sync(server, tmp_path / "store")
    np.save(tmp_path / "vector.npy", server.shop.embeddings[4])
    return tmp_path / "store"


def sync(server: Server, store: Path) -> None:
    transport = FolderTransport(server.public)
    session.sync(store, transport, catalogue="main", root=server.root, now=server.now)


CHECKSUM = checksum(b"unknown\0")  # of a fact that a reader passes over


class Nobody:
    """A process of a user who may read a folder, and not write there."""

    def __init__(self, directory: Path, writable: Path) -> None:
        self._everything = [directory, *directory.rglob("*")]
        for path in self._everything:
            path.chmod(0o555 if path.is_dir() else 0o444)
        vector = directory.parent / "vector.npy"
        vector.chmod(0o444)
        arguments = [sys.executable, "-c", SEARCH_AS_NOBODY, directory, writable, vector]
        self._process = subprocess.Popen(
            arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def __enter__(self) -> Nobody:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate()
        for path in self._everything:
            path.chmod(0o755)

    def search(self) -> str:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        return self._process.stdout.readline().strip()


def database(store: Path) -> Path:
    return installs.current(store) / "store.sqlite"


def test_a_copy_opens_where_nothing_may_be_written(store: Path, tmp_path: Path) -> None:
    assert database(store).read_bytes()[18:20] == b"\2\2"  # journal mode WAL
    for name in ("one file", "with an empty log"):
        copy = shutil.copytree(store, tmp_path / name)
        for path in installs.current(copy).glob("store.sqlite-*"):
            path.unlink()
        if name != "one file":
            database(copy).with_name("store.sqlite-wal").touch()
        before = sorted(copy.rglob("*"))

        with Nobody(copy, store) as nobody:
            assert nobody.search() == "1 sku-4"
            assert nobody.search() == "1 sku-4"

        assert sorted(copy.rglob("*")) == before


def test_changes_that_cannot_be_read_there_are_said(store: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    with closing(sqlite3.connect(database(store))) as connection:
        connection.execute("PRAGMA wal_autocheckpoint = 0")
        connection.execute("INSERT INTO facts VALUES ('unknown', x'', ?)", [CHECKSUM])
        connection.commit()
        shutil.copytree(store, copy, ignore=shutil.ignore_patterns("*-shm"))
    assert database(copy).with_name("store.sqlite-wal").stat().st_size > 0

    with Nobody(copy, store) as nobody:
        said = nobody.search()

    assert said.startswith("StoreReadOnly Changes of the store wait in ")
    assert "copy it when nobody uses it" in said
    with Lens.open(copy) as lens:  # where it may be written, they are read
        assert lens.facts.version == 1


def test_a_store_that_changes_under_a_reader_without_locks_is_not_believed(
    store: Path, tmp_path: Path
) -> None:
    copy = shutil.copytree(store, tmp_path / "copy")
    for path in installs.current(copy).glob("store.sqlite-*"):
        path.unlink()
    with Nobody(copy, store) as nobody:
        assert nobody.search() == "1 sku-4"
        path = database(copy)
        path.chmod(0o644)
        with path.open("r+b") as file:
            file.seek(-1, os.SEEK_END)
            file.write(b"\0")

        # Lists are in memory by now; texts of products are not.
        assert nobody.search().startswith("StoreReadOnly ")


def test_a_copy_of_an_install_on_trial_gets_no_mark(
    server: Server, store: Path, tmp_path: Path
) -> None:
    with Lens.open(store) as lens:
        lens.search_vector(server.shop.embeddings[0])
    server.add_model(bare_bundle(16, name="second"))
    server.publish()
    sync(server, store)
    assert marks.get(installs.current(store), Trial) is not None
    copy = shutil.copytree(store, tmp_path / "copy")
    before = sorted(copy.rglob("*"))

    with Nobody(copy, store) as nobody:
        assert nobody.search().startswith("2 ")

    assert sorted(copy.rglob("*")) == before
    assert marks.get(installs.current(copy), Trial) is not None

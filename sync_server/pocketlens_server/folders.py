"""Where a server keeps what: one folder for the server, one in it for each catalogue.

DIR/server.json                            format, where the offline keys are
DIR/catalogues/NAME/catalogue.sqlite       history, embeddings, generations
DIR/catalogues/NAME/pictures/ab/<sha256>   pictures as they came
DIR/catalogues/NAME/bundles/<sha256>.tflite
DIR/catalogues/NAME/floats/                float models, and what they make of pictures
DIR/catalogues/NAME/keys/                  that sign every publish
DIR/public/NAME/{metadata,targets,blobs}   what devices fetch; any web server may serve it
OFFLINE/NAME/                              keys that sign models and say whom to trust
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import json
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from pocketlens.durable_files import sync_folder, translated, write_file
from pocketlens.errors import NotFound, ServerError
from pocketlens.products import is_catalogue_name
from pocketlens_server.publishing import keys, signing
from pocketlens_server.storage import database_errors, migrations
from pocketlens_server.storage.history import History
from pocketlens_server.storage.jobs import Jobs
from pocketlens_server.storage.kept_connections import KeptConnection
from pocketlens_server.storage.requests import Requests
from pocketlens_server.storage.revisions import Revisions
from pocketlens_server.storage.vectors import Vectors
from pocketlens_server.storage.waiting_images import DeadLetters, WaitingImages

FORMAT = 1
MAIN = "main"  # the catalogue that `init` makes
_SETTINGS = "server.json"
_DATABASE = "catalogue.sqlite"
# Pages have 4 KiB. A batch of operations touches a thousand, and all that it does fits into memory.
# The log is folded into the tables after so many pages that most were written several times
# (benchmarks/ingest.py), and its file does not stay as long as a large publish has made it.
_PRAGMAS = """
PRAGMA synchronous = FULL;
PRAGMA fullfsync = ON;
PRAGMA cache_size = 8000;
PRAGMA wal_autocheckpoint = 4000;
PRAGMA journal_size_limit = 67108864;
"""


@dataclass(frozen=True, slots=True)
class CatalogueFolder:
    """One catalogue on disk.

    Attributes:
        name: Of the catalogue.
        folder: What only the server reads.
        public: What devices fetch.
        offline_keys: Folder of the keys that are kept apart; it may be unplugged.
        kept: By which the threads of this process write, in turns; None where each transaction
            opens a connection of its own.
        busy_seconds: That another process may write for before this one gives up.
    """

    name: str
    folder: Path
    public: Path
    offline_keys: Path
    kept: KeptConnection | None = None
    busy_seconds: float = 10

    @property
    def online_keys(self) -> Path:
        """Folder of the keys that sign every publish."""
        return self.folder / "keys"

    @property
    def database(self) -> Path:
        """File of the tables."""
        return self.folder / _DATABASE

    def picture(self, sha256: bytes) -> Path:
        """Where a picture is kept."""
        name = sha256.hex()
        return self.folder / "pictures" / name[:2] / name

    def thumbnail(self, picture: bytes) -> Path:
        """Where the thumbnail of a picture waits to be published."""
        return self.thumbnails / picture.hex()

    @property
    def thumbnails(self) -> Path:
        """Folder of thumbnails that wait; there once one was drawn."""
        return self.folder / "thumbnails"

    def bundle(self, sha256: bytes) -> Path:
        """Where a bundle is kept."""
        return self.folder / "bundles" / f"{sha256.hex()}.tflite"

    @property
    def floats(self) -> Path:
        """Folder of the float models of bundles, and of their embeddings; there once one is."""
        return self.folder / "floats"

    @contextmanager
    def changing(self) -> Iterator[Tables]:
        """One transaction that may write; committed on leaving, undone after an error.

        Raises:
            ServerError: Another process is writing.
            StoreFull: The disk has no room.
        """
        with self._errors(), self._to_change() as connection:
            migrations.migrate(connection)
            try:
                connection.execute("BEGIN IMMEDIATE")
                yield Tables.of(connection)
                connection.execute("COMMIT")
            finally:
                if connection.in_transaction:
                    connection.rollback()

    @contextmanager
    def reading(self) -> Iterator[Tables]:
        """One view of the tables, which stays as it is until the context is left.

        Raises:
            ServerError: They cannot be read.
            StoreFull: The disk has no room for what SQLite keeps beside them.
        """
        with self._errors(), closing(self._connected()) as connection:
            migrations.migrate(connection)
            connection.execute("BEGIN")
            yield Tables.of(connection)

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as exc:
            raise database_errors.error_of(
                exc,
                self.folder,
                if_full=f"No room for the catalogue {self.name!r} in {self.folder}. Free some "
                "space and try again.",
                otherwise=f"The catalogue {self.name!r} cannot be used: {exc}. Try again.",
            ) from exc

    def keeping(self, *, busy_seconds: float) -> CatalogueFolder:
        """The same, for a process that stays and writes in several threads; it closes `kept`."""
        patient = replace(self, busy_seconds=busy_seconds)
        return replace(patient, kept=KeptConnection(self.database, connect=patient._to_write))

    def _to_change(self) -> AbstractContextManager[sqlite3.Connection]:
        return closing(self._to_write()) if self.kept is None else self.kept.turn()

    def _to_write(self) -> sqlite3.Connection:
        """A connection whose log has a name that outlasts a power cut.

        SQLite flushes the names too when it begins a log, and goes on where that fails.
        """
        connection = self._connected()
        try:
            connection.execute("SELECT 1 FROM sqlite_schema")  # which makes the log
            sync_folder(self.folder)
        except BaseException as exc:
            connection.close()
            if isinstance(exc, OSError):
                raise translated(exc, self.folder) from exc
            raise
        return connection

    def _connected(self) -> sqlite3.Connection:
        connection = sqlite3.connect(
            f"{self.database.absolute().as_uri()}?mode=rw",  # never an empty one in place of a lost
            uri=True,
            timeout=self.busy_seconds,
            isolation_level=None,
            check_same_thread=False,  # one that is kept is every thread's, in turns
        )
        try:
            connection.executescript(_PRAGMAS)
        except BaseException:
            connection.close()
            raise
        return connection


@dataclass(frozen=True, slots=True)
class Tables:
    """The tables of a catalogue, inside one transaction."""

    history: History
    vectors: Vectors
    requests: Requests
    revisions: Revisions
    jobs: Jobs
    waiting: WaitingImages
    dead_letters: DeadLetters

    @classmethod
    def of(cls, connection: sqlite3.Connection) -> Tables:
        """The tables of one database."""
        return cls(
            History(connection),
            Vectors(connection),
            Requests(connection),
            Revisions(connection),
            Jobs(connection),
            WaitingImages(connection),
            DeadLetters(connection),
        )


class ServerFolder:
    """Everything of one server on disk."""

    def __init__(self, path: Path) -> None:
        """Takes a folder that `create` made.

        Raises:
            ServerError: It is none, or of a newer format.
        """
        self.path = path
        try:
            settings = json.loads((path / _SETTINGS).read_text())
            found, self._offline = settings["format"], Path(settings["offline_keys"])
        except (OSError, ValueError, KeyError, TypeError) as exc:
            raise ServerError(
                f"{path} is no folder of a server. Make one: pocketlens-server init {path}"
            ) from exc
        if found > FORMAT:
            raise ServerError(
                f"Expected a server of format {FORMAT}. Received {found} in {path}. "
                "Update PocketLens."
            )

    @classmethod
    def create(cls, path: Path, *, offline_keys: Path, now: datetime) -> ServerFolder:
        """Makes the folder of a new server, with the catalogue `main`.

        Raises:
            ServerError: There is something already, or the offline keys would lie in it.
            StoreFull, StoreReadOnly: It cannot be written.
        """
        if path.exists() and any(path.iterdir()):
            raise ServerError(f"Expected a folder that is new or empty. Received {path}.")
        offline = offline_keys.absolute()
        if offline.is_relative_to(path.absolute()):
            raise ServerError(
                f"Expected a folder for offline keys outside {path}: who steals the server must "
                f"not get them. Received {offline_keys}."
            )
        try:
            path.mkdir(parents=True, exist_ok=True)
        except OSError as exc:
            raise translated(exc, path) from exc
        settings = {"format": FORMAT, "offline_keys": str(offline)}
        write_file(path / _SETTINGS, (json.dumps(settings, indent=2) + "\n").encode())
        made = cls(path)
        try:
            made.add_catalogue(MAIN, now=now)
        except BaseException:
            shutil.rmtree(path, ignore_errors=True)  # it was new, or empty
            raise
        return made

    def catalogues(self) -> list[str]:
        """Names of the catalogues, sorted."""
        folder = self.path / "catalogues"
        return sorted(each.name for each in folder.iterdir() if is_catalogue_name(each.name))

    def add_catalogue(self, name: str, *, now: datetime) -> CatalogueFolder:
        """Makes a catalogue with keys of its own.

        Raises:
            ServerError: The name cannot be one, or there is such a catalogue.
        """
        if not is_catalogue_name(name):
            raise ServerError(
                "Expected a name of 1 to 63 small letters, digits, - and _, beginning with a "
                f"letter or digit. Received {name!r}."
            )
        made = self._folder(name)
        if made.folder.exists():
            raise ServerError(f"There is a catalogue {name!r} already.")
        if keys.holds_keys(made.offline_keys):
            raise ServerError(
                f"{made.offline_keys} holds keys already. Move them away if no catalogue has them; "
                "keys are never overwritten."
            )
        # It is there when all of it is: what was cut off before is made anew.
        new = replace(made, folder=made.folder.with_name(f".{name}.new"))
        try:
            if new.folder.exists():
                for left in (made.public, new.folder):  # that says that the other is no one's
                    if left.exists():
                        shutil.rmtree(left)
            elif made.public.exists():
                raise ServerError(
                    f"{made.public} exists already, and devices may follow it. Bring "
                    f"{made.folder} back, or move it away."
                )
            (new.folder / "pictures").mkdir(parents=True)
            (new.folder / "bundles").mkdir()
            signers = keys.create(new.online_keys, keys.ONLINE)
            signers |= keys.create(made.offline_keys, keys.OFFLINE)
            signing.create(made.public, signers, now=now)
            database = new.folder / _DATABASE
            with closing(sqlite3.connect(database, isolation_level=None)) as connection:
                connection.execute("PRAGMA journal_mode = WAL")
                migrations.create(connection)
            new.folder.rename(made.folder)
            sync_folder(made.folder.parent)
        except OSError as exc:
            raise translated(exc, made.folder) from exc
        return made

    def catalogue(self, name: str) -> CatalogueFolder:
        """A catalogue.

        Raises:
            NotFound: There is none of that name.
        """
        found = self._folder(name)
        if not is_catalogue_name(name) or not found.folder.is_dir():
            known = ", ".join(self.catalogues())
            raise NotFound(f"There is no catalogue {name!r}. There are: {known}.")
        return found

    def _folder(self, name: str) -> CatalogueFolder:
        return CatalogueFolder(
            name,
            self.path / "catalogues" / name,
            self.path / "public" / name,
            self._offline / name,
        )

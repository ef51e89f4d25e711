"""The SQLite file of a store: made, opened, closed, and its errors translated, only here.

A store is written into a folder that nothing names yet; so it is written without a journal and
flushed whole before anything names it. What changes it later is one transaction, in the journal
mode WAL: readers go on with what they see, and what was committed outlasts a power cut.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import functools
import os
import re
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager, suppress
from importlib import resources
from pathlib import Path
from urllib.parse import quote

from pocketlens.durable_files import FAILED_DISK, sync_folder, translated
from pocketlens.errors import (
    StoreCorrupt,
    StoreError,
    StoreFull,
    StoreLocked,
    StoreNotFound,
    StoreReadOnly,
    StoreTooNew,
)
from pocketlens.store import views
from pocketlens.store.checksums import checksum

FORMAT = 1
APPLICATION_ID = int.from_bytes(b"PLns", "big")  # what `file` shows of a store
FILE_NAME = "store.sqlite"

Connection = sqlite3.Connection

_NO_SHARED_INDEX = (sqlite3.SQLITE_IOERR_SHMSIZE, sqlite3.SQLITE_CANTOPEN)
_FAILED_TO_WRITE = (
    sqlite3.SQLITE_IOERR_WRITE,
    sqlite3.SQLITE_IOERR_FSYNC,
    sqlite3.SQLITE_IOERR_DIR_FSYNC,
    sqlite3.SQLITE_IOERR_TRUNCATE,
)

_PAGE_BYTES = 4096
_WRITER_CACHE_KIB = 32 * 1024


def create(path: Path) -> Connection:
    """Makes an empty store in a file that does not exist yet; `finish` makes it durable.

    Raises:
        StoreFull, StoreReadOnly: The file cannot be written.
    """
    with errors(path):
        connection = sqlite3.connect(path, isolation_level=None)
        connection.executescript(
            f"""
            PRAGMA page_size = {_PAGE_BYTES};
            PRAGMA journal_mode = OFF;
            PRAGMA synchronous = OFF;
            PRAGMA locking_mode = EXCLUSIVE;
            PRAGMA cache_size = -{_WRITER_CACHE_KIB};
            PRAGMA application_id = {APPLICATION_ID};
            PRAGMA user_version = {FORMAT};
            """
        )
        connection.executescript(_schema())
        views.refresh(connection)
        return connection


def create_scratch(path: Path, schema: str) -> Connection:
    """Makes a file for sorting, which the caller closes and removes; nothing of it is durable."""
    with errors(path):
        connection = sqlite3.connect(path, isolation_level=None)
        connection.executescript(f"PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; {schema}")
        connection.execute("BEGIN")
        return connection


def finish(connection: Connection, path: Path) -> None:
    """Closes a store made by `create`; file and name are on the disk afterwards.

    It needs no file beside it and opens from a read-only folder.

    Raises:
        StoreFull: The disk has no room.
    """
    with errors(path):
        connection.execute("PRAGMA journal_mode = DELETE")
        connection.close()
        with path.open("rb+") as file:
            os.fsync(file.fileno())
        sync_folder(path.parent)


def open_to_read(path: Path, *, is_unlocked: bool = False) -> Connection:
    """Opens a store without changing it; any thread may use it, one at a time.

    Args:
        path: Of its file.
        is_unlocked: Whether SQLite's locks cannot be had (`pocketlens.store.unlocked`).

    Raises:
        StoreCorrupt: The file is missing, or no store.
        StoreTooNew: It is of a newer format.
    """
    return _opened(path, "ro&immutable=1" if is_unlocked else "ro")


def _opened(path: Path, mode: str) -> Connection:
    if not path.is_file():
        raise StoreCorrupt(f"The store's database {path} is missing. {MEND}")
    with errors(path):
        try:
            return _connected(path, mode)
        except sqlite3.OperationalError as exc:
            # Readers of a WAL share an index in a file, for which a full disk has no room; one
            # that may not write to it makes its own, in memory.
            if mode != "ro" or _code(exc) not in _NO_SHARED_INDEX:
                raise
            return _connected(path, f"{mode}&readonly_shm=1")


def _connected(path: Path, mode: str) -> Connection:
    connection = sqlite3.connect(
        f"file:{quote(str(path.absolute()))}?mode={mode}",
        uri=True,
        isolation_level=None,
        check_same_thread=False,
    )
    try:
        _check_format(connection, path)
        _check_schema(connection, path)
        connection.execute("PRAGMA cell_size_check = ON")
        connection.execute("PRAGMA trusted_schema = OFF")
    except BaseException:
        connection.close()
        raise
    return connection


@contextmanager
def changing(path: Path) -> Iterator[Connection]:
    """One transaction that may write to a store; committed on leaving, undone after an error.

    The first one moves the store to WAL, for which nobody may be reading; afterwards readers do
    not mind.

    Raises:
        StoreCorrupt, StoreTooNew: The file is missing, damaged, or newer.
        StoreLocked: Another process is writing, or, the first time, reading.
        StoreFull, StoreReadOnly: It cannot be written.
    """
    with closing(_opened(path, "rw")) as connection:
        with errors(path):
            connection.executescript(
                f"""
                PRAGMA journal_mode = WAL;
                PRAGMA synchronous = FULL;
                PRAGMA fullfsync = ON;
                PRAGMA checkpoint_fullfsync = ON;
                PRAGMA wal_autocheckpoint = 0;
                PRAGMA cache_size = -{_WRITER_CACHE_KIB};
                """
            )
            connection.execute("BEGIN IMMEDIATE")
            views.refresh(connection)
        try:
            yield connection
            with errors(path):
                connection.execute("COMMIT")
        finally:
            if connection.in_transaction:
                connection.rollback()
            _leave_wal(connection, path)


def _leave_wal(connection: Connection, path: Path) -> None:
    """Empties the WAL where nobody reads, and lets it stay with its index when the writer closes.

    SQLite removes both with their last connection, and who searched next would have to make them,
    for which a full disk has no room.
    """
    with suppress(StoreError), closing(open_to_read(path)):
        try:
            with errors(path):
                connection.execute("PRAGMA busy_timeout = 0")
                connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        finally:
            connection.close()  # before the other one: as the last it would try again


def log_size(path: Path) -> int:
    """Bytes of the write-ahead log; 0 where there is none."""
    try:
        return path.with_name(f"{path.name}-wal").stat().st_size
    except OSError:
        return 0


def copy_log(path: Path) -> bool:
    """Copies what no reader still needs from the log into the database.

    Returns:
        Whether that was all of it, so that who reads from now on does not need the log.
    """
    with suppress(StoreError), closing(_opened(path, "rw")) as connection, errors(path):
        connection.execute("PRAGMA busy_timeout = 0")
        connection.execute("PRAGMA checkpoint_fullfsync = ON")
        connection.execute("PRAGMA wal_autocheckpoint = 0")
        is_busy, in_log, copied = connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
        return not is_busy and in_log == copied
    return False


def settle(path: Path) -> None:
    """Brings a store that was changed back to one file that opens from a read-only folder.

    Nobody else may have it open.

    Raises:
        StoreLocked: Somebody has.
        StoreFull, StoreReadOnly: It cannot be written.
    """
    with closing(_opened(path, "rw")) as connection, errors(path):
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        connection.execute("PRAGMA journal_mode = DELETE")
    with path.open("rb") as file:
        os.fsync(file.fileno())
    sync_folder(path.parent)


def put_rows(connection: Connection, table: str, new: Iterable[tuple[object, ...]]) -> None:
    """Inserts whole rows, or replaces those that are there."""
    rows = list(new)
    if rows:
        marks = ",".join("?" * len(rows[0]))
        statement = f"INSERT OR REPLACE INTO {table} VALUES ({marks})"  # noqa: S608 # our names
        connection.executemany(statement, rows)


@contextmanager
def errors(path: Path) -> Iterator[None]:
    """Translates errors of SQLite and of the file system on `path` into the store's own."""
    try:
        yield
    except sqlite3.Error as exc:
        raise _store_error(exc, path) from exc
    except UnicodeDecodeError as exc:  # SQLite quotes a damaged schema in its message
        raise StoreCorrupt(f"The store's database {path} is damaged. {MEND}") from exc
    except OSError as exc:
        raise translated(exc, path) from exc


MEND = "Sync it if it follows a server; copy it, or make it again, otherwise: pocketlens index"


def _check_format(connection: Connection, path: Path) -> None:
    (application_id,) = connection.execute("PRAGMA application_id").fetchone()
    (found,) = connection.execute("PRAGMA user_version").fetchone()
    if application_id != APPLICATION_ID:
        raise StoreCorrupt(f"Expected a PocketLens store. Received another file: {path}. {MEND}")
    if found > FORMAT and _format_in_rows(connection) != FORMAT:
        raise StoreTooNew(
            f"Expected a store of format {FORMAT}. Received {found}: {path}. Update PocketLens."
        )
    if found != FORMAT:
        raise StoreCorrupt(f"Expected a store of format {FORMAT}. Received {found}: {path}. {MEND}")


def _format_in_rows(connection: Connection) -> int | None:
    """The format once more, under a checksum: one bit of the other says that a store is newer."""
    with suppress(sqlite3.Error, TypeError):
        query = "SELECT value, checksum FROM facts WHERE name = 'format'"
        value, expected = connection.execute(query).fetchone()
        if checksum(b"format\0", value) == expected:
            return int.from_bytes(value, "little")
    return None


def _check_schema(connection: Connection, path: Path) -> None:
    """One flipped bit in a column's type makes a comparison with it answer otherwise.

    Another makes a text a blob. Views are not looked at: nothing is read through them, and a
    store of another release, or somebody who looks into it, has others. Nor are the statistics
    that some tools leave: SQLite plans by them, and its answers stay the same.
    """
    found = connection.execute(
        "SELECT name, sql FROM sqlite_schema WHERE sql NOT NULL AND type IS NOT 'view' "
        "AND name NOT GLOB 'sqlite_stat[1-4]'"
    ).fetchall()
    bare = {_bare(sql) if isinstance(sql, str) else "": name for name, sql in found}
    if not _expected() <= bare.keys():
        raise StoreCorrupt(f"The schema of the store's database {path} is damaged. {MEND}")
    added = [str(name) for sql, name in bare.items() if sql not in _expected()]
    if added:
        raise StoreCorrupt(
            f"Another program has put {', '.join(added)} into the store's database {path}. Take "
            "that out, or make the store again; views of your own may stay."
        )


@functools.cache
def _expected() -> frozenset[str]:
    """The statements of schema.sql: comments may change with a release, they must not."""
    statements = (_bare(statement) for statement in _bare(_schema()).split(";"))
    return frozenset(statement for statement in statements if statement)


def _bare(sql: str) -> str:
    """SQL without comments, and with single spaces."""
    return " ".join(re.sub("--[^\n]*", " ", sql).split())


def _schema() -> str:
    return resources.files("pocketlens.store").joinpath("schema.sql").read_text("utf-8")


def _code(exc: sqlite3.Error) -> int:
    """SQLite's extended code; errors of Python's own have none."""
    return getattr(exc, "sqlite_errorcode", sqlite3.SQLITE_ERROR)


def _store_error(exc: sqlite3.Error, path: Path) -> StoreError:
    code = _code(exc)
    if code == sqlite3.SQLITE_IOERR_SHMSIZE:
        return StoreFull(f"No room to write {path}. Free some space and try again.")
    if code in _FAILED_TO_WRITE:
        return StoreError(f"The disk failed to write {path} ({exc}). {FAILED_DISK}")
    match code & 0xFF:
        case sqlite3.SQLITE_FULL:
            return StoreFull(f"No room to write {path}. Free some space and try again.")
        case sqlite3.SQLITE_READONLY | sqlite3.SQLITE_PERM:
            return StoreReadOnly(f"Cannot write {path}. Choose a writable folder.")
        case sqlite3.SQLITE_BUSY | sqlite3.SQLITE_LOCKED:
            return StoreLocked(f"Another process is writing to {path}. Try again later.")
        case sqlite3.SQLITE_CANTOPEN:
            with suppress(OSError):
                return _unopenable(path)
    return StoreCorrupt(f"The store's database {path} is damaged ({exc}). {MEND}")


def _unopenable(path: Path) -> StoreError:
    if not path.parent.is_dir():
        return StoreNotFound(f"There is no folder {path.parent}.")
    if not path.exists():  # it was there a moment ago: its install was replaced
        return StoreCorrupt(f"The store's database {path} is missing. {MEND}")
    if not os.access(path, os.R_OK):
        return StoreReadOnly(f"Cannot read {path}: permission denied. Change its permissions.")
    if not os.access(path.parent, os.W_OK):
        return StoreReadOnly(f"Cannot write {path}. Choose a writable folder.")
    return StoreFull(
        f"No file can be made beside {path}. Free some space, or open fewer files, and try again."
    )

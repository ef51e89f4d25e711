"""Tokens that the server gave: made, found, listed, revoked.

    with Tokens(ServerFolder(path)) as tokens:
        text, token = tokens.make([Scope.DEVICE], now=now)  # the text is shown this once
        tokens.find(token.id)                               # what is known of it; 20 us
        tokens.revoke(token.id, now=now)                    # servers that run see it at once

They lie in DIR/tokens.sqlite, which its owner alone may read. Where that file was moved away nobody
holds a token, until others are made. One thread uses an object.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import hashlib
import os
import secrets
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

from pocketlens.closing import Closing
from pocketlens.durable_files import sync_folder, translated, write_file
from pocketlens.errors import NotFound, ServerError
from pocketlens_server.auth import Token
from pocketlens_server.callers import Scope
from pocketlens_server.folders import ServerFolder
from pocketlens_server.storage import database_errors, migrations, times
from pocketlens_server.storage.kept_connections import file_at
from pocketlens_server.storage.migrations import Migration

FILE_NAME = "tokens.sqlite"
MOST_LABEL = 200  # characters
STEPS = (Migration("tokens", migrations.sql("tokens.sql")),)
_BUSY_SECONDS = 10
_COLUMNS = "id, sha256, scopes, catalogues, label, created_at, expires_at, revoked_at"


class Tokens(Closing):
    """The tokens of one server; an error leaves them as they were."""

    def __init__(self, folder: ServerFolder) -> None:
        """Opens them; in a folder that has none yet, there are none.

        Raises:
            ServerError: The file is damaged or cannot be read, or a newer PocketLens wrote it.
            StoreFull, StoreReadOnly: It is not there, and cannot be made.
        """
        self._folder, self._path = folder, folder.path / FILE_NAME
        self._open()

    def _open(self) -> None:
        """Opens what is there now."""
        self._file: tuple[int, int] | None = None  # until it is open
        self._create_file()
        file = file_at(self._path)
        with self._errors():
            self._connection = sqlite3.connect(
                self._path, timeout=_BUSY_SECONDS, isolation_level=None
            )
        try:
            with self._errors():
                # WAL: who makes a token holds no call up.
                self._connection.executescript(
                    "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA fullfsync = ON;"
                )
                migrations.create(self._connection, STEPS)
        except BaseException:
            self.close()
            raise
        self._file = file

    def close(self) -> None:
        """Closes the file; closing again is no error."""
        self._connection.close()

    def find(self, id_: str) -> Token | None:
        """What is known of a token now, whichever process has changed it.

        Raises:
            ServerError: The file cannot be read.
        """
        self._follow()
        with self._errors():
            return self._found(id_)

    def all(self) -> list[Token]:
        """All, oldest first.

        Raises:
            ServerError: The file cannot be read.
        """
        query = f"SELECT {_COLUMNS} FROM tokens ORDER BY created_at, id"  # noqa: S608 # of no caller's
        with self._errors():
            rows = self._connection.execute(query)
            return [_token(row) for row in rows]

    def make(
        self,
        scopes: Iterable[Scope],
        *,
        now: datetime,
        catalogues: Iterable[str] | None = None,
        label: str = "",
        expires_at: datetime | None = None,
        into: Path | None = None,
    ) -> tuple[str, Token]:
        """Makes a token.

        Args:
            scopes: What it is for, one at least.
            now: By the clock.
            catalogues: That it opens; None for all, also those to come.
            label: To find it by in the list, at most 200 characters.
            expires_at: From when on it opens nothing more; None for never.
            into: File that its text is written to, for its owner alone; one that was there is
                replaced. Without the file there is no token.

        Returns:
            The text, which cannot be shown again, and what the server knows.

        Raises:
            NotFound: There is no such catalogue.
            ServerError: It is for nothing, `into` has no folder, or the tokens cannot be written.
            StoreFull, StoreReadOnly: There is no room, or `into` cannot be written.
        """
        scopes = frozenset(scopes)
        opens = None if catalogues is None else frozenset(catalogues)
        if not scopes or opens == frozenset():
            raise ServerError("Expected one scope and one catalogue at least. Received none.")
        if len(label) > MOST_LABEL:
            raise ServerError(
                f"Expected a label of at most {MOST_LABEL} characters. Received {len(label)}."
            )
        if into is not None and (into.is_dir() or not into.parent.is_dir()):
            raise ServerError(f"Expected a file in a folder that is there. Received {into}.")
        for name in opens or ():
            self._folder.catalogue(name)
        id_ = secrets.token_hex(6)
        text = f"pl_{id_}_{secrets.token_urlsafe(32)}"
        sha256 = hashlib.sha256(text.encode()).digest()
        token = Token(id_, sha256, scopes, opens, label, now, expires_at)
        with self._changing():
            self._connection.execute(
                f"INSERT INTO tokens ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",  # noqa: S608
                _row(token),
            )
            if into is not None:
                write_file(into, f"{text}\n".encode(), is_private=True)
        return text, token

    def revoke(self, id_: str, *, now: datetime) -> Token:
        """Lets a token open nothing more; one that was revoked before stays so.

        Raises:
            NotFound: There is no token of that id.
            ServerError: The file cannot be written.
        """
        with self._changing():
            self._connection.execute(
                "UPDATE tokens SET revoked_at = ? WHERE id = ? AND revoked_at IS NULL",
                (times.microseconds(now), id_),
            )
            found = self._found(id_)
        if found is None:
            raise NotFound(
                f"There is no token {id_[:64]!r}. These there are: pocketlens-server tokens list"
            )
        return found

    def _found(self, id_: str) -> Token | None:
        query = f"SELECT {_COLUMNS} FROM tokens WHERE id = ?"  # noqa: S608 # of no caller's
        row = self._connection.execute(query, (id_,)).fetchone()
        return None if row is None else _token(row)

    def _follow(self) -> None:
        """Opens the file that has taken the place of the one that is open, or an empty one."""
        if self._file is None or self._file != file_at(self._path):
            self.close()
            self._open()

    def _create_file(self) -> None:
        """An empty file is a database without tables; SQLite would let the umask say who reads."""
        try:
            os.close(os.open(self._path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
            sync_folder(self._path.parent)
        except FileExistsError:
            return
        except OSError as exc:
            raise translated(exc, self._path) from exc

    @contextmanager
    def _changing(self) -> Iterator[None]:
        """One transaction, on disk when it is left."""
        with self._errors():
            try:
                self._connection.execute("BEGIN IMMEDIATE")
                yield
                self._connection.execute("COMMIT")
            finally:
                if self._connection.in_transaction:
                    self._connection.rollback()

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as exc:
            raise database_errors.error_of(
                exc,
                self._path.parent,
                if_full=f"No room in {self._path}. Free some space and try again.",
                otherwise=f"{self._path} cannot be used: {exc}. Try again.",
            ) from exc
        except (ValueError, TypeError) as exc:  # of a row
            raise ServerError(f"{self._path} is damaged: {exc}.") from exc


def _row(token: Token) -> tuple[str | bytes | int | None, ...]:
    catalogues = None if token.catalogues is None else " ".join(sorted(token.catalogues))
    return (
        token.id,
        token.sha256,
        " ".join(sorted(token.scopes)),
        catalogues,
        token.label,
        times.microseconds(token.created_at),
        None if token.expires_at is None else times.microseconds(token.expires_at),
        None if token.revoked_at is None else times.microseconds(token.revoked_at),
    )


def _token(row: tuple[Any, ...]) -> Token:
    id_, sha256, scopes, catalogues, label, created_at, expires_at, revoked_at = row
    return Token(
        id_,
        sha256,
        frozenset(map(Scope, scopes.split())),
        None if catalogues is None else frozenset(catalogues.split()),
        label,
        times.at(created_at),
        None if expires_at is None else times.at(expires_at),
        None if revoked_at is None else times.at(revoked_at),
    )

"""Tokens that the server gave: made, found, listed, revoked.

    with Tokens(ServerFolder(path)) as tokens:
        text, token = tokens.make([Scope.DEVICE], now=now)  # the text is shown this once
        tokens.find(token.id)                               # what is known of it; 20 us
        tokens.revoke(token.id, now=now)                    # servers that run see it at once

They lie in DIR/tokens.sqlite, which its owner alone may read. One thread uses an object.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import hashlib
import os
import secrets
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from importlib import resources
from pathlib import Path
from typing import Any

from pocketlens.closing import Closing
from pocketlens.durable_files import sync_folder, translated, write_file
from pocketlens.errors import NotFound, ServerError, StoreFull
from pocketlens_server.auth import Token
from pocketlens_server.callers import Scope
from pocketlens_server.folders import ServerFolder

FILE_NAME = "tokens.sqlite"
MOST_LABEL = 200  # characters
_BUSY_SECONDS = 10
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


class Tokens(Closing):
    """The tokens of one server; an error leaves them as they were."""

    def __init__(self, folder: ServerFolder) -> None:
        """Opens them; in a folder that has none yet, there are none.

        Raises:
            ServerError: The file is damaged or cannot be read.
            StoreFull, StoreReadOnly: It is not there, and cannot be made.
        """
        self._folder, self._path = folder, folder.path / FILE_NAME
        self._create_file()
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
                schema = resources.files("pocketlens_server.storage").joinpath("tokens.sql")
                self._connection.executescript(schema.read_text("utf-8"))
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Closes the file; closing again is no error."""
        self._connection.close()

    def find(self, id_: str) -> Token | None:
        """What is known of a token now, whichever process has changed it.

        Raises:
            ServerError: The file cannot be read.
        """
        with self._errors():
            row = self._connection.execute("SELECT * FROM tokens WHERE id = ?", (id_,)).fetchone()
            return None if row is None else _token(row)

    def all(self) -> list[Token]:
        """All, oldest first.

        Raises:
            ServerError: The file cannot be read.
        """
        with self._errors():
            rows = self._connection.execute("SELECT * FROM tokens ORDER BY created_at, id")
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
                "INSERT INTO tokens VALUES (?, ?, ?, ?, ?, ?, ?, ?)", _row(token)
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
                (_microseconds(now), id_),
            )
            found = self.find(id_)
        if found is None:
            raise NotFound(
                f"There is no token {id_[:64]!r}. These there are: pocketlens-server tokens list"
            )
        return found

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
        except sqlite3.DatabaseError as exc:
            if exc.sqlite_errorcode & 0xFF == sqlite3.SQLITE_FULL:
                raise StoreFull(f"No room in {self._path}. Free some space, try again.") from exc
            raise ServerError(f"{self._path} cannot be used: {exc}. Try again.") from exc
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
        _microseconds(token.created_at),
        None if token.expires_at is None else _microseconds(token.expires_at),
        None if token.revoked_at is None else _microseconds(token.revoked_at),
    )


def _token(row: tuple[Any, ...]) -> Token:
    id_, sha256, scopes, catalogues, label, created_at, expires_at, revoked_at = row
    return Token(
        id_,
        sha256,
        frozenset(map(Scope, scopes.split())),
        None if catalogues is None else frozenset(catalogues.split()),
        label,
        _at(created_at),
        None if expires_at is None else _at(expires_at),
        None if revoked_at is None else _at(revoked_at),
    )


def _at(microseconds: int) -> datetime:
    return _EPOCH + microseconds * _MICROSECOND


def _microseconds(at: datetime) -> int:
    return (at - _EPOCH) // _MICROSECOND

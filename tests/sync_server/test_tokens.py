"""Tokens on disk: what is kept of them, who may read it, and what another process sees."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import json
import os
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from pocketlens.errors import NotFound, ServerError
from pocketlens_server import auth
from pocketlens_server.auth import State
from pocketlens_server.callers import Caller, Scope
from pocketlens_server.folders import ServerFolder
from pocketlens_server.tokens import FILE_NAME, Tokens

NOW = datetime(2026, 5, 1, 12, 30, 15, 123456, tzinfo=UTC)


@pytest.fixture
def folder(tmp_path: Path) -> ServerFolder:
    """Of a server that was made before there were tokens."""
    for name in ("main", "outlet"):
        (tmp_path / "server" / "catalogues" / name).mkdir(parents=True)
    settings = {"format": 1, "offline_keys": "/nowhere"}
    (tmp_path / "server" / "server.json").write_text(json.dumps(settings))
    return ServerFolder(tmp_path / "server")


@pytest.fixture
def tokens(folder: ServerFolder) -> Iterator[Tokens]:
    with Tokens(folder) as made:
        yield made


def test_a_token_is_found_by_another_as_it_was_made(folder: ServerFolder, tokens: Tokens) -> None:
    expires = NOW + timedelta(days=30)
    _, made = tokens.make(
        [Scope.QUERY, Scope.DEVICE],
        now=NOW,
        catalogues=["outlet", "main"],
        label="phones \N{MOBILE PHONE}",
        expires_at=expires,
    )
    _, plain = tokens.make([Scope.BACKEND], now=NOW + timedelta(seconds=1))

    with Tokens(folder) as others:
        assert others.find(made.id) == made
        assert others.all() == [made, plain]
        assert others.find("000000000000") is None
    assert (made.scopes, made.catalogues) == ({Scope.QUERY, Scope.DEVICE}, {"outlet", "main"})
    assert (made.created_at, made.expires_at, made.revoked_at) == (NOW, expires, None)
    assert (plain.catalogues, plain.label, plain.expires_at) == (None, "", None)


def test_the_text_is_drawn_anew_and_is_nowhere_on_disk(
    folder: ServerFolder, tokens: Tokens
) -> None:
    texts = [tokens.make([Scope.DEVICE], now=NOW)[0] for _ in range(50)]

    assert len({text[16:] for text in texts}) == 50
    assert len({text[3:15] for text in texts}) == 50
    written = b"".join(path.read_bytes() for path in folder.path.glob("tokens*"))
    for text in texts:
        shown = auth.shown([("authorization", f"Bearer {text}")])
        assert shown is not None
        found = tokens.find(shown.id)
        assert auth.caller_of(shown, found, now=NOW) == Caller(shown.id, frozenset({Scope.DEVICE}))
        assert shown.id.encode() in written
        assert text[16:].encode() not in written


def test_only_its_owner_reads_what_is_kept(folder: ServerFolder, tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        with Tokens(folder) as tokens:
            tokens.make([Scope.DEVICE], now=NOW, into=tmp_path / "token")
            kept = [*folder.path.glob("tokens*"), tmp_path / "token"]
            modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in kept}
    finally:
        os.umask(before)

    assert modes == dict.fromkeys(
        [FILE_NAME, f"{FILE_NAME}-wal", f"{FILE_NAME}-shm", "token"], 0o600
    )


def test_another_process_sees_at_once_that_a_token_is_revoked(
    folder: ServerFolder, tokens: Tokens
) -> None:
    _, made = tokens.make([Scope.DEVICE], now=NOW)
    assert tokens.find(made.id) == made
    command = "import sys; from pocketlens_server.cli import main; sys.exit(main())"

    subprocess.run(
        [sys.executable, "-c", command, "tokens", "revoke", made.id, "--data", str(folder.path)],
        check=True,
        capture_output=True,
    )

    found = tokens.find(made.id)
    assert found is not None
    assert found.state(NOW) is State.REVOKED


@pytest.mark.parametrize("takes_its_place", ["nothing", "another"])
def test_a_file_that_is_moved_away_revokes_all_that_it_had(
    takes_its_place: str, folder: ServerFolder, tokens: Tokens, tmp_path: Path
) -> None:
    """As `fsck` advises where it is damaged, while a server runs."""
    _, lost = tokens.make([Scope.DEVICE], now=NOW)
    (folder.path / FILE_NAME).rename(tmp_path / "away")
    new = []
    if takes_its_place == "another":
        with Tokens(folder) as others:
            new.append(others.make([Scope.DEVICE], now=NOW)[1])

    assert tokens.find(lost.id) is None

    assert [tokens.find(each.id) for each in new] == new
    with Tokens(folder) as others:
        new.append(others.make([Scope.QUERY], now=NOW)[1])
    assert [tokens.find(each.id) for each in new] == new
    assert stat.S_IMODE((folder.path / FILE_NAME).stat().st_mode) == 0o600


def test_a_file_that_cannot_be_opened_lets_in_nobody_until_it_can(
    folder: ServerFolder, tokens: Tokens
) -> None:
    place, aside = folder.path / FILE_NAME, folder.path / "aside"
    place.rename(aside)
    place.mkdir()

    for _ in range(2):
        with pytest.raises(ServerError, match=FILE_NAME):
            tokens.find("000000000000")

    place.rmdir()
    assert tokens.find("000000000000") is None


def test_a_file_of_a_newer_pocketlens_is_no_damaged_one(
    folder: ServerFolder, tokens: Tokens
) -> None:
    tokens.close()
    with closing(sqlite3.connect(folder.path / FILE_NAME)) as connection:
        connection.execute("ALTER TABLE tokens ADD COLUMN note TEXT")
        connection.execute("INSERT INTO migrations (name) VALUES ('notes')")
        connection.commit()

    with pytest.raises(ServerError, match=r"written by a newer PocketLens.*'notes'"):
        Tokens(folder)


def test_a_file_of_before_there_were_steps_goes_on(folder: ServerFolder, tokens: Tokens) -> None:
    _, made = tokens.make([Scope.DEVICE], now=NOW)
    tokens.close()
    with closing(sqlite3.connect(folder.path / FILE_NAME)) as connection:
        connection.execute("DROP TABLE migrations")
        connection.execute("ALTER TABLE tokens ADD COLUMN note TEXT")  # one more is no trouble
        connection.commit()

    with Tokens(folder) as opened:
        _, new = opened.make([Scope.DEVICE], now=NOW + timedelta(days=1))
    with Tokens(folder) as opened:
        assert opened.all() == [made, new]


def test_revoking_again_changes_nothing(tokens: Tokens) -> None:
    _, made = tokens.make([Scope.DEVICE], now=NOW)

    first = tokens.revoke(made.id, now=NOW)
    again = tokens.revoke(made.id, now=NOW + timedelta(days=1))

    assert first.revoked_at == again.revoked_at == NOW


def test_what_was_never_made_cannot_be_revoked(tokens: Tokens) -> None:
    with pytest.raises(NotFound, match="tokens list"):
        tokens.revoke("000000000000", now=NOW)


@pytest.mark.parametrize(
    ("scopes", "catalogues", "label", "error"),
    [
        ([], None, "", ServerError),
        ([Scope.DEVICE], [], "", ServerError),
        ([Scope.DEVICE], ["main", "nowhere"], "", NotFound),
        ([Scope.DEVICE], ["main outlet"], "", NotFound),
        ([Scope.DEVICE], ["../main"], "", NotFound),
        ([Scope.DEVICE], None, "x" * 201, ServerError),
    ],
)
def test_a_token_that_would_open_nothing_is_not_made(
    scopes: list[Scope],
    catalogues: list[str] | None,
    label: str,
    error: type[ServerError],
    tokens: Tokens,
) -> None:
    with pytest.raises(error):
        tokens.make(scopes, now=NOW, catalogues=catalogues, label=label)
    assert tokens.all() == []


@pytest.mark.parametrize("where", ["a folder", "missing/token", "a file/token"])
def test_without_its_file_there_is_no_token(where: str, tokens: Tokens, tmp_path: Path) -> None:
    (tmp_path / "a folder").mkdir()
    (tmp_path / "a file").touch()

    with pytest.raises(ServerError, match=where):
        tokens.make([Scope.DEVICE], now=NOW, into=tmp_path / where)

    assert tokens.all() == []
    tokens.make([Scope.DEVICE], now=NOW, into=tmp_path / "a file")
    assert len(tokens.all()) == 1


def test_a_disk_that_fails_to_take_the_file_leaves_no_token(tokens: Tokens, tmp_path: Path) -> None:
    long = tmp_path / ("x" * 250)  # the file beside it, which is renamed, has a longer name

    with pytest.raises(OSError, match="too long"):
        tokens.make([Scope.DEVICE], now=NOW, into=long)

    assert tokens.all() == []


def test_who_is_writing_holds_no_lookup_up(folder: ServerFolder, tokens: Tokens) -> None:
    _, made = tokens.make([Scope.DEVICE], now=NOW)
    with closing(sqlite3.connect(folder.path / FILE_NAME, isolation_level=None)) as writer:
        writer.execute("BEGIN IMMEDIATE")
        writer.execute("UPDATE tokens SET label = 'changed'")

        assert tokens.find(made.id) == made


@pytest.mark.parametrize("what", ["no database", "another scope", "no time"])
def test_what_is_damaged_is_told_and_opens_nothing(
    what: str, folder: ServerFolder, tokens: Tokens
) -> None:
    _, made = tokens.make([Scope.DEVICE], now=NOW)
    changes = {
        "another scope": "UPDATE tokens SET scopes = 'everything'",
        "no time": "UPDATE tokens SET created_at = 'noon'",
    }
    tokens.close()
    if what == "no database":
        (folder.path / FILE_NAME).write_bytes(b"rot" * 9000)
        with pytest.raises(ServerError, match=FILE_NAME):
            Tokens(folder)
        return
    with closing(sqlite3.connect(folder.path / FILE_NAME)) as connection:
        connection.execute(changes[what])
        connection.commit()
    with Tokens(folder) as damaged, pytest.raises(ServerError, match=FILE_NAME):
        damaged.find(made.id)

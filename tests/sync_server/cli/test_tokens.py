"""`pocketlens-server tokens`, as an operator types it."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import json
import re
import shlex
import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import typer

from pocketlens.sync.credentials import Credentials
from pocketlens_server import auth
from pocketlens_server.auth import State
from pocketlens_server.callers import Scope
from pocketlens_server.cli import app, main
from pocketlens_server.folders import ServerFolder
from pocketlens_server.tokens import Tokens

COMMANDS = list(typer.main.get_command(app).commands["tokens"].commands)  # type: ignore[attr-defined]
TEXT = re.compile(r"pl_[0-9a-f]{12}_[A-Za-z0-9_-]{43}")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    (tmp_path / "server" / "catalogues" / "main").mkdir(parents=True)
    settings = {"format": 1, "offline_keys": "/nowhere"}
    (tmp_path / "server" / "server.json").write_text(json.dumps(settings))
    return tmp_path / "server"


def run(command: str, data: Path) -> int:
    return main(shlex.split(f"tokens {command} --data {shlex.quote(str(data))}"))


def told(command: str, data: Path, capsys: pytest.CaptureFixture[str]) -> Any:
    capsys.readouterr()
    assert run(f"{command} --json", data) == 0
    return json.loads(capsys.readouterr().out)


def opens(text: str, data: Path) -> frozenset[Scope]:
    """What a server lets somebody do who shows a token."""
    shown = auth.shown([("authorization", f"Bearer {text}")])
    assert shown is not None
    with Tokens(ServerFolder(data)) as tokens:
        return auth.caller_of(shown, tokens.find(shown.id), now=datetime.now(UTC)).scopes


def test_the_commands_are_those_that_are_promised() -> None:
    assert COMMANDS == ["make", "list", "revoke"]


@pytest.mark.parametrize("command", COMMANDS)
def test_help_has_an_example_and_json(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["tokens", command, "--help"]) == 0

    text = capsys.readouterr().out
    assert f"  pocketlens-server tokens {command} " in text
    assert "--json" in text


def test_a_token_is_printed_alone_and_once(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("make --scope device", data) == 0

    out, err = capsys.readouterr()
    text = out.strip()
    assert TEXT.fullmatch(text)
    assert opens(text, data) == {Scope.DEVICE}
    assert f"token {text[3:15]}: device; all catalogues; for ever" in err
    assert run("list", data) == 0
    assert run(f"revoke {text[3:15]}", data) == 0
    assert text[16:] not in "".join(capsys.readouterr())
    assert text[16:] not in json.dumps(told("list", data, capsys))


def test_a_token_goes_to_a_file_that_devices_are_given(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "feed.token"
    command = (
        f"make --scope backend --scope query --catalog main --label feed --days 3 --out {file}"
    )

    assert run(command, data) == 0

    text = Credentials.read(ca=None, token_file=file).token
    assert opens(text, data) == {Scope.BACKEND, Scope.QUERY}
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert text[16:] not in "".join(capsys.readouterr())
    (listed,) = told("list", data, capsys)
    assert (listed["label"], listed["catalogues"], listed["scopes"]) == (
        "feed",
        ["main"],
        ["backend", "query"],
    )
    made, expires = (
        datetime.fromisoformat(listed[f"{each}_at"]) for each in ("created", "expires")
    )
    assert expires - made == timedelta(days=3)


def test_json_has_the_token_or_its_file(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    printed = told("make --scope device", data, capsys)
    kept = told(f"make --scope device --out {tmp_path / 'token'}", data, capsys)

    assert opens(printed["token"], data) == {Scope.DEVICE}
    assert printed["token"][3:15] == printed["id"]
    assert (kept["file"], "token" in kept) == (str(tmp_path / "token"), False)


def test_a_revoked_token_is_listed_as_that(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made = told("make --scope device", data, capsys)

    assert told(f"revoke {made['id']}", data, capsys)["state"] == State.REVOKED
    assert run(f"revoke {made['id']}", data) == 0  # once more
    capsys.readouterr()
    assert run("list", data) == 0
    assert f"{made['id']}  revoked" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("command", "code", "said"),
    [
        ("make", 2, "--scope"),
        ("make --scope everything", 2, "everything"),
        ("make --scope device --days 0", 2, "--days"),
        ("make --scope device --catalog nowhere", 1, "There is no catalogue 'nowhere'"),
        ("make --scope device --out /nowhere/token", 1, "Expected a file in a folder"),
        ("revoke 000000000000", 1, "tokens list"),
        ("revoke", 2, "ID"),
    ],
)
def test_what_cannot_be_done_is_told(
    command: str, code: int, said: str, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(command, data) == code
    assert said in capsys.readouterr().err
    assert told("list", data, capsys) == []

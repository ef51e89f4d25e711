"""Every command explains itself with an example, and the documentation says the same."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from pathlib import Path

import pytest
import typer

from pocketlens import __version__
from pocketlens.cli import app, main

ROOT = Path(__file__).resolve().parents[3]
COMMANDS = list(typer.main.get_command(app).commands)  # type: ignore[attr-defined]  # a group


def test_the_commands_are_those_that_are_promised() -> None:
    promised = (
        "index search similar compare estimate info verify doctor duplicates report sync watch"
    )
    assert promised.split() == COMMANDS


@pytest.mark.parametrize("command", COMMANDS)
def test_help_has_an_example_and_json(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([command, "--help"]) == 0

    text = capsys.readouterr().out
    assert f"\n    pocketlens {command} " in text
    assert "--json" in text


@pytest.mark.parametrize("command", COMMANDS)
def test_command_is_in_the_documentation(command: str) -> None:
    page = (ROOT / "docs" / "commands.md").read_text("utf-8")

    assert f"### pocketlens {command}\n" in page


def test_version_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"pocketlens {__version__}\n"


def test_no_command_at_all_shows_the_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2

    printed = capsys.readouterr()
    assert "Commands:" in printed.out + printed.err

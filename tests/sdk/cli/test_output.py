"""What commands print, and the exit code of each way to end."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import io
import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import typer

from pocketlens.cli import output
from pocketlens.errors import StoreNotFound


def program(body: Callable[[], None]) -> typer.Typer:
    app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)

    @app.command("work")
    def work(number: int = 0) -> None:
        body()

    @app.command("rest")
    def rest() -> None:
        return None

    return app


def fail(error: BaseException) -> Callable[[], None]:
    def body() -> None:
        raise error

    return body


@pytest.mark.parametrize(
    ("body", "arguments", "code"),
    [
        (lambda: None, ["work"], 0),
        (fail(StoreNotFound("no store")), ["work"], 1),
        (fail(ValueError("odd")), ["work"], 1),
        (fail(typer.Exit(1)), ["work"], 1),
        (fail(KeyboardInterrupt()), ["work"], 130),
        (lambda: None, ["work", "--number", "x"], 2),
        (lambda: None, ["play"], 2),
        (lambda: output.usage_error("--box", "four numbers", "1,2"), ["work"], 2),
    ],
    ids="fine error bug exit interrupted bad-value unknown-command refused-value".split(),
)
def test_exit_code_says_how_a_command_ended(
    body: Callable[[], None], arguments: list[str], code: int
) -> None:
    assert output.run(program(body), arguments) == code


@pytest.mark.parametrize(
    "place", ["absent/page.html", "", "taken/page.html", "folder", "x" * 300, "device"]
)
def test_where_no_file_can_be_written_is_wrong_usage(place: str, tmp_path: Path) -> None:
    (tmp_path / "taken").write_bytes(b"a file")
    (tmp_path / "folder").mkdir()
    (tmp_path / "device").symlink_to("/dev/null")
    path = tmp_path / place if place else Path()

    assert output.run(program(lambda: output.check_place("--out", path)), ["work"]) == 2


def test_a_new_file_and_one_that_is_there_can_be_written(tmp_path: Path) -> None:
    (tmp_path / "there.html").write_bytes(b"a page")

    for path in (None, tmp_path / "new.html", tmp_path / "there.html"):
        assert (
            output.run(program(lambda path=path: output.check_place("--out", path)), ["work"]) == 0
        )


def test_error_of_the_tree_is_one_line_on_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    output.run(program(fail(StoreNotFound("There is no store in shop.\nTry again."))), ["work"])

    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err == "error: There is no store in shop. Try again.\n"


def test_debug_shows_the_traceback_wherever_it_stands(capsys: pytest.CaptureFixture[str]) -> None:
    app = program(fail(StoreNotFound("no store")))

    for arguments in (["--debug", "work"], ["work", "--debug"]):
        assert output.run(app, arguments) == 1
        printed = capsys.readouterr().err
        assert "Traceback" in printed
        assert printed.endswith("error: no store\n")


def test_a_bug_is_named_with_the_way_to_its_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    output.run(program(fail(ValueError("odd"))), ["work"])

    assert capsys.readouterr().err == (
        "error: ValueError: odd (--debug shows where; please report it)\n"
    )


def test_table_aligns_numbers_to_the_right() -> None:
    text = output.table(("#", "product", "score"), [("1", "pear", "0.5"), ("10", "fig", "")])

    assert text.splitlines() == [
        " #  product  score",
        " 1  pear       0.5",
        "10  fig",
    ]


def test_table_without_rows_is_its_header() -> None:
    assert output.table(("a", "b"), []) == "a  b"


def test_text_of_a_catalogue_cannot_move_the_cursor(capsys: pytest.CaptureFixture[str]) -> None:
    output.show("red\x1b[2J\r shoe\n")
    output.show_table(("title",), [("a\tb\x07\u202ec",)])

    printed = capsys.readouterr().out
    assert printed == "red [2J  shoe \ntitle\na b  c\n"


def test_text_beyond_the_terminals_encoding_is_escaped(monkeypatch: pytest.MonkeyPatch) -> None:
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding="ascii"))

    output.show("Bücher")

    assert raw.getvalue() == b"B\\xfccher\n"


def test_json_is_all_of_stdout(capsys: pytest.CaptureFixture[str]) -> None:
    output.show_json({"título": None})

    assert json.loads(capsys.readouterr().out) == {"título": None}


def test_problems_are_capped_for_people(capsys: pytest.CaptureFixture[str]) -> None:
    output.say_problems([f"line {n}" for n in range(25)])

    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == output.MAX_PROBLEMS + 1
    assert lines[0] == "problem: line 0"
    assert lines[-1] == "... and 5 more problems (--json lists them all)"


def test_progress_is_a_few_plain_lines_without_a_terminal(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with output.progress() as progress:
        for done in range(0, 1001):
            progress("embedding", done, 1000)
        progress("writing", 0, 0)

    printed = capsys.readouterr()
    lines = printed.err.splitlines()
    assert printed.out == ""
    assert lines[0] == "embedding: 0 of 1,000"
    assert lines[-2:] == ["embedding: 1,000 of 1,000", "writing: 0"]
    assert len(lines) == 12


def test_progress_on_a_terminal_is_a_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("TERM", "xterm")

    with output.progress() as progress:
        progress("embedding", 3, 10)
        progress("embedding", 10, 10)

    assert "embedding" in terminal.getvalue()
    assert "100%" in terminal.getvalue()


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0 bytes"),
        (1023, "1,023 bytes"),
        (1536, "1.5 KiB"),
        (5 << 20, "5.0 MiB"),
        (3 << 40, "3,072.0 GiB"),
    ],
)
def test_sizes_are_read_by_people(size: int, text: str) -> None:
    assert output.bytes_text(size) == text

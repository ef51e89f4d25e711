"""What commands print: results on stdout, talk on stderr, an error in one line with its exit code.

Texts come from catalogues and file names; nothing in them may move the cursor of a terminal.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import json
import os
import sys
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn, TextIO

import typer

from pocketlens.errors import PocketLensError
from pocketlens.progress import Progress

if TYPE_CHECKING:
    from rich.progress import Progress as Bar

EXIT_FAILED, EXIT_INTERRUPTED = 1, 130  # 2, wrong usage, comes from the parser
MAX_PROBLEMS = 20  # lines of a report for people; --json gives all of them
LINES_A_STAGE = 10  # plain progress lines, where there is no terminal


def run(app: typer.Typer, arguments: Sequence[str] | None = None) -> int:
    """Runs a command and returns its exit code: 0, 1 (error), 2 (usage), 130 (Ctrl-C).

    `--debug`, anywhere among the arguments, shows the traceback of an error.

    Args:
        app: Commands, which end by returning, by an error of the tree, or by `typer.Exit`.
        arguments: Without the program's name; `sys.argv[1:]` if None.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in given
    try:
        app([each for each in given if each != "--debug"])
    except PocketLensError as exc:
        if debug:
            traceback.print_exc()
        say(f"error: {exc}")
        return EXIT_FAILED
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    except SystemExit as exc:  # how the command line library ends
        return exc.code if isinstance(exc.code, int) else int(exc.code is not None)
    except Exception as exc:  # the outermost place: whatever arrives here is a bug
        if debug:
            traceback.print_exc()
        say(f"error: {type(exc).__name__}: {exc} (--debug shows where; please report it)")
        return EXIT_FAILED
    return 0


def usage_error(option: str, expected: str, received: str) -> NoReturn:
    """Ends the command with exit code 2 and what was expected of an option's value."""
    raise typer.BadParameter(f"Expected {expected}. Received {received!r}.", param_hint=option)


def check_place(option: str, path: Path | None) -> None:
    """Ends the command with exit code 2 where no file can be written to `path`.

    Before the work, which may take minutes; and what is there and no file, such as /dev/null, is
    not to be replaced by one.
    """
    try:
        can_be = path is None or (
            (path.is_file() or not path.exists())
            and path.parent.is_dir()
            and os.access(path.parent, os.W_OK)
        )
    except OSError:  # a name too long to be one
        can_be = False
    if not can_be:
        usage_error(option, "a file in a folder that can be written to", str(path))


def show(text: str = "") -> None:
    """A line of the result, on stdout."""
    _write(sys.stdout, _one_line(text))


def show_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """A table of the result, on stdout."""
    _write(sys.stdout, table(header, rows))


def show_json(value: object) -> None:
    """The whole result as JSON, on stdout."""
    _write(sys.stdout, json.dumps(value, ensure_ascii=False, indent=2))


def say(text: str) -> None:
    """A line of talk, on stderr."""
    _write(sys.stderr, _one_line(text))


def say_problems(problems: Sequence[object]) -> None:
    """What was left out or ignored, on stderr; no more lines than someone reads."""
    for problem in problems[:MAX_PROBLEMS]:
        say(f"problem: {problem}")
    if len(problems) > MAX_PROBLEMS:
        say(f"... and {len(problems) - MAX_PROBLEMS:,} more problems (--json lists them all)")


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Columns as wide as their contents; those of numbers only are set to the right.

    Args:
        header: Names of the columns.
        rows: As many cells each.
    """
    cells = [[_one_line(cell) for cell in row] for row in rows]
    columns = list(zip(header, *cells, strict=True))
    widths = [max(map(len, column)) for column in columns]
    to_right = [all(map(_is_number, column[1:])) for column in columns]
    lines = (
        "  ".join(
            cell.rjust(width) if right else cell.ljust(width)
            for cell, width, right in zip(row, widths, to_right, strict=True)
        ).rstrip()
        for row in (header, *cells)
    )
    return "\n".join(lines)


@contextmanager
def progress() -> Iterator[Progress]:
    """Shows how far long work is: a bar on a terminal, some plain lines elsewhere (stderr)."""
    if not sys.stderr.isatty():
        yield _plain_progress()
        return
    from rich.console import Console
    from rich.progress import Progress as Bar

    with Bar(console=Console(stderr=True), transient=True) as bar:
        yield _bar_progress(bar)


def _bar_progress(bar: Bar) -> Progress:
    tasks = {}

    def update(stage: str, done: int, total: int) -> None:
        if stage not in tasks:
            tasks[stage] = bar.add_task(stage, total=total or None)
        bar.update(tasks[stage], completed=done, total=total or None)

    return update


def _plain_progress() -> Progress:
    shown: dict[str, int] = {}

    def update(stage: str, done: int, total: int) -> None:
        tenth = done * LINES_A_STAGE // total if total else 0
        if shown.get(stage) != tenth:
            shown[stage] = tenth
            say(f"{stage}: {done:,} of {total:,}" if total else f"{stage}: {done:,}")

    return update


def bytes_text(size_bytes: int) -> str:
    """A size as people read it."""
    size = float(size_bytes)
    for unit in ("bytes", "KiB", "MiB"):
        if size < 1024:
            return f"{size:,.0f} {unit}" if unit == "bytes" else f"{size:,.1f} {unit}"
        size /= 1024
    return f"{size:,.1f} GiB"


def _is_number(cell: str) -> bool:
    return cell == "" or cell.lstrip("-").replace(".", "", 1).replace(",", "").isdigit()


def _one_line(text: str) -> str:
    """The text without line ends, escape sequences and other things that are not seen."""
    return "".join(each if each.isprintable() else " " for each in text)


def _write(stream: TextIO, text: str) -> None:
    encoding = stream.encoding or "utf-8"
    stream.write(text.encode(encoding, "backslashreplace").decode(encoding) + "\n")
    stream.flush()

"""A CSV file to numbered rows of cells; what breaks it is an error with its line.

A byte order mark is accepted, blank lines are passed over, quotes are taken strictly.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path

from pocketlens.errors import ImageListError


def rows(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Yields (line, cells) of the header and of every row that is not blank.

    A row whose quoted text spans lines has the number of its first one.

    Raises:
        ImageListError: There is no such file, or it is no CSV in UTF-8.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file, strict=True)
            number, empty = 1, True
            for cells in reader:
                if cells:
                    empty = False
                    yield number, cells
                number = reader.line_num + 1
    except UnicodeDecodeError as exc:
        line = _first_undecodable_line(path)
        raise ImageListError(
            "Expected UTF-8. Save the list as 'CSV UTF-8'.", path=path, line=line
        ) from exc
    except csv.Error as exc:
        raise ImageListError(
            f"Expected comma-separated values. {exc}. Look for an unclosed quote.",
            path=path,
            line=reader.line_num,
        ) from exc
    except FileNotFoundError as exc:
        raise ImageListError("There is no such file or folder.", path=path) from exc
    except OSError as exc:
        raise ImageListError(f"It cannot be read: {exc.strerror}.", path=path) from exc
    if empty:
        raise ImageListError("Expected a header and lines. Received an empty file.", path=path)


def _first_undecodable_line(path: Path) -> int | None:
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            try:
                line.decode()
            except UnicodeDecodeError:
                return number
    return None

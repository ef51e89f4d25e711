"""What is taken away from a store's folder: only names that a store gives, and nothing in use.

A reader that is open keeps the files that it opened; where the system does not let go of such
files, a later writer removes them.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import re
import shutil
from collections.abc import Collection, Mapping
from contextlib import closing, suppress
from pathlib import Path

from pocketlens.errors import StoreError
from pocketlens.store import database
from pocketlens.store.facts import StoreFacts, from_rows

FOLDERS = ("installs", "files", "cache")
INSTALL = re.compile(r"[0-9a-f]{64}-[0-9]{1,9}")

_BUNDLE = re.compile(r"[0-9a-f]{64}\.tflite")
_UNFINISHED = re.compile(r"\.[0-9a-zA-Z.-]*\.(new|tmp)")
_CACHE = re.compile(r"codebook-[0-9a-f]{64}\.ann.*")


def named(folder: Path, pattern: re.Pattern[str]) -> list[Path]:
    """What is in `folder` under names that only a store gives: nothing else is ever removed."""
    if not folder.is_dir():
        return []
    return sorted(path for path in folder.iterdir() if pattern.fullmatch(path.name))


def remove_unfinished(directory: Path) -> None:
    """Removes what a writer that was cut off had begun."""
    made = named(directory / "installs", INSTALL)
    for folder in (directory, *(directory / each for each in FOLDERS), *made):
        for path in named(folder, _UNFINISHED):
            _remove(path)


def remove_unneeded(
    directory: Path, kept: Collection[Path], bundles: Mapping[Path, str] | None = None
) -> None:
    """Removes installs that are not kept, and bundles and caches that no kept one uses.

    Args:
        directory: Of the store.
        kept: Installs.
        bundles: Names of the bundles of those whose facts need not be asked.
    """
    for path in named(directory / "installs", INSTALL):
        if path not in kept:
            _remove(path)
    facts = {path: _facts(path) for path in kept}
    known = {path: f"{each.bundle_sha256.hex()}.tflite" for path, each in facts.items() if each}
    known.update(bundles or {})
    if len(known) < len(kept):
        return  # one is damaged: nobody knows what it uses
    indices = {f"codebook-{each.codebook_sha256.hex()}.ann" for each in facts.values() if each}
    for folder, pattern, used in (
        ("files", _BUNDLE, set(known.values())),
        ("cache", _CACHE, indices),
    ):
        for path in named(directory / folder, pattern):
            if path.name not in used:
                _remove(path)


def remove_empty(directory: Path, lock: str, *, made: bool) -> None:
    """Removes the folders of a store that never came to be; others' files keep theirs."""
    with suppress(OSError):
        for name in FOLDERS:
            (directory / name).rmdir()
        (directory / lock).unlink()
        if made:
            directory.rmdir()


def _facts(install: Path) -> StoreFacts | None:
    path = install / database.FILE_NAME
    try:
        with closing(database.open_to_read(path)) as connection, database.errors(path):
            return from_rows(connection.execute("SELECT * FROM facts").fetchall())
    except StoreError:
        return None


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
        return
    with suppress(OSError):
        path.unlink()

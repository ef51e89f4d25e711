"""Defects planted in copies of the source, to see whether what should notice them does.

sdk = planted_sdk(folder, Defect("store/database.py", "synchronous = FULL", "synchronous = OFF"))
assert Sources(folder).is_noticed(planted)
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("sdk", "converter", "sync_server", "protos")
TESTS_FAILED = 1  # pytest's exit code; others say that it did not come to that


@dataclass(frozen=True)
class Defect:
    """A text of a file that becomes another.

    Attributes:
        file: Below the folder that is changed.
        text: Stands in it once.
    """

    file: str
    text: str
    instead: str

    def plant(self, folder: Path) -> str:
        """Changes the file in `folder`; what stood in it before.

        Raises:
            LookupError: The text is not there, or more than once: the source has moved on.
        """
        path = folder / self.file
        source = path.read_text()
        if source.count(self.text) != 1:
            raise LookupError(f"Expected {self.text!r} once in {path}.")
        path.write_text(source.replace(self.text, self.instead))
        return source


@dataclass(frozen=True)
class Planted:
    """A defect that tests must notice.

    Attributes:
        row: Of the table in RELIABILITY whose test does.
        tests: As pytest names them; one that fails is enough.
    """

    name: str
    row: int
    defect: Defect
    tests: tuple[str, ...]


class Sources:
    """A copy of the source and its tests, to be changed and tested."""

    def __init__(self, folder: Path) -> None:
        """Copies them into a folder that is not there yet."""
        self._folder = folder
        ignored = shutil.ignore_patterns("__pycache__")
        for name in (*PACKAGES, "tests"):
            shutil.copytree(ROOT / name, folder / name, ignore=ignored)
        shutil.copy(ROOT / "pyproject.toml", folder)

    def is_noticed(self, planted: Planted) -> bool:
        """Whether its tests fail with the defect.

        Raises:
            RuntimeError: They could not be run.
        """
        source = planted.defect.plant(self._folder)
        try:
            return not self.passes(planted.tests)
        finally:
            (self._folder / planted.defect.file).write_text(source)

    def passes(self, tests: Sequence[str]) -> bool:
        """Runs tests until one fails.

        Raises:
            RuntimeError: They could not be run.
        """
        folders = ":".join(str(self._folder / name) for name in PACKAGES)
        done = subprocess.run(
            [sys.executable, "-m", "pytest", "-xq", "-p", "no:cacheprovider", *tests],
            cwd=self._folder,
            env={**os.environ, "PYTHONPATH": folders, "PYTHONDONTWRITEBYTECODE": "1"},
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode not in (0, TESTS_FAILED):
            raise RuntimeError(f"pytest ended with {done.returncode}: {done.stdout[-2000:]}")
        return done.returncode == 0


def planted_sdk(folder: Path, defect: Defect) -> Path:
    """A folder to import a copy of the SDK from that has the defect."""
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "sdk" / "pocketlens", folder / "pocketlens", ignore=ignored)
    defect.plant(folder / "pocketlens")
    return folder

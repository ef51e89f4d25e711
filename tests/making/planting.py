"""Defects planted in copies of the source, to see whether what should notice them does.

sdk = planted_sdk(tmp_path, Defect("store/database.py", "synchronous = FULL", "synchronous = OFF"))
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


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

    def plant(self, folder: Path) -> None:
        """Changes the file in `folder`.

        Raises:
            LookupError: The text is not there, or more than once: the source has moved on.
        """
        path = folder / self.file
        source = path.read_text()
        if source.count(self.text) != 1:
            raise LookupError(f"Expected {self.text!r} once in {path}.")
        path.write_text(source.replace(self.text, self.instead))


def planted_sdk(folder: Path, *defects: Defect) -> Path:
    """A folder to import a copy of the SDK from, which has the defects."""
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "sdk", folder, ignore=ignored)
    for defect in defects:
        defect.plant(folder / "pocketlens")
    return folder

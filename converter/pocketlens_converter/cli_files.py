"""Files that the commands write: their folder is looked for before the work, not after it."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from pathlib import Path

from pocketlens.errors import TrainingError


def check_place(path: Path) -> Path:
    """Returns `path` if a file can be there.

    Raises:
        TrainingError: Its folder does not exist, or it is a folder itself.
    """
    if not path.parent.is_dir():
        raise TrainingError(f"There is no folder {path.parent} to write {path.name} to. Make it.")
    if path.is_dir():
        raise TrainingError(f"Expected a file to write to. Received the folder {path}.")
    return path

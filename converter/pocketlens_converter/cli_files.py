"""Files that the commands write: where they go, and what travels with them."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from pathlib import Path

from pocketlens import durable_files
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


def receipt_path(bundle: Path) -> Path:
    """Where the receipt of the bundle at `bundle` is."""
    return bundle.with_suffix(".receipt.json")


def receipt_page_path(bundle: Path) -> Path:
    """Where the receipt as a page is."""
    return bundle.with_suffix(".receipt.html")


def copy_receipt(bundle: Path, copy: Path) -> None:
    """The receipt of a bundle goes where its copy goes, if there is one.

    Raises:
        StoreFull: The disk has no room.
        StoreReadOnly: The folder cannot be written to.
    """
    if bundle == copy:
        return
    for place in (receipt_path, receipt_page_path):
        if place(bundle).is_file():
            durable_files.write_file(place(copy), place(bundle).read_bytes())

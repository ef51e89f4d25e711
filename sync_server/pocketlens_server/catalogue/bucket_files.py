"""Files that were downloaded from Cloud Storage, found below a folder by their addresses.

    files = BucketFiles(folder, addresses)
    path, missing = files.find("gs://bucket/shoes/1.jpg")

No address leads out of the folder.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path

from pocketlens.errors import CatalogError

_ADDRESS = re.compile(r"gs://([^/]+)/(.*[^/])", re.DOTALL)


def parts_of(address: str) -> list[str]:
    """Bucket, folders and name of an address.

    Raises:
        CatalogError: It is no such address, or leads upwards.
    """
    match = _ADDRESS.fullmatch(address)
    parts = "/".join(match.groups()).split("/") if match else [".."]
    if ".." in parts:
        raise CatalogError(
            f"Expected an address such as gs://bucket/folder/name.jpg. Received {address[:80]!r}."
        )
    return parts


class BucketFiles:
    """Files below a folder."""

    def __init__(self, folder: Path, addresses: Callable[[], Iterable[str]]) -> None:
        """Reads nothing yet.

        Args:
            folder: Where they are.
            addresses: All that may be asked for, any number of times each.
        """
        self._folder, self._addresses = folder, addresses
        self._files: dict[str, list[Path]] | None = None
        self._uses: Counter[str] = Counter()

    def find(self, address: str) -> tuple[Path, str | None]:
        """The file of an address and None, or the first path tried and a text with all that were.

        `gs://bucket/path/name` is path/name, or bucket/path/name, or the only file called name, if
        no other address ends like that: products often have a 1.jpg each.

        Raises:
            CatalogError: It is no such address.
        """
        bucket, *parts = parts_of(address)
        places = [self._folder.joinpath(*parts), self._folder.joinpath(bucket, *parts)]
        for place in places:
            if _is_file(place):
                return place, None
        name = parts[-1]
        alike = self._called(name)
        if len(alike) == self._uses[name] == 1:
            return alike[0], None
        return places[0], (
            f"no picture at {places[0]} nor {places[1]}, and {len(alike)} called {name!r} below "
            f"{self._folder} for {self._uses[name]} addresses"
        )

    def _called(self, name: str) -> list[Path]:
        if self._files is None:
            self._files = {}
            for folder, _, files in os.walk(self._folder):
                for file in files:
                    self._files.setdefault(file, []).append(Path(folder, file))
            self._uses.update(each.rpartition("/")[2] for each in set(self._addresses()))
        return self._files.get(name, [])


def _is_file(path: Path) -> bool:
    """Whether there is one, as far as we are let see."""
    try:
        return path.is_file()
    except OSError:  # in a folder that may not be read, or under a name too long to be one
        return False

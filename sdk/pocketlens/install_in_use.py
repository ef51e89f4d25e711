"""The install that a Lens answers from; another takes its place while searches run.

in_use = InstallInUse(Path("shop/"), settings)
with in_use.held() as install:             # it stays open for as long as the body runs
    ...
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pocketlens.errors import StoreCorrupt, StoreError
from pocketlens.open_install import OpenInstall, Settings
from pocketlens.store import installs


class InstallInUse:
    """Hands out the install of a store, and closes one when nobody holds it any more.

    Threads: any. Processes: that which made it; a child of it is refused, and told so.
    """

    def __init__(self, directory: Path, settings: Settings) -> None:
        """Opens the install in use; errors as of `OpenInstall.opened`."""
        self._directory, self._settings = directory, settings
        self._process = os.getpid()
        self._lock = threading.Lock()  # held for moments: guards the install and its searches
        self._install: OpenInstall | None = OpenInstall.opened(directory, settings)

    @contextmanager
    def held(self) -> Iterator[OpenInstall]:
        """The install in use.

        Raises:
            StoreError: It was closed, or belongs to another process.
        """
        self.check_process()
        with self._lock:
            install = self._install
            if install is None:
                raise StoreError(
                    f"This Lens is closed. Open it again: Lens.open({str(self._directory)!r})."
                )
            install.searches += 1
        try:
            yield install
        except StoreCorrupt:
            installs.doubt(self._directory)
            raise
        finally:
            with self._lock:
                install.searches -= 1
                given_up = install is not self._install and install.searches == 0
            if given_up:
                install.close()

    def move(self) -> bool:
        """Moves to what the store is now; whether that is another install, or another version.

        Raises:
            StoreError: It cannot be opened; the one in use stays.
        """
        with self.held() as old:
            if old.is_current:
                return False
            new = OpenInstall.opened(self._directory, self._settings)
            with self._lock:
                replaced = self._install is old
                if replaced:
                    self._install = new
            if not replaced:  # another thread moved it, or closed it, in the meantime
                new.close()
            return replaced

    def close(self) -> None:
        """Hands nothing out from now on; closing again is no error."""
        if not self.is_of_this_process:  # the parent's files: closing them harms its locks
            return
        with self._lock:
            install, self._install = self._install, None
            idle = install is not None and install.searches == 0
        if install is not None and idle:
            install.close()

    @property
    def is_closed(self) -> bool:
        """Whether `close` was called."""
        return self._install is None

    @property
    def is_of_this_process(self) -> bool:
        """False in a child, after a fork."""
        return os.getpid() == self._process

    def check_process(self) -> None:
        """Refuses to go on in a child, after a fork.

        Raises:
            StoreError: This is one.
        """
        if not self.is_of_this_process:
            raise StoreError(
                f"This Lens was opened by process {self._process}, before a fork to "
                f"{os.getpid()}. Open another here: Lens.open({str(self._directory)!r})."
            )

"""Models that several threads use, opened by the first that needs one."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import threading
from collections.abc import Callable

from pocketlens.closing import Closing
from pocketlens_server.models.photo_models import PhotoModel


class SharedModel(Closing):
    """A model that several threads use, opened by the first that needs it.

    Attributes:
        opened: The model, once it is.
    """

    def __init__(self, open_: Callable[[], PhotoModel]) -> None:
        self._open, self._opening = open_, threading.Lock()
        self.opened: PhotoModel | None = None

    def get(self) -> PhotoModel:
        """The model.

        Raises:
            BundleError: It cannot be opened.
            MissingExtraError: TensorFlow is not installed.
        """
        with self._opening:
            if self.opened is None:
                self.opened = self._open()
            return self.opened

    def close(self) -> None:
        """Closes it; closing again is no error."""
        with self._opening:
            if self.opened is not None:
                self.opened.close()
                self.opened = None

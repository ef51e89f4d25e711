"""Embedders of one catalogue's bundles, which stay open from one picture to the next.

    with Embedders(folder) as embedders:
        with embedders.opened(sha256) as embedder: ...

To open a bundle and to prove it on its golden examples takes as long as embedding six pictures.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from pocketlens.closing import Closing
from pocketlens.cores import usable_cores
from pocketlens.query.embedder import Embedder
from pocketlens_server.folders import CatalogueFolder

_MOST = 2  # the model that is served, and the one that takes its place


class Embedders(Closing):
    """For one thread at a time; opens nothing before it is needed."""

    def __init__(self, folder: CatalogueFolder) -> None:
        """Takes the folder of a catalogue."""
        self._folder = folder
        self._idle: dict[bytes, Embedder] = {}

    @contextmanager
    def opened(self, sha256: bytes) -> Iterator[Embedder]:
        """The embedder of a bundle, for the body alone; after an error it is opened anew.

        Raises:
            BundleError: It cannot be opened.
        """
        embedder = self._idle.pop(sha256, None) or Embedder.open(
            self._folder.bundle(sha256), expected_sha256=sha256, interpreters=usable_cores()
        )
        try:
            yield embedder
        except BaseException:
            embedder.close()
            raise
        self._idle[sha256] = embedder
        if len(self._idle) > _MOST:
            self._idle.pop(next(iter(self._idle))).close()

    def close(self) -> None:
        """Closes those that are open; closing again is no error."""
        while self._idle:
            self._idle.popitem()[1].close()

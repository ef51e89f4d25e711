"""Small copies of catalogue pictures, for a page to show: made when asked for, kept in memory.

data = await thumbnails.of(path)           # a JPEG of at most 320 x 320

One is made at a time: whoever shows many of them keeps no photo from its decoder.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import io
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path

from pocketlens.errors import NotFound, PictureError
from pocketlens.formats.bundle import Spec
from pocketlens_server.catalogue.decoders import Decoders
from pocketlens_server.query.micro_batches import MicroBatches

SIDE = 320
_SPEC = Spec("thumbnail", SIDE, SIDE, 2, resize_mode="pad", pad_level=255)
_KEPT_BYTES = 16 << 20  # some thousand
_QUALITY = 80


class Thumbnails:
    """Used from one loop."""

    def __init__(self, decoders: Decoders, *, waiting: int) -> None:
        """Makes none yet.

        Args:
            decoders: What decodes: a catalogue's pictures are strangers' too.
            waiting: Thumbnails at most that wait to be made.
        """
        self._decoders = decoders
        self._making = MicroBatches(self._made, most=1, waiting=waiting, name="thumbnails")
        self._kept: OrderedDict[Path, bytes] = OrderedDict()
        self._bytes = 0

    async def of(self, path: Path) -> bytes:
        """A JPEG of a picture, on white where it is not square.

        Raises:
            NotFound: The picture cannot be read any more.
            QuotaExceeded: As many wait as may.
            ServerUnavailable: The server is about to end.
        """
        if path in self._kept:
            self._kept.move_to_end(path)
            return self._kept[path]
        data, _ = await self._making.done(path)
        if path not in self._kept:
            self._kept[path] = data
            self._bytes += len(data)
        while self._bytes > _KEPT_BYTES:
            self._bytes -= len(self._kept.popitem(last=False)[1])
        return data

    async def close(self) -> None:
        """Ends; what waits is finished."""
        await self._making.close()

    def _made(self, paths: Sequence[Path]) -> list[bytes]:
        from PIL import Image

        found = []
        for path in paths:
            try:
                tensor = self._decoders.decoded(path, _SPEC)
            except PictureError as exc:
                raise NotFound("The picture cannot be read any more.") from exc
            file = io.BytesIO()
            Image.fromarray(tensor).save(file, "JPEG", quality=_QUALITY)
            found.append(file.getvalue())
        return found

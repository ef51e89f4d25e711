"""Photos that can be recognised wherever a part of them turns up, and the search for it.

photo = canary_photo(7)
traces = traces_of(photo, embedding)
found_in(data, traces)                     # names of what was found
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import base64
import io
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
from PIL import Image

from tests.making.colour_bundle import fields

_MAKE, _DESCRIPTION = 0x010F, 0x010E  # tags of EXIF
_RUN = 24  # bytes that do not come together by chance


def canary_photo(seed: int) -> bytes:
    """A JPEG of noise on coloured fields, which says in its EXIF that it is photo `seed`."""
    rng = np.random.default_rng(seed)
    noise = rng.integers(0, 64, (96, 96, 3), dtype=np.uint8)
    image = Image.fromarray(fields(rng, side=96) // 2 + noise)
    exif = Image.Exif()
    exif[_MAKE], exif[_DESCRIPTION] = "canary-camera", canary_text(seed)
    file = io.BytesIO()
    image.save(file, "JPEG", quality=90, exif=exif)
    return file.getvalue()


def canary_text(seed: int) -> str:
    """What the EXIF of a photo says."""
    return f"canary-exif-{seed:08d}"


def traces_of(
    photo: bytes, embedding: npt.NDArray[np.float32], *, seed: int, secrets: Mapping[str, str]
) -> dict[str, bytes]:
    """What would give a photo away, by what it is: as it is, in base64, and as text."""
    pixels = np.asarray(Image.open(io.BytesIO(photo)).convert("RGB")).tobytes()
    middle = len(photo) // 2
    raw = {
        "the file": photo[middle : middle + _RUN],
        "its pixels": pixels[3000 : 3000 + _RUN],
        "its vector": embedding.astype("<f4").tobytes()[:_RUN],
        "its vector, as doubles": embedding.astype("<f8").tobytes()[:_RUN],
        "its EXIF": canary_text(seed).encode(),
        **{name: text.encode() for name, text in secrets.items()},
    }
    encoded = {f"{name}, in base64": _base64(data) for name, data in raw.items()}
    numbers = {
        f"number {place} of its vector": f"{number:.6f}".encode()
        for place, number in enumerate(embedding[:8].tolist())
        if abs(number) > 0.01
    }
    shown = {f"{name}, as Python shows it": repr(data)[2:-1].encode() for name, data in raw.items()}
    return raw | encoded | numbers | shown


def found_in(data: bytes, traces: Mapping[str, bytes]) -> list[str]:
    """Names of the traces that are in `data`."""
    return [name for name, trace in traces.items() if trace in data]


def _base64(data: bytes) -> bytes:
    """What of it does not depend on the bytes before."""
    return base64.b64encode(data[: len(data) // 3 * 3])

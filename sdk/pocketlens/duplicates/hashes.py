"""Perceptual hashes: few bits, of which a picture that was saved anew or scaled keeps most.

    ones, others = alike(np.concatenate([hashes, mirrored_hashes]), 32)

The only module that imports imagehash, at first use.
Source: N. Krawetz, "Looks Like It" (2011): signs of the lowest frequencies against their median.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps

from pocketlens.errors import MissingExtraError

Hashes = npt.NDArray[np.uint8]
Numbers = npt.NDArray[np.int64]

_SIDE = 16  # frequencies a side: 256 bits
HASH_BYTES = _SIDE * _SIDE // 8
_DRAWN = 4 * _SIDE  # pixels a side that the hash is taken of
# Two hashes that differ by 32 of 256 bits have one of 16 bands of 16 bits alike in 88 of 100, by 24
# in 98.
_BAND_BYTES = 2
_WINDOW = 8  # neighbours in the order of a band: more are only in floods, which are chains
_ONES = np.array([number.bit_count() for number in range(256)], np.uint8)


def hashed(picture: Image.Image) -> tuple[bytes, bytes]:
    """The hash of a picture, and of its mirror image, 32 bytes each.

    Raises:
        MissingExtraError: The library is not installed.
    """
    try:
        import imagehash
    except ImportError as exc:
        raise MissingExtraError(
            "To compare pictures needs the extra 'duplicates': pip install "
            "pocketlens[duplicates]. Without a list of pictures, codes alone are compared."
        ) from exc
    small = picture.convert("L").resize((_DRAWN, _DRAWN), Image.Resampling.BILINEAR)
    whole, turned = (
        np.packbits(imagehash.phash(each, _SIDE).hash).tobytes()
        for each in (small, ImageOps.mirror(small))
    )
    return whole, turned


def alike(hashes: Hashes, most_bits: int) -> tuple[Numbers, Numbers]:
    """Pairs of hashes that differ in few bits, nearly all that there are.

    Hashes are put in order by each band of bits, and each is compared with the next few that share
    the band: time and memory grow with their number, also where all are alike. Of many that are
    alike, each is paired with a few, and all are linked.

    Args:
        hashes: uint8 (n, bytes).
        most_bits: That two of a pair differ in.

    Returns:
        int64 (m,) each, without repetitions, the lower row first.
    """
    whole = np.ascontiguousarray(hashes).view(f"V{hashes.shape[1]}").ravel()
    _, first, number = np.unique(whole, return_index=True, return_inverse=True)
    firsts = first[number.reshape(-1)]  # of each hash, where it stands first
    repeated = np.flatnonzero(firsts != np.arange(len(hashes)))
    ones, others = _close(hashes[first], most_bits)
    pairs = np.sort([first[ones], first[others]], axis=0)
    return (
        np.concatenate([firsts[repeated], pairs[0]]),
        np.concatenate([repeated, pairs[1]]),
    )


def _close(hashes: Hashes, most_bits: int) -> tuple[Numbers, Numbers]:
    """Pairs of different hashes, as `alike` says."""
    found = [np.zeros(0, np.int64)]
    for band in range(0, hashes.shape[1], _BAND_BYTES):
        # By the band, and within it by the six bytes after it, so that those alike stand together.
        turned = np.ascontiguousarray(np.roll(hashes, -band, axis=1)[:, :8])
        order = np.argsort(turned.view(">u8").ravel(), kind="stable")
        values = turned[order, :_BAND_BYTES]
        for step in range(1, min(_WINDOW, len(order) - 1) + 1):
            shared = np.flatnonzero((values[:-step] == values[step:]).all(axis=1))
            if not len(shared):
                break
            pairs = np.stack([order[shared], order[shared + step]])
            apart = _ONES[hashes[pairs[0]] ^ hashes[pairs[1]]].sum(axis=1, dtype=np.int64)
            lower, higher = np.sort(pairs[:, apart <= most_bits], axis=0)
            found.append(lower * len(hashes) + higher)
    pairs = np.unique(np.concatenate(found))
    return pairs // len(hashes), pairs % len(hashes)

"""Real places to put products in: the pictures of a folder.

found = read_backgrounds(Path("backgrounds"), side=288)
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from pocketlens.errors import PictureError, TrainingError
from pocketlens.query import pictures as decoding

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp"})
AT_MOST = 2000  # kept in memory: half a gigabyte at 288 pixels


@dataclass(frozen=True, slots=True)
class Backgrounds:
    """Pictures of places, RGB and square, and what could not be read."""

    pictures: tuple[Image.Image, ...] = ()
    problems: tuple[str, ...] = ()


def read_backgrounds(folder: Path, side: int, seed: int = 0) -> Backgrounds:
    """The pictures in `folder` and its folders, the middle of each; of too many, some.

    Args:
        folder: Where they are.
        side: Pixels of a square.
        seed: Of the choice among too many.

    Raises:
        TrainingError: There is no such folder, or no picture in it.
    """
    if not folder.is_dir():
        raise TrainingError(f"There is no folder of backgrounds at {folder}. Check --backgrounds.")
    paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES)
    chosen = sorted(np.random.default_rng(seed).permutation(len(paths))[:AT_MOST].tolist())
    kept: list[Image.Image] = []
    problems: list[str] = []
    for number in chosen:
        try:
            kept.append(_middle(decoding.upright(paths[number], at_least=side), side))
        except PictureError as exc:
            problems.append(f"{paths[number]}: {exc} Left out.")
    if not kept:
        raise TrainingError(f"Expected JPEG, PNG or WebP pictures in {folder}. Received none.")
    return Backgrounds(tuple(kept), tuple(problems))


def _middle(picture: Image.Image, side: int) -> Image.Image:
    shorter = min(picture.size)
    left, top = (picture.width - shorter) // 2, (picture.height - shorter) // 2
    box = (left, top, left + shorter, top + shorter)
    return picture.resize((side, side), Image.Resampling.BILINEAR, box=box)

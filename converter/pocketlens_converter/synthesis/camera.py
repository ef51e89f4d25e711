"""What a phone makes of a scene: its light, its colours, its blur, its noise, its JPEG."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import io
import math

import numpy as np
from PIL import Image

from pocketlens_converter import augmentation


def taken(scene: Image.Image, rng: np.random.Generator) -> Image.Image:
    """The scene as a phone's photo.

    Args:
        scene: RGB.
        rng: Where the chances come from.

    Returns:
        RGB of the same size.
    """
    scene = _shaded(scene, rng)
    scene = augmentation.tint(augmentation.light(scene, rng, strength=0.3), rng, strength=0.08)
    scene = augmentation.blur(scene, rng, radius=1.8)
    if rng.random() < 0.3:  # taken from afar, or with a small camera
        small = max(8, round(scene.width * rng.uniform(0.4, 0.9)))
        scene = scene.resize((small, small), Image.Resampling.BILINEAR).resize(
            scene.size, Image.Resampling.BILINEAR
        )
    if rng.random() < 0.5:
        file = io.BytesIO()
        scene.save(file, "JPEG", quality=int(rng.integers(25, 90)))
        scene = Image.open(file).convert("RGB")
    return scene


def _shaded(scene: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Light that falls off to one side, and sometimes the glare of a lamp."""
    if rng.random() < 0.4:
        return scene
    side = np.linspace(-1, 1, scene.width, dtype=np.float32)
    angle = rng.uniform(0, 2 * math.pi)
    slope = rng.uniform(0, 0.35)
    ramp = 1 + slope * (math.cos(angle) * side[None, :] + math.sin(angle) * side[:, None])
    pixels = np.asarray(scene, np.float32) * ramp[:, :, None]
    if rng.random() < 0.25:
        x, y = rng.uniform(-0.8, 0.8, 2)
        radius = rng.uniform(0.1, 0.4)
        distance = (side[None, :] - x) ** 2 + (side[:, None] - y) ** 2
        pixels += (rng.uniform(60, 180) * np.exp(-distance / radius**2))[:, :, None]
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))

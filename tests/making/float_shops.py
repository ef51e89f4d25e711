"""A shop of tiles whose bundle was made of a Keras model, which is at hand."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from pocketlens.formats import bundle as bundles
from pocketlens.formats.bundle import Calibration
from pocketlens_converter.conversion import convert
from pocketlens_server.publishing import models
from tests.making.colour_bundle import described_as
from tests.making.models import draw_shop, keras_file
from tests.making.tiles import TileShop

TILES = range(8)
_PHOTO = Calibration("photo", -20, 30, 5, 0, match_threshold=0.8, no_match_threshold=0.3)


def converted(folder: Path) -> Path:
    """Makes shop.keras, and shop.tflite of it, which knows what photos' thresholds are."""
    keras_file(folder)
    drawn = draw_shop(folder, products=24)
    data = convert(folder / "shop.keras", catalogue=drawn.catalogue, queries=drawn.photos).data
    found = bundles.decode(data)
    calibrations = (*(each for each in found.calibrations if each.name != "photo"), _PHOTO)
    data = described_as(data, replace(found, calibrations=calibrations))
    (folder / "shop.tflite").write_bytes(data)
    return folder


def float_shop(folder: Path, made: Path) -> TileShop:
    """A shop whose tiles are embedded by the model and not by the one of colours.

    Args:
        folder: Of the shop.
        made: By `converted`.
    """
    shop = TileShop(folder, dict.fromkeys(TILES, 1), now=datetime.now(UTC))
    models.add_model(shop.catalogue, made / "shop.tflite", now=shop.now)
    shop.publish()
    return shop


def add_float(shop: TileShop, made: Path, name: str = "shop.keras") -> None:
    """Adds the float model of the shop's bundle."""
    bundle, float_model = made / "shop.tflite", made / name
    models.add_model(shop.catalogue, bundle, float_model=float_model, now=shop.now)

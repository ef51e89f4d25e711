"""A shop of tiles with real pictures, on a server on disk whose clock the test sets."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import csv
import io
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
from PIL import Image

from pocketlens.progress import Progress
from pocketlens.sync.reports import SyncReport
from pocketlens.sync.session import sync
from pocketlens.sync.transports import FolderTransport
from pocketlens_server.catalogue.pushing import push
from pocketlens_server.catalogue.targets import LocalTarget
from pocketlens_server.folders import MAIN, CatalogueFolder, ServerFolder
from pocketlens_server.publishing import models, releasing
from pocketlens_server.publishing.publisher import Published
from pocketlens_server.publishing.releasing import Terms
from tests.making.colour_bundle import colour_bundle
from tests.making.models import drawing

BEGAN = datetime(2026, 11, 25, 10, 0, tzinfo=UTC)


@dataclass
class TileShop:
    """Tiles by number, each a product with one picture.

    Attributes:
        folder: Of the list, its pictures, the server and its stores.
        stock: Of each tile that is sold, by its number.
        now: The clock of the server and of the devices.
    """

    folder: Path
    stock: dict[int, int]
    now: datetime = BEGAN
    catalogue: CatalogueFolder = field(init=False)

    def __post_init__(self) -> None:
        self.folder.mkdir(exist_ok=True)
        server = ServerFolder.create(
            self.folder / "server", offline_keys=self.folder / "keys", now=self.now
        )
        self.catalogue = server.catalogue(MAIN)
        self.add_model("first")

    @property
    def public(self) -> Path:
        return self.catalogue.public

    def add_model(self, name: str) -> None:
        path = self.folder / f"{name}.tflite"
        path.write_bytes(colour_bundle(name=name))
        models.add_model(self.catalogue, path, now=self.now)

    def push(self, progress: Progress = lambda stage, done, total: None) -> None:
        """Puts what is sold; what is not goes."""
        path = self.folder / "list.csv"
        with path.open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["image", "product_id", "stock"])
            for number, pieces in self.stock.items():
                picture = self.folder / f"{number}.png"
                if not picture.exists():
                    picture.write_bytes(tile(number))
                writer.writerow([picture.name, f"sku-{number}", pieces])
        target = LocalTarget(self.catalogue, clock=lambda: self.now)
        push(target, path, replace=True, lost_share=1, progress=progress)

    def publish(self, terms: Terms | None = None) -> Published | None:
        """What is sold, five minutes later."""
        self.push()
        self.now += timedelta(minutes=5)
        rng = np.random.default_rng(0)
        return releasing.publish(self.catalogue, now=self.now, rng=rng, terms=terms)

    def sync(self, store: str, *, generation: bytes | None = None) -> SyncReport:
        """A device fetches from the public folder."""
        return sync(
            self.folder / store,
            FolderTransport(self.public),
            catalogue=MAIN,
            root=(self.public / "metadata" / "1.root.json").read_bytes(),
            now=self.now,
            device=store,
            generation=generation,
        )


def tile(number: int) -> bytes:
    """The picture of a tile, PNG."""
    file = io.BytesIO()
    drawn = Image.fromarray(drawing(number))
    drawn.resize((96, 96), Image.Resampling.NEAREST).save(file, "PNG")
    return file.getvalue()

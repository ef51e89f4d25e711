"""A whole server on disk, made by its commands, of a shop of coloured tiles."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import csv
import io
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import numpy as np
from PIL import Image

from pocketlens_server.cli import main as pocketlens_server
from tests.making.colour_bundle import colour_bundle, fields


class ShopServer:
    """A list that changes, and the server that it is pushed to.

    Attributes:
        data: Folder of the server.
        root: What an app comes with.
    """

    def __init__(self, folder: Path, *, products: int) -> None:
        self._folder, self.data = folder, folder / "server"
        self.stock = dict.fromkeys(range(products), 1)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "shop.tflite").write_bytes(colour_bundle())
        for number in self.stock:
            (folder / f"{number}.png").write_bytes(tile(number))
        self._run("init", str(self.data))
        self._run("model", "add", str(folder / "shop.tflite"), "--data", str(self.data))
        self.publish()
        self.root = (self.data / "public" / "main" / "metadata" / "1.root.json").read_bytes()

    def publish(self) -> None:
        """Pushes what there is, and makes a version of it."""
        with (self._folder / "list.csv").open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["image", "product_id", "stock"])
            writer.writerows([f"{n}.png", f"sku-{n}", stock] for n, stock in self.stock.items())
        self._run("push", str(self._folder / "list.csv"), "--data", str(self.data))
        self._run("publish", "--data", str(self.data))

    def _run(self, *command: str) -> None:
        said = io.StringIO()
        with redirect_stdout(said), redirect_stderr(said):
            assert pocketlens_server(command) == 0, said.getvalue()


def tile(number: int) -> bytes:
    """The picture of a product, PNG."""
    file = io.BytesIO()
    Image.fromarray(fields(np.random.default_rng(number), side=96)).save(file, "PNG")
    return file.getvalue()

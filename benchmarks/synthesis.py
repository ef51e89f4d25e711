"""How near synthesised queries are to photos, as a pretrained backbone sees both.

    python benchmarks/synthesis.py [--pictures DIR] [--quick] [--json FILE]

For each kind of scene: queries of every product of GroceryStoreDataset's catalogue, drawn from its
one picture, beside photos of it (photo_train, and photo_val). A training can only carry over to
photos what holds for queries that look like them to the network that it starts from, so this
compares scenes in minutes where trainings take hours:

- cosine: of the mean features of a product's queries and of its photos, mean over products;
- centred: the same after each side's mean is taken away: what is the product's own;
- recall: photos whose nearest mean is that of their product (centred, too).

The catalogue pictures themselves stand beside. $POCKETLENS_SHARED names the folder that has data
and weights (by default ../shared).
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras
import numpy as np
import numpy.typing as npt
from PIL import Image

from pocketlens import image_lists
from pocketlens_converter import backbones, models
from pocketlens_converter.allocation import keep_freed_memory
from pocketlens_converter.options import TrainOptions
from pocketlens_converter.synthesis.backgrounds import read_backgrounds
from pocketlens_converter.synthesis.cutouts import Cutout, cut_out
from pocketlens_converter.synthesis.scenes import OF_OTHERS, Scenes
from pocketlens_converter.training_pictures import letterboxed

ROOT = Path(__file__).resolve().parent.parent
SHARED = Path(os.environ.get("POCKETLENS_SHARED", ROOT.parent / "shared"))
LISTS = SHARED / "data" / "grocery"
WEIGHTS = SHARED / "weights" / "mobilenet_v2_1.0_224_no_top.weights.h5"
SIDE, QUERIES, BYSTANDERS = 224, 12, 6
SHEET = 12  # products on a sheet, a row each: photos left, queries right
Rows = npt.NDArray[np.float64]


def unit(rows: npt.NDArray[np.floating]) -> Rows:
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), np.float64)


def compared(drawn: Rows, photos: Rows, owners: npt.NDArray[np.int64]) -> dict[str, float]:
    """What the module says, of means (products, features) and photos' features (n, features)."""
    drawn, photos = unit(drawn), unit(photos)
    taken = np.stack([photos[owners == number].mean(axis=0) for number in range(len(drawn))])
    centred, taken_centred = drawn - drawn.mean(axis=0), taken - taken.mean(axis=0)
    photos_centred = photos - photos.mean(axis=0)
    return {
        "cosine": float((unit(taken) * drawn).sum(axis=1).mean()),
        "centred_cosine": float((unit(taken_centred) * unit(centred)).sum(axis=1).mean()),
        "recall": float(np.mean((photos @ drawn.T).argmax(axis=1) == owners)),
        "centred_recall": float(
            np.mean((photos_centred @ unit(centred).T).argmax(axis=1) == owners)
        ),
    }


def queries(
    kind: str, cutouts: Sequence[Cutout], scenes: Scenes, count: int
) -> list[list[Image.Image]]:
    """`count` queries of each product."""
    made = []
    for number, cutout in enumerate(cutouts):
        others = [each for each in cutouts if each is not cutout]
        of_product = []
        for query in range(count):
            rng = np.random.default_rng([number, query])
            around = [others[each] for each in rng.permutation(len(others))[:BYSTANDERS]]
            of_product.append(scenes.query_of(kind, cutout, around, rng, SIDE))
        made.append(of_product)
    return made


def sheet(path: Path, photos: list[list[Path]], made: list[list[Image.Image]]) -> None:
    """Photos and queries of some products side by side."""
    side, half = SIDE // 2, 5
    chosen = range(0, len(made), max(1, len(made) // SHEET))
    picture = Image.new("RGB", ((2 * half * side) + side // 4, len(chosen) * side), (255, 255, 255))
    for row, number in enumerate(chosen):
        left = [Image.fromarray(letterboxed(each, side)) for each in photos[number][:half]]
        right = [each.resize((side, side)) for each in made[number][:half]]
        for column, each in enumerate(left):
            picture.paste(each, (column * side, row * side))
        for column, each in enumerate(right):
            picture.paste(each, ((half + column) * side + side // 4, row * side))
    picture.save(path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="few products, queries and photos")
    parser.add_argument("--pictures", type=Path, help="write a sheet of each kind to this folder")
    parser.add_argument("--json", type=Path, help="write figures to this file")
    arguments = parser.parse_args()
    keep_freed_memory()
    every = 8 if arguments.quick else 1
    if arguments.quick:
        print("QUICK: a few products show that it runs, not what scenes are worth", file=sys.stderr)
    catalogue = image_lists.read(LISTS / "catalog.csv").entries[::every]
    products = [entry.product_ids[0] for entry in catalogue]
    photos: list[list[Path]] = [[] for _ in products]
    for name in ("photo_train.csv", "photo_val.csv"):
        for entry in image_lists.read(LISTS / name).entries:
            if entry.product_ids[0] in products:
                photos[products.index(entry.product_ids[0])].append(entry.path)
    photos = [of_product[:: 2 * every] for of_product in photos]

    model = backbones.build(TrainOptions(image_size=SIDE), WEIGHTS)
    features = keras.Model(model.input, model.layers[-1].input)

    def seen(pictures: list[npt.NDArray[np.uint8]]) -> Rows:
        return unit(models.outputs(features, np.stack(pictures)))

    owners = np.repeat(np.arange(len(photos)), [len(each) for each in photos])
    taken = seen([letterboxed(path, SIDE) for of_product in photos for path in of_product])
    shown = seen([letterboxed(entry.path, SIDE) for entry in catalogue])
    cutouts = [cut_out(Image.open(entry.path).convert("RGB")) for entry in catalogue]
    places = read_backgrounds(SHARED / "data" / "wardrobe" / "images", SIDE)
    scenes = Scenes(places.pictures)
    found = {"catalogue": compared(shown, taken, owners)}
    for kind in OF_OTHERS:
        made = queries(kind, cutouts, scenes, max(2, QUERIES // every))
        rows = seen([np.asarray(each) for of_product in made for each in of_product])
        means = rows.reshape(len(cutouts), -1, rows.shape[1]).mean(axis=1)
        found[kind] = compared(means, taken, owners)
        if arguments.pictures:
            arguments.pictures.mkdir(parents=True, exist_ok=True)
            sheet(arguments.pictures / f"{kind}.png", photos, made)
    for name, figures in found.items():
        print(f"{name:10}", "  ".join(f"{key} {value:.3f}" for key, value in figures.items()))
    if arguments.json:
        value = {
            "figures": {f"{kind}_{key}": v for kind, of in found.items() for key, v in of.items()},
            "goals": [],
        }
        arguments.json.write_text(json.dumps(value, indent=2) + "\n")


if __name__ == "__main__":
    main()

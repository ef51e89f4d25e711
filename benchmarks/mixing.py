"""How much of the trained weights to keep, and at which size to use them.

    python benchmarks/mixing.py {grocery,catalogue} [--steps N] [--image-size N] [--dim N]
        [--quick] [--models DIR] [--json FILE]

One training, many models: the trained weights are mixed with those that the run started from, each
mixture is given pictures of several sizes, and photos that it did not learn from are searched in
grocery's catalogue, alone and among homeshop's products. `grocery` learns from four fifths of
photo_train and searches the other fifth, also in the photos that it learned from; `catalogue`
learns from the catalogue pictures of both shops alone and searches every fourth photo of
photo_train. $POCKETLENS_SHARED names the folder that has data and weights (by default ../shared).
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import argparse
import csv
import json
import os
import sys
import tempfile
from dataclasses import asdict, replace
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
sys.path.insert(0, str(Path(__file__).resolve().parent))

import folds
import keras
from recognition import BACKGROUNDS, DATA, GROCERY, WEIGHTS, found_in

from pocketlens_converter import backbones, models, training
from pocketlens_converter.allocation import keep_freed_memory
from pocketlens_converter.options import CATALOGUE_ALONE, TrainOptions
from pocketlens_converter.training import StepReport

CATALOG, TRAIN = (DATA / "grocery" / f"{name}.csv" for name in ("catalog", "photo_train"))
HOMESHOP = DATA / "homeshop" / "catalog.csv"
SHARES, SIZES = (1.0, 0.9, 0.7, 0.5), (224, 256, 288)
# A fifth of five photos or more of a product is what a fold holds out.
THINNED, QUICK_THINNED = {"grocery": 1, "catalogue": 4}, 6


def lists(task: str, folder: Path, every: int) -> tuple[list[Path], Path]:
    """What is learned from, and the photos that are searched: one of so many of photo_train."""
    photos = thinned(TRAIN, folder, every)
    if task == "grocery":
        made = folds.split(photos, folder, 0)
        return [CATALOG, made.learned], made.held_out
    return [CATALOG, HOMESHOP], photos


def thinned(path: Path, folder: Path, every: int) -> Path:
    """The list of one of so many lines of a list."""
    out = folder / f"one_of_{every}_of_{path.name}"
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))[::every]
    folds.write(out, [{**row, "image": str(path.parent / row["image"])} for row in rows])
    return out


def trained(task: str, options: TrainOptions, learned: list[Path], out: Path) -> None:
    """A model of trained weights alone; one that was made with these options before stays."""
    options = replace(options, trained_share=1.0)
    description = models.description_path(out)
    if out.exists() and description.exists():
        made_with = json.loads(description.read_text())["options"]
        if made_with == json.loads(json.dumps(asdict(options))):
            return
    backgrounds = None if task == "grocery" else BACKGROUNDS
    training.train(learned, out, options, weights=WEIGHTS, backgrounds=backgrounds, progress=said)


def without_steps(options: TrainOptions) -> TrainOptions:
    """Of a run that ends where it starts: one step too small to change anything."""
    return replace(options, steps=1, learning_rate=1e-9, mining_rounds=0, visible_share=1.0)


def said(report: StepReport) -> None:
    """A line now and then."""
    if report.step % 100 == 0:
        minutes = report.seconds / 60
        print(f"  step {report.step} loss {report.loss:.3f} {minutes:.1f} minutes", flush=True)


def mixed(model: Path, start: Path, options: TrainOptions, share: float, out: Path) -> None:
    """Writes the mixture, for pictures of `options.image_size`."""
    new, old = (
        keras.saving.load_model(path, compile=False).get_weights() for path in (model, start)
    )
    made = backbones.build(options, None)
    made.set_weights([share * n + (1 - share) * o for n, o in zip(new, old, strict=True)])
    size = options.image_size
    models.save(made, out, models.ModelSpec(size, size, options.dim), facts={})


def searched(model: Path, task: str, learned: list[Path], photos: Path) -> dict[str, float]:
    """recall@1 by what the photos were searched in."""
    searches = {"in the catalogue": (CATALOG, None), "among homeshop": (CATALOG, HOMESHOP)}
    if task == "grocery":
        searches["in the photos learned from"] = (learned[1], None)
    return {
        name: round(found_in(model, photos, *gallery).figures["recall@1"], 4)
        for name, gallery in searches.items()
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("task", choices=("grocery", "catalogue"))
    parser.add_argument("--steps", type=int, help="of the training")
    parser.add_argument("--image-size", type=int, help="that it is trained for")
    parser.add_argument("--dim", type=int, help="numbers of an embedding")
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES, help="that it is used at")
    parser.add_argument("--shares", type=float, nargs="+", default=SHARES)
    parser.add_argument("--quick", action="store_true", help="three steps of small pictures")
    parser.add_argument("--models", type=Path, help="keep the trained weights in this folder")
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    arguments = parser.parse_args()
    keep_freed_memory()
    options = GROCERY if arguments.task == "grocery" else CATALOGUE_ALONE
    names = ("steps", "image_size", "dim")
    chosen = {name: getattr(arguments, name) for name in names}
    options = replace(options, **{name: value for name, value in chosen.items() if value})
    shares, sizes = arguments.shares, arguments.sizes
    if arguments.quick:
        options, shares, sizes = replace(options, steps=3, image_size=64), (1.0, 0.5), (64,)
        print("QUICK: three steps on small pictures show that it runs, not how well")
    with tempfile.TemporaryDirectory() as temporary:
        folder = arguments.models or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        every = QUICK_THINNED if arguments.quick else THINNED[arguments.task]
        learned, photos = lists(arguments.task, folder, every)
        start, model = (folder / f"{arguments.task}{part}.keras" for part in ("_start", ""))
        trained(arguments.task, without_steps(options), learned, start)
        trained(arguments.task, options, learned, model)
        found = []
        for size in sizes:
            for share in shares:
                mixture = folder / "mixture.keras"
                mixed(model, start, replace(options, image_size=size), share, mixture)
                recalls = searched(mixture, arguments.task, learned, photos)
                found.append({"share": share, "image_size": size, **recalls})
                print(json.dumps(found[-1]), flush=True)
                if arguments.json:
                    value = {"options": asdict(options), "figures": found, "goals": []}
                    arguments.json.write_text(json.dumps(value, indent=2) + "\n")


if __name__ == "__main__":
    main()

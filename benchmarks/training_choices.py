"""What each choice of a training is worth: one changed at a time, on held-out photos.

    python benchmarks/training_choices.py [--only NAME...] [--quick] [--json FILE]

Trains on four fifths of GroceryStoreDataset's photo_train and searches the other fifth in the
catalogue (photo to catalogue) and in the photos learned from (photo to photo). Small pictures and
few steps: it ranks choices, and says nothing of what a whole run reaches. Results are added to the
file after every row, so that a sweep may be stopped and gone on with. $POCKETLENS_SHARED names the
folder that has data/grocery and weights (by default ../shared).
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from time import process_time
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
sys.path.insert(0, str(Path(__file__).resolve().parent))

import folds

from pocketlens_converter.allocation import keep_freed_memory
from pocketlens_converter.embedding_models import opened
from pocketlens_converter.evaluation import EvaluationLists, evaluate
from pocketlens_converter.options import TrainOptions
from pocketlens_converter.training import train

ROOT = Path(__file__).resolve().parent.parent
SHARED = Path(os.environ.get("POCKETLENS_SHARED", ROOT.parent / "shared"))
GROCERY = SHARED / "data" / "grocery"
RESULTS = ROOT / "benchmarks" / "results" / "training_choices.json"
WEIGHTS = {
    1.0: SHARED / "weights" / "mobilenet_v2_1.0_224_no_top.weights.h5",
    0.35: SHARED / "weights" / "mobilenet_v2_0.35_224_no_top.weights.h5",
}
STEPS, QUICK_STEPS = 200, 4
BASE = TrainOptions(image_size=160, learned_scale=0.8, steps=STEPS)
PLAIN = {
    "fitted_head": False,
    "proxy_weight": 0.0,
    "neighbourhood_share": 0.0,
    "mining_rounds": 0,
    "visible_share": 1.0,
}
MORE_NEGATIVES = {"in_class": 15, "out_of_class": 3, "products": 19}
CHOICES: dict[str, dict[str, Any]] = {
    "defaults": {},
    "random head, random batches, no proxies": PLAIN,
    "random head": {"fitted_head": False},
    "no proxies": {"proxy_weight": 0.0},
    "random batches": {"neighbourhood_share": 0.0, "mining_rounds": 0},
    "neighbourhoods unmined": {"mining_rounds": 0},
    "every batch a neighbourhood": {"neighbourhood_share": 1.0},
    "10 in class, 1 out": {"in_class": 10, "out_of_class": 1},
    "15 in class, 3 out": MORE_NEGATIVES,
    "15 in class, 3 out, learning rate 2e-4": {**MORE_NEGATIVES, "learning_rate": 2e-4},
    "15 in class, 3 out, learning rate 1e-4": {**MORE_NEGATIVES, "learning_rate": 1e-4},
    # There are 81 products: the pool of 100, as any larger one, is all of them.
    "pool of 20": {"mining_pool": 20},
    "pool of 40": {"mining_pool": 40},
    "proxy loss alone": {"loss": "proxy"},
    "triplet margin 1": {"loss": "triplet", "miner": "batch-hard"},
    "triplet margin 0.2": {"loss": "triplet", "miner": "batch-hard", "margin": 0.2},
    "triplet semi-hard": {"loss": "triplet", "miner": "semi-hard"},
    "contrastive pairs": {"loss": "contrastive"},
    "n-pair": {"loss": "n-pair"},
    "temperature 0.05": {"temperature": 0.05},
    "temperature 0.2": {"temperature": 0.2},
    "width 0.35": {"alpha": 0.35},
    "features of block 13": {"features": "block_13_expand_relu"},
    "flattened features": {"features": "flatten"},
    "shallow branch": {"shallow": True},
    "64 dimensions": {"dim": 64},
    "256 dimensions": {"dim": 256},
    "512 dimensions": {"dim": 512},
    "1,024 dimensions": {"dim": 1024},
    "2,048 dimensions": {"dim": 2048},
    "head alone learns": {"learned_layers": 0, "learning_rate": 2e-3},
    "last 10 layers learn": {"learned_layers": 10},
    "everything learns": {"frozen_share": 0.0},
    "half is frozen": {"frozen_share": 0.5},
    "learning rate 1e-4": {"learning_rate": 1e-4},
    "learning rate 1e-3": {"learning_rate": 1e-3},
    "a fifth synthesised": {"synthesised_share": 0.2},
    "no catalogue term": {"catalogue_weight": 0.0},
    "pictures only mirrored": {"augmentation": 0.0},
    "half the augmentation": {"augmentation": 0.5},
    "harder augmentation": {"augmentation": 1.3},
}


def measured(name: str, steps: int, fold: int) -> dict[str, float]:
    """Trains with one choice changed and searches the held-out photos."""
    options = replace(BASE, steps=steps, **CHOICES[name])
    with tempfile.TemporaryDirectory() as name_of_folder:
        folder = Path(name_of_folder)
        made = folds.split(GROCERY / "photo_train.csv", folder, fold)
        model = folder / "model.keras"
        began = process_time()
        report = train(
            [GROCERY / "catalog.csv", made.learned],
            model,
            options,
            weights=WEIGHTS[options.alpha],
        )
        # Of a core, which tells what a choice costs on a machine that does other work as well.
        core_minutes = (process_time() - began) / 60
        figures = {"minutes": report.seconds / 60, "core_minutes": core_minutes}
        for gallery, key in ((GROCERY / "catalog.csv", "catalogue"), (made.learned, "photo")):
            with opened(model) as embedding:
                found = evaluate(embedding, EvaluationLists.read(made.held_out, gallery))
            figures[f"photo_to_{key}_recall_at_1"] = found.figures["recall@1"]
            figures["photos"] = found.figures["photos"]
        return {key: round(value, 4) for key, value in figures.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", choices=CHOICES, help="some of the choices")
    parser.add_argument("--fold", type=int, default=0, help="which fifth is held out")
    parser.add_argument("--quick", action="store_true", help="four steps of two choices")
    parser.add_argument("--json", type=Path, help=f"results, gone on with (full: {RESULTS.name})")
    arguments = parser.parse_args()
    keep_freed_memory()
    steps = QUICK_STEPS if arguments.quick else STEPS
    names = arguments.only or list(CHOICES)
    if arguments.quick:
        names = names[:2]
        print(f"QUICK: {steps} steps a choice show that it runs, not how well it learns")
    figures: dict[str, Any] = {}
    if arguments.json and arguments.json.exists():
        figures = json.loads(arguments.json.read_text())["figures"]
    for name in names:
        if name in figures and not arguments.only:
            continue
        figures[name] = measured(name, steps, arguments.fold)
        found = figures[name]
        print(
            f"{name:42} catalogue {found['photo_to_catalogue_recall_at_1']:.3f}  "
            f"photos {found['photo_to_photo_recall_at_1']:.3f}  "
            f"{found['core_minutes']:.1f} minutes of a core",
            flush=True,
        )
        if arguments.json:
            value = {"steps": steps, "figures": figures, "goals": []}
            arguments.json.write_text(json.dumps(value, indent=2) + "\n")


if __name__ == "__main__":
    main()

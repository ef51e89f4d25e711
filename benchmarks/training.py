"""Losses side by side: which ones learn from the start, and which one collapses.

    python benchmarks/training.py [--quick] [--json FILE]

Trains MobileNetV2 0.35 at 96 pixels on GroceryStoreDataset's catalogue and training photos and
searches the validation photos in the catalogue, with the same batches, schedule and seed for every
loss. $POCKETLENS_SHARED names the folder that has data/grocery and weights (by default ../shared).
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import argparse
import json
import os
import tempfile
from dataclasses import replace
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

from pocketlens_converter.allocation import keep_freed_memory
from pocketlens_converter.options import TrainOptions
from pocketlens_converter.training import train

ROOT = Path(__file__).resolve().parent.parent
SHARED = Path(os.environ.get("POCKETLENS_SHARED", ROOT.parent / "shared"))
WEIGHTS = SHARED / "weights" / "mobilenet_v2_0.35_224_no_top.weights.h5"
COLLAPSED = 0.05  # recall@1; drawing lots gives 0.012

# From a random head, on batches of anything: what the field's papers start from.
PLAIN = TrainOptions(
    alpha=0.35,
    image_size=96,
    averaging=0.0,
    fitted_head=False,
    proxy_weight=0.0,
    neighbourhood_share=0.0,
    mining_rounds=0,
    visible_share=1.0,
)
VARIANTS = {
    "softmax": PLAIN,
    "triplet_batch_hard_from_the_start": replace(
        PLAIN, loss="triplet", miner="batch-hard", semi_hard_share=0.0
    ),
    "triplet_semi_hard": replace(PLAIN, loss="triplet", miner="semi-hard"),
    "triplet_semi_hard_then_batch_hard": replace(PLAIN, loss="triplet", miner="batch-hard"),
}


def recall(options: TrainOptions, steps: int) -> tuple[float, float]:
    """recall@1 of validation photos after `steps`, and seconds it took."""
    grocery = SHARED / "data" / "grocery"
    with tempfile.TemporaryDirectory() as folder:
        report = train(
            [grocery / "catalog.csv", grocery / "photo_train.csv"],
            Path(folder) / "model.keras",
            replace(options, steps=steps),
            weights=WEIGHTS,
            validation=grocery / "photo_val.csv",
        )
    assert report.recall is not None
    return report.recall, report.seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a few steps only: under a minute")
    parser.add_argument("--json", type=Path, help="write figures and goals to this file")
    arguments = parser.parse_args()
    keep_freed_memory()
    steps = 10 if arguments.quick else 300
    if arguments.quick:
        print(f"QUICK: {steps} steps a loss show that it runs, not how well it learns")

    figures: dict[str, float] = {"steps": steps}
    for name, options in VARIANTS.items():
        found, seconds = recall(options, steps)
        figures[f"{name}_recall_at_1"] = round(found, 4)
        figures[f"{name}_seconds"] = round(seconds, 1)
        print(f"{name:36} recall@1 {found:.3f}  ({seconds:.0f} s)", flush=True)
    warmed = figures["triplet_semi_hard_then_batch_hard_recall_at_1"]
    goals = [
        {
            "name": "batch-hard triplets behind a semi-hard warm-up do not collapse: recall@1",
            "value": warmed,
            "goal": f"> {COLLAPSED}",
            "met": warmed > COLLAPSED,
        }
    ]
    if arguments.json:
        arguments.json.write_text(json.dumps({"figures": figures, "goals": goals}, indent=2))


if __name__ == "__main__":
    main()

"""Every backbone from pictures to a bundle: built, trained a few steps, quantized, timed.

    python benchmarks/backbones.py [--only NAME...] [--quick] [--json FILE]

It shows that each of them goes the whole way, and what it costs. Weights are random: the figures
say nothing of how well a backbone recognises (benchmarks/training_choices.py does, for those whose
weights are at hand). $POCKETLENS_SHARED names the folder that has data/grocery (by default
../shared). Results are added to the file after every row.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import argparse
import csv
import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
sys.path.insert(0, str(Path(__file__).resolve().parent))

import folds

from pocketlens_converter import conversion
from pocketlens_converter.allocation import keep_freed_memory
from pocketlens_converter.convert_options import Budgets, ConvertOptions
from pocketlens_converter.options import TrainOptions
from pocketlens_converter.training import train

ROOT = Path(__file__).resolve().parent.parent
SHARED = Path(os.environ.get("POCKETLENS_SHARED", ROOT.parent / "shared"))
GROCERY = SHARED / "data" / "grocery"
RESULTS = ROOT / "benchmarks" / "results" / "backbones.json"
STEPS, PRODUCTS, PHOTOS_OF_EACH = 3, 8, 3
BACKBONES: dict[str, dict[str, Any]] = {
    "MobileNetV2 0.35": {"alpha": 0.35},
    "MobileNetV2 1.0": {},
    "MobileNetV2 1.0, shallow branch": {"shallow": True},
    "MobileNetV3SmallMinimalistic": {"backbone": "MobileNetV3SmallMinimalistic"},
    "MobileNetV3LargeMinimalistic": {"backbone": "MobileNetV3LargeMinimalistic"},
    "MobileNetV3Large": {"backbone": "MobileNetV3Large"},
    "EfficientNetV2B0": {"backbone": "EfficientNetV2B0"},
    "EfficientNetV2S": {"backbone": "EfficientNetV2S"},
    "NASNetMobile": {"backbone": "NASNetMobile"},
    "ResNet50 avg_pool": {"backbone": "ResNet50"},
    "Xception": {"backbone": "Xception"},
    "InceptionV3": {"backbone": "InceptionV3"},
    "InceptionResNetV2": {"backbone": "InceptionResNetV2"},
    "VGG16 avg_pool": {"backbone": "VGG16"},
    "VGG16 flatten (25,088)": {"backbone": "VGG16", "features": "flatten"},
}
ANYTHING_GOES = Budgets(top1_agreement=None, cosine_mean=None)


def measured(name: str, image_size: int) -> dict[str, Any]:
    """Trains with random weights, converts, and says what each took."""
    options = TrainOptions(
        **BACKBONES[name],
        image_size=image_size,
        steps=STEPS,
        products=4,
        pictures=2,
        mining_rounds=0,
        visible_share=1.0,
    )
    with tempfile.TemporaryDirectory() as name_of_folder:
        folder = Path(name_of_folder)
        catalogue, photos = lists(folder)
        model = folder / "model.keras"
        times: list[float] = []
        train(
            [catalogue, photos],
            model,
            options,
            progress=lambda report: times.append(report.seconds),
        )
        converted = conversion.convert(
            model,
            catalogue=catalogue,
            queries=photos,
            options=ConvertOptions(falls_back=False, budgets=ANYTHING_GOES),
        )
        receipt = converted.receipt
        return {
            # The first step also traces the graph.
            "seconds_a_step_of_8": round((times[-1] - times[0]) / (STEPS - 1), 2),
            "float_bytes": receipt.float_size_bytes,
            "int8_bytes": receipt.size_bytes,
            "latency_ms": {str(n): round(ms, 1) for n, ms in receipt.latency_ms.items()},
            "xnnpack_partitions": receipt.xnnpack_partitions,
            "refused": {
                delegate: sum(found.values()) for delegate, found in receipt.refused.items()
            },
        }


def lists(folder: Path) -> tuple[Path, Path]:
    """A few products of grocery: their catalogue pictures, and photos of each."""
    made = []
    names: list[str] = []
    for file, count in (("catalog", 1), ("photo_train", PHOTOS_OF_EACH)):
        with (GROCERY / f"{file}.csv").open(newline="") as opened:
            rows = list(csv.DictReader(opened))
        names = names or [row["product_id"] for row in rows[:PRODUCTS]]
        chosen = [
            {**row, "image": str(GROCERY / row["image"])}
            for name in names
            for row in [each for each in rows if each["product_id"] == name][:count]
        ]
        made.append(folder / f"{file}.csv")
        folds.write(made[-1], chosen)
    return made[0], made[1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", choices=BACKBONES, help="some of them, made anew")
    parser.add_argument("--quick", action="store_true", help="one of them, on small pictures")
    parser.add_argument("--json", type=Path, help=f"results, gone on with (full: {RESULTS.name})")
    arguments = parser.parse_args()
    keep_freed_memory()
    names, image_size = arguments.only or list(BACKBONES), 224
    if arguments.quick:
        names, image_size = names[:1], 64
        print("QUICK: one backbone on small pictures shows that it runs")
    figures: dict[str, Any] = {}
    if arguments.json and arguments.json.exists():
        earlier = json.loads(arguments.json.read_text())
        if earlier["image_size"] == image_size:
            figures = earlier["figures"]
    for name in names:
        if name in figures and not arguments.only:
            continue
        figures[name] = measured(name, image_size)
        print(f"{name:36} {json.dumps(figures[name])}", flush=True)
        if arguments.json:
            value = {"image_size": image_size, "figures": figures, "goals": []}
            arguments.json.write_text(json.dumps(value, indent=2) + "\n")


if __name__ == "__main__":
    main()

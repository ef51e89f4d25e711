"""What int8 keeps of a float model: TensorFlow's converter alone, and with layer means corrected.

    python benchmarks/quantization.py --model SHOP.keras [--quick] [--json FILE]

The model was trained on the sets that are measured: data/grocery of $POCKETLENS_SHARED (by default
../shared). int8 is calibrated on the 81 catalogue pictures; the figures compare its embeddings, and
their first matches in the catalogue, with the float model's, over the validation photos and over
all photos. recall@1 of the finished bundle: `pocketlens-converter evaluate --against`.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import numpy as np
import numpy.typing as npt
import vectors

from pocketlens.formats.bundle import Spec
from pocketlens.query import pictures, runtimes
from pocketlens_converter import float_models, metrics, quantization

Floats = npt.NDArray[np.float32]
Tensors = npt.NDArray[np.uint8]

BLOCK = 128  # photos in memory at once
LISTS = {"photo_val": ["photo_val.csv"], "all": ["photo_train.csv", "photo_val.csv"]}
WAYS = {"converter_alone": False, "means_corrected": True}
GOALS = {"top1_agreement": 0.95, "cosine_mean": 0.98, "cosine_p01": 0.92}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", type=Path, required=True, help="a .keras file")
    parser.add_argument("--quick", action="store_true", help="every twentieth photo")
    parser.add_argument("--json", type=Path, help="write figures and goals to this file")
    arguments = parser.parse_args()
    every = 20 if arguments.quick else 1
    if arguments.quick:
        print(f"QUICK: every {every}th photo only")
    grocery = vectors.data_folder() / "grocery"
    model = float_models.load(arguments.model)
    spec = Spec(name="measured", height=model.height, width=model.width, dim=model.dim)
    catalogue = np.concatenate(list(tensors(grocery / "catalog.csv", spec)))
    int8 = {
        way: embedder(quantization.quantize(model, catalogue, corrects_means=corrects))
        for way, corrects in WAYS.items()
    }
    galleries = {way: embed(catalogue) for way, embed in int8.items()}
    gallery = model.embed_tensors(catalogue)

    figures: dict[str, float] = {}
    for name, lists in LISTS.items():
        cosines: dict[str, list[Floats]] = {way: [] for way in WAYS}
        same: dict[str, list[npt.NDArray[np.bool_]]] = {way: [] for way in WAYS}
        for block in (block for each in lists for block in tensors(grocery / each, spec, every)):
            wanted = model.embed_tensors(block)
            for way, embed in int8.items():
                found = embed(block)
                cosines[way].append(metrics.cosines(found, wanted))
                first = (found @ galleries[way].T).argmax(axis=1)
                same[way].append(first == (wanted @ gallery.T).argmax(axis=1))
        for way in WAYS:
            joined = np.concatenate(cosines[way])
            found = {
                "photos": len(joined),
                "cosine_mean": float(joined.mean()),
                "cosine_p01": float(np.percentile(joined, 1)),
                "top1_agreement": float(np.concatenate(same[way]).mean()),
            }
            print(f"{name:10} {way:16}", *(f"{k} {round(v, 4)}" for k, v in found.items()))
            figures |= {f"{name}_{way}_{key}": value for key, value in found.items()}
    goals = [
        {
            "name": f"{name}, means corrected, all photos",
            "value": figures[f"all_means_corrected_{name}"],
            "goal": f">= {goal}",
            "met": figures[f"all_means_corrected_{name}"] >= goal,
        }
        for name, goal in GOALS.items()
    ]
    if arguments.json:
        arguments.json.write_text(json.dumps({"figures": figures, "goals": goals}, indent=1) + "\n")


def tensors(image_list: Path, spec: Spec, every: int = 1) -> Iterator[Tensors]:
    """Pictures of a CSV as the model sees them, in blocks uint8 (n, height, width, 3)."""
    paths = list(vectors.pictures(image_list))[::every]
    for start in range(0, len(paths), BLOCK):
        yield np.stack([pictures.tensor(path, spec) for path in paths[start : start + BLOCK]])


def embedder(tflite: bytes) -> Callable[[Tensors], Floats]:
    """Unit embeddings of tensors by a quantized model, on the CPU as a device runs it."""
    runtime = runtimes.interpreter(tflite, accelerator="cpu", threads=1)
    return lambda block: float_models.unit_rows(np.stack([runtime.run(each) for each in block]))


if __name__ == "__main__":
    main()

"""How well products are recognised: every figure of the converter, by one command.

    python benchmarks/recognition.py [--only grocery catalogue absent] [--quick] [--json FILE]

- grocery: trained on the catalogue and the photos of photo_train, searched with photo_val; then
  quantized, and compared with the float model over all photos.
- catalogue: trained on catalogue pictures alone (grocery's and homeshop's), with wardrobe's photos
  as backgrounds, searched with photo_val.
- absent: ten draws of 20 products that neither training nor gallery has; thresholds are fitted on
  a fifth of photo_train held out of that training, and measured on photo_val.

$POCKETLENS_SHARED names the folder that has data and weights (by default ../shared). Parts that are
done are kept in the JSON file, each with the commit it was made at, and not made again; with
--models, a run that was stopped goes on in the middle of a part: the whole takes hours.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import argparse
import csv
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
sys.path.insert(0, str(Path(__file__).resolve().parent))

import folds
import numpy as np

from pocketlens.formats.bundle import Calibration
from pocketlens.query.verdict import judge
from pocketlens.results import Verdict
from pocketlens_converter import conversion, report
from pocketlens_converter.allocation import keep_freed_memory
from pocketlens_converter.bundle_calibration import CalibrationLists, calibrated_bundle
from pocketlens_converter.calibration import CalibrationOptions
from pocketlens_converter.embedding_models import opened
from pocketlens_converter.evaluation import (
    Evaluation,
    EvaluationLists,
    compare,
    embed_lists,
    evaluate,
    search_lists,
)
from pocketlens_converter.options import TrainOptions
from pocketlens_converter.simulation import simulate
from pocketlens_converter.training import train

ROOT = Path(__file__).resolve().parent.parent
SHARED = Path(os.environ.get("POCKETLENS_SHARED", ROOT.parent / "shared"))
DATA = SHARED / "data"
BACKGROUNDS = DATA / "wardrobe" / "images"
WEIGHTS = SHARED / "weights" / "mobilenet_v2_1.0_224_no_top.weights.h5"

DRAWS, ABSENT_PRODUCTS, FOLD = 10, 20, 0
KEPT = 0.95  # of true matches
GROCERY = TrainOptions()
CATALOGUE_ALONE = TrainOptions(steps=1800, pictures=3, dim=256)
OF_A_DRAW = TrainOptions(steps=400, image_size=192)
Figures = dict[str, Any]


THINNED = 5  # of so many lines of the lists of photos and distractors, --quick takes one


@dataclass(frozen=True)
class Scale:
    """On what the parts run, and for how long."""

    catalog: Path
    train: Path
    val: Path
    homeshop: Path
    grocery: TrainOptions
    catalogue: TrainOptions
    draw: TrainOptions
    draws: int

    @classmethod
    def full(cls) -> Scale:
        """What the goals are of."""
        lists = DATA / "grocery"
        return cls(
            lists / "catalog.csv",
            lists / "photo_train.csv",
            lists / "photo_val.csv",
            DATA / "homeshop" / "catalog.csv",
            GROCERY,
            CATALOGUE_ALONE,
            OF_A_DRAW,
            DRAWS,
        )

    def quick(self, folder: Path) -> Scale:
        """A few steps on a few small pictures: it runs, no more."""

        def thinned(path: Path) -> Path:
            with path.open(newline="") as file:
                rows = list(csv.DictReader(file))[::THINNED]
            out = folder / f"thinned_{path.parent.name}_{path.name}"
            folds.write(out, [{**row, "image": str(path.parent / row["image"])} for row in rows])
            return out

        def few(options: TrainOptions) -> TrainOptions:
            return replace(options, steps=3, image_size=64, mining_rounds=0, dim=64)

        return Scale(
            self.catalog,
            thinned(self.train),
            thinned(self.val),
            thinned(self.homeshop),
            few(self.grocery),
            few(self.catalogue),
            few(self.draw),
            1,
        )


def found_in(model: Path, queries: Path, gallery: Path, others: Path | None = None) -> Evaluation:
    """An evaluation of a model file."""
    with opened(model) as embedding:
        return evaluate(embedding, EvaluationLists.read(queries, gallery, others))


def grocery(folder: Path, scale: Scale) -> Figures:
    """Several photos a product, float and int8."""
    model = folder / "grocery.keras"
    trained = train([scale.catalog, scale.train], model, scale.grocery, weights=WEIGHTS)
    val, among = (
        found_in(model, scale.val, scale.catalog),
        found_in(model, scale.val, scale.catalog, scale.homeshop),
    )
    photos = found_in(model, scale.val, scale.train)
    figures: Figures = {
        "training_minutes": trained.seconds / 60,
        "training_pictures_per_second": trained.pictures_per_second,
        "training_waited_share": trained.waited_share,
        "photo_val_recall_at_1": val.figures["recall@1"],
        "photo_val_recall_at_3": val.figures["recall@3"],
        "photo_val_among_homeshop_recall_at_1": among.figures["recall@1"],
        "photo_val_to_photo_train_recall_at_1": photos.figures["recall@1"],
        "worst_products": report.worst_products(val, 5),
    }
    converted = conversion.convert(model, catalogue=scale.catalog, queries=scale.val)
    bundle = folder / "grocery.tflite"
    bundle.write_bytes(converted.data)
    everything = folder / "all.csv"
    with everything.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["image", "product_id"])
        for path in (scale.train, scale.val):
            with path.open(newline="") as listed:
                rows = list(csv.DictReader(listed))
            writer.writerows([(path.parent / row["image"], row["product_id"]) for row in rows])
    device, original = (found_in(each, everything, scale.catalog) for each in (bundle, model))
    compared = compare(device, original, np.random.default_rng(0))
    int8 = found_in(bundle, scale.val, scale.catalog)
    interval = compared.differences["recall@1"]
    return figures | {
        "precision": converted.receipt.precision,
        "bundle_bytes": len(converted.data),
        "int8_photo_val_recall_at_1": int8.figures["recall@1"],
        "int8_all_photos_top1_agreement": compared.top1_agreement,
        "int8_all_photos_cosine_mean": compared.cosine_mean,
        "int8_all_photos_cosine_p01": compared.cosine_p01,
        "int8_all_photos_recall_at_1_difference": [
            interval.difference,
            interval.low,
            interval.high,
        ],
    }


def catalogue(folder: Path, scale: Scale) -> Figures:
    """One catalogue picture a product, and nothing else."""
    model = folder / "catalogue.keras"
    trained = train(
        [scale.catalog, scale.homeshop],
        model,
        scale.catalogue,
        weights=WEIGHTS,
        backgrounds=BACKGROUNDS,
    )
    val, among = (
        found_in(model, scale.val, scale.catalog),
        found_in(model, scale.val, scale.catalog, scale.homeshop),
    )
    every = found_in(model, scale.train, scale.catalog)
    return {
        "training_minutes": trained.seconds / 60,
        "training_waited_share": trained.waited_share,
        "photo_val_recall_at_1": val.figures["recall@1"],
        "photo_val_recall_at_3": val.figures["recall@3"],
        "photo_val_among_homeshop_recall_at_1": among.figures["recall@1"],
        "photo_train_recall_at_1": every.figures["recall@1"],
        "recall_at_1_by_category": {
            name: figures["recall@1"] for name, figures in every.by_category.items()
        },
    }


def absent(folder: Path, scale: Scale) -> Figures:
    """Products that are not there, in draws of which each is a training of its own."""
    draws = [one_draw(folder, number, scale) for number in range(scale.draws)]
    figures: Figures = {"draws": draws}
    for key in draws[0]:
        figures[f"{key}_mean"] = float(np.mean([draw[key] for draw in draws]))
    return figures


def one_draw(folder: Path, number: int, scale: Scale) -> dict[str, float]:
    """One draw: kept true matches and refused absent photos, without and with homeshop."""
    with scale.catalog.open(newline="") as file:
        rows = list(csv.DictReader(file))
    drawn = np.random.default_rng([number, 20]).permutation(len(rows))[:ABSENT_PRODUCTS]
    without = frozenset(rows[each]["product_id"] for each in drawn)
    place = folder / f"draw_{number}"
    place.mkdir(exist_ok=True)
    made_by = {"commit": commit(), "options": asdict(replace(scale.draw, seed=number))}
    done = place / "figures.json"
    if done.exists():
        record = json.loads(done.read_text())
        # Not those of other code, nor of a quick run.
        if record["made_by"] == json.loads(json.dumps(made_by)):
            earlier: dict[str, float] = record["figures"]
            return earlier
    shown = place / "catalog.csv"
    folds.write(
        shown,
        [
            {**row, "image": str(scale.catalog.parent / row["image"])}
            for row in rows
            if row["product_id"] not in without
        ],
    )
    made = folds.split(scale.train, place, FOLD, without=without)
    model, bundle = place / "model.keras", place / "model.tflite"
    options = replace(scale.draw, seed=number)
    trained = train([shown, made.learned], model, options, weights=WEIGHTS)
    converted = conversion.convert(model, catalogue=shown, queries=made.held_out)
    bundle.write_bytes(converted.data)
    figures = {"training_minutes": trained.seconds / 60}
    for name, others in (("alone", None), ("among_homeshop", scale.homeshop)):
        lists = CalibrationLists(made.held_out, shown, distractors=others)
        options_of_rates = CalibrationOptions(false_reject_rate=1 - KEPT)
        calibrated = calibrated_bundle(bundle, lists, options=options_of_rates)
        calibration = calibrated.calibrated["device"].calibration
        kept, refused, photos, strangers = verdicts(
            bundle, shown, others, without, calibration, scale
        )
        figures |= {
            f"true_matches_kept_share_{name}": kept,
            f"absent_refused_share_{name}": refused,
            f"true_matches_{name}": photos,
            f"absent_photos_{name}": strangers,
        }
    done.write_text(json.dumps({"made_by": made_by, "figures": figures}))
    print(f"  draw {number}: " + ", ".join(f"{k} {v:.3g}" for k, v in figures.items()), flush=True)
    return figures


def verdicts(
    bundle: Path,
    shown: Path,
    others: Path | None,
    without: frozenset[str],
    calibration: Calibration,
    scale: Scale,
) -> tuple[float, float, int, int]:
    """Share of photo_val's true matches that are kept, and of its absent photos refused."""
    lists = EvaluationLists.read(scale.val, shown, others)
    strangers = EvaluationLists.read(scale.val, scale.catalog)
    absent_photos = tuple(entry for entry in strangers.queries if set(entry.product_ids) <= without)
    with opened(bundle) as model:
        assert model.bundle is not None
        known = embed_lists(model, lists)
        foreign = embed_lists(model, replace(strangers, queries=absent_photos)).asked
        duplicate_cosine = model.bundle.spec.duplicate_cosine
    outcomes = search_lists(known).outcomes
    right = known.gallery.shows(outcomes.entries)
    searches = simulate(
        np.concatenate([outcomes.embeddings, foreign.embeddings]),
        np.pad(right, ((0, len(foreign.entries)), (0, 0))),
        known.gallery,
        duplicate_cosine,
        np.random.default_rng(0),
        leaves_out=False,
        whole_only=True,
    )
    refused = np.array(
        [
            judge(similarity, margin, products, calibration).verdict is Verdict.NO_MATCH
            for similarity, margin, products in zip(
                searches.similarity.tolist(),
                searches.margin.tolist(),
                searches.products.tolist(),
                strict=True,
            )
        ]
    )
    true_matches = searches.is_present & searches.is_right
    return (
        float(np.mean(~refused[true_matches])),
        float(np.mean(refused[~searches.is_present])),
        int(np.count_nonzero(true_matches)),
        int(np.count_nonzero(~searches.is_present)),
    )


PARTS: dict[str, Callable[[Path, Scale], Figures]] = {
    "grocery": grocery,
    "catalogue": catalogue,
    "absent": absent,
}
GOALS = (
    ("grocery", "photo_val_recall_at_1", 0.88),
    ("grocery", "photo_val_to_photo_train_recall_at_1", 0.88),
    ("grocery", "int8_all_photos_top1_agreement", 0.975),
    ("grocery", "int8_all_photos_cosine_mean", 0.99),
    ("catalogue", "photo_val_recall_at_1", 0.50),
    ("absent", "true_matches_kept_share_alone_mean", KEPT),
    ("absent", "absent_refused_share_alone_mean", 0.60),
    ("absent", "true_matches_kept_share_among_homeshop_mean", KEPT),
    ("absent", "absent_refused_share_among_homeshop_mean", 0.60),
)


def goals(figures: Figures) -> list[dict[str, object]]:
    """An entry for each goal of the parts that were run."""
    return [
        {
            "name": f"{part}: {name}",
            "value": round(figures[part][name], 4),
            "goal": f">= {goal}",
            "met": bool(figures[part][name] >= goal),
        }
        for part, name, goal in GOALS
        if part in figures
    ]


def commit() -> str:
    """What is checked out, with "-dirty" behind it where files differ."""
    command = ["git", "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    found = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    return found.stdout.strip()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", choices=PARTS, help="some of the parts, made anew")
    parser.add_argument("--quick", action="store_true", help="a few steps of small pictures")
    parser.add_argument("--models", type=Path, help="keep the models in this folder")
    parser.add_argument("--json", type=Path, help="write figures and goals to this file")
    arguments = parser.parse_args()
    keep_freed_memory()
    figures: Figures = {}
    if arguments.json and arguments.json.exists():
        figures = json.loads(arguments.json.read_text())["figures"]
    with tempfile.TemporaryDirectory() as temporary:
        folder = arguments.models or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        scale = Scale.full()
        if arguments.quick:
            scale = scale.quick(folder)
            print("QUICK: three steps on a few small pictures show that it runs, not how well")
        for name in arguments.only or PARTS:
            if name in figures and not arguments.only:
                continue
            began = time.perf_counter()
            figures[name] = PARTS[name](folder, scale)
            figures[name]["minutes"] = (time.perf_counter() - began) / 60
            figures[name]["commit"] = commit()
            print(name, json.dumps(figures[name], indent=2), flush=True)
            if arguments.json:
                value = {"figures": figures, "goals": goals(figures)}
                arguments.json.write_text(json.dumps(value, indent=2) + "\n")
    for goal in goals(figures):
        print("reached" if goal["met"] else "MISSED ", goal["name"], goal["value"], goal["goal"])


if __name__ == "__main__":
    main()

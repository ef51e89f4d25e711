"""How well products are recognised: every figure of the converter, by one command.

    python benchmarks/recognition.py [--only PART...] [--quick] [--models DIR] [--json FILE]

- grocery: trained on the catalogue and the photos of photo_train, searched with photo_val; then
  quantized, and compared with the float model over all photos.
- catalogue: trained on catalogue pictures alone (grocery's and homeshop's), with wardrobe's photos
  as backgrounds, searched with photo_val.
- absent: ten draws of 20 products that neither training nor gallery has; thresholds are fitted on
  a fifth of photo_train held out of that training, another fifth in each draw, and measured on
  photo_val.
- mediapipe: grocery's bundle in MediaPipe's ImageEmbedder, if its environment is there (`make
  mediapipe`).

$POCKETLENS_SHARED names the folder that has data and weights (by default ../shared). Parts that are
done are kept in the file of results, each with the commit it was made at, and not made again unless
--only names them. With --models, models and draws are kept too, and a run that was stopped goes on
with them as long as the code that made them is the same: the whole takes hours.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import argparse
import csv
import hashlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
sys.path.insert(0, str(Path(__file__).resolve().parent))

import folds
import numpy as np
import numpy.typing as npt
from PIL import Image

from pocketlens.formats.bundle import Calibration
from pocketlens.image_lists import Entry
from pocketlens.query import pictures
from pocketlens_converter import conversion, report
from pocketlens_converter.allocation import keep_freed_memory
from pocketlens_converter.bundle_calibration import CalibrationLists, calibrated_bundle
from pocketlens_converter.embedding_models import embed_entries, opened
from pocketlens_converter.evaluation import (
    Evaluation,
    EvaluationLists,
    compare,
    embed_lists,
    evaluate,
    search_lists,
)
from pocketlens_converter.judging import confidences_of
from pocketlens_converter.options import CATALOGUE_ALONE, TrainOptions
from pocketlens_converter.simulation import simulate
from pocketlens_converter.training import StepReport, train

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "benchmarks" / "results" / "recognition.json"
SHARED = Path(os.environ.get("POCKETLENS_SHARED", ROOT.parent / "shared"))
DATA = SHARED / "data"
BACKGROUNDS = DATA / "wardrobe" / "images"
WEIGHTS = SHARED / "weights" / "mobilenet_v2_1.0_224_no_top.weights.h5"

MEDIAPIPE = ROOT / ".venv-mediapipe" / "bin" / "python"

DRAWS, ABSENT_PRODUCTS = 10, 20
CHECKED_BY_MEDIAPIPE = 40  # pictures
KEPT = 0.95  # of true matches
# Chosen on photos held out of photo_train: docs/training.md, "The whole run".
GROCERY = TrainOptions(
    steps=1000,
    image_size=256,
    products=19,
    in_class=15,
    out_of_class=3,
    learning_rate=1e-4,
    trained_share=0.9,
)
OF_A_DRAW = TrainOptions(steps=400, image_size=192)
Figures = dict[str, Any]
DETAILS = "details"  # of a part: what is no number
PACKAGES = frozenset(
    (
        "Juice",
        "Milk",
        "Oat-Milk",
        "Oatghurt",
        "Sour-Cream",
        "Sour-Milk",
        "Soy-Milk",
        "Soyghurt",
        "Yoghurt",
    )
)  # categories of boxes and bottles; the others are fruit and vegetables

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


def trained(
    folder: Path, name: str, lists: list[Path], options: TrainOptions, backgrounds: Path | None
) -> tuple[Path, Figures]:
    """The model of a training and what it took; not made again by the same code."""
    model, record = folder / f"{name}.keras", folder / f"{name}.json"
    made_by = {"code": code(), "options": asdict(options)}
    if model.exists() and record.exists():
        kept = json.loads(record.read_text())
        if kept["made_by"] == json.loads(json.dumps(made_by)):
            known: Figures = kept["figures"]
            return model, known
    report = train(lists, model, options, weights=WEIGHTS, backgrounds=backgrounds, progress=said)
    figures = {
        "training_minutes": report.seconds / 60,
        "training_pictures_per_second": report.pictures_per_second,
        "training_waited_share": report.waited_share,
    }
    record.write_text(json.dumps({"made_by": made_by, "figures": figures}))
    return model, figures


def said(step: StepReport) -> None:
    """A line now and then."""
    if step.step % 100 == 0:
        minutes = step.seconds / 60
        print(f"  step {step.step}, loss {step.loss:.3f}, {minutes:.1f} minutes", flush=True)


def found_in(model: Path, queries: Path, gallery: Path, others: Path | None = None) -> Evaluation:
    """An evaluation of a model file."""
    with opened(model) as embedding:
        return evaluate(embedding, EvaluationLists.read(queries, gallery, others))


def grocery(folder: Path, scale: Scale) -> Figures:
    """Several photos a product, float and int8."""
    model, figures = trained(
        folder, "grocery", [scale.catalog, scale.train], scale.grocery, backgrounds=None
    )
    val, among = (
        found_in(model, scale.val, scale.catalog),
        found_in(model, scale.val, scale.catalog, scale.homeshop),
    )
    photos = found_in(model, scale.val, scale.train)
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
    interval = compared.differences["recall@1"]
    return {
        **figures,
        **recalls("photo_val", val),
        "photo_val_among_homeshop_recall_at_1": among.figures["recall@1"],
        "photo_val_to_photo_train_recall_at_1": photos.figures["recall@1"],
        "bundle_bytes": len(converted.data),
        "int8_photo_val_recall_at_1": found_in(bundle, scale.val, scale.catalog).figures[
            "recall@1"
        ],
        "int8_all_photos_top1_agreement": compared.top1_agreement,
        "int8_all_photos_cosine_mean": compared.cosine_mean,
        "int8_all_photos_cosine_p01": compared.cosine_p01,
        "int8_all_photos_recall_at_1_difference": interval.difference,
        "int8_all_photos_recall_at_1_difference_low": interval.low,
        "int8_all_photos_recall_at_1_difference_high": interval.high,
        DETAILS: {
            "precision": converted.receipt.precision,
            "worst_products": report.worst_products(val, 5),
        },
    }


def catalogue(folder: Path, scale: Scale) -> Figures:
    """One catalogue picture a product, and nothing else."""
    model, figures = trained(
        folder,
        "catalogue",
        [scale.catalog, scale.homeshop],
        scale.catalogue,
        backgrounds=BACKGROUNDS,
    )
    val, among = (
        found_in(model, scale.val, scale.catalog),
        found_in(model, scale.val, scale.catalog, scale.homeshop),
    )
    every = found_in(model, scale.train, scale.catalog)
    return {
        **figures,
        **recalls("photo_val", val),
        "photo_val_among_homeshop_recall_at_1": among.figures["recall@1"],
        **recalls("photo_train", every),
        DETAILS: {
            "photo_train_recall_at_1_by_category": {
                name: found["recall@1"] for name, found in every.by_category.items()
            },
            "worst_products": report.worst_products(val, 5),
        },
    }


def recalls(name: str, found: Evaluation) -> Figures:
    """recall@1 and @3, of packages and of fruit too."""
    outcomes = found.outcomes
    is_package = np.array([each in PACKAGES for each in outcomes.categories])
    figures: Figures = {f"{name}_recall_at_{k}": found.figures[f"recall@{k}"] for k in (1, 3)}
    for kind, which in (("packages", is_package), ("fruit", ~is_package)):
        if which.any():
            figures[f"{name}_{kind}_recall_at_1"] = float(np.mean(outcomes.ranks[which] == 1))
    return figures


def mediapipe(folder: Path, scale: Scale) -> Figures:
    """Grocery's bundle as MediaPipe runs it, on pictures that are of the model's size already."""
    bundle, out = folder / "grocery.tflite", folder / "mediapipe.npy"
    if not MEDIAPIPE.exists() or not bundle.exists():
        print("  not run: it needs `make mediapipe` and the bundle of the part grocery")
        return {}
    with opened(bundle) as model:
        entries = EvaluationLists.read(scale.val, scale.catalog).queries[:CHECKED_BY_MEDIAPIPE]
        tensors = np.stack([pictures.tensor(entry.path, model.spec) for entry in entries])
        ours = model.embed_tensors(tensors)
    paths = [folder / f"mediapipe_{number}.png" for number in range(len(tensors))]
    for path, tensor in zip(paths, tensors, strict=True):
        Image.fromarray(tensor).save(path)
    script = ROOT / "tests" / "mediapipe" / "embed.py"
    subprocess.run([MEDIAPIPE, script, bundle, out, *paths], check=True, capture_output=True)
    cosines = (np.load(out) * ours).sum(axis=1)
    return {"least_cosine": float(cosines.min()), "pictures": len(paths)}


def absent(folder: Path, scale: Scale) -> Figures:
    """Products that are not there, in draws of which each is a training of its own."""
    draws = [one_draw(folder, number, scale) for number in range(scale.draws)]
    means = {f"{key}_mean": float(np.mean([draw[key] for draw in draws])) for key in draws[0]}
    return {**means, DETAILS: {"draws": draws}}


def one_draw(folder: Path, number: int, scale: Scale) -> dict[str, float]:
    """One draw: kept true matches and refused absent photos, without and with homeshop."""
    with scale.catalog.open(newline="") as file:
        rows = list(csv.DictReader(file))
    drawn = np.random.default_rng([number, 20]).permutation(len(rows))[:ABSENT_PRODUCTS]
    without = frozenset(rows[each]["product_id"] for each in drawn)
    place = folder / f"draw_{number}"
    place.mkdir(exist_ok=True)
    shown, bundle = place / "catalog.csv", place / "model.tflite"
    folds.write(
        shown,
        [
            {**row, "image": str(scale.catalog.parent / row["image"])}
            for row in rows
            if row["product_id"] not in without
        ],
    )
    made = folds.split(scale.train, place, number % folds.FOLDS, without=without)
    options = replace(scale.draw, seed=number)
    model, took = trained(place, "model", [shown, made.learned], options, backgrounds=None)
    converted = conversion.convert(model, catalogue=shown, queries=made.held_out)
    bundle.write_bytes(converted.data)
    strangers = [
        entry
        for entry in EvaluationLists.read(scale.val, scale.catalog).queries
        if set(entry.product_ids) <= without
    ]
    figures: dict[str, float] = {"training_minutes": took["training_minutes"]}
    for name, others in (("alone", None), ("among_homeshop", scale.homeshop)):
        lists = CalibrationLists(made.held_out, shown, distractors=others)
        calibration = calibrated_bundle(bundle, lists).calibrated["device"].calibration
        fitted = Confidences.of(bundle, made.held_out, shown, others, calibration)
        threshold = float(np.quantile(fitted.of_true_matches, 1 - KEPT))
        asked = Confidences.of(bundle, scale.val, shown, others, calibration, strangers)
        figures |= {
            f"true_matches_kept_share_{name}": float(np.mean(asked.of_true_matches >= threshold)),
            f"absent_refused_share_{name}": float(np.mean(asked.of_absent < threshold)),
            f"true_matches_{name}": len(asked.of_true_matches),
            f"absent_photos_{name}": len(asked.of_absent),
        }
    print(f"  draw {number}: " + ", ".join(f"{k} {v:.3g}" for k, v in figures.items()), flush=True)
    return figures


@dataclass(frozen=True)
class Confidences:
    """What the device's pipeline says of its first matches, in the whole gallery.

    Attributes:
        of_true_matches: float64 (n,), of photos whose product is there and found first.
        of_absent: float64 (m,), of photos whose product is not there.
    """

    of_true_matches: npt.NDArray[np.float64]
    of_absent: npt.NDArray[np.float64]

    @classmethod
    def of(
        cls,
        bundle: Path,
        photos: Path,
        shown: Path,
        others: Path | None,
        calibration: Calibration,
        strangers: Sequence[Entry] = (),
    ) -> Confidences:
        """Of `photos` and `strangers`, whose products are not there, in `shown` and `others`."""
        lists = EvaluationLists.read(photos, shown, others)
        with opened(bundle) as model:
            assert model.bundle is not None
            known = embed_lists(model, lists)
            duplicate_cosine = model.bundle.spec.duplicate_cosine
            foreign = np.zeros((0, model.spec.dim), np.float32)
            if strangers:
                foreign = embed_entries(model, strangers).embeddings
        outcomes = search_lists(known).outcomes
        right = known.gallery.shows(outcomes.entries)
        searches = simulate(
            np.concatenate([outcomes.embeddings, foreign]),
            np.pad(right, ((0, len(foreign)), (0, 0))),
            known.gallery,
            duplicate_cosine,
            np.random.default_rng(0),
            leaves_out=False,
            whole_only=True,
        )
        confidences = confidences_of(searches, calibration)
        return cls(
            confidences[searches.is_present & searches.is_right],
            confidences[~searches.is_present],
        )


PARTS: dict[str, Callable[[Path, Scale], Figures]] = {
    "grocery": grocery,
    "catalogue": catalogue,
    "absent": absent,
    "mediapipe": mediapipe,
}
GOALS = (
    ("grocery_photo_val_recall_at_1", ">=", 0.88),
    ("grocery_photo_val_to_photo_train_recall_at_1", ">=", 0.88),
    ("grocery_training_minutes", "<=", 60),
    ("grocery_int8_all_photos_top1_agreement", ">=", 0.975),
    ("grocery_int8_all_photos_cosine_mean", ">=", 0.99),
    ("catalogue_photo_val_recall_at_1", ">=", 0.50),
    ("absent_true_matches_kept_share_alone_mean", ">=", KEPT),
    ("absent_absent_refused_share_alone_mean", ">=", 0.60),
    ("absent_true_matches_kept_share_among_homeshop_mean", ">=", KEPT),
    ("absent_absent_refused_share_among_homeshop_mean", ">=", 0.60),
    ("mediapipe_least_cosine", ">=", 0.999),
)


def goals(figures: Figures) -> list[dict[str, object]]:
    """An entry for each goal whose figure is there."""
    found: list[dict[str, object]] = []
    for name, relation, goal in GOALS:
        if name in figures:
            value = figures[name]
            is_met = value >= goal if relation == ">=" else value <= goal
            found.append(
                {
                    "name": name,
                    "value": round(value, 4),
                    "goal": f"{relation} {goal}",
                    "met": bool(is_met),
                }
            )
    return found


def commit() -> str:
    """What is checked out, with "-dirty" behind it where files other than results differ."""
    here = ["git", "rev-parse", "HEAD"]
    changed = ["git", "status", "--porcelain", "--", ".", ":!benchmarks/results"]
    head, differs = (
        subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False).stdout
        for command in (here, changed)
    )
    return head.strip() + ("-dirty" if differs.strip() else "")


def code() -> list[str]:
    """What decides the figures: the trees of the packages and of the benchmarks, and what differs.

    Unlike the commit it stays when documentation or tests change, so that a run may be gone on
    with.
    """
    places = ["converter", "sdk", "benchmarks/recognition.py", "benchmarks/folds.py"]
    trees = ["git", "rev-parse", *(f"HEAD:{place}" for place in places)]
    changed = ["git", "diff", "HEAD", "--", *places]
    new = ["git", "ls-files", "--others", "--exclude-standard", "--", *places]
    known, differs, added = (
        subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False).stdout
        for command in (trees, changed, new)
    )
    digest = hashlib.sha256(differs.encode())
    for path in added.split():
        digest.update((ROOT / path).read_bytes())
    return [*known.split(), digest.hexdigest()]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", choices=PARTS, help="some of the parts, made anew")
    parser.add_argument("--quick", action="store_true", help="a few steps of small pictures")
    parser.add_argument("--models", type=Path, help="keep the models in this folder")
    parser.add_argument(
        "--json", type=Path, help=f"figures and goals (unless --quick: {RESULTS.name})"
    )
    arguments = parser.parse_args()
    keep_freed_memory()
    out = arguments.json or (None if arguments.quick else RESULTS)
    kept: Figures = {"quick": arguments.quick, "figures": {}, "details": {}, "commits": {}}
    if out is not None and out.exists():
        earlier = json.loads(out.read_text())
        if earlier["quick"] != arguments.quick:
            parser.error(f"{out} is of another kind of run. Give another file, or delete it.")
        kept = earlier
    made_at = commit()
    with tempfile.TemporaryDirectory() as temporary:
        folder = arguments.models or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        scale = Scale.full()
        if arguments.quick:
            scale = scale.quick(folder)
            print("QUICK: three steps on a few small pictures show that it runs, not how well")
        for name in arguments.only or PARTS:
            if name in kept["commits"] and not arguments.only:
                continue
            began = time.perf_counter()
            made = PARTS[name](folder, scale)
            if not made:
                continue
            kept["details"][name] = made.pop(DETAILS, {})
            made["minutes"] = (time.perf_counter() - began) / 60
            figures = {f"{name}_{key}": value for key, value in made.items()}
            kept["figures"] |= figures
            kept["commits"][name] = made_at
            kept["goals"] = goals(kept["figures"])
            print(json.dumps(figures, indent=2), flush=True)
            if out is not None:
                out.write_text(json.dumps(kept, indent=2) + "\n")
    for goal in goals(kept["figures"]):
        print("reached" if goal["met"] else "MISSED ", goal["name"], goal["value"], goal["goal"])


if __name__ == "__main__":
    main()

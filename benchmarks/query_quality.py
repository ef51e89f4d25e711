"""What a server adds to a phone: products found first, by the phone, by a server, and by both.

    python benchmarks/query_quality.py [--quick] [--models DIR] [--json FILE]

A model is trained on grocery's catalogue and four fifths of photo_train, as recognition.py does it,
quantized, and calibrated with the other fifth. Then every photo of photo_val is searched in the
catalogue, without and with homeshop's pictures beside it:

- device: the SDK, int8 model and codes.
- embedding: the int8 model's vectors, exactly, as a server has them; 512 bytes leave the phone.
- photo: the float model's vectors, exactly; a photo leaves the phone.
- hybrid: the phone's answer where its verdict is MATCH, and the server's for the others, whose
  share is told.

Differences to the phone come with the interval that a paired bootstrap over the photos gives. With
--models the model is kept, and not trained again as long as the code that made it is the same.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import argparse
import csv
import json
import sys
import tempfile
from pathlib import Path

import folds
import numpy as np
import numpy.typing as npt
import recognition
from recognition import Figures, Scale, found_in, trained

from pocketlens import Lens, indexing
from pocketlens.image_lists import Entry
from pocketlens.results import SearchResult, Verdict
from pocketlens_converter import conversion
from pocketlens_converter.allocation import keep_freed_memory
from pocketlens_converter.bootstrap import interval
from pocketlens_converter.bundle_calibration import CalibrationLists, calibrated_bundle
from pocketlens_converter.evaluation import Evaluation

FOLD = 0  # of photo_train, which is held out

Bools = npt.NDArray[np.bool_]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a few steps of small pictures")
    parser.add_argument("--models", type=Path, help="keep the model in this folder")
    parser.add_argument("--json", type=Path, help="write figures there")
    arguments = parser.parse_args()
    keep_freed_memory()
    with tempfile.TemporaryDirectory() as temporary:
        folder = arguments.models or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        scale = Scale.full()
        if arguments.quick:
            scale = scale.quick(folder)
            talk("QUICK: three steps on a few small pictures show that it runs, not how well")
        figures: Figures = {"quick": arguments.quick, "commit": recognition.commit()}
        fold = folds.split(scale.train, folder, FOLD)
        model, took = trained(
            folder, "query", [scale.catalog, fold.learned], scale.grocery, backgrounds=None
        )
        figures |= took
        converted = conversion.convert(model, catalogue=scale.catalog, queries=fold.held_out)
        for name, others in (("alone", None), ("among_homeshop", scale.homeshop)):
            place = folder / name
            place.mkdir(exist_ok=True)
            bundle = place / "query.tflite"
            bundle.write_bytes(converted.data)
            lists = CalibrationLists(fold.held_out, scale.catalog, distractors=others)
            bundle.write_bytes(calibrated_bundle(bundle, lists, float_model=model).data)
            found = _measured(place, scale, bundle, model, others)
            figures |= {f"{name}_{key}": value for key, value in found.items()}
            talk(json.dumps(found, indent=1))
    text = json.dumps({"figures": figures}, indent=1) + "\n"
    if arguments.json:
        arguments.json.write_text(text)
    else:
        sys.stdout.write(text)
    return 0


def _measured(place: Path, scale: Scale, bundle: Path, model: Path, others: Path | None) -> Figures:
    evaluations = {
        "embedding": found_in(bundle, scale.val, scale.catalog, others),
        "photo": found_in(model, scale.val, scale.catalog, others),
    }
    right = {name: _is_right(each) for name, each in evaluations.items()}
    entries = evaluations["photo"].outcomes.entries
    right["device"], is_sure = _of_device(place, scale.catalog, others, bundle, entries)
    for name in ("embedding", "photo"):
        right[f"hybrid_{name}"] = np.where(is_sure, right["device"], right[name])
    figures: Figures = {"photos": len(entries), "sent_share": float(np.mean(~is_sure))}
    for name, hits in right.items():
        figures[f"{name}_recall_at_1"] = float(np.mean(hits))
        if name != "device":
            found = interval(right["device"], hits, np.random.default_rng(0))
            figures[f"{name}_beside_device"] = found.difference
            figures[f"{name}_beside_device_low"] = found.low
            figures[f"{name}_beside_device_high"] = found.high
    sure = right["device"][is_sure]
    figures["device_match_is_right_share"] = float(np.mean(sure)) if len(sure) else None
    return figures


def _is_right(evaluation: Evaluation) -> Bools:
    return np.asarray(evaluation.outcomes.ranks == 1)


def _of_device(
    place: Path, catalog: Path, others: Path | None, bundle: Path, entries: tuple[Entry, ...]
) -> tuple[Bools, Bools]:
    """Whether the phone is right about each photo, and whether it says MATCH."""
    listed = _together(place / "catalogue.csv", catalog, others)
    indexing.index(listed, model=bundle, out=place / "store", rng=np.random.default_rng(0))
    is_right, is_sure = [], []
    with Lens.open(place / "store") as lens:
        for entry in entries:
            found = lens.search(entry.path, 1)
            is_right.append(bool(_shown(found) & set(entry.product_ids)))
            is_sure.append(found.verdict is Verdict.MATCH)
    return np.array(is_right), np.array(is_sure)


def _shown(found: SearchResult) -> set[str]:
    """Products of the first match."""
    matches = found.matches[:1]
    return {each.id for match in matches for each in (match.product, *match.alternatives)}


def _together(out: Path, catalog: Path, others: Path | None) -> Path:
    """The list of a catalogue, with products of another which have other ids."""
    rows = []
    for path, prefix in ((catalog, ""), (others, "other-")):
        if path is None:
            continue
        with path.open(newline="") as file:
            for row in csv.DictReader(file):
                image = (path.parent / row["image"]).resolve()
                rows.append({"image": str(image), "product_id": prefix + row["product_id"]})
    folds.write(out, rows)
    return out


def talk(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    raise SystemExit(main())

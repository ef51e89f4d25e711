"""Whether the heat of an explanation lies where the evidence does, and what it costs.

Ten photos of grocery are explained. Covering the hottest tenth of each, with its mean colour and
with a blur, has to cost more similarity than covering the same shape elsewhere in it. Products are
cut out of the catalogue and put on photos of clothes, where it is known in which box they are: the
share of heat in it, against the share of the photo that it is. Photos whose best match is wrong
do not count: there is no evidence to find. And every photo is compared with every catalogue
picture: how often the verdict on a pair is right.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import csv
import math
import os
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from time import process_time

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageFilter

from pocketlens.explaining.comparing import judgement
from pocketlens.explaining.explanation import Explanation, explain
from pocketlens.indexing import index
from pocketlens.open_install import OpenInstall, Settings
from pocketlens.options import PictureLimits, SearchOptions
from pocketlens.query.embedder import Embedder
from pocketlens.results import Verdict

DATA = Path(os.environ.get("POCKETLENS_SHARED", "../shared")) / "data"
CATALOG, PHOTO_VAL = (DATA / "grocery" / f"{name}.csv" for name in ("catalog", "photo_val"))
PHOTOS, QUICK_PHOTOS = 10, 3
PLANTED, QUICK_PLANTED = 16, 3
SIDE = 320  # pixels of a photo with a planted product
ELSEWHERE = 5  # places that the hottest tenth is moved to
WHITE = 240  # levels from which a pixel of a catalogue picture is its ground

Pixels = npt.NDArray[np.uint8]
Mask = npt.NDArray[np.bool_]


def measured(
    model: Path, *, quick: bool = False, seed: int = 12, drawings: Path | None = None
) -> dict[str, float]:
    """Figures of a bundle; `drawings` is a folder for what the explanations look like."""
    rng = np.random.default_rng(seed)
    with _opened(model) as install:
        figures = _of_photos(install, QUICK_PHOTOS if quick else PHOTOS, rng, drawings)
        figures |= _of_planted(install, QUICK_PLANTED if quick else PLANTED, rng, drawings)
    figures |= _of_pairs(model, 10 if quick else 2)
    return {f"explanation_{name}": round(value, 4) for name, value in figures.items()}


def goals_of(figures: dict[str, float]) -> list[dict[str, object]]:
    """The goals that these figures are there to show; a model that finds nothing shows none."""

    def figure(name: str) -> float:
        return figures.get(f"explanation_{name}", math.nan)

    goals = [
        (
            "similarity lost with the hottest tenth covered: twice that of another, or more",
            figure("hottest_tenth_lost_similarity"),
            2 * max(figure("other_tenth_lost_similarity"), 0),
        ),
        (
            "share of heat in the product's box: twice the box's share of the photo, or more",
            figure("heat_in_box_share"),
            2 * figure("box_area_share"),
        ),
        ("explanations a second", 1 / figure("p50_s"), 1),
    ]
    return [
        {
            "name": f"explanation: {name}",
            "value": round(value, 4),
            "goal": f">= {goal:.4g}",
            "met": value >= goal,
        }
        for name, value, goal in goals
        if math.isfinite(value)
    ]


def _of_photos(
    install: OpenInstall, count: int, rng: np.random.Generator, drawings: Path | None
) -> dict[str, float]:
    lost: dict[str, list[float]] = {"hottest": [], "other": []}
    seconds: list[float] = []
    cpu_seconds: list[float] = []  # the same, however busy the machine is
    photos = _shuffled(PHOTO_VAL, rng)
    explain(install, photos[0][0])  # what loads, loads here
    for path, product in photos:
        if not _is_found(install, path, product):
            continue
        began = process_time()
        why = explain(install, path)
        cpu_seconds.append(process_time() - began)
        seconds.append(why.seconds)
        for name, values in _lost_by_covering(install, why, rng).items():
            lost[name].append(float(np.mean(values)))
        if drawings is not None:
            picture = CATALOG.parent / why.match.image.id
            (drawings / f"{path.stem}.png").write_bytes(why.png(picture))
        if len(seconds) == count:
            break
    if not seconds:
        return {}
    more = np.array(lost["hottest"]) > np.array(lost["other"])
    return {
        "hottest_tenth_lost_similarity": float(np.mean(lost["hottest"])),
        "other_tenth_lost_similarity": float(np.mean(lost["other"])),
        "hottest_tenth_loses_more_share": float(np.mean(more)),
        "p50_s": float(np.median(seconds)),
        "p50_cpu_s": float(np.median(cpu_seconds)),
    }


def _is_found(install: OpenInstall, photo: Path | Pixels, product: str) -> bool:
    found = install.answer(install.embedded(photo), 1)
    return found.matches[0].product.id == product


def _lost_by_covering(
    install: OpenInstall, why: Explanation, rng: np.random.Generator
) -> dict[str, list[float]]:
    """Similarity lost with the hottest tenth covered, and with its shape moved elsewhere."""
    heat = _spread(why.heat, why.photo.shape)
    hottest = heat > np.quantile(heat, 0.9)
    blurred = Image.fromarray(why.photo).filter(ImageFilter.GaussianBlur(max(heat.shape) / 8))
    covers = [why.photo.mean(axis=(0, 1)).astype(np.uint8), np.asarray(blurred)]

    def lost(mask: Mask) -> list[float]:
        changed = [np.where(mask[..., None], cover, why.photo) for cover in covers]
        return [before - _similarity(install, each, why) for each in changed]

    before = _similarity(install, why.photo, why)
    moves = rng.integers(0, heat.shape, (ELSEWHERE, 2))
    other = [each for move in moves for each in lost(np.roll(hottest, move, (0, 1)))]
    return {"hottest": lost(hottest), "other": other}


def _similarity(install: OpenInstall, photo: Pixels, why: Explanation) -> float:
    embedding = install.embedder().embed(photo)
    key = install.reader.image_keys([why.match.image.id])[why.match.image.id]
    code = install.reader.codes_of(np.array([key], np.uint32))[0]
    return float(embedding * install.reader.facts.scale / 127 @ code)


def _of_planted(
    install: OpenInstall, count: int, rng: np.random.Generator, drawings: Path | None
) -> dict[str, float]:
    in_box, area, pointed = [], [], []
    grounds = [path for path, _ in _shuffled(DATA / "wardrobe" / "wardrobe.csv", rng)]
    for path, product in _shuffled(CATALOG, rng):
        cutout = _cut_out(path)
        if cutout is None:
            continue
        photo, box = _planted(cutout, grounds.pop(), rng)
        if not _is_found(install, photo, product):
            continue
        why = explain(install, photo)
        heat = np.clip(_spread(why.heat, photo.shape), 0, None)
        in_box.append(float(heat[box].sum() / heat.sum()))
        area.append(float(box.mean()))
        pointed.append(bool(box[np.unravel_index(heat.argmax(), heat.shape)]))
        if drawings is not None:
            (drawings / f"planted_{product}.png").write_bytes(why.png(path))
        if len(area) == count:
            break
    if not area:
        return {}
    return {
        "planted_photos": len(area),
        "heat_in_box_share": float(np.mean(in_box)),
        "box_area_share": float(np.mean(area)),
        "hottest_cell_in_box_share": float(np.mean(pointed)),
    }


def _of_pairs(model: Path, every: int) -> dict[str, float]:
    """Verdicts on pairs of one photo in `every` and a catalogue picture; none without them."""
    photos = list(_pictures(PHOTO_VAL))[::every]
    pictures = list(_pictures(CATALOG))
    with Embedder.open(model, accelerator="cpu") as embedder:
        if not embedder.bundle.calibrations:
            return {}
        asked, shown = (
            embedder.embed_many([path for path, _ in each]) for each in (photos, pictures)
        )
        verdicts: dict[bool, Counter[Verdict]] = {True: Counter(), False: Counter()}
        for (_, photo), row in zip(photos, (asked @ shown.T).tolist(), strict=True):
            for (_, picture), similarity in zip(pictures, row, strict=True):
                judged = judgement(similarity, embedder.bundle)
                verdicts[photo == picture][judged.verdict] += 1
    return {
        f"pairs_{name}_{verdict.value}_share": verdicts[is_same][verdict]
        / verdicts[is_same].total()
        for is_same, name in ((True, "same"), (False, "different"))
        for verdict in Verdict
    }


def _cut_out(path: Path) -> Image.Image | None:
    """A product without its white ground, RGBA; None where there is no such ground."""
    pixels = np.asarray(Image.open(path).convert("RGB"))
    shown = (pixels < WHITE).any(axis=-1)
    border = np.concatenate([shown[0], shown[-1], shown[:, 0], shown[:, -1]])
    if border.any() or shown.mean() < 0.05:
        return None
    alpha = Image.fromarray(np.uint8(255 * shown))
    whole = Image.merge("RGBA", (*Image.fromarray(pixels).split(), alpha))
    return whole.crop(alpha.getbbox())


def _planted(cutout: Image.Image, ground: Path, rng: np.random.Generator) -> tuple[Pixels, Mask]:
    """A photo with a product in it, and where."""
    scale = rng.uniform(0.35, 0.6) * SIDE / max(cutout.size)
    body = cutout.resize((max(8, int(cutout.width * scale)), max(8, int(cutout.height * scale))))
    photo = Image.open(ground).convert("RGB").resize((SIDE, SIDE))
    left, top = (int(rng.integers(0, SIDE - side)) for side in body.size)
    photo.paste(body, (left, top), body)
    box = np.zeros((SIDE, SIDE), np.bool_)
    box[top : top + body.height, left : left + body.width] = True
    return np.asarray(photo), box


def _spread(heat: npt.NDArray[np.float32], shape: tuple[int, ...]) -> npt.NDArray[np.float32]:
    """Heat of cells at every pixel."""
    size = shape[1], shape[0]
    return np.asarray(Image.fromarray(heat).resize(size, Image.Resampling.BICUBIC))


def _opened(model: Path) -> closing[OpenInstall]:
    """A store of grocery's catalogue; its folder may go when it is open."""
    with tempfile.TemporaryDirectory() as work:
        index(CATALOG, model=model, out=Path(work) / "store")
        settings = Settings(SearchOptions(), "cpu", PictureLimits())
        return closing(OpenInstall.opened(Path(work) / "store", settings))


def _shuffled(image_list: Path, rng: np.random.Generator) -> list[tuple[Path, str]]:
    listed = list(_pictures(image_list))
    return [listed[place] for place in rng.permutation(len(listed)).tolist()]


def _pictures(image_list: Path) -> Iterator[tuple[Path, str]]:
    with image_list.open(newline="") as file:
        for row in csv.DictReader(file):
            yield image_list.parent / row["image"], row.get("product_id", "")

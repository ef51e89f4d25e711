"""Duplicates in a generated catalogue: what is found of planted ones, what else is, time, memory.

100,000 pictures, each two things of `homeshop` side by side, so that many share a thing with
others and are no copies. Planted are copies of some (the same file, saved anew, cropped by a tenth,
scaled, mirrored, tinted) and look-alikes (one thing in another colour, a sticker on it), which are
not.

- near: what `pocketlens duplicates STORE LIST` tells, as a process of its own on two cores.
- same: what codes alone tell, at the bundle's cosine and others.
- ours: photos made of the catalogue's pictures, and others, asked with `recognise`.
- homeshop: how many groups there are in a real catalogue, to be looked at with --sheet.

Precision is by pairs of images in one group, so that one large wrong group counts for all of it.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import csv
import io
import json
import os
import resource
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps

import pocketlens
from pocketlens import duplicates, image_lists

Figures = dict[str, Any]
Pixels = npt.NDArray[np.uint8]

ROOT = Path(__file__).resolve().parent.parent
SHARED = Path(os.environ.get("POCKETLENS_SHARED", ROOT.parent / "shared"))
HOMESHOP = SHARED / "data" / "homeshop" / "catalog.csv"
PICTURES, PLANTED, ASKED = 100_000, 500, 100
QUICK_PICTURES, QUICK_PLANTED, QUICK_ASKED = 600, 20, 5
SIDE = 256
COSINES = (0.95, 0.97, 0.98, 0.99)
SECONDS = 180


def measured(model: Path, *, quick: bool = False) -> Figures:
    """Figures of a bundle."""
    count, planted, asked = (
        (QUICK_PICTURES, QUICK_PLANTED, QUICK_ASKED) if quick else (PICTURES, PLANTED, ASKED)
    )
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        made = Made(folder, np.random.default_rng(12), count, planted)
        store = folder / "store"
        began = perf_counter()
        pocketlens.index(made.list, model=model, out=store)
        figures: Figures = {"pictures": count, "embedding_s": round(perf_counter() - began, 1)}
        figures |= _near(store, made)
        figures |= _same(store, made)
        figures |= _ours(store, made, asked)
        if not quick:
            figures |= _homeshop(model, folder / "homeshop")
    return {f"duplicates_{key}": value for key, value in figures.items()}


def goals_of(figures: Figures) -> list[dict[str, object]]:
    """That copies are found, and little else, in three minutes once embedded."""
    at_least = {
        "near_recall_reencoded": 0.99,
        "near_recall_scaled": 0.99,
        "near_recall_mirrored": 0.98,
        "near_recall_tinted": 0.9,
        "near_recall_cropped": 0.8,
        "near_precision": 0.95,
    }
    goals = [
        {
            "name": f"duplicates, {name} >= {goal}",
            "value": value,
            "goal": goal,
            "met": value >= goal,
        }
        for name, goal in at_least.items()
        for value in [figures[f"duplicates_{name}"]]
    ]
    seconds = figures["duplicates_near_s"]
    name = f"duplicates, near_s <= {SECONDS} for {figures['duplicates_pictures']:,} pictures"
    return [*goals, {"name": name, "value": seconds, "goal": SECONDS, "met": seconds <= SECONDS}]


class Made:
    """A catalogue in a folder.

    Attributes:
        list: Its image list.
        origin: Of each image id, the number of the picture that it is; look-alikes have their own.
        copies: Of each kind, ids of the copy, or look-alike, and of the picture it was made of.
    """

    def __init__(self, folder: Path, rng: np.random.Generator, count: int, planted: int) -> None:
        self._things = [_thing(each.path) for each in image_lists.read(HOMESHOP).entries]
        self._sold: set[frozenset[int]] = set()
        self.rng, self.folder = rng, folder
        self.list = folder / "list.csv"
        self.origin: dict[str, int] = {}
        self.copies: dict[str, list[tuple[str, str]]] = {}
        (folder / "pictures").mkdir()
        kinds = [*COPIES, *LOOK_ALIKES]
        bases = count - planted * len(kinds)
        for number in range(bases):
            data = self.picture()
            self._write(f"base-{number}", data, number)
            if number < planted * len(kinds):
                kind = kinds[number % len(kinds)]
                copy = f"{kind}-{number}"
                altered = data if kind == "exact" else jpeg(self.altered(kind, opened(data)), rng)
                self._write(copy, altered, number if kind in COPIES else bases + number)
                self.copies.setdefault(kind, []).append((copy, f"base-{number}"))
        with self.list.open("w", newline="") as file:
            rows = csv.writer(file)
            rows.writerow(["image", "product_id", "image_id"])
            rows.writerows([f"pictures/{name}.jpg", name, name] for name in self.origin)

    def picture(self) -> bytes:
        """Two things on white, as a shop would sell a set."""
        sheet = np.full((SIDE, SIDE, 3), 255, np.uint8)
        while True:  # of two things no second set: by chance it would be a copy
            pair = self.rng.choice(len(self._things), 2, replace=False).tolist()
            if frozenset(pair) not in self._sold:
                break
        self._sold.add(frozenset(pair))
        for corner, number in zip((0, SIDE * 2 // 5), pair, strict=True):
            thing = self._things[number]
            side = int(self.rng.integers(SIDE // 2, SIDE * 3 // 5))
            small = np.asarray(Image.fromarray(thing).resize((side, side)))
            top, left = (
                min(SIDE - side, corner + int(self.rng.integers(0, SIDE // 8))) for _ in "yx"
            )
            part = sheet[top : top + side, left : left + side]
            np.minimum(part, small, out=part)
        return jpeg(Image.fromarray(sheet), self.rng, quality=90)

    def altered(self, kind: str, picture: Image.Image) -> Image.Image:
        """A copy or look-alike of a picture."""
        if kind == "stickered":
            thing = self._things[int(self.rng.integers(len(self._things)))]
            sticker = Image.fromarray(thing).resize((SIDE // 6, SIDE // 6))
            left, top = (int(each) for each in self.rng.integers(SIDE // 4, SIDE // 2, 2))
            picture.paste(sticker, (left, top))
            return picture
        return ALTERATIONS[kind](picture, self.rng)

    def _write(self, name: str, data: bytes, origin: int) -> None:
        (self.folder / "pictures" / f"{name}.jpg").write_bytes(data)
        self.origin[name] = origin


def cropped(picture: Image.Image, rng: np.random.Generator, kept: float = 0.9) -> Image.Image:
    width, height = (round(side * kept) for side in picture.size)
    left = int(rng.integers(0, picture.width - width + 1))
    top = int(rng.integers(0, picture.height - height + 1))
    return picture.crop((left, top, left + width, top + height))


def scaled(picture: Image.Image, rng: np.random.Generator) -> Image.Image:
    factor = float(rng.choice([rng.uniform(0.4, 0.7), rng.uniform(1.3, 2)]))
    size = round(picture.width * factor), round(picture.height * factor)
    return picture.resize(size, Image.Resampling.BICUBIC)


def tinted(picture: Image.Image, rng: np.random.Generator) -> Image.Image:
    gains = rng.uniform(0.88, 1.05) * rng.uniform(0.95, 1.05, 3)
    return Image.fromarray(np.clip(np.asarray(picture) * gains, 0, 255).astype(np.uint8))


def recoloured(picture: Image.Image, rng: np.random.Generator) -> Image.Image:
    """The colours of one thing, the lower one, turned by a third to two thirds of the circle."""
    hue, saturation, value = picture.convert("HSV").split()
    turn = int(rng.integers(85, 170))
    levels = np.asarray(saturation).astype(np.int64)
    coloured = np.where(np.asarray(value) < 250, np.maximum(levels, 110), levels).astype(np.uint8)
    turned = Image.merge(
        "HSV", (hue.point(lambda each: (each + turn) % 256), Image.fromarray(coloured), value)
    ).convert("RGB")
    half = (0, picture.height // 2, picture.width, picture.height)
    picture.paste(turned.crop(half), half[:2])
    return picture


ALTERATIONS: dict[str, Callable[[Image.Image, np.random.Generator], Image.Image]] = {
    "reencoded": lambda picture, rng: opened(jpeg(picture, rng, quality=50)),
    "cropped": cropped,
    "scaled": scaled,
    "mirrored": lambda picture, rng: ImageOps.mirror(picture),
    "tinted": tinted,
    "cropped_by_a_fifth": lambda picture, rng: cropped(picture, rng, 0.8),
    "mirrored_and_cropped": lambda picture, rng: cropped(ImageOps.mirror(picture), rng),
    "recoloured": recoloured,
}
COPIES = ("exact", "reencoded", "cropped", "scaled", "mirrored", "tinted")
LOOK_ALIKES = ("recoloured", "stickered")
ASKED_KINDS = (*COPIES[1:], "cropped_by_a_fifth", "mirrored_and_cropped")


def _near(store: Path, made: Made) -> Figures:
    """The command as a process of its own, on two cores."""
    cores = sorted(os.sched_getaffinity(0))[:2]
    program = "from pocketlens.cli import main; import sys; sys.exit(main(sys.argv[1:]))"
    command = [sys.executable, "-c", program, "duplicates", str(store), str(made.list), "--json"]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    began = perf_counter()
    done = subprocess.run(
        command,
        check=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        preexec_fn=lambda: os.sched_setaffinity(0, cores),
    )
    seconds = perf_counter() - began
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    found = json.loads(done.stdout)
    exact, near = (
        [[image["id"] for image in group["images"]] for group in found[kind]]
        for kind in ("exact", "near")
    )
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    figures: Figures = {
        "near_s": round(seconds, 1),
        "near_cpu_s": round(cpu, 1),
        "near_peak_bytes": after.ru_maxrss * 1024,
        "exact_recall": _recall(exact, made.copies["exact"]),
        "exact_precision": _precision(exact, made.origin),
        "near_precision": _precision(near, made.origin),
        "near_largest_group": max(map(len, near), default=0),
    }
    for kind, pairs in made.copies.items():
        word = "recall" if kind in COPIES else "false"
        figures[f"near_{word}_{kind}"] = _recall([*exact, *near], pairs)
    return figures


def _same(store: Path, made: Made) -> Figures:
    """By codes alone."""
    figures: Figures = {}
    for cosine in COSINES:
        options = duplicates.DuplicateOptions(cosine=cosine)
        began = perf_counter()
        found = duplicates.find(store, options=options)
        groups = [[copy.image.id for copy in group.copies] for group in found.same]
        name = f"same_at_{cosine:.2f}"
        figures[f"{name}_s"] = round(perf_counter() - began, 1)
        figures[f"{name}_precision"] = _precision(groups, made.origin)
        figures[f"{name}_largest_group"] = max(map(len, groups), default=0)
        for kind, pairs in made.copies.items():
            figures[f"{name}_recall_{kind}"] = _recall(groups, pairs)
    return figures


def _ours(store: Path, made: Made, asked: int) -> Figures:
    """Photos made of the catalogue's pictures, and of others, with its pictures and without."""
    folder = made.folder / "asked"
    folder.mkdir()
    kinds: dict[str, list[Path]] = {}
    for kind in (*ASKED_KINDS, *LOOK_ALIKES, "others"):
        for number in range(asked):
            base = (made.folder / "pictures" / f"base-{number}.jpg").read_bytes()
            picture = (
                opened(made.picture()) if kind == "others" else made.altered(kind, opened(base))
            )
            path = folder / f"{kind}-{number}.jpg"
            path.write_bytes(jpeg(picture, made.rng))
            kinds.setdefault(kind, []).append(path)
    figures: Figures = {}
    everything = [path for paths in kinds.values() for path in paths]
    for name, listed in (("with_pictures", made.list), ("by_codes", None)):
        began = perf_counter()
        ours = Counter()
        for path, answer in zip(
            everything, duplicates.recognise(store, everything, listed), strict=True
        ):
            assert isinstance(answer, duplicates.Recognised)
            kind, _, number = path.stem.rpartition("-")
            is_ours = answer.kind in (("exact", "near") if listed else ("same",))
            if kind in ASKED_KINDS:
                is_ours = is_ours and answer.seen[0].copy.image.id.endswith(f"-{number}")
            ours[kind] += is_ours
        for kind in kinds:
            word = "false" if kind in (*LOOK_ALIKES, "others") else "recall"
            figures[f"ours_{name}_{word}_{kind}"] = ours[kind] / asked
        spent = (perf_counter() - began) / len(everything)
        figures[f"ours_{name}_ms_a_photo"] = round(spent * 1000, 1)
    return figures


def _homeshop(model: Path, store: Path) -> Figures:
    pocketlens.index(HOMESHOP, model=model, out=store)
    found = duplicates.find(store, HOMESHOP)
    return {
        f"homeshop_{kind}_groups": len(groups)
        for kind, groups in (("exact", found.exact), ("near", found.near), ("same", found.same))
    }


def _recall(groups: Iterable[Sequence[str]], pairs: Sequence[tuple[str, str]]) -> float:
    """Share of pairs that are in one group."""
    numbers: dict[str, set[int]] = {}
    for number, group in enumerate(groups):
        for name in group:
            numbers.setdefault(name, set()).add(number)
    nothing: set[int] = set()
    hits = [bool(numbers.get(a, nothing) & numbers.get(b, nothing)) for a, b in pairs]
    return round(float(np.mean(hits)), 4)


def _precision(groups: Iterable[Sequence[str]], origin: dict[str, int]) -> float:
    """Share of the pairs of images in one group that are one picture; 1 where there are none."""
    right = total = 0
    for group in groups:
        counts = Counter(origin[name] for name in group)
        right += sum(n * (n - 1) // 2 for n in counts.values())
        total += len(group) * (len(group) - 1) // 2
    return round(right / total, 4) if total else 1.0


def _thing(path: Path) -> Pixels:
    return np.asarray(Image.open(path).convert("RGB").resize((SIDE, SIDE)))


def opened(data: bytes) -> Image.Image:
    return Image.open(io.BytesIO(data)).convert("RGB")


def jpeg(picture: Image.Image, rng: np.random.Generator, quality: int | None = None) -> bytes:
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=quality or int(rng.integers(75, 93)))
    return file.getvalue()

"""An evaluation as one page that needs no network, with its pictures beside it.

    write(Path("pictures"), Reported(evaluations, comparison, floors, judged), receipt)

A picture that cannot be drawn is named on the page in its place, and the rest goes on: a report is
never worth a model.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from pocketlens import durable_files
from pocketlens.report import pages
from pocketlens_converter import charts, contact_sheets, receipt_page
from pocketlens_converter.contact_sheets import Found, Row
from pocketlens_converter.evaluation import Comparison, Evaluation
from pocketlens_converter.galleries import Gallery
from pocketlens_converter.judging import Judged
from pocketlens_converter.receipt import Receipt

logger = logging.getLogger(__name__)

QUERIES_SHOWN = 6  # the best, and as many of the worst
FIGURES = ("recall@1", "recall@3", "recall@10", "mAP", "absolute_accuracy")
IN_CATEGORY = ("distance_accuracy", "distance_accuracy_top_3", "mAP_in_category")
PAGE = "report.html"
# Pictures by name, in the order of the page: their titles, and what they show.
TITLES = {
    "recall_by_catalogue_size": (
        "Recall by size of the catalogue",
        "Expected for catalogues drawn at random from this one, the right product among them.",
    ),
    "similarities": (
        "Similarities",
        "Of each photo to the right and to the best wrong one; thresholds at the middle margin.",
    ),
    "confidences": (
        "Confidences and thresholds",
        "Every photo searched with its product in the gallery, and without.",
    ),
    "reliability": ("Reliability", "Numbers are searches; the dotted line is perfect."),
    "contact_sheet": (
        "Best and worst photos",
        "By the lead of the right product over the best wrong one; green is right.",
    ),
}


@dataclass(frozen=True, slots=True)
class Reported:
    """What a report tells.

    Attributes:
        evaluations: One model, or two on the same photos; the first is what is reported.
        gallery: What the first was searched in.
        comparison: Of the two, or None.
        floors: Evaluations of what needs no network.
        judged: Confidences of the first model's matches; None where it has no calibration.
        held_apart: Figures of the first model by "held out" and "others"; empty if nothing is.
        receipt: Of the first model's conversion, where it has one.
    """

    evaluations: Sequence[Evaluation]
    gallery: Gallery
    comparison: Comparison | None = None
    floors: Sequence[Evaluation] = ()
    judged: Judged | None = None
    held_apart: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    receipt: Receipt | None = None


def write(folder: Path, reported: Reported) -> tuple[str, ...]:
    """Writes pictures and `report.html` to `folder`, which is made if it is missing.

    Returns:
        What could not be drawn, and why.

    Raises:
        StoreFull: The disk has no room.
        StoreReadOnly: The folder cannot be written to.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name in TITLES:  # of an earlier report
            (folder / f"{name}.png").unlink(missing_ok=True)
    except OSError as exc:
        raise durable_files.translated(exc, folder) from exc
    drawn, problems = _drawn(reported)
    for name, png in drawn.items():
        durable_files.write_file(folder / f"{name}.png", png)
    text = pages.page(
        f"Evaluation of {reported.evaluations[0].model}", _sections(reported, drawn, problems)
    )
    durable_files.write_file(folder / PAGE, text.encode())
    return tuple(problems)


def worst_products(evaluation: Evaluation, count: int) -> list[tuple[str, int, int, str]]:
    """The products whose photos are missed most: id, photos, misses, what is found instead."""
    photos: dict[str, list[int]] = {}
    for row, entry in enumerate(evaluation.outcomes.entries):
        photos.setdefault(entry.product_ids[0], []).append(row)
    found = []
    for product, rows in photos.items():
        misses = [row for row in rows if evaluation.outcomes.ranks[row] > 1]
        instead = [evaluation.outcomes.first[row][0] for row in misses]
        most = max(sorted(set(instead)), key=instead.count, default="")
        found.append((product, len(rows), len(misses), most))
    return sorted(found, key=lambda each: (-each[2], each[0]))[:count]


def _drawn(reported: Reported) -> tuple[dict[str, bytes], list[str]]:
    first = reported.evaluations[0]
    top, judged = first.outcomes.top, reported.judged
    curves = {
        f"{each.model} ({each.pipeline})": (each.outcomes.ranks, each.products)
        for each in reported.evaluations
    }
    curves |= {each.model: (each.outcomes.ranks, each.products) for each in reported.floors}
    wanted: dict[str, Callable[[], bytes]] = {
        "recall_by_catalogue_size": lambda: charts.recall_by_catalogue_size(curves),
        "similarities": lambda: charts.similarity_histogram(
            top.right, top.wrong, judged.similarity_thresholds if judged else None
        ),
    }
    if judged is not None:
        wanted["confidences"] = lambda: charts.confidence_histogram(
            judged.confidences[judged.is_right],
            judged.confidences[~judged.is_right],
            judged.thresholds,
        )
        wanted["reliability"] = lambda: charts.reliability(judged.confidences, judged.is_right)
    wanted["contact_sheet"] = lambda: _contact_sheet(first, reported.gallery, judged)
    drawn: dict[str, bytes] = {}
    problems: list[str] = []
    for name, draw in wanted.items():
        try:
            drawn[name] = draw()
        except Exception as exc:  # whatever it is: the figures must not be lost with a picture
            logger.debug("report.failed picture=%s", name, exc_info=True)
            problems.append(f"{name} could not be drawn: {exc}")
    return drawn, problems


def _contact_sheet(evaluation: Evaluation, gallery: Gallery, judged: Judged | None) -> bytes:
    outcomes = evaluation.outcomes
    lead = outcomes.top.right - outcomes.top.wrong
    order = np.argsort(-lead, kind="stable").tolist()
    best, worst = order[:QUERIES_SHOWN], order[::-1][:QUERIES_SHOWN]
    return contact_sheets.png(
        [
            ("Best photos", [_row(evaluation, gallery, row, judged) for row in best]),
            ("Worst photos", [_row(evaluation, gallery, row, judged) for row in worst]),
        ]
    )


def _row(evaluation: Evaluation, gallery: Gallery, row: int, judged: Judged | None) -> Row:
    outcomes = evaluation.outcomes
    top = outcomes.top
    says = f"{outcomes.entries[row].product_ids[0][:19]}\nrank {outcomes.ranks[row]}"
    if judged is not None:
        says += f", P {judged.present_confidences[row]:.2f} of {judged.thresholds[1]:.2f}"
    found = tuple(
        Found(gallery.entries[image].path, product, float(similarity), bool(is_right))
        for (product, _), image, similarity, is_right in zip(
            top.products[row],
            top.images[row],
            top.similarities[row],
            top.is_right[row],
            strict=True,
        )
    )
    return Row(outcomes.entries[row].path, says, found)


def _sections(reported: Reported, drawn: Mapping[str, bytes], problems: Sequence[str]) -> list[str]:
    first = reported.evaluations[0]
    sections = [_figures(reported)]
    if reported.held_apart:
        explained = "Categories that training did not see (held out), and the others."
        sections.append(
            pages.section(
                "Held-out categories", _groups(reported.held_apart), pages.note(explained)
            )
        )
    if len(first.by_category) > 1:
        sections.append(pages.section("A category at a time", _groups(first.by_category)))
    if reported.comparison is not None:
        sections.append(_comparison(reported.comparison))
    sections.append(_worst(first))
    for name, png in drawn.items():
        title, explained = TITLES[name]
        sections.append(pages.section(title, pages.picture(png, explained), pages.note(explained)))
    if problems:
        sections.append(pages.section("Not drawn", *(pages.warning(each) for each in problems)))
    if reported.receipt is not None:
        sections.append(pages.section("The receipt of its conversion"))
        sections += receipt_page.sections(reported.receipt)
    return sections


def _figures(reported: Reported) -> str:
    first = reported.evaluations[0]
    everything = [*reported.evaluations, *reported.floors]
    header = ["", *FIGURES, *IN_CATEGORY]
    rows = [
        [
            each.model if each in reported.floors else f"{each.model} ({each.pipeline})",
            *(f"{each.figures[name]:.4f}" for name in (*FIGURES, *IN_CATEGORY)),
        ]
        for each in everything
    ]
    explained = (
        f"{first.figures['photos']:,.0f} photos in {first.products:,} products "
        f"({first.images:,} images, {first.distractors:,} distractors). {first.absent:,} photos "
        "were left out, their product is not in the gallery. distance_accuracy is among the "
        "products of a category. The last rows are the floor: what needs no network at all."
    )
    return pages.section("Found", pages.table(header, rows), pages.note(explained))


def _groups(groups: Mapping[str, Mapping[str, float]]) -> str:
    """A table of the figures of some of the photos a row."""
    rows = [
        [name or "(none)", f"{found['photos']:,.0f}", *(f"{found[n]:.3f}" for n in FIGURES)]
        for name, found in groups.items()
    ]
    return pages.table(["category", "photos", *FIGURES], rows)


def _worst(evaluation: Evaluation) -> str:
    rows = [
        [product, f"{photos:,}", f"{misses:,}", instead]
        for product, photos, misses, instead in worst_products(evaluation, 5)
        if misses
    ]
    if not rows:
        return ""
    header = ["product", "photos", "missed", "most often found instead"]
    return pages.section("Products that lose most", pages.table(header, rows))


def _comparison(comparison: Comparison) -> str:
    rows = [["top1_agreement", f"{comparison.top1_agreement:.4f}"]]
    rows += [[f"{name}, difference", str(each)] for name, each in comparison.differences.items()]
    return pages.section("The first model against the other", pages.table(["", ""], rows))

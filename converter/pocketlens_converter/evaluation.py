"""A model and image lists -> how often the right product is found, and how two models differ.

    with embedding_models.opened(Path("shop.tflite")) as model:
        evaluation = evaluate(model, EvaluationLists.read(queries, gallery))

A bundle is evaluated as a device searches: int8 model, gallery in int8 codes. A product's
similarity is that of its best image. Photos of products that the gallery lacks are left out and
counted.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from pocketlens import image_lists
from pocketlens.errors import TrainingError
from pocketlens.image_lists import Entry, ImageList, Problem
from pocketlens.progress import Progress
from pocketlens_converter import bootstrap, metrics
from pocketlens_converter.bootstrap import Interval
from pocketlens_converter.embedding_models import Embedded, EmbeddingModel, embed_entries
from pocketlens_converter.galleries import Gallery, embedded_gallery

RECALLS = (1, 3, 10)
TOP = 5  # products of a photo that are kept for who wants to look


@dataclass(frozen=True, slots=True)
class EvaluationLists:
    """What a model is evaluated on.

    Attributes:
        queries: Photos whose product the gallery has.
        absent: Photos left out because it has not.
        gallery, distractors: Catalogue pictures; a distractor is never right.
    """

    queries: tuple[Entry, ...]
    absent: int
    gallery: ImageList
    distractors: ImageList | None
    problems: tuple[Problem, ...]

    @classmethod
    def read(cls, queries: Path, gallery: Path, distractors: Path | None = None) -> EvaluationLists:
        """Reads the lists.

        Raises:
            ImageListError: A list is wrong.
            TrainingError: No photo shows a product of the gallery.
        """
        asked, shown = image_lists.read(queries), image_lists.read(gallery)
        others = image_lists.read(distractors) if distractors else None
        known = {product for entry in shown.entries for product in entry.product_ids}
        present = tuple(entry for entry in asked.entries if known & set(entry.product_ids))
        if not present:
            raise TrainingError(
                f"Expected photos of products in {gallery}. Received none in {queries}: no "
                "product_id of one is in the other. Check the column product_id of both."
            )
        problems = (*asked.problems, *shown.problems, *(others.problems if others else ()))
        return cls(present, len(asked.entries) - len(present), shown, others, problems)

    @property
    def categories(self) -> frozenset[str]:
        """Of the products that photos show."""
        shown = {product for entry in self.queries for product in entry.product_ids}
        known = self.gallery.products
        return frozenset(known[product].category for product in shown if product in known)


@dataclass(frozen=True, slots=True)
class Top:
    """The first products of each photo, best first.

    Attributes:
        products: For each photo, ids and whether each is a distractor.
        similarities: float32 (q, n).
        images: int64 (q, n), number of the image in the gallery that gave the similarity.
        is_right: bool (q, n).
        right, wrong: float32 (q,), similarity of the best right and of the best wrong product;
            a gallery without a wrong one has -1.
    """

    products: tuple[tuple[tuple[str, bool], ...], ...]
    similarities: npt.NDArray[np.float32]
    images: npt.NDArray[np.int64]
    is_right: npt.NDArray[np.bool_]
    right: npt.NDArray[np.float32]
    wrong: npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Outcomes:
    """What became of each photo, in the order of the list.

    Attributes:
        entries: The photos that could be read.
        embeddings: float32 (q, dim).
        top: The products found first.
        first: Id of each photo's first product, and whether it is a distractor.
        ranks: int64 (q,), rank of the right product among all, from 1.
        ranks_in_category: int64 (q,), among the gallery's products of its category.
        average_precisions, absolute_accuracies: float32 (q,).
        average_precisions_in_category, absolute_accuracies_in_category: float32 (q,), among the
            gallery's products of its category.
        categories: Of each photo's product.
    """

    entries: tuple[Entry, ...]
    embeddings: npt.NDArray[np.float32]
    top: Top
    first: tuple[tuple[str, bool], ...]
    ranks: npt.NDArray[np.int64]
    ranks_in_category: npt.NDArray[np.int64]
    average_precisions: npt.NDArray[np.float32]
    average_precisions_in_category: npt.NDArray[np.float32]
    absolute_accuracies: npt.NDArray[np.float32]
    absolute_accuracies_in_category: npt.NDArray[np.float32]
    categories: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Evaluation:
    """How good a model is on some lists.

    Attributes:
        model: Its name.
        pipeline: "device" (int8 model, codes) or "float".
        absent: Photos left out because their product is not in the gallery.
        products, images, distractors: Of the gallery; distractors are among the products.
        figures: By the names of `metrics`, over all photos.
        by_category: The same for the photos of each category.
        outcomes: Of each photo.
        problems: What was left out of the lists.
    """

    model: str
    pipeline: str
    absent: int
    products: int
    images: int
    distractors: int
    figures: dict[str, float]
    by_category: dict[str, dict[str, float]]
    outcomes: Outcomes
    problems: tuple[Problem, ...]


@dataclass(frozen=True, slots=True)
class Comparison:
    """How a model differs from another on the same photos.

    Attributes:
        top1_agreement: Share of photos with the same first product.
        cosine_mean, cosine_p01: Of the two embeddings of a photo; None where their lengths
            differ.
        differences: Of recall@k and mAP, this less the other, with paired bootstrap intervals.
    """

    top1_agreement: float
    cosine_mean: float | None
    cosine_p01: float | None
    differences: dict[str, Interval]


@dataclass(frozen=True, slots=True)
class EmbeddedLists:
    """The lists as a model sees them, before anything is searched.

    Attributes:
        model: Its name.
        lists: What was embedded.
        gallery: In codes where the model is a bundle.
        asked: The photos.
    """

    model: str
    lists: EvaluationLists
    gallery: Gallery
    asked: Embedded


def embed_lists(
    model: EmbeddingModel,
    lists: EvaluationLists,
    *,
    progress: Progress = lambda stage, done, total: None,
) -> EmbeddedLists:
    """Embeds gallery, distractors and photos.

    Raises:
        TrainingError: No picture of a list can be read.
    """
    gallery = embedded_gallery(model, lists.gallery, lists.distractors, progress=progress)
    asked = embed_entries(model, lists.queries, stage="embedding photos", progress=progress)
    return EmbeddedLists(model.spec.name, lists, gallery, asked)


def evaluate(
    model: EmbeddingModel,
    lists: EvaluationLists,
    *,
    progress: Progress = lambda stage, done, total: None,
) -> Evaluation:
    """Searches every photo in the gallery.

    Raises:
        TrainingError: No picture of a list can be read.
    """
    return search_lists(embed_lists(model, lists, progress=progress))


def search_lists(embedded: EmbeddedLists) -> Evaluation:
    """Searches every embedded photo in the embedded gallery.

    Raises:
        TrainingError: No photo shows a product whose pictures could be read.
    """
    lists, gallery, asked = embedded.lists, embedded.gallery, embedded.asked
    relevant = gallery.shows(asked.entries)
    readable = relevant.any(axis=1)  # the only picture of a product may be a damaged one
    if not readable.any():
        raise TrainingError("Expected photos of products whose pictures can be read. Got none.")
    outcomes = _outcomes(
        gallery,
        tuple(asked.entries[row] for row in np.flatnonzero(readable)),
        asked.embeddings[readable],
        relevant[readable],
    )
    everything = np.ones(len(outcomes.ranks), np.bool_)
    return Evaluation(
        model=embedded.model,
        pipeline="float" if gallery.scale is None else "device",
        absent=lists.absent + int(np.count_nonzero(~readable)),
        products=len(gallery.products),
        images=len(gallery.embeddings),
        distractors=gallery.distractors,
        figures=_figures(outcomes, everything),
        by_category={
            category: _figures(outcomes, np.array([c == category for c in outcomes.categories]))
            for category in sorted(set(outcomes.categories))
        },
        outcomes=outcomes,
        problems=(*lists.problems, *gallery.problems, *asked.problems),
    )


def held_apart(evaluation: Evaluation, categories: Collection[str]) -> dict[str, dict[str, float]]:
    """Figures of the photos of `categories` ("held out") and of all others ("others").

    What was held out of a training (`train --hold-out`) tells how a product fares that the shop
    takes up tomorrow. A group without photos is left out.
    """
    outcomes = evaluation.outcomes
    is_held_out = np.array([each in categories for each in outcomes.categories])
    groups = {"held out": is_held_out, "others": ~is_held_out}
    return {name: _figures(outcomes, of) for name, of in groups.items() if of.any()}


def compare(one: Evaluation, other: Evaluation, rng: np.random.Generator) -> Comparison:
    """How `one` differs from `other` on the photos that both could embed.

    Raises:
        TrainingError: There are none.
    """
    ours, theirs = one.outcomes, other.outcomes
    numbers = {entry.image.id: row for row, entry in enumerate(theirs.entries)}
    mine = [row for row, entry in enumerate(ours.entries) if entry.image.id in numbers]
    if not mine:
        raise TrainingError("Expected two models evaluated on the same photos. Received others.")
    its = [numbers[ours.entries[row].image.id] for row in mine]
    same = [ours.first[row] == theirs.first[at] for row, at in zip(mine, its, strict=True)]
    cosines = None
    if ours.embeddings.shape[1] == theirs.embeddings.shape[1]:
        cosines = metrics.cosines(ours.embeddings[mine], theirs.embeddings[its])
    differences = {
        f"recall@{k}": bootstrap.interval(theirs.ranks[its] <= k, ours.ranks[mine] <= k, rng)
        for k in RECALLS
    }
    differences["mAP"] = bootstrap.interval(
        theirs.average_precisions[its], ours.average_precisions[mine], rng
    )
    return Comparison(
        top1_agreement=float(np.mean(same)),
        cosine_mean=None if cosines is None else float(cosines.mean()),
        cosine_p01=None if cosines is None else float(np.quantile(cosines, 0.01)),
        differences=differences,
    )


def _outcomes(
    gallery: Gallery,
    entries: tuple[Entry, ...],
    embeddings: npt.NDArray[np.float32],
    relevant: npt.NDArray[np.bool_],
) -> Outcomes:
    best, winners = gallery.product_similarities(embeddings)
    right = relevant.argmax(axis=1)
    categories = np.array(gallery.categories)
    same = categories[None, :] == categories[right][:, None]
    same[:, len(gallery.products) - gallery.distractors :] = False
    restricted = np.where(same, best, -np.inf).astype(np.float32)
    return Outcomes(
        entries=entries,
        embeddings=embeddings,
        top=_top(gallery, best, winners, relevant),
        first=gallery.named(best.argmax(axis=1)),
        ranks=metrics.ranks(best, winners, relevant),
        ranks_in_category=metrics.ranks(restricted, winners, relevant & same),
        average_precisions=metrics.average_precisions(best, relevant),
        average_precisions_in_category=metrics.average_precisions(restricted, relevant & same),
        absolute_accuracies=metrics.absolute_accuracies(best, relevant),
        absolute_accuracies_in_category=metrics.absolute_accuracies(restricted, relevant & same),
        categories=tuple(categories[right].tolist()),
    )


def _top(
    gallery: Gallery,
    best: npt.NDArray[np.float32],
    winners: npt.NDArray[np.int64],
    relevant: npt.NDArray[np.bool_],
) -> Top:
    first = np.argsort(-best, axis=1, kind="stable")[:, :TOP]
    return Top(
        products=tuple(gallery.named(row) for row in first),
        similarities=np.take_along_axis(best, first, axis=1),
        images=np.take_along_axis(winners, first, axis=1),
        is_right=np.take_along_axis(relevant, first, axis=1),
        right=np.where(relevant, best, -1).max(axis=1).astype(np.float32),
        wrong=np.where(relevant, -1, best).max(axis=1).astype(np.float32),
    )


def _figures(outcomes: Outcomes, chosen: npt.NDArray[np.bool_]) -> dict[str, float]:
    ranks, within = outcomes.ranks[chosen], outcomes.ranks_in_category[chosen]
    figures = {"photos": float(np.count_nonzero(chosen))}
    figures |= {f"recall@{k}": metrics.recall_at(ranks, k) for k in RECALLS}
    figures["mAP"] = float(outcomes.average_precisions[chosen].mean())
    figures["absolute_accuracy"] = float(outcomes.absolute_accuracies[chosen].mean())
    # The same among the products of a photo's category; recall@1 and @3 go by other names.
    figures["distance_accuracy"] = metrics.recall_at(within, 1)
    figures["distance_accuracy_top_3"] = metrics.recall_at(within, 3)
    figures["recall@10_in_category"] = metrics.recall_at(within, 10)
    figures["mAP_in_category"] = float(outcomes.average_precisions_in_category[chosen].mean())
    accuracies = outcomes.absolute_accuracies_in_category[chosen]
    figures["absolute_accuracy_in_category"] = float(accuracies.mean())
    return figures

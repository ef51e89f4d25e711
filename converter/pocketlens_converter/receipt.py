"""The receipt of a conversion: what the quantization won and lost, as values and as JSON.

Three pipelines are told apart wherever something is searched: "float" (the float model, float
rows), "quantized" (the quantized model, float rows) and "device" (the quantized model, rows in
int8 codes: what a phone does).
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from pocketlens.formats.bundle import Bundle
from pocketlens_converter.bootstrap import Interval
from pocketlens_converter.convert_options import Budgets, Precision
from pocketlens_converter.evaluation import RECALLS, Evaluation, compare

FORMAT = 1


@dataclass(frozen=True, slots=True)
class Fidelity:
    """How far the quantized model's embeddings are from the float model's.

    Attributes:
        pictures: That both embedded: the photos given, else catalogue pictures.
        cosine_mean, cosine_p01: Of the two embeddings of a picture.
        top1_agreement: Share of the photos whose first product is the same by the pipelines
            "float" and "device"; None without photos.
    """

    pictures: int
    cosine_mean: float
    cosine_p01: float
    top1_agreement: float | None = None


@dataclass(frozen=True, slots=True)
class Search:
    """What searching the photos gave.

    Attributes:
        photos, products, images, distractors: What was searched, and in what.
        figures: By pipeline, then by the names of `metrics`.
        by_category: By category of the photo's product, then as `figures`.
        differences: By pipeline ("quantized", "device"), then of recall@k: less the float
            model's, with paired bootstrap intervals.
        alone: As `figures`, in the catalogue without the distractors; empty without any.
    """

    photos: int
    products: int
    images: int
    distractors: int
    figures: dict[str, dict[str, float]]
    by_category: dict[str, dict[str, dict[str, float]]]
    differences: dict[str, dict[str, Interval]]
    alone: dict[str, dict[str, float]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Broken:
    """A budget that a conversion did not keep.

    Attributes:
        name: Of the budget.
        value: What was measured.
        budget: What was allowed.
    """

    name: str
    value: float
    budget: float

    def __str__(self) -> str:
        return f"{self.name} {self.value:.4g} (budget {self.budget:.4g})"


@dataclass(frozen=True, slots=True)
class Attempt:
    """A precision that was tried, after steps of fine-tuning, and given up."""

    precision: Precision
    adapted_steps: int
    broken: tuple[Broken, ...]

    def __str__(self) -> str:
        adapted = f" after {self.adapted_steps:,} steps of fine-tuning"
        return self.precision + (adapted if self.adapted_steps else "")

    def losses(self) -> str:
        """The broken budgets, for people."""
        return ", ".join(str(each) for each in self.broken)


@dataclass(frozen=True, slots=True)
class Receipt:
    """What became of a float model.

    Attributes:
        model: Name of the model.
        float_model_sha256: Hex; "" where the float model was a folder.
        precision: Of the bundle.
        adapted_steps: Of quantization-aware fine-tuning before it; 0 for none.
        given_up: Smaller precisions that broke a budget.
        embeddings_sha256: Hex, of the catalogue embeddings in the bundle: tells whether a receipt
            and a bundle belong together.
        quantized_with: Pictures that ranges were taken from.
        size_bytes, float_size_bytes: Of the bundle, and of the same model in float32.
        fidelity: Against the float model.
        search: Of the photos; None where none were given.
        latency_ms: By number of threads, on the machine that converted.
        runtime: What ran it there.
        xnnpack_partitions: See `latency.Latency`.
        operators: How often each is in the model.
        refused: By accelerator, operators that it would leave to the CPU.
    """

    model: str
    float_model_sha256: str
    precision: Precision
    adapted_steps: int
    quantized_with: int
    size_bytes: int
    float_size_bytes: int
    fidelity: Fidelity
    search: Search | None
    latency_ms: dict[int, float]
    runtime: str
    xnnpack_partitions: int
    operators: dict[str, int]
    refused: dict[str, dict[str, int]]
    given_up: tuple[Attempt, ...] = field(default=())
    embeddings_sha256: str = ""

    def belongs_to(self, bundle: Bundle) -> bool:
        """Whether it is of this bundle, calibrated since or not."""
        is_of_model = self.float_model_sha256 == bundle.float_model_sha256.hex()
        return is_of_model and self.embeddings_sha256 == embeddings_sha256(bundle)

    def as_json(self) -> dict[str, object]:
        """What JSON can hold; `format` changes when the meaning of a name does."""
        return {"format": FORMAT, **asdict(self)}

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Receipt:
        """What `as_json` gave, after a file in between.

        Raises:
            ValueError: It is of another format.
            KeyError, TypeError: It is no receipt.
        """
        fields = dict(value)
        if fields.pop("format") != FORMAT:
            raise ValueError(f"expected a receipt of format {FORMAT}")
        fields["fidelity"] = Fidelity(**fields["fidelity"])
        fields["latency_ms"] = {int(each): ms for each, ms in fields["latency_ms"].items()}
        fields["given_up"] = tuple(
            Attempt(
                each["precision"],
                each["adapted_steps"],
                tuple(Broken(**loss) for loss in each["broken"]),
            )
            for each in fields["given_up"]
        )
        if fields["search"] is not None:
            search = dict(fields["search"])
            search["differences"] = {
                pipeline: {name: Interval(**interval) for name, interval in intervals.items()}
                for pipeline, intervals in search["differences"].items()
            }
            fields["search"] = Search(**search)
        return cls(**fields)


def embeddings_sha256(bundle: Bundle) -> str:
    """Hex, of the catalogue embeddings that a bundle carries."""
    return hashlib.sha256(bundle.representative.tobytes()).hexdigest()


def searched(
    pipelines: Mapping[str, Evaluation],
    reference: str,
    rng: np.random.Generator,
    alone: Mapping[str, Evaluation],
) -> Search:
    """Puts evaluations of the same photos together.

    Args:
        pipelines: By name.
        reference: The one that the others are compared with.
        rng: Of the bootstrap.
        alone: By name, in the catalogue without distractors; empty where there are none.
    """
    wanted = pipelines[reference]
    others = {name: found for name, found in pipelines.items() if name != reference}
    return Search(
        photos=len(wanted.outcomes.ranks),
        products=wanted.products,
        images=wanted.images,
        distractors=wanted.distractors,
        figures={name: found.figures for name, found in pipelines.items()},
        by_category={
            category: {
                name: found.by_category[category]
                for name, found in pipelines.items()
                if category in found.by_category
            }
            for category in wanted.by_category
        },
        differences={
            name: {
                figure: interval
                for figure, interval in compare(found, wanted, rng).differences.items()
                if figure in {f"recall@{k}" for k in RECALLS}
            }
            for name, found in others.items()
        },
        alone={name: found.figures for name, found in alone.items()},
    )


def broken(receipt: Receipt, budgets: Budgets) -> tuple[Broken, ...]:
    """The budgets that a conversion does not keep; what could not be measured breaks none."""
    measured: dict[str, float | None] = {
        "top1_agreement": receipt.fidelity.top1_agreement,
        "cosine_mean": receipt.fidelity.cosine_mean,
        "cosine_p01": receipt.fidelity.cosine_p01,
        "recall_loss": _recall_loss(receipt.search),
        "size_bytes": receipt.size_bytes,
        "latency_ms": receipt.latency_ms.get(1),
    }
    at_least = {"top1_agreement", "cosine_mean", "cosine_p01"}
    found = []
    for name, value in measured.items():
        budget = getattr(budgets, name)
        if value is None or budget is None:
            continue
        if value < budget if name in at_least else value > budget:
            found.append(Broken(name, float(value), float(budget)))
    return tuple(found)


def _recall_loss(search: Search | None) -> float | None:
    if search is None or "device" not in search.differences:
        return None
    return -search.differences["device"]["recall@1"].difference

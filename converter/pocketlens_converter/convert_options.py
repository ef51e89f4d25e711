"""Every choice of a conversion, with its unit and its reason. Values only."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Literal, get_args

from pocketlens.errors import ModelUnsupported
from pocketlens.formats.bundle import ResizeMode

# How weights and activations are kept: "int8" both in int8; "int16x8" activations in int16;
# "weight-int8" weights alone; the others in floating point.
Precision = Literal["int8", "int16x8", "weight-int8", "float16", "float32"]
# What is tried where a precision breaks a budget, the smallest first. int16x8 must be asked for:
# without a fast kernel it takes fifty times as long as int8 (docs/conversion.md).
SAFER: dict[Precision, tuple[Precision, ...]] = {
    "int8": ("weight-int8", "float16", "float32"),
    "int16x8": ("weight-int8", "float16", "float32"),
    "weight-int8": ("float16", "float32"),
    "float16": ("float32",),
    "float32": (),
}

_NUMBER = r"[-+]?(?:\d+\.?\d*|\.\d+)"
_SCALE = re.compile(rf"\s*({_NUMBER})\s*\.\.\s*({_NUMBER})\s*")


@dataclass(frozen=True, slots=True)
class InputScale:
    """The numbers that a float model expects for black and for white: "0..255", "-1..1".

    Attributes:
        black, white: Values of a pixel of 0 and of 255.
    """

    black: float
    white: float

    def __post_init__(self) -> None:
        if not self.black < self.white:
            raise ModelUnsupported(
                f"Expected an input scale from black to white, such as 0..255 or -1..1. "
                f"Received {self.black:g}..{self.white:g}."
            )

    @classmethod
    def parse(cls, text: str) -> InputScale:
        """Reads "BLACK..WHITE".

        Raises:
            ModelUnsupported: `text` is not of that form, or white is not above black.
        """
        found = _SCALE.fullmatch(text)
        if found is None:
            raise ModelUnsupported(
                f"Expected an input scale such as 0..255, 0..1 or -1..1 (the numbers that the "
                f"model takes for black and for white). Received {text!r}."
            )
        return cls(float(found[1]), float(found[2]))

    @property
    def factor(self) -> float:
        """What a pixel of 0 to 255 is multiplied by before `black` is added."""
        return (self.white - self.black) / 255


@dataclass(frozen=True, slots=True)
class Budgets:
    """What a conversion may lose at most, each measured as the receipt says; None for any loss.

    Attributes:
        top1_agreement: Share of the photos whose first match stays, at least.
        cosine_mean, cosine_p01: Of the embeddings of one picture, at least.
        recall_loss: recall@1 lost to the float model, rows in int8 included, at most.
        size_bytes: Of the bundle, at most.
        latency_ms: On one thread of this machine, at most.
    """

    top1_agreement: float | None = 0.95
    cosine_mean: float | None = 0.98
    cosine_p01: float | None = None
    recall_loss: float | None = None
    size_bytes: int | None = None
    latency_ms: float | None = None

    @property
    def asks_for_photos(self) -> bool:
        """Whether a budget beyond the defaults can only be measured on photos."""
        agreement = self.top1_agreement
        is_default = agreement is None or agreement == type(self)().top1_agreement
        return self.recall_loss is not None or not is_default


@dataclass(frozen=True, slots=True)
class ConvertOptions:
    """How a float model becomes a bundle. Defaults were measured: docs/conversion.md.

    Attributes:
        name: What people call the model; "" takes the name of its file.
        image_size: Side of the input in pixels, for a model that leaves it open.
        input_scale: For a model that does not scale pixels itself.
        resize_mode: How a photo that is not square becomes the input; None for the way the model
            was trained where that is known, "pad" otherwise.
        pad_level: Grey level around a letterboxed picture; None as above, 255 otherwise.
        duplicate_cosine: Cosine of two codes from which two images count as one picture.
        catalogue_pictures: Catalogue pictures that quantization looks at, at most; photos beside
            them changed nothing that could be told from chance.
        embeddings: Catalogue pictures whose embeddings the bundle carries, at most.
        queries: Photos whose embeddings the bundle carries, at most.
        distractors: Distractors that drift is measured against, at most.
        golden_examples: Pictures that every runtime is checked with.
        precision: How weights and activations are kept.
        adapting_steps: Where int8 breaks a budget: steps of quantization-aware fine-tuning, after
            which int8 is tried once more; 0 for none.
        falls_back: Whether the next safer precision is taken where a budget is broken.
        budgets: What may be lost.
        corrects_means: Whether biases make up for rounded weights (`weight_rounding`).
        seed: Of every choice among pictures.
    """

    name: str = ""
    image_size: int | None = None
    input_scale: InputScale | None = None
    resize_mode: ResizeMode | None = None
    pad_level: int | None = None
    duplicate_cosine: float = 0.97
    catalogue_pictures: int = 256
    embeddings: int = 512
    queries: int = 1000
    distractors: int = 2000
    golden_examples: int = 3
    precision: Precision = "int8"
    adapting_steps: int = 0
    falls_back: bool = True
    budgets: Budgets = field(default_factory=Budgets)
    corrects_means: bool = True
    seed: int = 0

    def __post_init__(self) -> None:
        if self.image_size is not None and not 8 <= self.image_size <= 2048:
            raise ModelUnsupported(
                f"Expected an image size of 8 to 2,048 pixels. Received {self.image_size}."
            )
        if self.adapting_steps < 0:
            raise ModelUnsupported(
                f"Expected 0 or more steps of fine-tuning. Received {self.adapting_steps}."
            )
        if self.adapting_steps and self.precision != "int8":
            raise ModelUnsupported(
                f"Fine-tuning is for int8. Received {self.precision}; leave --adapt out."
            )
        if self.precision not in get_args(Precision):
            raise ModelUnsupported(
                f"Expected a precision of {', '.join(get_args(Precision))}. "
                f"Received {self.precision}."
            )

    def attempts(self) -> tuple[tuple[Precision, int], ...]:
        """What is tried, in this order: a precision and the steps of fine-tuning before it."""
        tried: tuple[Precision, ...] = (self.precision,)
        if self.falls_back:
            tried += SAFER[self.precision]
        plain = [(precision, 0) for precision in tried]
        if self.adapting_steps and self.precision == "int8":
            plain.insert(1, ("int8", self.adapting_steps))
        return tuple(plain)

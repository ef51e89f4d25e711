"""Limits of what counts as a duplicate, each with its unit and its reason. Values only."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from dataclasses import dataclass

from pocketlens.errors import QueryError


@dataclass(frozen=True, slots=True)
class DuplicateOptions:
    """What counts as a duplicate; figures are of benchmarks/shop_duplicates.py.

    Attributes:
        cosine: Of two codes from which they are the same thing; None takes the bundle's
            `duplicate_cosine`.
        suspect_cosine: Of two codes from which their pictures are held against each other: one
            that lost a fifth of its sides is at 0.84 or nearer in 95 of 100.
        layout_cosine: Of two layouts (`layouts`) from which they are, too.
        suspects: Nearest images of an image, by code and by layout, that are held against it.
        hash_bits: Of 256 that may differ between two pictures for them to be held against each
            other: a JPEG of quality 60 differs by 17 or fewer in 95 of 100, others by 126.
        whole_levels: Of the field in which two whole pictures differ most, up to which they are
            one: 95 of 100 copies of another size are at 4 or less, with another tint at 6.
        part_levels: The same where one is a part of the other, less what eight tenths of a pixel
            explain, since edges never quite meet: of 100 that lost a tenth of their sides 93 are at
            3.5 or less, of 100 others that are most like parts 2.
    """

    cosine: float | None = None
    suspect_cosine: float = 0.8
    layout_cosine: float = 0.85
    suspects: int = 1
    hash_bits: int = 32
    whole_levels: float = 7.0
    part_levels: float = 3.5

    def __post_init__(self) -> None:
        if self.cosine is not None and not 0 < self.cosine <= 1:
            raise QueryError(f"Expected a cosine above 0 and up to 1. Received {self.cosine}.")

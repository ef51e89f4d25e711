"""Attributes that an item may have, by a vote of similar items (PURE)."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from pocketlens.estimates.prices import SOLD_AT, Neighbour
from pocketlens.estimates.weighting import Weighting
from pocketlens.products import Product

CATEGORY = "category"  # as a name among the attributes
_FEWEST_VOTES = 2  # what one neighbour alone has is its own


@dataclass(frozen=True, slots=True)
class Suggestion:
    """A value that similar items share.

    Attributes:
        name: Of the attribute; "category" for the category.
        value: The one with most votes.
        share: Of the votes of all neighbours, 0 to 1; those without the attribute vote for none.
        votes: Neighbours that have it.
    """

    name: str
    value: str
    share: float
    votes: int


def suggested(neighbours: Sequence[Neighbour]) -> tuple[Suggestion, ...]:
    """The winner of each attribute, surest first; neighbours vote by their similarity."""
    if not neighbours:
        return ()
    weights = Weighting().weights(
        [each.similarity for each in neighbours], [float("nan")] * len(neighbours)
    )
    shares: dict[tuple[str, str], float] = defaultdict(float)
    votes: dict[tuple[str, str], int] = defaultdict(int)
    for each, weight in zip(neighbours, weights.tolist(), strict=True):
        for said in _said_of(each.product):
            shares[said] += weight
            votes[said] += 1
    winners: dict[str, Suggestion] = {}
    for (name, value), share in sorted(shares.items(), key=lambda said: (-said[1], said[0])):
        if votes[name, value] >= _FEWEST_VOTES and name not in winners:
            winners[name] = Suggestion(name, value, share, votes[name, value])
    return tuple(winners.values())


def _said_of(product: Product) -> list[tuple[str, str]]:
    """Names and values; when it was sold is nothing that another can have."""
    said = {**product.attributes, CATEGORY: product.category, SOLD_AT: ""}
    return [(name, value) for name, value in said.items() if value]

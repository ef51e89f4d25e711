"""Which products meet in a batch, where each is a negative of all others.

A batch is either P products of a round, in which every product comes once, or a neighbourhood: an
anchor, `in_class` products of its class and `out_of_class` of others, drawn from those nearest to
it where a mining round has found them. Neighbours are what a shopper's photo is confused with;
rounds keep the rest of the catalogue in sight.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from pocketlens_converter.options import TrainOptions


@dataclass(frozen=True, slots=True)
class Composition:
    """What the products of a batch are drawn from.

    Attributes:
        categories: int64 (products,), number of each one's class.
        nearest: int64 (products, pool), the nearest of each, itself not among them; None before
            the first mining round: then all others count as near.
    """

    categories: npt.NDArray[np.int64]
    nearest: npt.NDArray[np.int64] | None = None
    _weights: npt.NDArray[np.float64] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        # Anchors of small classes come more often, by the square root of the class's size: a
        # shop's ten milks are as hard to tell apart whether it sells a thousand chairs or none.
        # Source: Mahajan et al., "Exploring the Limits of Weakly Supervised Pretraining", 2018.
        sizes = np.bincount(self.categories)[self.categories]
        weights = 1 / np.sqrt(sizes)
        object.__setattr__(self, "_weights", weights / weights.sum())

    def products(self, step: int, options: TrainOptions) -> list[int]:
        """The products of batch `step`; none comes twice."""
        count = min(options.products, len(self.categories))
        rng = np.random.default_rng([options.seed, 2, step])
        if rng.random() < options.neighbourhood_share:
            return self._neighbourhood(count, rng, options)
        return self._of_round(step, count, options.seed)

    def _of_round(self, step: int, count: int, seed: int) -> list[int]:
        """A round leaves out what does not fill a batch; who that is changes every round."""
        round_number, position = divmod(step, len(self.categories) // count)
        order = np.random.default_rng([seed, 0, round_number]).permutation(len(self.categories))
        return [int(each) for each in order[position * count : (position + 1) * count]]

    def _neighbourhood(
        self, count: int, rng: np.random.Generator, options: TrainOptions
    ) -> list[int]:
        anchor = int(rng.choice(len(self.categories), p=self._weights))
        near = self._others(anchor) if self.nearest is None else self.nearest[anchor]
        is_alike = self.categories[near] == self.categories[anchor]
        # A batch too small for both kinds has those of other classes first: they are few.
        outside = min(options.out_of_class, count - 1)
        inside = min(options.in_class, count - 1 - outside)
        chosen = [anchor, *_drawn(near[is_alike], inside, rng)]
        # The nearest of a large class may all be its own: then any of another class.
        others = self._others(anchor)
        elsewhere = others[self.categories[others] != self.categories[anchor]]
        strangers = _drawn(near[~is_alike], outside, rng)
        left = np.setdiff1d(elsewhere, strangers)
        chosen += [*strangers, *_drawn(left, outside - len(strangers), rng)]
        # A class may be too small: the nearest of others take the places, then anything.
        for pool in (near, others):
            left = np.setdiff1d(pool, chosen)
            chosen += _drawn(left, count - len(chosen), rng)
        return chosen[:count]

    def _others(self, product: int) -> npt.NDArray[np.int64]:
        return np.delete(np.arange(len(self.categories)), product)


def _drawn(pool: npt.NDArray[np.int64], count: int, rng: np.random.Generator) -> list[int]:
    return [int(each) for each in rng.permutation(pool)[: max(0, count)]]

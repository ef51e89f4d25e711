"""What the next batches are made of: the pictures, and what mining rounds have found in them.

    curriculum = Curriculum(pictures, scenes, options)
    curriculum.mine(learner.model, 0.5)     # where half of the schedule is over
    batch = curriculum.batch(step)

Everything that changes is in `state()`: a resumed run makes the batches it would have made.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from collections.abc import Mapping

import keras
import numpy as np
import numpy.typing as npt

from pocketlens_converter import batches, mining
from pocketlens_converter.batches import Batch
from pocketlens_converter.negatives import Composition
from pocketlens_converter.options import TrainOptions
from pocketlens_converter.synthesis.scenes import Scenes
from pocketlens_converter.training_pictures import TrainingPictures

NEVER = -1


class Curriculum:
    """Makes batches; `mine` and `restore` only while none is being made.

    Attributes:
        round: Number of the last mining round, -1 before the first.
        dropped: Numbers of the photos left out because their product cannot be seen.
    """

    def __init__(self, pictures: TrainingPictures, scenes: Scenes, options: TrainOptions) -> None:
        """Starts without neighbours; `image_size` of the options is what batches are made at."""
        self.round = NEVER
        self._has_looked = options.visible_share == 1 or not any(pictures.photos)
        self.dropped: npt.NDArray[np.int64] = np.empty(0, np.int64)
        self._pictures = pictures
        self._scenes = scenes
        self._options = options
        self._composition = Composition(pictures.categories)

    def batch(self, step: int) -> Batch:
        """Batch number `step`."""
        return batches.make(self._pictures, self._composition, self._scenes, self._options, step)

    def is_due(self, share: float) -> bool:
        """Whether `mine` should be called first, `share` of the schedule being over."""
        return self._round_at(share) > self.round or self._looks(share)

    def mine(self, model: keras.Model, share: float) -> None:
        """Looks at the set with the current network; half way also for photos to leave out."""
        looks = self._looks(share)
        number = self._round_at(share)
        found = mining.mined(
            model, self._pictures, self._options, seed=max(number, 0), everything=looks
        )
        if number > NEVER:
            self.round = number
            self._composition = Composition(self._pictures.categories, found.nearest)
        if looks:
            self._has_looked = True
            self._drop(found.invisible)

    def state(self) -> dict[str, npt.NDArray[np.generic]]:
        """What mining has found, by name."""
        found: dict[str, npt.NDArray[np.generic]] = {
            "curriculum/round": np.array(self.round),
            "curriculum/has_looked": np.array(self._has_looked),
            "curriculum/dropped": self.dropped,
        }
        if self._composition.nearest is not None:
            found["curriculum/nearest"] = self._composition.nearest
        return found

    def restore(self, state: Mapping[str, npt.NDArray[np.generic]]) -> None:
        """Puts back what `state` returned."""
        self.round = int(state["curriculum/round"].item())
        self._has_looked = bool(state["curriculum/has_looked"].item())
        nearest = state.get("curriculum/nearest")
        if nearest is not None:
            self._composition = Composition(
                self._pictures.categories, np.asarray(nearest, np.int64)
            )
        self._drop(np.asarray(state["curriculum/dropped"], np.int64))

    def _round_at(self, share: float) -> int:
        """Number of the mining round that `share` of the schedule belongs to."""
        rounds = self._options.mining_rounds
        return min(int(share * rounds), rounds - 1)

    def _looks(self, share: float) -> bool:
        """Whether it is time to look for photos that do not show their product: once, half way."""
        return not self._has_looked and share >= 0.5

    def _drop(self, numbers: npt.NDArray[np.int64]) -> None:
        left_out = self._pictures.leave_out(set(numbers.tolist()))
        self.dropped = np.array(sorted(left_out), np.int64)

"""A learner: the model, what its optimizer knows, and its average; one step at a time.

Everything that a resumed run needs is in `state()`; a learner of the same options given it by
`restore` goes on as if it had never stopped.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf

from pocketlens_converter import backbones, heads
from pocketlens_converter.batches import Batch
from pocketlens_converter.objectives import Labels, Proxies, objective
from pocketlens_converter.options import TrainOptions

Pixels = npt.NDArray[np.uint8]

CLIP_NORM = 10.0


class Learner:
    """Learns from batches; owned by one thread."""

    def __init__(
        self,
        options: TrainOptions,
        *,
        weights: Path | None,
        proxy_products: Sequence[int] = (),
    ) -> None:
        """Builds the model.

        Args:
            options: How it learns; `image_size` is the side of the pictures it learns from.
            weights: Of the backbone; None starts from random ones.
            proxy_products: Number of the product of each catalogue picture, in order of slots.

        Raises:
            TrainingError: The backbone cannot be built, or the weights are not its.
        """
        keras.utils.set_random_seed(options.seed)
        self.options = options
        self.model = backbones.build(options, weights)
        self._is_pretrained = weights is not None
        self._keeps_statistics = backbones.has_batch_statistics(self.model)
        self._optimizer = keras.optimizers.Adam(global_clipnorm=CLIP_NORM)
        self._optimizer.build(self.model.trainable_variables)
        self._proxy_products = tf.constant(list(proxy_products), tf.int32)
        self._proxies = tf.Variable(tf.zeros((len(proxy_products), options.dim)))
        self._averages = [tf.Variable(weight.value) for weight in self.model.weights]
        self._starts = [tf.Variable(weight.value) for weight in self.model.weights]
        self._steps = {
            is_warm: tf.function(lambda *inputs, warm=is_warm: self._step(*inputs, is_warm=warm))
            for is_warm in (False, True)
        }

    def begin(self, shop: Pixels) -> None:
        """Starts from the shop's pictures, before the first step.

        Args:
            shop: uint8 (n, size, size, 3): some of all pictures, n of 2 or more.
        """
        if self._is_pretrained and self.options.fitted_head:
            heads.fit_head(self.model, shop, self.options.seed)
        for known in (self._averages, self._starts):
            for variable, weight in zip(known, self.model.weights, strict=True):
                variable.assign(weight.value)

    def show(self, catalogue: npt.NDArray[np.float32]) -> None:
        """Takes embeddings (m, dim) of the catalogue pictures, in order of slots, as proxies."""
        self._proxies.assign(catalogue)

    def learn(self, batch: Batch, *, learning_rate: float, is_warm: bool) -> float:
        """Takes one step; returns its loss."""
        self._optimizer.learning_rate.assign(learning_rate)
        ramp = (1 + batch.step) / (10 + batch.step)
        loss = self._steps[is_warm or self.options.loss != "triplet"](
            tf.constant(batch.pictures),
            tf.constant(batch.products),
            tf.constant(batch.slots),
            tf.constant(min(self.options.averaging, ramp), tf.float32),
        )
        return float(loss)

    def averaged_model(self, image_size: int) -> keras.Model:
        """A model of its own with the running average of the weights: steadier than the last.

        It is mixed with what the run started from, as `trained_share` says.

        Args:
            image_size: Side of its input in pixels, which may differ from what is learned from.
        """
        model = backbones.build(replace(self.options, image_size=image_size), None)
        share = self.options.trained_share
        pairs = zip(self._averages, self._starts, strict=True)
        model.set_weights(
            [new.numpy() + (1 - share) * (old.numpy() - new.numpy()) for new, old in pairs]
        )
        return model

    def state(self) -> dict[str, npt.NDArray[np.generic]]:
        """Everything that changes by learning, by name."""
        return {name: variable.numpy() for name, variable in self._variables().items()}

    def restore(self, state: Mapping[str, npt.NDArray[np.generic]]) -> None:
        """Puts back what `state` returned; the learner must have the same options."""
        for name, variable in self._variables().items():
            variable.assign(state[name])

    def _variables(self) -> dict[str, tf.Variable]:
        groups = {
            "weight": [weight.value for weight in self.model.weights],
            "average": self._averages,
            "start": self._starts,
            "proxy": [self._proxies],
            "optimizer": [variable.value for variable in self._optimizer.variables],
        }
        return {
            f"{group}/{number}": variable
            for group, variables in groups.items()
            for number, variable in enumerate(variables)
        }

    def _step(
        self,
        pictures: tf.Tensor,
        products: tf.Tensor,
        slots: tf.Tensor,
        kept_share: tf.Tensor,
        *,
        is_warm: bool,
    ) -> tf.Tensor:
        variables = self.model.trainable_variables
        with tf.GradientTape() as tape:
            outputs = self.model(tf.cast(pictures, tf.float32), training=self._keeps_statistics)
            embeddings = tf.math.l2_normalize(outputs, axis=1)
            loss = objective(
                embeddings,
                Labels(products, slots),
                self._catalogue(),
                self.options,
                is_warm=is_warm,
            )
        self._optimizer.apply_gradients(zip(tape.gradient(loss, variables), variables, strict=True))
        shown = tf.where(slots >= 0)
        self._proxies.scatter_nd_update(
            tf.gather_nd(slots, shown)[:, None], tf.gather_nd(embeddings, shown)
        )
        for average, weight in zip(self._averages, self.model.weights, strict=True):
            # In this form what does not change stays the same to the last bit.
            average.assign(weight.value + kept_share * (average - weight.value))
        return loss

    def _catalogue(self) -> Proxies | None:
        """The proxies; None where the lists have no catalogue pictures."""
        if not self._proxy_products.shape[0]:
            return None
        return Proxies(self._proxies, self._proxy_products)

"""Which category a photo is probably of, by a vote of its nearest catalogue images.

    likely = LikelyCategories.fitted(columns, nearest, units_of, duplicate_cosine=0.97)
    (neighbours,) = nearest(query[None], NEIGHBOURS)
    shares = likely.of(neighbours)          # [CategoryShare("shoes", 0.91), ...]
    to_search(shares)                       # ("shoes",), or two, or () for all

What is nearest is asked of whoever calls: a device's codes, a server's vectors.

    P(category) = 0.98 * sum over its neighbours exp(similarity / (T d)) / that over all neighbours
                + 0.02 * the category's share of the images

d is the distance of the nearest image, sqrt(2 - 2 * its similarity): what lies close by tells
more than what is merely nearest. T is fitted to each catalogue, so that the probabilities hold for
its own images: each of a sample is left out, with its near-duplicates and all other images of its
products, and voted on by the rest. (Of a product's images a model that was trained on them is
surer than it ever is of photos.) Photos lie further out than catalogue images, and T is raised for
it: docs/similar.md has the figures.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pocketlens.product_columns import ProductColumns
from pocketlens.results import CategoryShare

SURE = 0.97  # probability from which a category, or two, are searched alone
NEIGHBOURS = 64  # of a picture that vote; with 32 and with 200 the probabilities were no better
_SMOOTHING = 0.02
_SAMPLES = 256
_AT_ONCE = 16  # samples looked for together: others who ask come in between
_TEMPERATURES = np.geomspace(0.015, 2, 50)
# What T comes to on the whole, and the images whose evidence that is worth: a few alike say little.
_USUAL, _USUAL_IMAGES = 0.13, 100
_LEAST_DISTANCE = 0.03  # of two codes of one picture
_MOST_OWN = 1000  # images of one product that are passed over; beyond, a sample tells nothing
_OF_PHOTOS = 1.25
_LEAST = 0.01  # probability of a category that is worth telling


@dataclass(frozen=True, slots=True)
class Neighbours:
    """Images nearest a picture, by falling similarity.

    Attributes:
        image_keys: uint32 (n,).
        similarities: float32 (n,).
    """

    image_keys: npt.NDArray[np.uint32]
    similarities: npt.NDArray[np.float32]


NearestImages = Callable[[npt.NDArray[np.float32], int], Sequence[Neighbours]]
"""Unit rows float32 (q, dim) to at most so many images of the catalogue nearest each."""

UnitsOf = Callable[[npt.NDArray[np.uint32]], npt.NDArray[np.float32]]
"""Keys of images to their vectors, float32 (n, dim), unit rows."""


@dataclass(frozen=True, slots=True)
class LikelyCategories:
    """Of one version of a catalogue.

    Attributes:
        images: What they are of.
        temperature: Of the vote.
    """

    images: _Images
    temperature: float

    @classmethod
    def fitted(
        cls,
        columns: ProductColumns,
        nearest: NearestImages,
        units_of: UnitsOf,
        *,
        duplicate_cosine: float,
    ) -> LikelyCategories:
        """Fits the vote; 0.25 s of 100,000 images on a device.

        Args:
            columns: Every product.
            nearest: Called with some images of the catalogue at once, and others, and so on.
            units_of: Of the same images; what either raises is raised.
            duplicate_cosine: From which two images are one picture.
        """
        images = _Images.of(columns)
        sample = images.sample()
        held_out = [
            each
            for start in range(0, len(sample), _AT_ONCE)
            for each in _held_out(
                images, sample[start : start + _AT_ONCE], nearest, units_of, duplicate_cosine
            )
        ]
        return cls(images, _OF_PHOTOS * fitted_temperature(held_out))

    def of(self, neighbours: Neighbours) -> tuple[CategoryShare, ...]:
        """Categories by falling probability, those below 0.01 left out.

        "" stands for products without one.

        Args:
            neighbours: Of the photo, `NEIGHBOURS` where there are so many.
        """
        votes = self.images.votes(neighbours)
        if not len(votes.similarities):
            return ()
        found = probabilities(votes, self.temperature, self.images.prior)
        order = np.lexsort((np.arange(len(found)), -found))
        names = self.images.names
        return tuple(
            CategoryShare(names[place], float(found[place]))
            for place in order.tolist()
            if found[place] >= _LEAST
        )


def _held_out(
    images: _Images,
    keys: npt.NDArray[np.uint32],
    nearest: NearestImages,
    units_of: UnitsOf,
    duplicate_cosine: float,
) -> list[HeldOut]:
    """Images of the catalogue as if their products were not in it, and what others say."""
    owns = [images.of_same_products(key) for key in keys.tolist()]
    count = NEIGHBOURS + min(max(map(len, owns)), _MOST_OWN)
    made = []
    for key, own, found in zip(keys, owns, nearest(units_of(keys), count), strict=True):
        others = ~np.isin(found.image_keys, own) & (found.similarities < duplicate_cosine)
        categories = images.categories_of(np.array([key], np.uint32))[1]
        prior = float(images.prior[categories].sum())
        made.append(HeldOut(images.votes(found, others), categories, prior))
    return made


def to_search(shares: Sequence[CategoryShare]) -> tuple[str, ...]:
    """The category to search where one is sure, two where two are; () for all.

    Args:
        shares: By falling probability; products without a category are not one to search alone.
    """
    for count in (1, 2):
        first = shares[:count]
        if sum(each.probability for each in first) >= SURE:
            names = tuple(each.category for each in first)
            return () if "" in names else names
    return ()


@dataclass(frozen=True, slots=True)
class Votes:
    """What the neighbours of a picture say.

    Attributes:
        similarities: float32 (n,), of picture and neighbour.
        categories: int32 (n,), number of the category voted for.
        weights: float64 (n,); an image of several categories shares its vote among them.
    """

    similarities: npt.NDArray[np.float32]
    categories: npt.NDArray[np.int32]
    weights: npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class HeldOut:
    """A picture whose category is known, and its neighbours.

    Attributes:
        votes: Of its neighbours; none where it has none.
        own: int32 (m,), numbers of its categories.
        prior: Share of the images that are of these.
    """

    votes: Votes
    own: npt.NDArray[np.int32]
    prior: float


def probabilities(
    votes: Votes, temperature: float, prior: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """Probability of each category, float64 (categories,), whose sum is 1.

    Args:
        votes: One at least.
        temperature: Difference of similarity by which a vote weighs e times less, in distances of
            the nearest.
        prior: float64 (categories,), share of the images of each.
    """
    weights = votes.weights * np.exp(_above(votes) / temperature)
    counted = np.bincount(votes.categories, weights, minlength=len(prior))
    found: npt.NDArray[np.float64] = counted * ((1 - _SMOOTHING) / weights.sum())
    return found + _SMOOTHING * prior


def fitted_temperature(held_out: Sequence[HeldOut]) -> float:
    """The temperature under which what is known of pictures is likeliest, held to the usual one."""
    known = [each for each in held_out if len(each.votes.similarities)]
    if not known:
        return _USUAL
    # All votes of all pictures side by side: one exp a temperature instead of 256.
    picture = np.repeat(np.arange(len(known)), [len(each.votes.similarities) for each in known])
    above = np.concatenate([_above(each.votes) for each in known])
    weights = np.concatenate([each.votes.weights for each in known])
    is_right = np.concatenate([np.isin(each.votes.categories, each.own) for each in known])
    priors = np.array([each.prior for each in known])

    def loss(temperature: float) -> float:
        weighed = weights * np.exp(above / temperature)
        right = np.bincount(picture, weighed * is_right) / np.bincount(picture, weighed)
        return -float(np.log((1 - _SMOOTHING) * right + _SMOOTHING * priors).sum())

    best = np.log(min(_TEMPERATURES, key=loss))
    usual = _USUAL_IMAGES * np.log(_USUAL)
    return float(np.exp((len(known) * best + usual) / (len(known) + _USUAL_IMAGES)))


def _above(votes: Votes) -> npt.NDArray[np.float64]:
    """Similarities less the highest, so that none is too large for exp, in its distance."""
    above: npt.NDArray[np.float64] = votes.similarities.astype(np.float64)
    highest = float(above.max())
    above -= highest
    above /= max(np.sqrt(max(2 - 2 * highest, 0.0)), _LEAST_DISTANCE)
    return above


@dataclass(frozen=True, slots=True)
class _Images:
    """Categories of images: those of image key i are numbers[starts[i] : starts[i + 1]].

    Attributes:
        columns: Of the products.
        starts: int64 (largest key + 2,).
        numbers: int32 (m,).
        prior: float64 (categories,), share of the images of each.
    """

    columns: ProductColumns
    starts: npt.NDArray[np.int64]
    numbers: npt.NDArray[np.int32]
    prior: npt.NDArray[np.float64]

    @property
    def names(self) -> tuple[str, ...]:
        return self.columns.category_names

    @classmethod
    def of(cls, columns: ProductColumns) -> _Images:
        names = columns.category_names
        places = np.searchsorted(columns.keys, columns.link_product_keys)
        pairs = np.unique(
            columns.link_image_keys.astype(np.int64) * len(names) + columns.categories[places]
        )
        images, numbers = np.divmod(pairs, max(len(names), 1))
        largest = int(images[-1]) if len(images) else 0
        counts = np.bincount(images, minlength=largest + 2)  # the last is that of keys beyond
        starts = np.concatenate([[0], np.cumsum(counts)])
        shares = np.bincount(numbers, 1 / counts[images], minlength=len(names))
        prior = shares / max(shares.sum(), 1)
        return cls(columns, starts, numbers.astype(np.int32), prior)

    def categories_of(
        self, image_keys: npt.NDArray[np.uint32]
    ) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.int32]]:
        """Place in `image_keys`, and number of a category, of each category of each image."""
        keys = np.minimum(image_keys.astype(np.int64), len(self.starts) - 2)
        counts = self.starts[keys + 1] - self.starts[keys]
        places = np.repeat(np.arange(len(keys)), counts)
        before = np.cumsum(counts) - counts
        within = np.arange(len(places)) - before[places]
        return places, self.numbers[self.starts[keys][places] + within]

    def votes(self, found: Neighbours, which: npt.NDArray[np.bool_] | None = None) -> Votes:
        """Votes of neighbours, or of some of them."""
        keys, similarities = found.image_keys, found.similarities
        if which is not None:
            keys, similarities = keys[which][:NEIGHBOURS], similarities[which][:NEIGHBOURS]
        places, categories = self.categories_of(keys)
        weights = 1 / np.bincount(places, minlength=len(keys))[places]
        return Votes(similarities[places], categories, weights)

    def of_same_products(self, key: int) -> npt.NDArray[np.uint32]:
        """All images that show a product of this one, itself among them: uint32 (n,)."""
        images, products = self.columns.link_image_keys, self.columns.link_product_keys
        first, end = np.searchsorted(images, (key, key + 1))
        return images[np.isin(products, products[first:end])]

    def sample(self) -> npt.NDArray[np.uint32]:
        """Images to fit to, spread over all whose category has two products: uint32 (n,)."""
        shown = np.isin(self.columns.keys, self.columns.link_product_keys)
        products = np.bincount(self.columns.categories[shown], minlength=len(self.names))
        images = np.repeat(np.arange(len(self.starts) - 1), np.diff(self.starts))
        usable = np.unique(images[products[self.numbers] > 1])
        if len(usable) > _SAMPLES:
            usable = usable[np.linspace(0, len(usable) - 1, _SAMPLES).astype(np.intp)]
        return usable.astype(np.uint32)

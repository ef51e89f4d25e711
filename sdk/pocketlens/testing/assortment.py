"""What the sample shop sells: articles with a product's facts and a look, all drawn from a seed.

    articles = assortment(seed=7, numbers=range(64))

Article `n` depends on the seed and on `n` alone. Numbers go through eight kinds, then through the
two varieties of a brand, then on to the next brand: `n` and `n + 8` share shape, colours, pattern
and logo, and differ in accent, emblem and words. Those are the siblings that a search must tell
apart.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import colorsys
from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from typing import Literal

import numpy as np

from pocketlens.products import Price, Product

Kind = Literal["carton", "can", "bottle", "mug", "pouch", "book", "jar", "shoe"]
Colour = tuple[int, int, int]

VARIETIES = 2  # of a brand in one kind
CURRENCY = "EUR"


@dataclass(frozen=True, slots=True)
class Range:
    """One kind of thing in the shop.

    Attributes:
        category, noun: As a catalogue writes them; the noun ends a title.
        varieties: Words that tell the products of a brand apart.
        prices: Lowest and highest, in cents.
        size: What the attribute `size` says.
    """

    category: str
    noun: str
    varieties: tuple[str, ...]
    prices: tuple[int, int]
    size: str


RANGES: dict[Kind, Range] = {
    "carton": Range("tea", "tea", ("Mint", "Ginger", "Fennel", "Rooibos"), (199, 549), "20 bags"),
    "can": Range("drinks", "soda", ("Lemon", "Cherry", "Tonic", "Peach"), (79, 189), "330 ml"),
    "bottle": Range("syrups", "syrup", ("Elder", "Rose", "Lime", "Plum"), (349, 899), "500 ml"),
    "mug": Range("mugs", "mug", ("Harbour", "Meadow", "Alpine", "Dune"), (690, 1690), "300 ml"),
    "pouch": Range("snacks", "crisps", ("Salt", "Chili", "Onion", "Herb"), (149, 329), "150 g"),
    "book": Range("books", "novel", ("Tides", "Embers", "Winter", "Orchard"), (899, 2490), "A5"),
    "jar": Range("spreads", "jam", ("Apricot", "Quince", "Cassis", "Fig"), (249, 629), "250 g"),
    "shoe": Range("shoes", "shoe", ("Runner", "Court", "Trail", "Street"), (4990, 12990), "42"),
}
KINDS: tuple[Kind, ...] = tuple(RANGES)

PATTERNS = tuple("stripes bars slant dots checks waves chevrons rings terrazzo plain".split())
BADGES = tuple("disc square diamond hexagon".split())
EMBLEMS = tuple("sun drop leaf star heart bolt".split())

_COLOUR_WORDS = ("red", "orange", "yellow", "green", "teal", "blue", "violet", "pink")
_SYLLABLES = "ba dor fen gri hal jo kes lum mar nov ori pel quin ru sol tav ulm ves wil zan".split()


@dataclass(frozen=True, slots=True)
class Look:
    """How an article is decorated.

    Attributes:
        ground, second: Colours of the pattern; a brand's within a kind.
        accent: Colour of the variety.
        pattern, badge, emblem: Names from `PATTERNS`, `BADGES`, `EMBLEMS`.
        glyph: 5 rows of 3 cells, mirrored to 5 x 5: the brand's logo.
        scale: Size of the pattern's unit, as a share of the label's width.
        words: Brand and variety.
        upper: Whether the logo is above the variety's band.
    """

    ground: Colour
    second: Colour
    accent: Colour
    pattern: str
    badge: str
    emblem: str
    glyph: tuple[tuple[bool, ...], ...]
    scale: float
    words: tuple[str, str]
    upper: bool


@dataclass(frozen=True, slots=True)
class Article:
    """A product together with what it looks like.

    Attributes:
        number: Its place in the assortment; with the seed it determines everything else.
    """

    number: int
    product: Product
    kind: Kind
    look: Look


def assortment(seed: int, numbers: Iterable[int]) -> tuple[Article, ...]:
    """The articles with these numbers."""
    return tuple(_article(seed, number) for number in numbers)


def _article(seed: int, number: int) -> Article:
    kind = KINDS[number % len(KINDS)]
    variety = number // len(KINDS) % VARIETIES
    brand = number // (len(KINDS) * VARIETIES)
    of_brand = np.random.default_rng([seed, 1, brand])
    of_line = np.random.default_rng([seed, 2, brand, KINDS.index(kind)])
    of_variety = np.random.default_rng([seed, 3, number])

    name = "".join(of_brand.choice(_SYLLABLES, 2, replace=False)).capitalize()
    words = RANGES[kind].varieties
    word = words[(variety + int(of_line.integers(len(words)))) % len(words)]
    look, colour = _look(of_brand, of_line, (name, word), variety)
    return Article(number, _product(kind, number, look, colour, of_variety), kind, look)


def _look(
    of_brand: np.random.Generator,
    of_line: np.random.Generator,
    words: tuple[str, str],
    variety: int,
) -> tuple[Look, str]:
    """The decoration, and the word for its main colour."""
    glyph = of_brand.random((5, 3)) < 0.55
    glyph[2, 2] = True  # never empty
    badge = str(of_brand.choice(BADGES))
    hue = float(of_line.random())
    dark = bool(of_line.random() < 0.5)
    ground = _colour(hue, 0.75, 0.45) if dark else _colour(hue, 0.45, 0.92)
    second = _colour(hue + float(of_line.uniform(0.08, 0.3)), 0.6, 0.9 if dark else 0.6)
    accents = (float(of_line.random()) + np.array([0.0, 0.5])) % 1
    emblems = of_line.permutation(EMBLEMS)
    look = Look(
        ground=ground,
        second=second,
        accent=_colour(float(accents[variety]), 0.85, 0.85),
        pattern=str(of_line.choice(PATTERNS)),
        badge=badge,
        emblem=str(emblems[variety]),
        glyph=tuple(tuple(bool(cell) for cell in (*row, row[1], row[0])) for row in glyph),
        scale=float(of_line.uniform(0.1, 0.22)),
        words=words,
        upper=bool(of_line.random() < 0.5) == bool(variety),
    )
    return look, _COLOUR_WORDS[round(hue * len(_COLOUR_WORDS)) % len(_COLOUR_WORDS)]


def _product(kind: Kind, number: int, look: Look, colour: str, rng: np.random.Generator) -> Product:
    facts = RANGES[kind]
    cents = int(rng.integers(facts.prices[0], facts.prices[1]))
    identity = f"{facts.category}-{number:03}"
    return Product(
        id=identity,
        title=f"{look.words[0]} {look.words[1]} {facts.noun}",
        category=facts.category,
        url=f"https://shop.example/products/{identity}",
        price=Price.from_decimal(Decimal(cents) / 100, CURRENCY),
        stock=0 if rng.random() < 0.15 else int(rng.integers(1, 80)),
        attributes={"brand": look.words[0], "colour": colour, "size": facts.size},
    )


def _colour(hue: float, saturation: float, value: float) -> Colour:
    red, green, blue = colorsys.hsv_to_rgb(hue % 1, saturation, value)
    return round(red * 255), round(green * 255), round(blue * 255)

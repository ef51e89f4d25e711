"""What a look at a catalogue finds: values only."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from dataclasses import dataclass

from pocketlens.duplicates.found import Copy, Duplicates
from pocketlens.products import Product
from pocketlens.store.facts import StoreFacts


@dataclass(frozen=True, slots=True)
class Category:
    """A category; its name is "" for products without one."""

    name: str
    products: int
    images: int


@dataclass(frozen=True, slots=True)
class Hub:
    """An image that is the neighbour of many.

    Attributes:
        copy: The image.
        times: Among how many images' ten nearest it is; 10 on average.
    """

    copy: Copy
    times: int


@dataclass(frozen=True, slots=True)
class PoorPicture:
    """A picture of which the model sees little.

    Attributes:
        copy: The image.
        width, height: Upright, in pixels.
        blur: 0 to 1 at the model's size (`sharpness`).
    """

    copy: Copy
    width: int
    height: int
    blur: float


@dataclass(frozen=True, slots=True)
class Survey:
    """A catalogue at one version.

    Attributes:
        facts: Of the store.
        input_size: Width and height of the model's input, in pixels.
        categories: Those of the most products first.
        alone: Products that are alone in their category: nothing there is like them.
        without_price, out_of_stock, without_image: Counts of products; stock that is unknown is
            not out.
        without_product: Images that show no product.
        hubs: Images that are the neighbour of many, those of the most first.
        never: Share of images that are among the ten nearest of no other, 0 to 1.
        duplicates: Groups.
        small: Pictures that are enlarged to the model's input, the smallest first.
        blurred: Pictures that are blurred at the model's size, the worst first.
        table_bytes: By table, largest first.
        is_estimated: Whether `table_bytes` are shared out by contents, as SQLite cannot tell.
    """

    facts: StoreFacts
    input_size: tuple[int, int]
    categories: tuple[Category, ...]
    alone: tuple[Product, ...]
    without_price: int
    out_of_stock: int
    without_image: int
    without_product: int
    hubs: tuple[Hub, ...]
    never: float
    duplicates: Duplicates
    small: tuple[PoorPicture, ...]
    blurred: tuple[PoorPicture, ...]
    table_bytes: dict[str, int]
    is_estimated: bool

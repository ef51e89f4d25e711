"""Publishes that must be held and publishes that must pass, planted in a shop.

    server = make_server(folder, products=120)
    server.publish(GATES)
    BAD["cut feed"](server, rng)
    server.publish(GATES)                   # PublishHeld

Photos of the shop's shoppers lie apart from its pictures by a direction of their own, as photos do,
so that a picture can be a hub for photos and not for pictures.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np

from pocketlens.products import Price, Product
from pocketlens_server.catalogue.operations import (
    DeleteImage,
    DeleteProduct,
    PatchProduct,
    PutProduct,
    apply,
)
from pocketlens_server.publishing.gate_limits import GateLimits
from pocketlens_server.publishing.gates import Gates
from pocketlens_server.storage.history import IMAGE, PRODUCT
from tests.making.embeddings import turned, unit
from tests.making.servers import Server
from tests.making.shops import Shop, bare_description, make_shop, sealed_bundle

DIM = 32
GATES = Gates(GateLimits())

Change = Callable[[Server, random.Random], None]


def make_server(folder: Path, *, products: int = 120, photos: int = 80) -> Server:
    """A catalogue that waits to be published for the first time."""
    shop = make_shop(folder / "shop", products=products, dim=DIM)
    embeddings = _without_photo_direction(shop.embeddings)
    shop = replace(shop, embeddings=embeddings)
    shop.bundle.write_bytes(_bundle(shop, photos, "first"))
    return Server.of_shop(shop, folder)


def _bundle(shop: Shop, photos: int, name: str, *, number: int = 1) -> bytes:
    """Of the model that `Server.add_model` numbers so: it sees pictures in an order of its own."""
    rng = np.random.default_rng(3)
    shown = shop.embeddings[rng.choice(len(shop.embeddings), photos, replace=False)]
    queries = turned(rng, shown, 0.95)
    queries[:, -1] = 1.0
    representative = np.vstack([shop.embeddings[:20], np.eye(DIM, dtype=np.float32)])
    description = bare_description(
        DIM, queries=np.roll(unit(queries), number - 1, axis=1), name=name
    )
    return sealed_bundle(replace(description, representative=representative))


def _without_photo_direction(embeddings: np.ndarray) -> np.ndarray:
    found = embeddings.copy()
    found[:, -1] = 0
    return unit(found)


# --- bad -----------------------------------------------------------------------------------------


def cut_feed(server: Server, rng: random.Random) -> None:
    """A feed that ends early: from 22 to 60 % of the products are not in it."""
    ids = server.catalogue.history.ids(PRODUCT)
    for id_ in ids[: round(rng.uniform(0.22, 0.6) * len(ids))]:
        apply(server.catalogue.history, DeleteProduct(id_))


def lost_pictures(server: Server, rng: random.Random) -> None:
    """Products stay and pictures go."""
    ids = server.catalogue.history.ids(IMAGE)
    for id_ in rng.sample(ids, round(rng.uniform(0.22, 0.6) * len(ids))):
        apply(server.catalogue.history, DeleteImage(id_))


def zero_vector(server: Server, rng: random.Random) -> None:
    """A model that says nothing to one picture."""
    server.put_image("blank", np.zeros(DIM, np.float32), [rng.choice(_products(server))])


def nan_vector(server: Server, rng: random.Random) -> None:
    """A model that is damaged."""
    broken = _new(rng)
    broken[rng.randrange(DIM)] = np.nan
    server.put_image("broken", broken, [rng.choice(_products(server))])


def hub_for_photos(server: Server, rng: random.Random) -> None:
    """A picture that is what photos have in common."""
    hub = 0.2 * _new(rng)
    hub[-1] = 1
    server.put_image("hub", unit(hub), [rng.choice(_products(server))])


def one_picture(server: Server, rng: random.Random) -> None:
    """A picture "coming soon" on a half of the products or more."""
    products = _products(server)
    shown = rng.sample(products, round(rng.uniform(0.5, 0.9) * len(products)))
    if rng.random() < 0.5:
        server.put_image("soon", _new(rng), shown)
        return
    picture = _new(rng)
    for id_ in shown:
        server.put_image(f"soon-{id_}", picture, [id_])


def wrong_codes(server: Server, rng: random.Random) -> None:
    """Codes in the rows of other pictures, noticed when the next image comes."""
    vectors = server.catalogue.vectors
    pictures = list(server.pictures)
    for generation in vectors.generations():
        codes = vectors.codes(generation.number, pictures)
        moved = rng.sample(sorted(codes), max(20, len(codes) // rng.randint(2, 6)))
        turned_on = [*moved[1:], moved[0]]
        vectors.put_codes(
            generation.number,
            {picture: codes[other] for picture, other in zip(moved, turned_on, strict=True)},
        )
    server.put_image("new", _new(rng), [rng.choice(_products(server))])


def shifted_pictures(server: Server, rng: random.Random) -> None:
    """A feed whose picture column slipped: every product has its neighbour's."""
    pictures = list(server.shop.embeddings)
    by, until = rng.randint(1, 5), round(rng.uniform(0.4, 1) * len(pictures))
    sold = set(_products(server))
    for row in range(until):
        if f"sku-{row}" in sold:
            server.put_image(f"pictures/{row:05d}-0.jpg", pictures[row - by], [f"sku-{row}"])


BAD: dict[str, Change] = {
    each.__name__: each
    for each in (
        cut_feed,
        lost_pictures,
        zero_vector,
        nan_vector,
        hub_for_photos,
        one_picture,
        wrong_codes,
        shifted_pictures,
    )
}


# --- good ----------------------------------------------------------------------------------------


def prices(server: Server, rng: random.Random) -> None:
    """A sale: every price changes."""
    for id_ in _products(server):
        price = Price(rng.randrange(100, 10_000), "EUR")
        apply(server.catalogue.history, PatchProduct(id_, price, rng.randrange(9)))


def a_day(server: Server, rng: random.Random) -> None:
    """Some products come, some go, some get other pictures."""
    products = _products(server)
    for id_ in rng.sample(products, len(products) // rng.randint(8, 40)):
        apply(server.catalogue.history, DeleteProduct(id_))
    for number in range(rng.randint(1, len(products) // 8)):
        _add(server, rng, f"new-{rng.randrange(10**6)}-{number}")
    for id_ in rng.sample(_products(server), len(products) // 20):
        server.put_image(f"again-{id_}", _new(rng), [id_])


def a_season(server: Server, rng: random.Random) -> None:
    """Half as many products again."""
    for number in range(len(_products(server)) // 2):
        _add(server, rng, f"season-{rng.randrange(10**6)}-{number}")


def variants(server: Server, rng: random.Random) -> None:
    """One picture for all sizes of a thing."""
    ids = [f"size-{rng.randrange(10**6)}-{number}" for number in range(rng.randint(5, 40))]
    for id_ in ids:
        apply(server.catalogue.history, PutProduct(Product(id_, "Size")))
    server.put_image(f"picture-{ids[0]}", _new(rng), ids)


def another_model(server: Server, rng: random.Random) -> None:
    """A model that sees as well as the first."""
    if len(server.bundles) < 2:
        server.add_model(_bundle(server.shop, 80, f"model {rng.randrange(10**6)}", number=2))


GOOD: dict[str, Change] = {
    each.__name__: each for each in (prices, a_day, a_season, variants, another_model)
}


def _products(server: Server) -> list[str]:
    return server.catalogue.history.ids(PRODUCT)


def _add(server: Server, rng: random.Random, id_: str) -> None:
    apply(server.catalogue.history, PutProduct(Product(id_, "New", price=Price(100, "EUR"))))
    server.put_image(f"picture-{id_}", _new(rng), [id_])


def _new(rng: random.Random) -> np.ndarray:
    """What a picture of a new thing is embedded as: beside what the shop has, as things are."""
    vectors = np.random.default_rng(rng.randrange(2**32)).standard_normal((1, DIM))
    return _without_photo_direction(vectors.astype(np.float32))[0]

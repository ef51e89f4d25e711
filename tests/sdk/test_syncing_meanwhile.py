"""What else is asked of a store while it is being synced: each answer is of one version."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from tests.making.colour_bundle import colour_bundle, fields

from pocketlens import Lens, Price, Product, install
from pocketlens.testing import MemoryServer

PRODUCTS, VERSIONS = 12, 6


def photo(number: int) -> np.ndarray:
    return fields(np.random.default_rng(number), side=64)


def sell(server: MemoryServer, version: int, *, pictures: bool = False) -> None:
    """Everything anew, so that title, category, price and attribute name the version."""
    for number in range(PRODUCTS):
        product = Product(
            f"mug-{number}",
            title=f"Mug edition{version}",
            category=f"mugs{version}",
            price=Price(100 * version, "EUR"),
            attributes={"edition": str(version)},
        )
        server.put(product, *([photo(number)] if pictures else []))
    assert server.publish() == version


def test_every_answer_is_of_one_version(tmp_path: Path) -> None:
    server = MemoryServer(colour_bundle())
    sell(server, 1, pictures=True)
    install(tmp_path / "store", server="memory", root=server.root, transport=server)
    seen = {version: threading.Event() for version in range(1, VERSIONS + 1)}

    def ask(lens: Lens) -> None:
        while not seen[VERSIONS].is_set():
            for found in (
                lens.search_together([photo(3), photo(3)], category="auto"),
                lens.search(photo(3), text="edition"),
                lens.similar("mug-3", variety=0.5),
                lens.search_text("mug"),
            ):
                told = {match.product.attributes["edition"] for match in found.matches}
                assert told == {str(found.version)}
            estimate = lens.estimate(photo(3))
            (edition,) = {sale.product.attributes["edition"] for sale in estimate.price.items}
            assert estimate.price.band is not None
            assert str(estimate.price.band.middle) == f"{edition}.00 EUR"
            assert ("edition", edition) in {(s.name, s.value) for s in estimate.suggestions}
            seen[int(edition)].set()

    with Lens.open(tmp_path / "store") as lens, ThreadPoolExecutor(3) as threads:
        asking = [threads.submit(ask, lens) for _ in range(3)]
        try:
            for version in range(1, VERSIONS + 1):
                if version > 1:
                    sell(server, version)
                    lens.sync(transport=server)
                assert seen[version].wait(60)
        finally:
            seen[VERSIONS].set()
        for each in asking:
            each.result()

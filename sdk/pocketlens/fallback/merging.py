"""A server's answer beside what the device knows, by product id (PURE).

merged(server, device, known)

The server's matches, similarities and verdict stay together, since its thresholds are of its own
similarities. Where both have one version nothing is to be merged. Where they differ, what is said
of a product is what the newer of the two says; a product that the newer one has not is gone.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from pocketlens.products import Product
from pocketlens.results import Match, SearchResult


def differs(server: SearchResult, device: SearchResult) -> bool:
    """Whether the two answers are of other versions of the catalogue."""
    return server.version != device.version


def ids(found: SearchResult) -> list[str]:
    """Ids of all products in an answer."""
    matches = (*found.matches, *([found.best] if found.best else []))
    return sorted(
        {product.id for match in matches for product in (match.product, *match.alternatives)}
    )


def merged(
    server: SearchResult, device: SearchResult, known: Mapping[str, Product]
) -> SearchResult:
    """The server's answer in the light of what the device has.

    Args:
        server: Its answer.
        device: The device's own.
        known: Products of the server's answer that the device has, by id, as it has them.
    """
    if server.version >= device.version:
        return server
    matches = tuple(
        match for each in server.matches if (match := _as_known(each, known)) is not None
    )
    best = None if server.best is None else _as_known(server.best, known)
    if best is None:  # what the verdict was on is not sold any more
        return replace(device, matches=device.matches)
    return replace(server, matches=matches, best=best)


def _as_known(match: Match, known: Mapping[str, Product]) -> Match | None:
    shown = [known[each.id] for each in (match.product, *match.alternatives) if each.id in known]
    if not shown:
        return None
    return replace(match, product=shown[0], alternatives=tuple(shown[1:]))

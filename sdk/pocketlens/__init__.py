"""PocketLens: a shopper points a phone at a thing and knows, offline, which product it is.

    with pocketlens.Lens.open("shop/") as lens:
        found = lens.search("photo.jpg", k=5)

Public names load at first use, so that importing costs no more than numpy.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pocketlens.errors import PocketLensError
    from pocketlens.estimates.attributes import Suggestion
    from pocketlens.estimates.estimating import Estimate
    from pocketlens.estimates.prices import PriceBand, PriceEstimate, Sale
    from pocketlens.explaining.comparing import Comparison
    from pocketlens.explaining.explanation import Explanation
    from pocketlens.fallback.options import Fallback
    from pocketlens.following import install
    from pocketlens.indexing import index
    from pocketlens.lens import Lens
    from pocketlens.options import Deadlines, PictureLimits, SearchOptions, SyncOptions
    from pocketlens.products import Image, Price, Product
    from pocketlens.query.embedder import Embedder
    from pocketlens.query.filters import Filter
    from pocketlens.results import (
        CategoryShare,
        FallbackOutcome,
        FallbackReport,
        Match,
        SearchResult,
        TextMatch,
        TextResult,
        Timings,
        Verdict,
        WordsReport,
    )

__version__ = "0.1.0"

__all__ = [
    "CategoryShare",
    "Comparison",
    "Deadlines",
    "Embedder",
    "Estimate",
    "Explanation",
    "Fallback",
    "FallbackOutcome",
    "FallbackReport",
    "Filter",
    "Image",
    "Lens",
    "Match",
    "PictureLimits",
    "PocketLensError",
    "Price",
    "PriceBand",
    "PriceEstimate",
    "Product",
    "Sale",
    "SearchOptions",
    "SearchResult",
    "Suggestion",
    "SyncOptions",
    "TextMatch",
    "TextResult",
    "Timings",
    "Verdict",
    "WordsReport",
    "index",
    "install",
]

_HOME = {
    "CategoryShare": "results",
    "Comparison": "explaining.comparing",
    "Deadlines": "options",
    "Embedder": "query.embedder",
    "Estimate": "estimates.estimating",
    "Explanation": "explaining.explanation",
    "Fallback": "fallback.options",
    "FallbackOutcome": "results",
    "FallbackReport": "results",
    "Filter": "query.filters",
    "Image": "products",
    "Lens": "lens",
    "Match": "results",
    "PictureLimits": "options",
    "PocketLensError": "errors",
    "Price": "products",
    "PriceBand": "estimates.prices",
    "PriceEstimate": "estimates.prices",
    "Product": "products",
    "Sale": "estimates.prices",
    "SearchOptions": "options",
    "SearchResult": "results",
    "Suggestion": "estimates.attributes",
    "SyncOptions": "options",
    "TextMatch": "results",
    "TextResult": "results",
    "Timings": "results",
    "Verdict": "results",
    "WordsReport": "results",
    "index": "indexing",
    "install": "following",
}


def __getattr__(name: str) -> object:
    if name in _HOME:
        return getattr(import_module(f"pocketlens.{_HOME[name]}"), name)
    raise AttributeError(f"module 'pocketlens' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])

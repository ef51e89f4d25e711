"""What `pocketlens search --text` prints of words, beside a photo and alone."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

from pocketlens.cli import answers, output

if TYPE_CHECKING:
    from pocketlens.lens import Lens
    from pocketlens.query.filters import Filter
    from pocketlens.results import TextResult, WordsReport


def line(report: WordsReport) -> str:
    """What came of them, such as "products with some of the words: 12; none with zebra"."""
    if not report.asked:
        return "the text has no words"
    matching = f"{report.matching:,}" if report.matching else "none"
    unknown = f"; none with {', '.join(report.unknown)}" if report.unknown else ""
    return f"products with some of the words: {matching}{unknown}"


def answer(lens: Lens, text: str, k: int, wanted: Filter, *, as_json: bool) -> None:
    """Searches by words alone, and prints the answer."""
    found = lens.search_text(text, k, filter=wanted)
    if as_json:
        output.show_json([_as_json(text, found)])
    else:
        _show(found)


def _show(found: TextResult) -> None:
    nothing_left = found.gallery_size > 0 and not found.matches_in_filter
    filtered = "; no product satisfies the filter" if nothing_left else ""
    output.show(line(found.words) + filtered)
    if found.matches:
        rows = [
            (
                str(rank),
                answers.name(match.product),
                answers.price_of(match.product),
                f"{match.share:.2f}",
                "" if match.image is None else match.image.url or match.image.id,
            )
            for rank, match in enumerate(found.matches, 1)
        ]
        output.show_table(("#", "product", "price", "share", "image"), rows)


def _as_json(text: str, found: TextResult) -> dict[str, object]:
    return {
        "text": text,
        "words": asdict(found.words),
        "matches": [
            {
                "rank": rank,
                "share": match.share,
                "product": answers.product_as_json(match.product),
                "image": match.image and {"id": match.image.id, "url": match.image.url},
            }
            for rank, match in enumerate(found.matches, 1)
        ],
        "matches_in_filter": found.matches_in_filter,
        "gallery_size": found.gallery_size,
        "generation": found.generation,
        "version": found.version,
        "as_of": found.as_of.isoformat(),
        "timings": {"search_ms": found.timings.search_ms},
    }

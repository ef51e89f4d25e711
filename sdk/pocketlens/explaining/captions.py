"""What is said of an explanation and of a comparison, in lines for people."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from typing import TYPE_CHECKING

from pocketlens.results import Verdict

if TYPE_CHECKING:
    from pocketlens.explaining.comparing import Comparison
    from pocketlens.explaining.explanation import Explanation

_CLEARLY = 0.05  # of similarity: a photo and its mirror image differ by less for no reason
_VERDICTS = {
    Verdict.MATCH: "This is",
    Verdict.UNSURE: "This may be",
    Verdict.NO_MATCH: "No match. The nearest is",
}


def of_explanation(why: Explanation) -> tuple[str, ...]:
    """The headline, then why: similarity, lead, threshold, and where the evidence lies."""
    found, match = why.result, why.match
    is_best = found.best is not None and found.best.image.id == match.image.id
    name = match.product.name
    lines = [f"{_VERDICTS[found.verdict]} {name}" if is_best else f"Also like it is {name}"]
    lines.append(f"Similarity {match.similarity:.3f}{_lead(why) if is_best else ''}")
    if is_best and found.confidence is not None and found.threshold is not None:
        lines.append(f"Confidence {found.confidence:.2f}, a match from {found.threshold:.2f} on")
    if found.is_blank:
        lines.append("The photo is of one colour: what it is like means nothing")
    elif why.is_faint:
        lines.append("No part of the photo matters by itself: the evidence is all over it")
    else:
        lines.append(f"Covering the warmest part costs {why.heat.max():.3f} of it")
    if why.mirrored_similarity > match.similarity + _CLEARLY:
        lines.append(f"Mirrored it is more like it ({why.mirrored_similarity:.3f})")
    return tuple(lines)


def of_comparison(compared: Comparison) -> tuple[str, ...]:
    """The verdict, then what it rests on."""
    word = compared.verdict.name.replace("_", " ")
    confidence = "" if compared.confidence is None else f" {compared.confidence:.2f}"
    lines = [f"{word}{confidence}: similarity {compared.similarity:.3f}"]
    either_blank = compared.first.is_blank or compared.second.is_blank
    if compared.threshold is None and not either_blank:
        lines.append("The bundle has no calibration: nothing says which similarity is a match")
    if compared.mirrored_similarity > compared.similarity + _CLEARLY:
        lines.append(f"With one of them mirrored {compared.mirrored_similarity:.3f}")
    match compared.first.is_blank, compared.second.is_blank:
        case True, True:
            lines.append("Both are of one colour: what they are like means nothing")
        case True, False:
            lines.append("The first is of one colour: what it is like means nothing")
        case False, True:
            lines.append("The second is of one colour: what it is like means nothing")
    return tuple(lines)


def _lead(why: Explanation) -> str:
    margin = why.result.margin
    return "" if margin is None else f", {margin:.3f} ahead of the next product"

"""An article in a pose to a cut-out: its body with the label on it, on nothing.

Turning an article shows other parts of its label, as turning the thing would.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from PIL import Image

from pocketlens.testing.assortment import Article
from pocketlens.testing.boxes import boxed
from pocketlens.testing.poses import Pose
from pocketlens.testing.revolved import revolved
from pocketlens.testing.soft_goods import pouch, shoe


def cutout(article: Article, pose: Pose) -> Image.Image:
    """The article alone: an RGBA picture, `poses.HEIGHT` pixels high or less."""
    match article.kind:
        case "carton" | "book":
            return boxed(article, pose)
        case "pouch":
            return pouch(article.look, pose)
        case "shoe":
            return shoe(article.look, pose)
        case _:
            return revolved(article, pose)

"""Which gates a version must pass, and from where on each holds it."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Gate(Enum):
    """What a gate looks at; the value is how an operator names it."""

    LOST_ROWS = "lost-rows"
    VECTORS = "vectors"
    HUB = "hub"
    SHARED_PICTURE = "shared-picture"
    CODEBOOK = "codebook"
    CANARIES = "canaries"


@dataclass(frozen=True, slots=True)
class GateLimits:
    """From where on a version is held.

    Attributes:
        lost_share: Of the products, or of the images, of the last version that are fewer now.
        lost_least: Rows; fewer than that may go from a small shop.
        hub_share: Of the queries whose first answer is one picture.
        hub_times: As often as a picture is an answer on average, at least: in a shop of ten
            pictures each answers a tenth of all queries.
        products_a_picture: That one picture stands on.
        found_share: Of images that a search for their own embedding must find.
        canary_share: Of canary queries whose first answer is another product now.
        canary_least: Queries; fewer changes may be chance.
    """

    lost_share: float = 0.2
    lost_least: int = 10
    hub_share: float = 0.2
    hub_times: float = 10.0
    products_a_picture: int = 50
    found_share: float = 0.98
    canary_share: float = 0.1
    canary_least: int = 5

"""What `fsck` finds: values."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from enum import StrEnum

_NAMED = 3  # examples in a text


class Check(StrEnum):
    """What was looked at; the second half are no damages."""

    DATABASE = "database"
    HISTORY = "history"
    LINKS = "links"
    PICTURES = "pictures"
    BUNDLES = "bundles"
    EMBEDDINGS = "embeddings"
    CODES = "codes"
    STATE = "state"
    BLOBS = "blobs"
    FLOATS = "float models"
    METADATA = "metadata"
    KEYS = "keys"
    BEHIND = "behind"
    TOKENS = "tokens"

    UPGRADE = "upgrade"
    UNSIGNED = "unsigned"
    EXPIRED = "expired"
    LEFTOVERS = "leftovers"
    RESTORED = "restored"
    AHEAD = "ahead"


_NOTES = {
    Check.UPGRADE,
    Check.UNSIGNED,
    Check.EXPIRED,
    Check.LEFTOVERS,
    Check.RESTORED,
    Check.AHEAD,
}


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that an operator is to know.

    Attributes:
        catalogue: Its name; "" for the server.
        check: That found it.
        text: What is wrong, where.
        mend: What to do.
    """

    catalogue: str
    check: Check
    text: str
    mend: str

    @property
    def is_damage(self) -> bool:
        """Whether something is wrong with what is on disk."""
        return self.check not in _NOTES


def counted(found: Collection[object], what: str) -> str:
    """How many of what, with the first few of them.

    Args:
        found: Of any length but 0.
        what: "products without an offer".
    """
    named = ", ".join(str(each) for each, _ in zip(found, range(_NAMED), strict=False))
    return f"{len(found):,} {what} ({named}{', ...' if len(found) > _NAMED else ''})"

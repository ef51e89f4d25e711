"""What keeps a version from being published: signed is not good (PURE).

    gates = Gates(GateLimits(), allowed={Gate.LOST_ROWS})
    found = [*lost_rows("products", 1000, 700, gates.limits), *hubs(before, after, ...)]
    gates.hold(found, version=7)                # PublishHeld, if anything else was found

A feed that was cut, a model that was damaged and a picture "coming soon" on a thousand products all
make versions that are signed as well as any other. A gate compares a version with the one before
it, and with what any catalogue looks like.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pocketlens.errors import PublishHeld
from pocketlens_server.publishing.gate_limits import Gate, GateLimits

logger = logging.getLogger(__name__)

_UNIT_LENGTH = 0.01  # that the length of an embedding may differ from 1
_NAMED = 3  # examples in a text


@dataclass(frozen=True, slots=True)
class Finding:
    """A reason to hold a version.

    Attributes:
        gate: Which gate found it.
        text: What it found, with figures.
    """

    gate: Gate
    text: str


@dataclass(frozen=True, slots=True)
class Gates:
    """What a version must pass.

    Attributes:
        limits: From where on it is held.
        allowed: Gates whose findings the operator has seen and means. Vectors that are none cannot
            be encoded: they are held all the same.
    """

    limits: GateLimits
    allowed: Collection[Gate] = ()

    def hold(self, found: Sequence[Finding], *, version: int) -> None:
        """Lets a version pass if nothing was found but what is allowed, which is logged.

        Args:
            found: By all gates.
            version: That would be published.

        Raises:
            PublishHeld: With every reason.
        """
        held = []
        for each in found:
            if each.gate in self.allowed and each.gate is not Gate.VECTORS:
                logger.warning(
                    "publish.allowed version=%d gate=%s found=%s",
                    version,
                    each.gate.value,
                    each.text,
                )
            else:
                held.append((each.gate.value, each.text))
        if not held:
            return
        mend = "Mend the catalogue"
        if all(name != Gate.VECTORS.value for name, _ in held):
            options = "".join(f" --allow {name}" for name in dict.fromkeys(dict(held)))
            mend += f", or, if it is meant: publish{options}"
        what = "; ".join(f"[{name}] {text}" for name, text in held)
        raise PublishHeld(f"Version {version} is held, nothing has changed: {what}. {mend}.", held)


def lost_rows(what: str, before: int, after: int, limits: GateLimits) -> Iterator[Finding]:
    """A version with far fewer rows than the last: a feed that was cut, most likely."""
    lost = before - after
    if lost > limits.lost_least and lost > limits.lost_share * before:
        yield Finding(
            Gate.LOST_ROWS,
            f"{after:,} {what} where the last version had {before:,}: {lost / before:.0%} fewer",
        )


def bad_vectors(
    keys: Sequence[int], embeddings: npt.NDArray[np.float32], of: str
) -> Iterator[Finding]:
    """Embeddings that are zero, not finite, or of another length than 1.

    Args:
        keys: Of the images.
        embeddings: float32 (n, dim).
        of: What made them, for the text.
    """
    if not len(keys):
        return
    lengths = np.linalg.norm(embeddings.astype(np.float64), axis=1)
    wrong = np.flatnonzero(~(np.abs(lengths - 1) <= _UNIT_LENGTH))  # NaN is wrong too
    if len(wrong):
        named = ", ".join(str(keys[row]) for row in wrong[:_NAMED])
        yield Finding(
            Gate.VECTORS,
            f"{len(wrong):,} embeddings by {of} that are no unit vectors (image keys {named})",
        )


def shared_pictures(
    before: Mapping[bytes, int], after: Mapping[bytes, int], limits: GateLimits
) -> Iterator[Finding]:
    """Pictures that stand on very many products, and on more than in the last version.

    Args:
        before: On how many products each picture stood.
        after: On how many it stands.
        limits: From where on that is told.
    """
    for picture, count in after.items():
        if count > max(limits.products_a_picture, before.get(picture, 0)):
            yield Finding(
                Gate.SHARED_PICTURE,
                f"the picture {picture.hex()[:12]} stands on {count:,} products "
                f"({before.get(picture, 0):,} in the last version)",
            )


def hubs(
    before: Iterable[bytes], after: Sequence[bytes], pictures: int, limits: GateLimits
) -> Iterator[Finding]:
    """Pictures that answer far more queries than they should, and did not before.

    Args:
        before: The picture that answered each query first; empty before the first version.
        after: That answers it now.
        pictures: That there are.
        limits: From where on that is told.
    """
    known = Counter(before)
    for picture, count in Counter(after).most_common():
        share = count / len(after)
        if share <= max(limits.hub_share, limits.hub_times / pictures):
            break
        if known[picture] < count:
            yield Finding(
                Gate.HUB,
                f"the picture {picture.hex()[:12]} is the first answer to {share:.0%} of "
                f"{len(after)} queries, among {pictures:,} pictures",
            )


def not_found(found: npt.NDArray[np.bool_], limits: GateLimits) -> Iterator[Finding]:
    """Images that a search for their own embedding does not find: codes or lists are wrong.

    Args:
        found: bool (n,), whether each was found.
        limits: From where on that is told.
    """
    if len(found) and found.mean() < limits.found_share:
        yield Finding(
            Gate.CODEBOOK,
            f"{np.count_nonzero(~found)} of {len(found)} images are not found by their own "
            "embeddings: codes or lists are not those of this codebook",
        )


def changed_answers(
    before: Sequence[frozenset[int]],
    after: Sequence[frozenset[int]],
    products: Collection[int],
    new_share: float,
    limits: GateLimits,
) -> Iterator[Finding]:
    """Canary queries that another product answers now, though the one from before is still sold.

    Args:
        before: Keys of the products in the first answer to each query.
        after: In the first answer now.
        products: Keys of all that are sold now.
        new_share: Of the pictures, those that were not in the last version: by chance alone as many
            answers are among them.
        limits: From where on that is told.
    """
    asked = [
        (old, new) for old, new in zip(before, after, strict=True) if not old.isdisjoint(products)
    ]
    changed = sum(old.isdisjoint(new) for old, new in asked)
    if changed >= limits.canary_least and changed > (limits.canary_share + new_share) * len(asked):
        yield Finding(
            Gate.CANARIES,
            f"{changed} of {len(asked)} canary queries are answered by another product than in the "
            "last version",
        )

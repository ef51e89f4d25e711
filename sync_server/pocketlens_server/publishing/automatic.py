"""When a catalogue that is being served is published by itself (PURE).

    policy = AutoPublish(after_operations=1000, after_seconds=300)
    policy.is_due(Unpublished(operations=12, since_first=301, since_last=400))

Off unless an operator's settings say otherwise: a backend that publishes when its feed is whole
knows better. A version costs every phone a look, so that there is a least time between two.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class AutoPublish:
    """The section [publishing] of a catalogue's settings.

    Attributes:
        after_operations: Operations that changed anything, after which a version is due; 0 for
            never.
        after_seconds: After the first change, after which one is due; 0 for never.
        at_most_every_seconds: From one version to the next, whatever is due.
    """

    after_operations: int = 0
    after_seconds: int = 0
    at_most_every_seconds: int = 300

    @property
    def is_on(self) -> bool:
        """Whether anything is ever due."""
        return self.after_operations > 0 or self.after_seconds > 0

    def is_due(self, unpublished: Unpublished) -> bool:
        """Whether to publish now."""
        if unpublished.operations == 0 or unpublished.since_last < self.at_most_every_seconds:
            return False
        is_many = 0 < self.after_operations <= unpublished.operations
        return is_many or 0 < self.after_seconds <= unpublished.since_first


@dataclass(frozen=True, slots=True)
class Unpublished:
    """What has changed since the last version.

    Attributes:
        operations: That changed anything; at least as many as the products and images that differ,
            whatever changed them.
        since_first: Seconds since the first change.
        since_last: Seconds since the last version, or the last try.
    """

    operations: int
    since_first: float
    since_last: float

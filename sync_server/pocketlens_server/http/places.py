"""Who has one of a server's places, and who gives one up when all are taken (PURE).

    places = Places(most=512, share=64)
    place = places.enter("192.0.2.7")
    place.is_idle = False                       # while it is answered
    places.to_give_up("198.51.100.2")           # the place of somebody else, for that newcomer

Nobody waits for connections that ask for nothing, nor for those of one host beyond its share. What
is being answered is cut for a newcomer only where its host has more than that. Nothing here waits
or locks; one thread uses it.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass


@dataclass(eq=False, slots=True)
class Place:
    """Of one connection.

    Attributes:
        host: That it came from.
        is_idle: Whether it has no whole request that is not answered.
    """

    host: str
    is_idle: bool = True


class Places:
    """Those that are taken, oldest first."""

    def __init__(self, *, most: int, share: int) -> None:
        """Begins with all free.

        Args:
            most: At once.
            share: Of one host, which it keeps whoever comes.
        """
        self._most, self._share = most, share
        self._taken: dict[Place, None] = {}
        self._hosts: Counter[str] = Counter()

    @property
    def are_taken(self) -> bool:
        """Whether none is free."""
        return len(self._taken) >= self._most

    def enter(self, host: str) -> Place:
        """Takes one that is free."""
        place = Place(host)
        self._taken[place] = None
        self._hosts[host] += 1
        return place

    def leave(self, place: Place) -> None:
        """Frees one; one that was given up is free already."""
        if place not in self._taken:
            return
        del self._taken[place]
        self._hosts[place.host] -= 1
        if not self._hosts[place.host]:
            del self._hosts[place.host]

    def has_share(self, host: str) -> bool:
        """Whether a host has as many as it may count on."""
        return self._hosts[host] >= self._share

    def to_give_up(self, host: str) -> Place | None:
        """Whose place a newcomer may have where all are taken; None where it may have nobody's.

        A host that has its share gives up one of its own that is idle. Any other newcomer has that
        of the host which is furthest beyond its share, and while there is none such, an idle one.
        """
        if self.has_share(host):
            return next((each for each in self._taken if each.is_idle and each.host == host), None)
        beyond = [each for each in self._taken if self._hosts[each.host] > self._share]
        among = beyond or [each for each in self._taken if each.is_idle]
        return min(
            among, key=lambda each: (-self._hosts[each.host], not each.is_idle), default=None
        )

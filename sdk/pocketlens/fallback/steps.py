"""The steps of one search: the device's answer, and then a server's, if one comes."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Self

from pocketlens.answering import Auto
from pocketlens.fallback.crops import kept
from pocketlens.install_in_use import InstallInUse
from pocketlens.query.filters import Filter
from pocketlens.results import FallbackReport, SearchResult

if TYPE_CHECKING:
    from pocketlens.fallback.asking import Asking
    from pocketlens.fallback.options import Fallback
    from pocketlens.query.pictures import Box, Picture

Generated = Generator[SearchResult, None, FallbackReport]


@dataclass(frozen=True, slots=True)
class PhotoSearch:
    """What a Lens is asked of one photo; see `Lens.search` for each."""

    photo: Picture
    k: int
    wanted: Filter | None = None
    text: str = ""
    box: Box | None = None
    category: Auto | None = None


def generated(
    search: PhotoSearch, fallback: Fallback, in_use: InstallInUse, servers: Callable[[], Asking]
) -> Generated:
    """Yields the device's answer, then a server's if one comes; returns what came of that.

    Args:
        search: What is looked for.
        fallback: The server, and what it may be asked.
        in_use: What answers on the device.
        servers: Those that may be asked; called with the second step, since they load gRPC.
    """
    with in_use.held() as install:
        search = replace(search, photo=kept(search.photo, install.settings.limits))
        asked = install.embedded(search.photo, search.box)
        found = install.answer(asked, search.k, search.wanted, search.category, search.text)
        yield found
        in_use.check_process()
        from pocketlens.fallback.asking import Question

        question = Question(
            search.photo,
            search.box,
            asked.vector,
            search.k,
            search.wanted,
            search.category,
            install.embedder().spec,
            install.settings.limits,
        )
        refined, report = servers().refined(found, question, fallback, install.reader)
        if refined is not None:
            yield refined
        return report


class Steps(Iterator[SearchResult]):
    """One or two results, each when it is asked for: the second is worked on from then on only.

    Attributes:
        fallback: What came of asking a server; None until the iterator has ended.
    """

    def __init__(self, steps: Generated) -> None:
        """Takes a generator that returns what came of the fallback."""
        self._steps = steps
        self.fallback: FallbackReport | None = None

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> SearchResult:
        try:
            return next(self._steps)
        except StopIteration as end:
            self.fallback = self.fallback or end.value
            raise

    def close(self) -> None:
        """Ends the search early: what was not sent yet is not."""
        self._steps.close()

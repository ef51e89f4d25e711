"""The steps of one search: the device's answer, and then a server's, if one comes."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from collections.abc import Generator, Iterator
from typing import Self

from pocketlens.results import FallbackReport, SearchResult

Generated = Generator[SearchResult, None, FallbackReport]


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

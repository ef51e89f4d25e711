"""Operations that were refused: of each stream a reason is looked for where they were taken.

    refusals = Refusals(answers, places)
    for number in range(len(taken) + 1):        # after so many requests were taken
        yield from refusals.unfounded(number, model, known)

What is refused is not remembered, so that nobody knows when it was taken: between what came before
it in its stream and what came after it.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pocketlens_server.catalogue.operations import KeepImage, PatchProduct, PutImage
from pocketlens_server.catalogue.results import LASTING, Result
from tests.making.backend_model import BackendModel

if TYPE_CHECKING:
    from tests.making.backend_operations import Answer, Sending


@dataclass(frozen=True)
class _Refusal:
    """It was taken after `first` requests at the least, and after `last` at the most."""

    sending: Sending
    first: int
    last: int


class Refusals:
    """Those of streams that nothing cut, until a reason is found.

    Attributes:
        misplaced: Sendings that were taken before what came before them in their stream.
    """

    def __init__(self, answers: Sequence[Answer], places: Mapping[str, int]) -> None:
        """Finds when each may have been taken.

        Args:
            answers: Those of a stream in their order.
            places: Of the requests that were taken, by their ids: how many were taken before.
        """
        self.misplaced: list[Sending] = []
        streams: defaultdict[int, list[Answer]] = defaultdict(list)
        found = list[_Refusal]()
        for each in answers:
            if each.stream is not None:
                streams[each.stream].append(each)
        for stream in streams.values():
            found += self._of_stream(stream, places)
        self._to_come = deque(sorted(found, key=lambda each: each.first))
        self._open = list[_Refusal]()

    def unfounded(
        self, number: int, model: BackendModel, known: Mapping[str, bytes]
    ) -> Iterator[Sending]:
        """Those that could have been taken until now, and for which there was never a reason.

        Args:
            number: Of requests that were taken.
            model: After them.
            known: Their bodies, by their ids.
        """
        while self._to_come and self._to_come[0].first <= number:
            self._open.append(self._to_come.popleft())
        self._open = [each for each in self._open if not _has_reason(each.sending, model, known)]
        yield from (each.sending for each in self._open if each.last <= number)
        self._open = [each for each in self._open if each.last > number]

    def _of_stream(self, answers: Sequence[Answer], places: Mapping[str, int]) -> list[_Refusal]:
        """Its refusals, each between its neighbours that were taken."""
        first, end = 0, len(places)
        waiting: list[tuple[Sending, int]] = []
        found = list[_Refusal]()
        for each in answers:
            sending, outcome = each.sending, each.outcome
            if sending.hash_first:  # it may have come again, with its picture
                if outcome.result is Result.REFUSED:
                    found.append(_Refusal(sending, first, end))
            elif outcome.result is Result.REFUSED:
                waiting.append((sending, first))
            elif outcome.result in LASTING and sending.id in places:
                place = places[sending.id]
                if not outcome.is_repeated:
                    if place < first:
                        self.misplaced.append(sending)
                    found += [_Refusal(its, begun, place) for its, begun in waiting]
                    waiting.clear()
                first = max(first, place + 1)
        return found + [_Refusal(its, begun, end) for its, begun in waiting]


def _has_reason(sending: Sending, model: BackendModel, known: Mapping[str, bytes]) -> bool:
    """Whether an operation is refused at this moment, as docs/ingest.md has it."""
    if sending.id in known:
        return known[sending.id] != sending.body
    match sending.operation:
        case PatchProduct(product_id=id_):
            return id_ not in model.products
        case PutImage(product_ids=ids):
            return not set(ids) <= model.products.keys()
        case KeepImage(image_id=id_):
            return id_ not in model.images
    return False

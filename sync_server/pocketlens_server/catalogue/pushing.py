"""An image list -> a catalogue, here or behind an address: its products, then its images.

    report = push(LocalTarget(folder, clock=clock), Path("catalogue.csv"))

What is there already and the same costs nothing, so that a push which was cut off goes on when it
is called again: pictures of it that came wait until they are embedded. One that replaces is
cancelled when it is cut off, and its pictures that wait come again: what else it has put stays.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from pocketlens.errors import (
    Conflict,
    InvalidOperation,
    MissingExtraError,
    PictureError,
    PocketLensError,
)
from pocketlens.image_lists import Entry, Problem
from pocketlens.progress import Progress
from pocketlens_server.catalogue import vision_lists
from pocketlens_server.catalogue.operations import KeepImage, Operation, PutImage, PutProduct
from pocketlens_server.catalogue.results import Outcome, Result
from pocketlens_server.catalogue.targets import Change, Target
from pocketlens_server.catalogue.vision_lists import Listed
from pocketlens_server.storage.jobs import Job, JobState


@dataclass(frozen=True, slots=True)
class PushReport:
    """What a push did; it waits to be published.

    Attributes:
        products, images: Of the list, without what was left out.
        changed: Products and images that are not as they were.
        deleted: Products and images that the list does not name, with `replace`.
        embedded: Pictures that were not known before.
        left_out: Products and images of the list that are not in the catalogue now as it says.
        job: Number of the job.
        problems: Lines, products and pictures that were left out or ignored, each with its reason.
    """

    products: int
    images: int
    changed: int
    deleted: int
    embedded: int
    left_out: int
    job: int
    problems: tuple[Problem, ...]


def push(
    target: Target,
    image_list: Path,
    *,
    pictures: Path | None = None,
    replace: bool = False,
    lost_share: float | None = None,
    progress: Progress = lambda stage, done, total: None,
) -> PushReport:
    """Puts the products and images of a list.

    Args:
        target: Where to.
        image_list: CSV or folder, see `pocketlens.image_lists`, or a CSV of Vision Product Search.
        pictures: Folder of the pictures of the latter; that of the CSV if None.
        replace: Whether what the list does not name is deleted.
        lost_share: With `replace`, of products and of images, that may be deleted; None for what
            the catalogue's settings say.
        progress: Called with "sending" or "embedding", done and total.

    Raises:
        ImageListError: The list is wrong.
        ServerError: The catalogue has no model yet, is being changed by another, or would lose more
            than `lost_share`.
        Conflict: The job was cancelled meanwhile, by another.
        StoreFull: The disk has no room; the same push goes on when it has.
    """
    listed = vision_lists.read_any(image_list, pictures=pictures)
    pushing = _Pushing(listed, names_all=replace)
    total, deleted = len(listed.images.products) + len(listed.images.entries), 0
    job = target.open(is_full_feed=replace, expected=total)
    try:
        for done, (change, outcome) in enumerate(target.send(job, pushing.changes())):
            pushing.take(change, outcome)
            progress("sending", done + 1, total)
        if replace:
            vanished = target.replace(job, lost_share=lost_share)
            deleted = vanished.products + vanished.images
    except (KeyboardInterrupt, PocketLensError):
        with suppress(PocketLensError):  # the first error is the one to tell
            (target.cancel if replace else target.abandon)(job)
        raise
    ended = target.finish(job, progress=progress)
    if ended.state is JobState.CANCELLED:  # by an operator
        raise Conflict(
            f"The job {ended.number} was cancelled: pictures of it that waited were dropped. What "
            "was applied stays; the same push puts the rest."
        )
    for letter in target.dead_letters(ended):
        pushing.leave_out(PutImage(letter.image, letter.picture, ()), letter.reason)
    return pushing.report(ended, deleted)


class _Pushing:
    """A list on its way."""

    def __init__(self, listed: Listed, *, names_all: bool) -> None:
        self._listed, self._names_all = listed, names_all
        self._problems = list(listed.images.problems)
        entries = {each.image.id: each for each in listed.images.entries}
        self._entries: Mapping[str, Entry] = entries
        self._lines: dict[str, int] = {}  # of products
        for entry in listed.images.entries:
            for id_ in entry.product_ids:
                self._lines.setdefault(id_, entry.line)
        self._left_out: Counter[str] = Counter()

    def changes(self) -> Iterator[Change]:
        """Products, then images; in a full feed one whose picture is not at hand stays as it is."""
        for product in self._listed.images.products.values():
            yield Change(PutProduct(product))
        for entry in self._listed.images.entries:
            put = PutImage(entry.image, b"", entry.product_ids)
            try:
                picture = self._listed.picture(entry)
            except OSError as exc:
                self.leave_out(put, f"It cannot be read: {exc.strerror}.")
            except (InvalidOperation, PictureError, MissingExtraError) as exc:
                self.leave_out(put, str(exc))
            else:
                yield Change(put, picture)
                continue
            if self._names_all:
                yield Change(KeepImage(entry.image.id))

    def take(self, change: Change, outcome: Outcome) -> None:
        """What became of a change."""
        if outcome.result is Result.REFUSED:
            self.leave_out(change.operation, outcome.reason)
        elif outcome.result is Result.PICTURE_NEEDED:  # collected before its operation was taken
            self.leave_out(change.operation, "The server has lost its picture. Push again.")

    def leave_out(self, operation: Operation, reason: str) -> None:
        """Says why something of the list is not in the catalogue as it says."""
        if isinstance(operation, KeepImage):  # its picture was not at hand: it is left out already
            return
        if isinstance(operation, PutImage):
            entry = self._entries[operation.image.id]
            self._left_out["images"] += 1
            text = f"{entry.path}: {reason} The image is left out."
            self._problems.append(self._listed.problem(entry.line, "image", text))
        elif isinstance(operation, PutProduct):
            id_ = operation.product.id
            self._left_out["products"] += 1
            text = f"{id_}: {reason} The product is left out."
            self._problems.append(self._listed.problem(self._lines.get(id_), "product_id", text))

    def report(self, job: Job, deleted: int) -> PushReport:
        """All of it, once the job has ended."""
        return PushReport(
            products=len(self._listed.images.products) - self._left_out["products"],
            images=len(self._listed.images.entries) - self._left_out["images"],
            changed=job.counters.applied,
            deleted=deleted,
            embedded=job.counters.embedded,
            left_out=self._left_out.total(),
            job=job.number,
            problems=tuple(self._problems),
        )

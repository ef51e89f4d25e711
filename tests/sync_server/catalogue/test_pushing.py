"""A push says what it did, and leaves behind what the next one goes on with."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import tracemalloc
from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from tests.making.backend_shop import NOW, backend_folder
from tests.making.pictures import png
from tests.making.tiles import tile
from tests.making.vision_files import row, written

from pocketlens.errors import Conflict, InvalidOperation
from pocketlens.progress import Progress
from pocketlens.query.embedder import Embedder
from pocketlens_server.catalogue.ingest import Ingest
from pocketlens_server.catalogue.operations import KeepImage, PutProduct
from pocketlens_server.catalogue.pushing import PushReport, push
from pocketlens_server.catalogue.results import Outcome, Result
from pocketlens_server.catalogue.settling import AT_ONCE, settle
from pocketlens_server.catalogue.targets import Change, LocalTarget
from pocketlens_server.folders import CatalogueFolder
from pocketlens_server.storage.history import IMAGE
from pocketlens_server.storage.jobs import Job, JobState

MIB = 1 << 20


@pytest.fixture
def folder(tmp_path: Path) -> CatalogueFolder:
    return backend_folder(tmp_path / "main")


def pushed(folder: CatalogueFolder, path: Path, **options: Any) -> PushReport:
    return push(LocalTarget(folder, clock=lambda: NOW), path, **options)


def tiles(folder: Path, count: int) -> Path:
    """A list of tiles, all of one product."""
    for number in range(count):
        (folder / f"{number}.png").write_bytes(tile(number))
    return named(folder, [f"{number}.png" for number in range(count)])


def named(folder: Path, names: Iterable[str]) -> Path:
    return written(
        folder / "list.csv", [["image", "product_id"], *([each, "mug"] for each in names)]
    )


def interrupted_while(stage: str) -> Progress:
    """Ctrl-C at the first word of a stage."""

    def progress(told: str, done: int, total: int) -> None:
        if told == stage:
            raise KeyboardInterrupt

    return progress


def newest_job(folder: CatalogueFolder) -> Job:
    with folder.reading() as tables:
        return tables.jobs.newest(limit=1)[0]


def waiting_pictures(folder: CatalogueFolder) -> int:
    with folder.reading() as tables:
        return tables.waiting.count()


def held_images(folder: CatalogueFolder) -> int:
    with folder.reading() as tables:
        return len(tables.history.ids(IMAGE))


# --- beside others --------------------------------------------------------------------------------


def test_a_server_beside_it_may_embed_the_last_pictures(
    folder: CatalogueFolder, tmp_path: Path
) -> None:
    def server(stage: str, done: int, total: int) -> None:
        if stage == "embedding":
            while settle(folder, clock=lambda: NOW).pictures:
                pass

    report = pushed(folder, tiles(tmp_path, AT_ONCE + 5), progress=server)

    assert (report.images, report.left_out) == (AT_ONCE + 5, 0)
    assert waiting_pictures(folder) == 0


def test_its_progress_moves_with_each_few_pictures(folder: CatalogueFolder, tmp_path: Path) -> None:
    count, told = AT_ONCE + 5, list[tuple[int, int]]()

    def progress(stage: str, done: int, total: int) -> None:
        if stage == "embedding":
            told.append((done, total))

    pushed(folder, tiles(tmp_path, count), progress=progress)

    assert told == sorted(told)
    assert told[-1] == (count, count)
    steps = [after - before for before, after in pairwise([0, *(done for done, _ in told)])]
    assert max(steps) < AT_ONCE / 2


def test_a_model_is_opened_once_for_all_pictures(
    folder: CatalogueFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[Path] = []
    real = Embedder.open

    def counting(path: Path, **options: Any) -> Embedder:
        opened.append(path)
        return real(path, **options)

    monkeypatch.setattr(Embedder, "open", counting)

    pushed(folder, tiles(tmp_path, AT_ONCE + 5))

    assert len(opened) == 1


# --- cut off --------------------------------------------------------------------------------------


def test_after_ctrl_c_what_came_waits_and_the_next_push_goes_on(
    folder: CatalogueFolder, tmp_path: Path
) -> None:
    path = tiles(tmp_path, 5)
    with pytest.raises(KeyboardInterrupt):
        pushed(folder, path, progress=interrupted_while("sending"))

    assert waiting_pictures(folder) == 5
    assert newest_job(folder).state is JobState.EMBEDDING
    settle(folder, clock=lambda: NOW)  # as a server does
    assert newest_job(folder).state is JobState.DONE
    report = pushed(folder, path)
    assert (report.images, report.changed, report.embedded) == (5, 0, 0)


def test_a_push_that_replaces_and_is_cut_off_is_cancelled(
    folder: CatalogueFolder, tmp_path: Path
) -> None:
    path = tiles(tmp_path, 5)
    with pytest.raises(KeyboardInterrupt):
        pushed(folder, path, replace=True, progress=interrupted_while("sending"))

    assert waiting_pictures(folder) == 0
    assert newest_job(folder).state is JobState.CANCELLED
    report = pushed(folder, path, replace=True)
    assert (report.images, report.embedded, report.deleted) == (5, 5, 0)


def test_a_push_whose_job_another_cancels_says_so(folder: CatalogueFolder, tmp_path: Path) -> None:
    def operator(stage: str, done: int, total: int) -> None:
        if stage == "embedding" and not newest_job(folder).has_ended:
            Ingest(folder, clock=lambda: NOW).cancel(newest_job(folder).number)

    path = tiles(tmp_path, AT_ONCE + 5)
    with pytest.raises(Conflict, match="job 1 was cancelled"):
        pushed(folder, path, progress=operator)

    assert pushed(folder, path).embedded == 5


def test_a_feed_that_would_let_too_much_vanish_is_cancelled(
    folder: CatalogueFolder, tmp_path: Path
) -> None:
    pushed(folder, tiles(tmp_path, 5))

    with pytest.raises(InvalidOperation, match="would vanish"):
        pushed(folder, tiles(tmp_path, 1), replace=True, lost_share=0)

    assert newest_job(folder).state is JobState.CANCELLED
    assert held_images(folder) == 5


# --- what is left out -----------------------------------------------------------------------------


def test_a_picture_that_is_left_out_is_told_at_its_place_in_each_form(
    folder: CatalogueFolder, tmp_path: Path
) -> None:
    theirs = written(tmp_path / "theirs.csv", [row("gs://b/gone.jpg")])
    shop = tmp_path / "shop"
    (shop / "mug").mkdir(parents=True)
    (shop / "mug" / "empty.jpg").write_bytes(b"")

    for path, place in (
        (named(tmp_path, ["gone.jpg"]), (2, "image")),
        (theirs, (1, "image-uri")),
        (shop, (None, None)),
    ):
        report = pushed(folder, path)
        [problem] = report.problems
        assert (problem.line, problem.column) == place
        assert "The image is left out." in problem.what
        assert (report.products, report.images, report.left_out) == (1, 0, 1)


def test_an_image_that_is_left_out_is_counted_once(folder: CatalogueFolder, tmp_path: Path) -> None:
    """Also where the catalogue refuses even to leave it as it is."""

    class Ended(LocalTarget):
        def send(self, job: Job, changes: Iterable[Change]) -> Iterator[tuple[Change, Outcome]]:
            for change, outcome in super().send(job, changes):
                is_kept = isinstance(change.operation, KeepImage)
                yield change, replace(outcome, result=Result.REFUSED) if is_kept else outcome

    report = push(
        Ended(folder, clock=lambda: NOW), named(tmp_path, ["gone.png"]), replace=True, lost_share=1
    )

    assert (report.products, report.images, report.left_out) == (1, 0, 1)
    assert len(report.problems) == 1


def test_a_product_that_is_refused_is_told_at_its_place(
    folder: CatalogueFolder, tmp_path: Path
) -> None:
    class Strict(LocalTarget):
        def send(self, job: Job, changes: Iterable[Change]) -> Iterator[tuple[Change, Outcome]]:
            for change, outcome in super().send(job, changes):
                is_put = isinstance(change.operation, PutProduct)
                refused = replace(outcome, result=Result.REFUSED, reason="Not this one.")
                yield change, refused if is_put else outcome

    report = push(Strict(folder, clock=lambda: NOW), tiles(tmp_path, 2))

    assert [str(each) for each in report.problems] == [
        "line 2, column 'product_id': mug: Not this one. The product is left out."
    ]


# --- large pictures -------------------------------------------------------------------------------


def test_a_file_that_is_too_large_is_refused_by_its_size(
    folder: CatalogueFolder, tmp_path: Path
) -> None:
    with (tmp_path / "large.jpg").open("wb") as file:
        file.truncate(300 * MIB)

    tracemalloc.start()
    try:
        report = pushed(folder, named(tmp_path, ["large.jpg"]))
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert peak_bytes < 50 * MIB
    assert "Received 314,572,800" in report.problems[0].what


def test_a_part_of_a_picture_with_too_many_pixels_is_left_out(
    folder: CatalogueFolder, tmp_path: Path
) -> None:
    (tmp_path / "a.jpg").write_bytes(png(9_000, 9_000, depth=1, colour=0))
    path = written(tmp_path / "theirs.csv", [row(polygon="0.1,0.1,0.9,0.9")])

    report = pushed(folder, path)

    assert report.left_out == 1
    assert "9000 x 9000" in report.problems[0].what

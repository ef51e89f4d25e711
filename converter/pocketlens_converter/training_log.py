"""What a run looks like from outside: TensorBoard's event files, and a sheet of a batch.

    log = TrainingLog(Path("logs"))
    log.step(report)

Nothing here may end a run: what fails is said once, and then left alone.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import io
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from PIL import Image
from tensorboardX import SummaryWriter

from pocketlens import durable_files
from pocketlens_converter.batches import Batch

if TYPE_CHECKING:
    from pocketlens_converter.training import StepReport

logger = logging.getLogger(__name__)

GAP = 4  # pixels between pictures of a sheet


class TrainingLog:
    """Writes scalars of every step and a sheet of the first batch, where it is told to."""

    def __init__(
        self,
        folder: Path | None = None,
        preview: Path | None = None,
        warn: Callable[[str], None] = lambda text: None,
    ) -> None:
        """Opens the log.

        Args:
            folder: Of event files; None for none.
            preview: Where the sheet goes as a PNG; None for nowhere.
            warn: Told once, if logging fails.
        """
        self._preview = preview
        self._writer: SummaryWriter | None = None
        self._warn = warn
        if folder is not None:
            with self._harmless():
                folder.mkdir(parents=True, exist_ok=True)
                self._writer = SummaryWriter(str(folder))

    def step(self, report: StepReport) -> None:
        """Loss, learning rate, time waited for pictures, recall where it was measured."""
        if self._writer is None:
            return
        scalars = {
            "loss": report.loss,
            "learning_rate": report.learning_rate,
            "seconds_waited_for_pictures": report.waited,
        }
        if report.recall is not None:
            scalars["validation/recall@1"] = report.recall
        with self._harmless():
            for name, value in scalars.items():
                self._writer.add_scalar(name, value, report.step)

    def begin(self, first_batch: Callable[[], Batch]) -> None:
        """A sheet of what is learned from; `first_batch` is only made if it is looked at."""
        if self._writer is None and self._preview is None:
            return
        with self._harmless():
            batch = first_batch()
            if self._preview is not None:
                durable_files.write_file(self._preview, png(batch))
            if self._writer is not None:
                self._writer.add_image("batch", sheet(batch), batch.step, dataformats="HWC")

    def close(self) -> None:
        """Writes what is left."""
        if self._writer is not None:
            with self._harmless():
                self._writer.close()

    @contextmanager
    def _harmless(self) -> Iterator[None]:
        try:
            yield
        except Exception as exc:  # whatever it is: a log is never worth a run
            logger.debug("log.failed", exc_info=True)
            self._writer = None
            self._warn(f"The log of the run failed and is left: {exc}")


def sheet(batch: Batch) -> npt.NDArray[np.uint8]:
    """A row a product: its catalogue picture, then its queries: uint8 (height, width, 3)."""
    rows: dict[int, list[npt.NDArray[np.uint8]]] = {}
    for picture, product in zip(batch.pictures, batch.products.tolist(), strict=True):
        rows.setdefault(product, []).append(picture)
    side = batch.pictures.shape[1] + GAP
    widest = max(len(row) for row in rows.values())
    made = np.full((side * len(rows) + GAP, side * widest + GAP, 3), 255, np.uint8)
    for down, row in enumerate(rows.values()):
        for across, picture in enumerate(row):
            top, left = GAP + down * side, GAP + across * side
            made[top : top + side - GAP, left : left + side - GAP] = picture
    return made


def png(batch: Batch) -> bytes:
    """`sheet` as a PNG file."""
    file = io.BytesIO()
    Image.fromarray(sheet(batch)).save(file, "PNG")
    return file.getvalue()

"""Checkpoints: a run's arrays and progress in one file, written durably, read only by its own run.

A checkpoint is an `.npz` of plain arrays (nothing in it can be run) with one of text beside them.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from pocketlens import durable_files
from pocketlens.errors import TrainingError

PROGRESS = "progress"


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a run is.

    Attributes:
        run: Digest of everything that makes a run what it is: see `training.run_digest`.
        step: Steps done.
        seconds: Time spent on them, over all of the run's processes.
    """

    run: str
    step: int
    seconds: float


def write(path: Path, progress: Progress, state: Mapping[str, npt.NDArray[np.generic]]) -> None:
    """Replaces the checkpoint at `path`.

    Raises:
        StoreFull: The disk has no room; the earlier checkpoint stays.
        StoreReadOnly: The folder cannot be written to.
    """
    file = io.BytesIO()
    text = np.array(json.dumps(asdict(progress)))
    np.savez(file, allow_pickle=False, **{PROGRESS: text}, **state)
    durable_files.write_file(path, file.getvalue())


def read(path: Path, run: str) -> tuple[Progress, dict[str, npt.NDArray[np.generic]]] | None:
    """The checkpoint at `path`, or None if there is none.

    Raises:
        TrainingError: It is damaged, or another run's.
    """
    if not path.exists():
        return None
    advice = f"Delete it to start anew: {path}"
    try:
        with np.load(path, allow_pickle=False) as arrays:
            progress = Progress(**json.loads(str(arrays[PROGRESS])))
            state = {name: arrays[name] for name in arrays.files if name != PROGRESS}
    except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile) as exc:
        raise TrainingError(f"The checkpoint cannot be read. {advice}") from exc
    if progress.run != run:
        raise TrainingError(
            "The checkpoint beside the model is of a run with other options, lists or weights. "
            f"Run the earlier command again to finish that one. {advice}"
        )
    return progress, state

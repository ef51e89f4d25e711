"""An install that a sync put in place is on trial until it has answered a search once.

    folder, start = to_open(directory)       # what a reader opens, and that it has begun to
    passed(folder)                           # it has answered: the install before may go

Whoever opens it notes that it starts; three starts by processes that died before they answered
undo the swap: CURRENT names the install before again, and the version is held back until there is
a newer one. A process that lives and has not searched yet is no death.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import logging
from contextlib import suppress
from pathlib import Path

from pocketlens.errors import StoreError
from pocketlens.formats.manifest import Manifest
from pocketlens.store import installs, marks, starts
from pocketlens.store.marks import Trial
from pocketlens.store.starts import MOST_DEATHS, Start

logger = logging.getLogger(__name__)


def to_open(directory: Path) -> tuple[Path, Start | None]:
    """The install that a reader opens, and the note that it does, where one is kept.

    Raises:
        StoreNotFound, StoreCorrupt: As `installs.current`.
    """
    install = installs.current(directory)
    trial = marks.get(install, Trial)
    if trial is None:
        return install, None
    former = install.with_name(trial.former)
    if not _has_failed(install, former):
        return install, Start.begin(install)
    with suppress(StoreError, OSError), installs.writing(directory):
        undo(directory)  # or whoever writes now, or may write, will
    return former, None


def undo(directory: Path) -> None:
    """Goes back to the install before, if the one on trial has failed; inside `installs.writing`.

    Raises:
        StoreFull, StoreReadOnly: It cannot be.
    """
    try:
        install = installs.current(directory)
    except StoreError:
        return  # nothing is in use: there is nothing to go back from
    trial = marks.get(install, Trial)
    if trial is None or not _has_failed(install, install.with_name(trial.former)):
        return
    reason = f"{MOST_DEATHS} processes that opened it died before they answered a search."
    logger.warning("trial.failed version=%d former=%s", trial.version, trial.former)
    # Before CURRENT moves: a sync in between must not take it again.
    marks.put(directory, trial.failed(reason))
    installs.use(directory, trial.former)


def passed(install: Path) -> bool:
    """Ends the trial of an install that has answered, and removes the one before.

    Returns:
        False where another process is writing, or nothing can be written: to be asked again.
    """
    directory = install.parent.parent
    try:
        with installs.writing(directory):
            if installs.current(directory) == install:
                marks.remove(install, Trial)
                starts.forget_deaths(install)
                installs.remove_unneeded(directory)
    except (StoreError, OSError):
        return False
    return True


def renew(install: Path, manifest: Manifest) -> None:
    """Lets an install that a sync changed while it was on trial begin its trial anew.

    Raises:
        StoreFull, StoreReadOnly: It cannot be noted.
    """
    trial = marks.get(install, Trial)
    if trial is not None:
        marks.put(install, Trial.of(manifest, trial.former))
        starts.forget_deaths(install)


def _has_failed(install: Path, former: Path) -> bool:
    return former.is_dir() and starts.deaths(install) >= MOST_DEATHS

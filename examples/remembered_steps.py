"""Steps that are done once: each is skipped while what it reads, and what it made, is unchanged.

steps = RememberedSteps(Path("runs/demo/steps.json"))
steps.do(Step("index", reads=(catalogue, bundle), makes=(store,), settings="", run=index))
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from pocketlens.durable_files import write_file


@dataclass(frozen=True)
class Step:
    """One step of a longer path.

    Attributes:
        name: Unique in the path.
        reads: Files and folders that the result depends on, its program's sources among them.
        makes: Files and folders that are there afterwards.
        settings: Everything else that the result depends on, as text.
        run: Does it; called only when something changed.
    """

    name: str
    reads: tuple[Path, ...]
    makes: tuple[Path, ...]
    settings: str
    run: Callable[[], None]


class RememberedSteps:
    """Remembers in a file what each step read and made, by SHA-256."""

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            self._known: dict[str, list[str]] = json.loads(path.read_text())
        except (OSError, ValueError):  # nothing is remembered: everything is done again
            self._known = {}

    def do(self, step: Step) -> bool:
        """Runs `step` unless nothing changed; returns whether it ran.

        If `run` raises, the step counts as not done.
        """
        before = digest(step.reads, step.settings)
        if self._known.get(step.name) == [before, digest(step.makes)]:
            return False
        step.run()
        self._known[step.name] = [before, digest(step.makes)]
        self._path.parent.mkdir(parents=True, exist_ok=True)
        write_file(self._path, json.dumps(self._known, indent=2).encode())
        return True


def digest(paths: tuple[Path, ...], settings: str = "") -> str:
    """SHA-256 (hex) of files, of all files in folders but Python's caches, and of `settings`.

    A path that does not exist counts as missing, which is a content of its own.
    """
    whole = hashlib.sha256(settings.encode())
    for path in paths:
        found = sorted(path.rglob("*")) if path.is_dir() else [path]
        for file in found:
            if file.is_dir() or file.suffix == ".pyc":
                continue
            content = file.read_bytes() if file.exists() else b"missing"
            name = file.relative_to(path.parent).as_posix()
            whole.update(name.encode() + b"\0" + hashlib.sha256(content).digest())
    return whole.hexdigest()

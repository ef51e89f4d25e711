"""What is seen of pictures, and of those that cannot be read."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from tests.making.copies import jpeg, picture

from pocketlens.duplicates import looking
from pocketlens.duplicates.looking import digest, look, walked
from pocketlens.errors import PictureError, PocketLensError
from pocketlens.image_lists import Entry
from pocketlens.options import PictureLimits
from pocketlens.products import Image


def test_a_file_is_known_by_its_bytes(tmp_path: Path) -> None:
    for name, number in (("a", 1), ("b", 1), ("c", 2)):
        (tmp_path / name).write_bytes(jpeg(picture(number)))

    first, same, other = (digest(tmp_path / name) for name in "abc")

    assert first == same != other
    assert len(first) == 16


def test_a_file_that_is_gone_by_then_is_a_picture_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(PictureError, match=r"Cannot read .*gone\.jpg"):
        digest(tmp_path / "gone.jpg")


def test_processes_see_what_threads_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(looking, "_WORTH_PROCESSES", 1)
    entries = _entries(tmp_path, 40)
    entries[7].path.write_bytes(b"no picture")
    told: list[int] = []

    by_threads, by_processes = (
        look(
            entries,
            PictureLimits(),
            processes=count,
            progress=lambda stage, done, total: told.append(done),
        )
        for count in (0, 2)
    )

    for name in ("rows", "digests", "hashes", "mirrored_hashes", "thumbnails"):
        np.testing.assert_array_equal(getattr(by_threads, name), getattr(by_processes, name))
    assert by_threads.rows.tolist() == [*range(7), *range(8, 40)]
    assert by_threads.problems == by_processes.problems
    assert told == [*range(1, 41)] * 2


def test_a_process_that_is_killed_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(looking, "_WORTH_PROCESSES", 1)

    with pytest.raises(PocketLensError, match="was ended by another"):
        list(walked(_entries(tmp_path, 40), partial(_kill, os.getpid()), processes=1))


def test_processes_end_with_a_caller_that_is_killed(tmp_path: Path) -> None:
    for number in range(4):
        (tmp_path / f"{number}.jpg").write_bytes(jpeg(picture(number)))
    program = tmp_path / "program.py"
    program.write_text(_PROGRAM)
    with subprocess.Popen([sys.executable, program, tmp_path], stdout=subprocess.PIPE) as caller:
        assert caller.stdout is not None
        assert caller.stdout.readline() == b"looking\n"
        caller.kill()

        ended, _, _ = select.select([caller.stdout], [], [], 30)  # by whoever could write there
        assert ended
        assert caller.stdout.read() == b""


_PROGRAM = """
import sys
from pathlib import Path

from pocketlens.duplicates import looking
from pocketlens.image_lists import Entry
from pocketlens.products import Image


def told(path):
    import time

    print("looking", flush=True)
    time.sleep(600)


if __name__ == "__main__":
    looking._WORTH_PROCESSES = 1
    paths = sorted(Path(sys.argv[1]).glob("*.jpg"))
    list(looking.walked([Entry(p, Image(p.stem), (), 1) for p in paths], told, processes=1))
"""


def _kill(caller: int, path: Path) -> None:
    assert os.getpid() != caller
    os.kill(os.getpid(), signal.SIGKILL)


def _entries(folder: Path, count: int) -> list[Entry]:
    entries = []
    for number in range(count):
        path = folder / f"{number}.jpg"
        path.write_bytes(jpeg(picture(number)))
        name = str(number)
        entries.append(Entry(path, Image(name), (name,), number + 2))
    return entries

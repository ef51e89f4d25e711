"""What is seen of pictures, and of those that cannot be read."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from pathlib import Path

import pytest
from tests.making.copies import jpeg, picture

from pocketlens.duplicates.looking import digest
from pocketlens.errors import PictureError


def test_a_file_is_known_by_its_bytes(tmp_path: Path) -> None:
    for name, number in (("a", 1), ("b", 1), ("c", 2)):
        (tmp_path / name).write_bytes(jpeg(picture(number)))

    first, same, other = (digest(tmp_path / name) for name in "abc")

    assert first == same != other
    assert len(first) == 16


def test_a_file_that_is_gone_by_then_is_a_picture_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(PictureError, match=r"Cannot read .*gone\.jpg"):
        digest(tmp_path / "gone.jpg")

"""How a file appears: whole, or with an error that says why not."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from pathlib import Path

import pytest

from pocketlens.durable_files import write_file
from pocketlens.errors import StoreReadOnly


def test_a_file_in_place_of_the_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "taken").write_bytes(b"a file")

    with pytest.raises(StoreReadOnly, match="a file is in its way"):
        write_file(tmp_path / "taken" / "page.html", b"a page")

    assert (tmp_path / "taken").read_bytes() == b"a file"

"""What a store follows, as it is written and read."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import pytest

from pocketlens import followed
from pocketlens.errors import SyncError
from pocketlens.followed import Followed
from pocketlens.store.installs import FOLLOWED

SHOP = Followed("shop.example:8443", "main", b'{"signed": {}}', "a device", "ca.pem", "token")


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    followed.write(tmp_path, SHOP)

    assert followed.read(tmp_path) == SHOP


def test_certificates_and_a_token_need_not_be_said(tmp_path: Path) -> None:
    of_the_system = replace(SHOP, ca="", token_file="")
    sealed(tmp_path, without=("ca", "token_file"))

    assert followed.read(tmp_path) == of_the_system

    followed.write(tmp_path, of_the_system)
    assert json.loads((tmp_path / "sync.json").read_text())["ca"] == ""
    assert followed.read(tmp_path) == of_the_system


@pytest.mark.parametrize("name", ["server", "catalogue", "device", "root"])
def test_a_seal_over_too_little_does_not_count(tmp_path: Path, name: str) -> None:
    sealed(tmp_path, without=(name,))

    with pytest.raises(SyncError, match="Name its server again"):
        followed.read(tmp_path)


def test_a_seal_over_what_is_no_text_does_not_count(tmp_path: Path) -> None:
    sealed(tmp_path, without=(), ca=None)

    with pytest.raises(SyncError, match="Name its server again"):
        followed.read(tmp_path)


def sealed(folder: Path, *, without: tuple[str, ...], **others: object) -> None:
    """Writes both copies, as somebody with other ideas of what they hold would."""
    followed.write(folder, SHOP)
    settings = json.loads((folder / "sync.json").read_text()) | others
    kept = {name: text for name, text in settings.items() if name not in (*without, "sha256")}
    kept["sha256"] = hashlib.sha256(json.dumps(kept, sort_keys=True).encode()).hexdigest()
    for name in FOLLOWED:
        (folder / name).write_text(json.dumps(kept))

"""Pictures as they come, whole or in parts, are in their place whole or not at all."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from pocketlens.errors import InvalidOperation
from pocketlens.options import PictureLimits
from pocketlens_server.catalogue.pictures import Arriving, check_size, keep
from pocketlens_server.folders import CatalogueFolder

PICTURE = bytes(range(256)) * 8
DIGEST = hashlib.sha256(PICTURE).digest()


@pytest.fixture
def folder(tmp_path: Path) -> CatalogueFolder:
    (tmp_path / "main" / "pictures").mkdir(parents=True)
    return CatalogueFolder("main", tmp_path / "main", tmp_path / "public", tmp_path / "offline")


def files(folder: CatalogueFolder) -> list[Path]:
    return [path for path in folder.folder.rglob("*") if path.is_file()]


def arrived(folder: CatalogueFolder, *parts: bytes) -> bytes:
    arriving = Arriving(folder, size_bytes=sum(map(len, parts)))
    for part in parts:
        arriving.write(part)
    return arriving.keep()


@pytest.mark.parametrize("size", [1, 7, 1000, len(PICTURE)])
def test_a_picture_is_the_same_however_it_comes(folder: CatalogueFolder, size: int) -> None:
    parts = [PICTURE[at : at + size] for at in range(0, len(PICTURE), size)]

    assert arrived(folder, *parts) == keep(folder, PICTURE) == DIGEST

    assert files(folder) == [folder.picture(DIGEST)]
    assert folder.picture(DIGEST).read_bytes() == PICTURE


def test_a_picture_that_is_there_is_left_and_is_as_new(folder: CatalogueFolder) -> None:
    """So that it is not collected before an image can name it."""
    place = folder.picture(keep(folder, PICTURE))
    inode = place.stat().st_ino
    for again in (lambda: keep(folder, PICTURE), lambda: arrived(folder, PICTURE)):
        os.utime(place, (0, 0))

        again()

        assert place.stat().st_mtime > 0
        assert (place.stat().st_ino, files(folder)) == (inode, [place])


@pytest.mark.parametrize("rotten", [b"", PICTURE[:-1], PICTURE + b"x", b"?" * len(PICTURE)])
@pytest.mark.parametrize("way", [keep, arrived])
def test_a_picture_that_has_rotted_is_mended_when_it_comes_again(
    folder: CatalogueFolder, rotten: bytes, way: Callable[[CatalogueFolder, bytes], bytes]
) -> None:
    place = folder.picture(keep(folder, PICTURE))
    place.write_bytes(rotten)

    assert way(folder, PICTURE) == DIGEST

    assert place.read_bytes() == PICTURE
    assert files(folder) == [place]


def test_a_picture_that_does_not_come_whole_leaves_nothing(folder: CatalogueFolder) -> None:
    arriving = Arriving(folder, size_bytes=len(PICTURE))
    arriving.write(PICTURE[:-1])
    assert not arriving.is_whole
    with pytest.raises(InvalidOperation, match="1 bytes more"):
        arriving.keep()
    for part in (b"", b"ab"):
        with pytest.raises(InvalidOperation, match=f"Received {len(part)}"):
            arriving.write(part)

    arriving.discard()
    arriving.discard()

    assert files(folder) == []


def test_sizes_that_no_picture_has_are_refused(folder: CatalogueFolder) -> None:
    limit_bytes = PictureLimits().encoded_bytes
    check_size(1)
    check_size(limit_bytes, come=limit_bytes)
    for size in (0, -1, limit_bytes + 1):
        with pytest.raises(InvalidOperation, match="a picture of 1 to"):
            check_size(size)
        with pytest.raises(InvalidOperation):
            Arriving(folder, size_bytes=size)
    with pytest.raises(InvalidOperation, match="Received 4"):
        check_size(3, come=4)

    assert files(folder) == []


def test_a_picture_that_ended_while_its_disk_stood_still_leaves_nothing(
    folder: CatalogueFolder,
) -> None:
    """Its caller goes while a thread waits to write the first part."""
    arriving = Arriving(folder, size_bytes=len(PICTURE))

    arriving.discard()
    arriving.write(PICTURE[:9])

    assert files(folder) == []

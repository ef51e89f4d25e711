"""Downloaded files are found by their addresses, and none that could be another's."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from pathlib import Path

import pytest

from pocketlens.errors import CatalogError
from pocketlens_server.catalogue.bucket_files import BucketFiles, parts_of


def made(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"")


def found(folder: Path, *addresses: str) -> list[str | None]:
    """The path of each address below the folder, None where there is none."""
    files = BucketFiles(folder, lambda: addresses)
    return [
        path.relative_to(folder).as_posix() if missing is None else None
        for path, missing in map(files.find, addresses)
    ]


@pytest.mark.parametrize("name", ["x/y/1.jpg", "b/x/y/1.jpg", "elsewhere/1.jpg", "1.jpg"])
def test_a_file_is_found_by_path_bucket_or_name(name: str, tmp_path: Path) -> None:
    made(tmp_path, name)

    assert found(tmp_path, "gs://b/x/y/1.jpg") == [name]
    assert found(tmp_path, "gs://b/x//y/1.jpg") == [name]


def test_the_path_comes_before_the_bucket_and_the_bucket_before_the_name(tmp_path: Path) -> None:
    made(tmp_path, "b/x/1.jpg", "other/1.jpg")
    assert found(tmp_path, "gs://b/x/1.jpg") == ["b/x/1.jpg"]

    made(tmp_path, "x/1.jpg")
    assert found(tmp_path, "gs://b/x/1.jpg") == ["x/1.jpg"]


def test_a_name_alone_finds_nothing_that_could_be_anothers(tmp_path: Path) -> None:
    made(tmp_path, "bag/1.jpg", "one/2.jpg", "two/2.jpg", "3.jpg")

    assert found(tmp_path, "gs://b/bag/1.jpg", "gs://b/cap/1.jpg") == ["bag/1.jpg", None]
    assert found(tmp_path, "gs://b/2.jpg") == [None]
    assert found(tmp_path, "gs://b/x/3.jpg", "gs://b/x/3.jpg") == ["3.jpg", "3.jpg"]


def test_all_that_was_tried_is_told(tmp_path: Path) -> None:
    made(tmp_path, "one/2.jpg", "two/2.jpg")
    files = BucketFiles(tmp_path, lambda: ["gs://b/x/2.jpg"])

    path, missing = files.find("gs://b/x/2.jpg")

    assert path == tmp_path / "x/2.jpg"
    assert missing == (
        f"no picture at {tmp_path}/x/2.jpg nor {tmp_path}/b/x/2.jpg, and 2 called '2.jpg' below "
        f"{tmp_path} for 1 addresses"
    )


@pytest.mark.parametrize("name", ["x" * 300 + ".jpg", "nul\0.jpg"])
def test_a_name_that_no_file_can_have_is_missing(name: str, tmp_path: Path) -> None:
    assert found(tmp_path, f"gs://b/{name}") == [None]


@pytest.mark.parametrize(
    "address",
    [
        "",
        "a.jpg",
        "https://b/a.jpg",
        "gs://",
        "gs://b",
        "gs://b/",
        "gs:///a.jpg",
        "gs://b/folder/",
        "gs://b/../a.jpg",
        "gs://b/x/../../a.jpg",
        "gs://../a.jpg",
        "gs://b/..",
    ],
)
def test_what_is_no_address_or_leads_upwards_is_refused(address: str, tmp_path: Path) -> None:
    with pytest.raises(CatalogError, match="Expected an address such as"):
        BucketFiles(tmp_path, lambda: [address]).find(address)
    with pytest.raises(CatalogError):
        parts_of(address)


def test_an_absolute_name_stays_in_the_folder(tmp_path: Path) -> None:
    made(tmp_path, "secret.jpg", "files/other.jpg")

    assert found(tmp_path / "files", f"gs://b/{tmp_path}/secret.jpg") == [None]

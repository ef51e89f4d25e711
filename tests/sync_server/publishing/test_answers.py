"""What a device is told: what it lacks, and all of it where keys may have changed."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from pathlib import Path

import pytest
from tests.making.repositories import BEGAN, Repository, manifest

from pocketlens.sync import trust
from pocketlens_server.publishing import keys, rekeying
from pocketlens_server.publishing.answers import MAX_ROOTS, MAX_ROOTS_BYTES, Asked, newer


def test_after_another_root_everything_is_told(tmp_path: Path) -> None:
    """A thief may have led the device to the very versions that the owner reached by other keys."""
    repository = Repository.make(tmp_path)
    repository.publish(manifest(1))
    offline = [repository.catalogue.offline_keys]
    rekeying.rotate(repository.catalogue, keys.ONLINE, offline=offline, now=BEGAN)
    found = trust.verified(
        {}, root=repository.root, fetch=repository.fetch, generation=None, now=BEGAN
    )
    versions = trust.versions(found.metadata)

    nothing = newer(repository.folder, Asked(b"", 1, versions)).files
    everything = newer(repository.folder, Asked(b"", 1, versions | {"root": 1})).files

    assert nothing == {}
    roles = {  # and the newest manifest
        name.rpartition("/")[2].removesuffix(".json").rpartition(".")[2] for name in everything
    }
    assert roles == {*keys.ROLES, "newest"}


@pytest.mark.parametrize(
    ("sizes", "told"),
    [
        ([100] * MAX_ROOTS, MAX_ROOTS),
        ([100] * (MAX_ROOTS + 1), MAX_ROOTS),
        ([MAX_ROOTS_BYTES // 3] * 3, 3),
        ([MAX_ROOTS_BYTES // 3] * 4, 3),
        ([MAX_ROOTS_BYTES, 1], 1),
        ([MAX_ROOTS_BYTES + 1, 1], 1),  # no device takes it, and none waits for ever
        ([1, MAX_ROOTS_BYTES, 1], 1),
    ],
)
def test_roots_that_are_too_many_for_one_answer_come_alone(
    tmp_path: Path, sizes: list[int], told: int
) -> None:
    repository = Repository.make(tmp_path)
    repository.publish(manifest(1))
    roots = {f"metadata/{number}.root.json": bytes(size) for number, size in enumerate(sizes, 2)}
    for name, data in roots.items():
        (repository.folder / name).write_bytes(data)

    files = newer(repository.folder, Asked(b"", 1, {"root": 1})).files

    found = {name: data for name, data in files.items() if name in roots}
    assert found == dict(list(roots.items())[:told])
    assert (len(files) > told) == (told == len(sizes))
    assert ("metadata/timestamp.json" in files) == (told == len(sizes))

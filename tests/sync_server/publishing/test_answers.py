"""What a device is told: what it lacks, and all of it where keys may have changed."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from pathlib import Path

from tests.making.repositories import BEGAN, Repository, manifest

from pocketlens.sync import trust
from pocketlens_server.publishing import keys, rekeying
from pocketlens_server.publishing.answers import Asked, newer


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

"""Only what the right keys signed, newer than what was trusted, and not expired, is believed."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from tests.making.repositories import BEGAN, BUNDLE, Repository, manifest

from pocketlens.errors import ClockSuspect, ServerError, StoreError, TransportError, TrustError
from pocketlens.sync.trust import Verified, verified
from pocketlens_server.publishing import signing

DAY = timedelta(days=1)


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return Repository.make(tmp_path / "repository")


def follow(
    repository: Repository,
    trusted: Mapping[str, bytes] | None = None,
    *,
    generation: bytes | None = None,
    now: datetime = BEGAN,
) -> Verified:
    return verified(
        trusted or {}, root=repository.root, fetch=repository.fetch, generation=generation, now=now
    )


def test_a_version_is_found_and_then_the_next(repository: Repository) -> None:
    repository.publish(manifest(1))
    first = follow(repository)
    repository.publish(manifest(2))

    second = follow(repository, first.metadata)

    assert (first.manifest.version, second.manifest.version) == (1, 2)
    assert set(second.metadata) == {
        "1.root.json",
        "timestamp.json",
        "snapshot.json",
        "targets.json",
        "models.json",
        "publishing.json",
    }


def test_what_did_not_change_is_not_fetched_again(repository: Repository) -> None:
    repository.publish(manifest(1))
    first = follow(repository)
    repository.asked.clear()

    assert follow(repository, first.metadata).metadata == first.metadata

    fetched = [name for name in repository.asked if name.startswith("metadata/")]
    assert fetched == ["metadata/2.root.json", "metadata/timestamp.json"]


def test_a_folder_for_temporary_files_that_is_gone_is_told(
    repository: Repository, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    repository.publish(manifest(5))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "gone"))

    with pytest.raises(StoreError, match="TMPDIR"):
        follow(repository)


def test_a_store_finds_its_own_generation_and_a_new_one_the_newest(repository: Repository) -> None:
    repository.add_model(b"another bundle")
    repository.publish(manifest(5), manifest(5, generation=2, bundle=b"another bundle"))

    assert follow(repository).manifest.generation == bytes([2]) * 32
    assert follow(repository, generation=bytes([1]) * 32).manifest.bundle.size == len(BUNDLE)
    retired = follow(repository, generation=bytes([3]) * 32)  # it goes on with the newest
    assert retired.manifest.generation == bytes([2]) * 32


def test_online_keys_alone_cannot_bring_a_model(repository: Repository) -> None:
    repository.publish(manifest(1, bundle=b"a bundle that no model key signed"))

    with pytest.raises(TrustError, match="no model key has signed"):
        follow(repository)


def test_another_catalogues_root_is_not_believed(repository: Repository, tmp_path: Path) -> None:
    repository.publish(manifest(1))
    other = Repository.make(tmp_path / "other")

    with pytest.raises(TrustError, match="cannot be trusted"):
        verified({}, root=other.root, fetch=repository.fetch, generation=None, now=BEGAN)


def test_what_has_expired_is_not_installed(repository: Repository) -> None:
    repository.publish(manifest(1))

    with pytest.raises(TrustError, match="expired"):
        follow(repository, now=BEGAN + 4 * DAY)
    with pytest.raises(ClockSuspect, match="The clock says 2038"):
        follow(repository, now=datetime(2038, 1, 19, tzinfo=BEGAN.tzinfo))
    assert follow(repository, now=BEGAN - 30 * 365 * DAY).manifest.version == 1


def test_a_timestamp_is_signed_again_at_a_third_of_its_life(repository: Repository) -> None:
    repository.publish(manifest(1))

    assert not signing.refresh(repository.folder, repository.signers, now=BEGAN + 0.9 * DAY)
    assert signing.refresh(repository.folder, repository.signers, now=BEGAN + 1.1 * DAY)

    assert follow(repository, now=BEGAN + 4 * DAY).manifest.version == 1
    assert signing.refresh(repository.folder, repository.signers, now=BEGAN + 16 * DAY)
    assert follow(repository, now=BEGAN + 18 * DAY).manifest.version == 1


def test_a_server_whose_root_has_expired_signs_nothing(repository: Repository) -> None:
    """Its clock may be years ahead; devices would believe no earlier time any more."""
    repository.publish(manifest(1))
    before = repository.files()
    later = BEGAN + 731 * DAY

    with pytest.raises(ServerError, match="keys renew"):
        signing.refresh(repository.folder, repository.signers, now=later)
    assert repository.files() == before
    with pytest.raises(ServerError, match="set the clock right"):
        repository.publish(manifest(2), now=later)
    assert follow(repository).manifest.version == 1


def test_a_server_that_is_gone_is_told_as_that(repository: Repository) -> None:
    repository.publish(manifest(1))

    def gone(name: str) -> Iterator[bytes]:
        raise TransportError("Nobody answers.")

    def breaks_off(name: str) -> Iterator[bytes]:
        yield b"{"
        raise TransportError("Nobody answers any more.")

    for fetch in (gone, breaks_off):
        with pytest.raises(TransportError, match="Nobody answers"):
            verified({}, root=repository.root, fetch=fetch, generation=None, now=BEGAN)

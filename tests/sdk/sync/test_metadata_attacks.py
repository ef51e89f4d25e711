"""The attacks that TUF is there to stop, each by its name, against the client as it is used here.

tests/making/key_stories.py has those on keys and roots.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from securesystemslib.formats import encode_canonical
from tests.making.forging import name_versions, sign_next
from tests.making.key_stories import follows, refuses
from tests.making.repositories import blob
from tests.making.scenes import MetadataScene, Scene
from tuf.api.metadata import DelegatedRole, MetaFile, Snapshot, TargetFile, Targets, Timestamp

from pocketlens_server.publishing import keys, metadata, rekeying, signing
from pocketlens_server.publishing.keys import (
    MODELS,
    PUBLISHING,
    SNAPSHOT,
    TARGETS,
    TIMESTAMP,
)
from pocketlens_server.publishing.metadata import newest

DAY = timedelta(days=1)
Attack = Callable[[Scene], None]


@pytest.fixture
def scene(tmp_path: Path) -> MetadataScene:
    """With three versions, and a second one of targets."""
    made = MetadataScene(tmp_path / "server")
    made.publish(3)
    offline = [made.catalogue.offline_keys]
    rekeying.renew(made.catalogue, [TARGETS], offline=offline, now=made.now)
    return made


def replaced(name: str, change: Callable[[bytes], bytes]) -> Attack:
    """A file is served as something else."""

    def attack(thief: Scene) -> None:
        path = newest_path(thief, name)
        path.write_bytes(change(path.read_bytes()))

    return attack


def newest_path(scene: Scene, role: str) -> Path:
    folder = scene.public / "metadata"
    if role == TIMESTAMP:
        return folder / "timestamp.json"
    signed = newest(scene.public, role, Snapshot if role == SNAPSHOT else Targets)
    return folder / f"{signed.version}.{role}.json"


def resigned(role: str, change: Callable[[dict[str, Any]], None]) -> Attack:
    """The signed part of a role is another, and is signed by its right keys."""

    def attack(thief: Scene) -> None:
        path = newest_path(thief, role)
        value = json.loads(path.read_bytes())
        change(value["signed"])
        data = encode_canonical(value["signed"]).encode()
        value["signatures"] = [signer.sign(data).to_dict() for signer in thief.signers[role]]
        path.write_bytes(json.dumps(value).encode())

    return attack


def expired(role: str) -> Attack:
    def attack(thief: Scene) -> None:
        past = thief.now - DAY
        if role == TIMESTAMP:
            timestamp = newest(thief.public, TIMESTAMP, Timestamp)
            timestamp.expires = past
            sign_next(thief.public, TIMESTAMP, timestamp, thief.signers[TIMESTAMP])
            return
        versions = {}
        if role != SNAPSHOT:
            signed = newest(thief.public, role, Targets)
            signed.expires = past
            sign_next(thief.public, role, signed, thief.signers[role])
            versions[role] = signed.version
        name_versions(thief, versions, expires=past if role == SNAPSHOT else None)

    return attack


def says(field: str, value: object) -> Callable[[dict[str, Any]], None]:
    def change(signed: dict[str, Any]) -> None:
        signed[field] = value

    return change


def rolls_back_timestamp(thief: Scene) -> None:
    timestamp = newest(thief.public, TIMESTAMP, Timestamp)
    timestamp.version = 1
    sign_next(thief.public, TIMESTAMP, timestamp, thief.signers[TIMESTAMP])


def rolls_back_snapshot(thief: Scene) -> None:
    timestamp = newest(thief.public, TIMESTAMP, Timestamp)
    timestamp.snapshot_meta = MetaFile(1)
    sign_next(thief.public, TIMESTAMP, timestamp, thief.signers[TIMESTAMP])


def rolls_back(role: str) -> Attack:
    def attack(thief: Scene) -> None:
        name_versions(thief, {role: 1})

    return attack


def drops_a_role(thief: Scene) -> None:
    snapshot = newest(thief.public, SNAPSHOT, Snapshot)
    del snapshot.meta["models.json"]
    sign_next(thief.public, SNAPSHOT, snapshot, thief.signers[SNAPSHOT])
    timestamp = newest(thief.public, TIMESTAMP, Timestamp)
    timestamp.snapshot_meta = MetaFile(snapshot.version)
    sign_next(thief.public, TIMESTAMP, timestamp, thief.signers[TIMESTAMP])


def names_another_version(thief: Scene) -> None:
    """The snapshot names a version of publishing whose file is of another."""
    publishing = newest(thief.public, PUBLISHING, Targets)
    data = newest_path(thief, PUBLISHING).read_bytes()
    name = f"{publishing.version + 1}.publishing.json"
    (thief.public / "metadata" / name).write_bytes(data)
    name_versions(thief, {PUBLISHING: publishing.version + 1})


def serves_another_role(thief: Scene) -> None:
    """Metadata of a role, rightly signed, under the name of another with the same kind."""
    models = newest(thief.public, MODELS, Targets)
    publishing = newest(thief.public, PUBLISHING, Targets)
    models.version = publishing.version
    sign_next(thief.public, PUBLISHING, models, thief.signers[MODELS])
    name_versions(thief, {PUBLISHING: models.version})


def signs_beyond_its_paths(thief: Scene) -> None:
    """Publishing names a model as its own, and a manifest with it."""
    bundle = blob(b"a program of the thief's")
    publishing = newest(thief.public, PUBLISHING, Targets)
    path = signing.bundle_path(bundle.sha256)
    publishing.targets[path] = TargetFile(bundle.size, {"sha256": bundle.sha256.hex()}, path)
    sign_next(thief.public, PUBLISHING, publishing, thief.signers[PUBLISHING])
    name_versions(thief, {PUBLISHING: publishing.version})
    assert isinstance(thief, MetadataScene)
    thief.bundle = b"a program of the thief's"
    thief.publish()


def delegates_on(thief: Scene) -> None:
    """Publishing lets a role of the thief's sign models."""
    key = thief.signers[PUBLISHING][0].public_key
    publishing = newest(thief.public, PUBLISHING, Targets)
    publishing.delegations = metadata.Delegations(
        {key.keyid: key},
        {"theft": DelegatedRole("theft", [key.keyid], 1, terminating=True, paths=["bundles/*"])},
    )
    sign_next(thief.public, PUBLISHING, publishing, thief.signers[PUBLISHING])
    bundle = blob(b"a program of the thief's")
    path = signing.bundle_path(bundle.sha256)
    theft = Targets(1, expires=publishing.expires)
    theft.targets[path] = TargetFile(bundle.size, {"sha256": bundle.sha256.hex()}, path)
    sign_next(thief.public, "theft", theft, thief.signers[PUBLISHING])
    name_versions(thief, {PUBLISHING: publishing.version, "theft": theft.version})
    assert isinstance(thief, MetadataScene)
    thief.bundle = b"a program of the thief's"
    thief.publish()


def signs_twice_with_one_key(thief: Scene) -> None:
    """Two signatures of one key, for a threshold of two of a role of two keys."""
    path = newest_path(thief, TIMESTAMP)
    value = json.loads(path.read_bytes())
    value["signatures"] *= 2
    path.write_bytes(json.dumps(value).encode())


ATTACKS: dict[str, Attack] = {
    "rollback of the timestamp": rolls_back_timestamp,
    "rollback of the snapshot": rolls_back_snapshot,
    "rollback of targets": rolls_back(TARGETS),
    "rollback of models": rolls_back(MODELS),
    "rollback of publishing": rolls_back(PUBLISHING),
    "freeze by an expired timestamp": expired(TIMESTAMP),
    "freeze by an expired snapshot": expired(SNAPSHOT),
    "freeze by expired publishing": expired(PUBLISHING),
    "freeze by expired models": expired(MODELS),
    "freeze by expired targets": expired(TARGETS),
    "a role that is dropped": drops_a_role,
    "mix and match of a version's name": names_another_version,
    "one role served as another": serves_another_role,
    "a role beyond its paths": signs_beyond_its_paths,
    "a role that delegates on": delegates_on,
    "a signature given twice": signs_twice_with_one_key,
    "no signature": replaced(SNAPSHOT, lambda data: data.replace(b'"signatures":[{', b'"no":[{')),
    "a snapshot in the place of the timestamp": replaced(
        TIMESTAMP, lambda data: data.replace(b'"timestamp"', b'"snapshot"')
    ),
    "another major version of the specification": resigned(TIMESTAMP, says("spec_version", "2.0")),
    "a version that is no number": resigned(TIMESTAMP, says("version", "9")),
    "a version below one": resigned(TIMESTAMP, says("version", 0)),
    "a time that is none": resigned(TIMESTAMP, says("expires", "tomorrow")),
    "a snapshot that is not named": resigned(TIMESTAMP, says("meta", {})),
    "nothing": replaced(TIMESTAMP, lambda data: b""),
    "a page of a captive portal": replaced(TIMESTAMP, lambda data: b"<html><body>Log in"),
    "a list of lists of lists": replaced(TIMESTAMP, lambda data: b"[" * 16_000),
    "a number of a million digits": replaced(SNAPSHOT, lambda data: b'{"signed":1' + b"0" * 60_000),
    "half a file": replaced(PUBLISHING, lambda data: data[: len(data) // 2]),
    "a tail": replaced(PUBLISHING, lambda data: data + b"{}"),
}


@pytest.mark.parametrize("name", list(ATTACKS))
def test_attack_is_refused(name: str, scene: MetadataScene) -> None:
    """By a device that is behind and by one that begins; both then follow the owner."""
    behind, new = scene.device(), scene.device()
    follows(behind, scene, 3)
    scene.publish()
    thief = scene.robbed(keys.ROLES)
    thief.publish()

    ATTACKS[name](thief)

    refuses(behind, thief)
    if "rollback" not in name and name != "a role that is dropped":
        refuses(new, thief)  # which cannot know what came before
    scene.publish()
    follows(behind, scene, 5)
    follows(new, scene, 5)

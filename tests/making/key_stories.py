"""What happens to keys, and what devices then believe; a story that goes wrong fails.

    STORIES["online keys stolen"](scene)

`scene` is new; one story may be told of every kind of scene.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from tuf.api.metadata import (
    Metadata,
    Root,
)

from pocketlens.errors import ServerError, SyncError
from pocketlens_server.publishing import keys, metadata, rekeying, signing
from pocketlens_server.publishing.keys import (
    MODELS,
    PUBLISHING,
    ROOT,
    SNAPSHOT,
    TARGETS,
    TIMESTAMP,
)
from tests.making.forging import forged
from tests.making.repositories import blob
from tests.making.scenes import Device, Scene

DAY = timedelta(days=1)
Story = Callable[[Scene], None]


def refuses(device: Device, scene: Scene) -> None:
    """It says so in an error of ours, and believes and holds what it did."""
    before = device.state
    try:
        version = device.sync(scene)
    except SyncError:
        assert device.state == before
        return
    raise AssertionError(f"a device went to version {version}")


def follows(device: Device, scene: Scene, version: int) -> None:
    reached = device.sync(scene)
    assert reached == version, f"expected version {version}, reached {reached}"


def rotate(scene: Scene, *roles: str, offline: Sequence[Path] = (), key: str | None = None) -> None:
    at_hand = list(offline) or [scene.catalogue.offline_keys]
    rekeying.rotate(scene.catalogue, roles, offline=at_hand, now=scene.now, keyid=key)


def cannot(action: Callable[[], object], scene: Scene) -> None:
    """It is refused by the server, and nothing has changed, keys neither."""
    before = files(scene.catalogue.folder)
    try:
        action()
    except ServerError:
        assert files(scene.catalogue.folder) == before
        return
    raise AssertionError("the server did it")


def files(folder: Path) -> dict[Path, bytes]:
    tables = "catalogue.sqlite"
    found = (path for path in folder.rglob("*") if path.is_file())
    return {path: path.read_bytes() for path in found if not path.name.startswith(tables)}


# --- keys that change -----------------------------------------------------------------------------


def changed(*roles: str) -> Story:
    """Devices follow a change of keys, those that were there and those that begin."""

    def story(scene: Scene) -> None:
        device = scene.device()
        scene.publish()
        follows(device, scene, 1)

        rotate(scene, *roles)

        follows(device, scene, 1)
        scene.publish()
        follows(device, scene, 2)
        follows(scene.device(), scene, 2)

    return story


def used_again(role: str) -> Story:
    """A key that was changed signs what a device meets later, and every other key helps."""

    def story(scene: Scene) -> None:
        device = scene.device()
        scene.publish()
        retired = scene.signers[role]
        rotate(scene, role)
        follows(device, scene, 1)
        thief = scene.robbed(keys.ROLES)

        forged(thief, role, retired)

        refuses(device, thief)
        scene.publish()
        follows(device, scene, 2)

    return story


def changed_many_times(scene: Scene) -> None:
    """A device that was away while the root changed fifty times."""
    device = scene.device()
    scene.publish()
    follows(device, scene, 1)
    for number in range(50):
        if number % 10 == 0:
            rotate(scene, ROOT, SNAPSHOT, TIMESTAMP)
        else:
            rekeying.renew(
                scene.catalogue, [ROOT], offline=[scene.catalogue.offline_keys], now=scene.now
            )

    scene.publish()

    follows(device, scene, 2)
    follows(scene.device(), scene, 2)


def renewed_in_time(scene: Scene) -> None:
    """What offline keys sign lasts two years from each renewal on."""
    device = scene.device()
    scene.publish()
    for _ in range(4):
        scene.now += 365 * DAY
        rekeying.renew(
            scene.catalogue, keys.OFFLINE, offline=[scene.catalogue.offline_keys], now=scene.now
        )
        scene.publish()
    follows(device, scene, 5)


def renewed_too_late(scene: Scene) -> None:
    """Roots that have expired lead to one that has not."""
    device = scene.device()
    scene.publish()
    follows(device, scene, 1)
    scene.now += 800 * DAY
    refuses(device, scene)

    rekeying.renew(
        scene.catalogue, keys.OFFLINE, offline=[scene.catalogue.offline_keys], now=scene.now
    )
    scene.publish()

    follows(device, scene, 2)


def held_elsewhere(scene: Scene) -> None:
    """A key of another kind, which something else holds, takes the place of a file."""
    private = ec.generate_private_key(ec.SECP256R1())
    path = scene.catalogue.folder / "held elsewhere.pem"
    path.write_bytes(private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    public = private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    offline = [scene.catalogue.offline_keys]
    (former,) = metadata.holders(scene.public)[TIMESTAMP].keyids
    held = f"file2:{path}", public
    rekeying.add(scene.catalogue, TIMESTAMP, offline=offline, now=scene.now, held=held)
    rekeying.revoke(scene.catalogue, TIMESTAMP, former[:10], offline=offline, now=scene.now)
    scene.publish()
    follows(scene.device(), scene, 1)
    path.unlink()
    later = scene.now + 2 * DAY
    cannot(lambda: signing.refresh(scene.public, scene.signers, now=later), scene)


# --- several keys ---------------------------------------------------------------------------------


def two_of_three(scene: Scene) -> list[Path]:
    """Lets two of three root keys sign, each in a place of its own."""
    first = scene.catalogue.offline_keys
    places = [first, first.with_name("second"), first.with_name("third")]
    for place in places[1:]:
        rekeying.add(scene.catalogue, ROOT, offline=[first], now=scene.now, into=place)
    rekeying.set_threshold(scene.catalogue, ROOT, 2, offline=places, now=scene.now)
    return places


def one_of_two_places(scene: Scene) -> None:
    """One of three root keys changes nothing; two do, and devices follow."""
    device = scene.device()
    scene.publish()
    follows(device, scene, 1)
    first, second, third = two_of_three(scene)

    cannot(lambda: rotate(scene, TIMESTAMP, offline=[first]), scene)
    rotate(scene, TIMESTAMP, offline=[first, third])
    scene.publish()

    follows(device, scene, 2)
    follows(scene.device(), scene, 2)
    assert second.exists()


def lost_one_of_three(scene: Scene) -> None:
    """A safe burns down: the other two let a new key take its place."""
    first, second, third = two_of_three(scene)
    lost = keys.named(third)[ROOT][0]
    shutil.rmtree(third)
    device = scene.device()
    scene.publish()
    follows(device, scene, 1)

    rotate(scene, ROOT, offline=[first, second], key=lost[:12])
    shutil.rmtree(second)
    scene.publish()

    follows(device, scene, 2)
    assert lost not in metadata.holders(scene.public)[ROOT].keyids
    rekeying.renew(scene.catalogue, [ROOT], offline=[first], now=scene.now)
    follows(device, scene, 2)


def below_the_threshold(scene: Scene) -> None:
    """A threshold that nobody could reach is refused, and a last key is not taken away."""
    offline = [scene.catalogue.offline_keys]
    only = metadata.holders(scene.public)[ROOT].keyids[0]
    for action in (
        lambda: rekeying.set_threshold(scene.catalogue, ROOT, 2, offline=offline, now=scene.now),
        lambda: rekeying.set_threshold(scene.catalogue, ROOT, 0, offline=offline, now=scene.now),
        lambda: rekeying.revoke(scene.catalogue, ROOT, only, offline=offline, now=scene.now),
        lambda: rekeying.revoke(scene.catalogue, ROOT, "none", offline=offline, now=scene.now),
    ):
        cannot(action, scene)


def models_by_two(scene: Scene) -> None:
    """One of two model keys brings no model."""
    first = scene.catalogue.offline_keys
    second = first.with_name("second")
    rekeying.add(scene.catalogue, MODELS, offline=[first], now=scene.now, into=second)
    rekeying.set_threshold(scene.catalogue, MODELS, 2, offline=[first, second], now=scene.now)
    online = keys.load([scene.catalogue.online_keys], keys.ONLINE)
    one, both = (online | keys.load(each, [MODELS]) for each in ([first], [first, second]))

    cannot(lambda: signing.add_model(scene.public, blob(b"one"), one, now=scene.now), scene)
    signing.add_model(scene.public, blob(b"both"), both, now=scene.now)

    scene.publish()
    follows(scene.device(), scene, 1)


# --- keys that are lost or stolen -----------------------------------------------------------------


def stolen_cannot_bring_a_model(scene: Scene) -> None:
    """Who has the server has its keys, and no model of theirs is believed."""
    device = scene.device()
    scene.publish()
    follows(device, scene, 1)
    thief = scene.robbed(keys.ONLINE)
    bundle = blob(b"a program of the thief's")
    cannot(lambda: signing.add_model(thief.public, bundle, thief.signers, now=thief.now), thief)

    forged(thief, MODELS, [signer for role in keys.ONLINE for signer in thief.signers[role]])

    refuses(device, thief)
    refuses(scene.device(), thief)


def stolen_cannot_say_whom_to_trust(scene: Scene) -> None:
    """Root and targets by the keys of the server are nobody's."""
    device = scene.device()
    scene.publish()
    follows(device, scene, 1)
    for role in (ROOT, TARGETS):
        thief = scene.robbed(keys.ONLINE)
        forged(thief, role, [signer for each in keys.ONLINE for signer in thief.signers[each]])
        refuses(device, thief)
        refuses(scene.device(), thief)


def stolen_and_revoked(scene: Scene) -> None:
    """After the change of what was stolen, the thief's versions are refused."""
    device = scene.device()
    scene.publish()
    follows(device, scene, 1)
    thief = scene.robbed(keys.ONLINE)
    thief.publish()
    follows(scene.device(), thief, 2)

    rotate(scene, *keys.ONLINE)
    scene.publish(2)

    follows(device, scene, 3)
    thief.publish(9)
    refuses(device, thief)


def stolen_and_ahead(scene: Scene) -> None:
    """A device that the thief led far ahead comes back, to the content of the owner."""
    device = scene.device()
    scene.publish()
    thief = scene.robbed(keys.ONLINE)
    thief.publish(7)
    follows(device, thief, 8)
    scene.publish()
    refuses(device, scene)

    rotate(scene, *keys.ONLINE)

    follows(device, scene, 2)
    scene.publish()
    follows(device, scene, 3)
    refuses(device, thief)


def stolen_and_level(scene: Scene) -> None:
    """The thief's version has the same number as the owner's: the owner's content stands."""
    device = scene.device()
    scene.publish()
    thief = scene.robbed(keys.ONLINE)
    thief.publish()
    follows(device, thief, 2)

    rotate(scene, *keys.ONLINE)
    scene.publish()

    follows(device, scene, 2)


def stolen_and_of_another_time(scene: Scene) -> None:
    """The thief says that it is next year: the owner's metadata is not taken for expired then."""
    device = scene.device()
    scene.publish()
    thief = scene.robbed(keys.ONLINE)
    thief.now += 300 * DAY
    thief.publish(signed_at=thief.now)
    follows(device, thief, 2)
    refuses(device, scene)

    rotate(scene, *keys.ONLINE)
    scene.publish(2)

    follows(device, scene, 3)


def of_a_time_beyond(scene: Scene) -> None:
    """A version of a day on which no root holds is not believed: no later time would be."""
    device = scene.device()
    scene.publish()
    follows(device, scene, 1)
    thief = scene.robbed(keys.ONLINE)
    thief.publish(signed_at=scene.now + 9_000 * DAY)
    refuses(device, thief)
    scene.publish(2)
    follows(device, scene, 3)


def online_keys_lost(scene: Scene) -> None:
    """A server whose keys are gone gets new ones, and devices follow."""
    device = scene.device()
    scene.publish()
    follows(device, scene, 1)
    shutil.rmtree(scene.catalogue.online_keys)
    cannot(lambda: rotate(scene, TIMESTAMP), scene)  # the others are lost too

    rotate(scene, *keys.ONLINE)
    scene.publish()

    follows(device, scene, 2)


def offline_keys_away(scene: Scene) -> None:
    """Without the safe versions are published, and nothing else is."""
    scene.publish()
    safe = scene.catalogue.offline_keys
    safe.rename(safe.with_name("safe"))
    cannot(lambda: rotate(scene, PUBLISHING), scene)
    safe.with_name("safe").rename(safe)


def cut_off_at_every_file(scene: Scene) -> None:
    """Whatever was written when the server lost power, devices accept what is there."""
    scene.publish()
    known = scene.device()
    follows(known, scene, 1)
    for roles in ((PUBLISHING,), (ROOT,), (TARGETS, MODELS), (SNAPSHOT, TIMESTAMP), keys.ROLES):
        before = files(scene.public)
        started = max(path.stat().st_mtime_ns for path in before)
        rotate(scene, *roles)
        after = files(scene.public)
        new = [path for path, data in after.items() if before.get(path) != data]
        new.sort(key=lambda path: path.stat().st_mtime_ns)
        assert new
        assert all(path.stat().st_mtime_ns > started for path in new)
        secrets = [
            path.stat().st_mtime_ns
            for folder in (scene.catalogue.online_keys, scene.catalogue.offline_keys)
            for path in folder.glob("*.pem")
        ]
        assert max(secrets) < new[0].stat().st_mtime_ns  # before anything names them
        for written in range(len(new)):
            for path in new[written:]:
                if path in before:
                    path.write_bytes(before[path])
                else:
                    path.unlink(missing_ok=True)
            for path in new[:written]:
                path.write_bytes(after[path])
            follows(scene.device(), scene, 1)
            follows(known, scene, 1)
        for path, data in after.items():
            path.write_bytes(data)
        follows(known, scene, 1)


# --- roots that are wrong -------------------------------------------------------------------------


def wrong_root(*, version: int = 2, by_former: bool = True, by_new: bool = True) -> Story:
    """A root that is not made as a root must be is refused; the true one is followed."""

    def story(scene: Scene) -> None:
        device = scene.device()
        scene.publish()
        follows(device, scene, 1)
        former = scene.signers[ROOT] if by_former else []
        rotate(scene, ROOT)
        new = scene.signers[ROOT] if by_new else []
        path = scene.public / "metadata" / "2.root.json"
        true = path.read_bytes()
        document = Metadata[Root].from_bytes(true)
        document.signed.version = version
        document.signatures.clear()
        for signer in (*former, *new):
            document.sign(signer, append=True)

        path.write_bytes(document.to_bytes())

        refuses(device, scene)
        path.write_bytes(true)
        follows(device, scene, 1)

    return story


STORIES: Mapping[str, Story] = {
    **{f"{role} changed": changed(role) for role in keys.ROLES},
    **{f"retired key of {role} used": used_again(role) for role in keys.ROLES},
    "all keys changed in one step": changed(*keys.ROLES),
    "fifty roots behind": changed_many_times,
    "renewed every year": renewed_in_time,
    "renewed too late": renewed_too_late,
    "a key held elsewhere": held_elsewhere,
    "two of three root keys": one_of_two_places,
    "one of three root keys lost": lost_one_of_three,
    "thresholds out of reach": below_the_threshold,
    "models by two keys": models_by_two,
    "stolen online keys bring a model": stolen_cannot_bring_a_model,
    "stolen online keys say whom to trust": stolen_cannot_say_whom_to_trust,
    "stolen online keys revoked": stolen_and_revoked,
    "stolen online keys run ahead": stolen_and_ahead,
    "stolen online keys at the same version": stolen_and_level,
    "stolen online keys of another time": stolen_and_of_another_time,
    "a version of a time beyond every key": of_a_time_beyond,
    "online keys lost": online_keys_lost,
    "offline keys away": offline_keys_away,
    "cut off at every file": cut_off_at_every_file,
    "root without the former key": wrong_root(by_former=False),
    "root without the new key": wrong_root(by_new=False),
    "root that skips a version": wrong_root(version=3),
}

"""What a store has and what was signed -> what to fetch and to do (PURE).

plan = make_plan(have, manifest, at_hand=pieces)
plan.action, plan.blobs, plan.fetch_bytes
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import hashlib
from collections.abc import Collection
from dataclasses import dataclass, replace
from enum import Enum

from pocketlens.errors import TrustError
from pocketlens.formats.manifest import WHOLE_ROLLOUT, Blob, Changes, Manifest


class Action(Enum):
    """What a sync does.

    Attributes:
        NOTHING: The store is at the newest version.
        WAIT: There is a newer version, which is not for this device, or not yet.
        REPAIR: The store is at the newest version, and its bundle is fetched again.
        DELTA: Rows of the install in use change.
        INSTALL: A new install takes its place.
    """

    NOTHING = "nothing"
    WAIT = "wait"
    REPAIR = "repair"
    DELTA = "delta"
    INSTALL = "install"


@dataclass(frozen=True, slots=True)
class Have:
    """What a store is.

    Attributes:
        generation: Id, 32 bytes.
        version: Of the catalogue.
        state_hash: Of that version, 32 bytes.
        codebook_sha256: Of the codebook in use.
        bundles: SHA-256 of the bundles that are at hand.
    """

    generation: bytes
    version: int
    state_hash: bytes
    codebook_sha256: bytes
    bundles: Collection[bytes] = ()


@dataclass(frozen=True, slots=True)
class Plan:
    """What to do, and what for.

    Attributes:
        action: What to do.
        manifest: That leads there.
        changes: Streams to apply, in order.
        relist: Stream of the lists of another codebook, to apply before them; None where the store
            has the codebook.
        blobs: Files that are needed, in the order in which they are.
        fetch_bytes: Of their pieces that are not at hand.
    """

    action: Action
    manifest: Manifest
    changes: tuple[Changes, ...] = ()
    blobs: tuple[Blob, ...] = ()
    fetch_bytes: int = 0
    relist: Changes | None = None


def make_plan(
    have: Have | None,
    manifest: Manifest,
    *,
    at_hand: Collection[bytes] = (),
    device: str = "",
    whole: bool = False,
    held_back: bool = False,
    is_recovery: bool = False,
    damaged_bundle: Blob | None = None,
) -> Plan:
    """Plans a sync.

    Args:
        have: None where there is no store yet.
        manifest: That was verified.
        at_hand: SHA-256 of pieces that need not be fetched.
        device: Id of the device, which decides when a version that is rolled out slowly is for it.
        whole: Whether the store is to be made anew although a delta would do: what it has is
            damaged.
        held_back: Whether the version was tried on this device, and does not work.
        is_recovery: Whether the store may be of a thief who had the server's keys: the manifest
            then stands above it, also with an older version.
        damaged_bundle: Of the store, to be fetched again whatever else is done.

    Raises:
        TrustError: The manifest is older than the store.
    """
    plan = _plan(
        have,
        manifest,
        at_hand,
        device=device,
        whole=whole,
        held_back=held_back,
        is_recovery=is_recovery,
    )
    if damaged_bundle is None or plan.action is Action.INSTALL:  # which brings what it needs
        return plan
    blobs = (damaged_bundle, *plan.blobs)
    action = Action.REPAIR if plan.action is Action.NOTHING else plan.action
    return replace(plan, action=action, blobs=blobs, fetch_bytes=_missing(blobs, at_hand))


def _plan(
    have: Have | None,
    manifest: Manifest,
    at_hand: Collection[bytes],
    *,
    device: str,
    whole: bool,
    held_back: bool,
    is_recovery: bool,
) -> Plan:
    if have is not None and have.generation == manifest.generation and not whole:
        if manifest.version < have.version and not is_recovery:
            raise TrustError(
                f"The server offers version {manifest.version}, the store is at {have.version}. "
                "It may have been restored from an older copy: publish above that version."
            )
        if (manifest.version, manifest.state_hash) == (have.version, have.state_hash):
            return Plan(Action.NOTHING, manifest)
        # Of what comes after a thief, or after an older copy, the store has no version.
        whole = manifest.version <= have.version
    if held_back:
        return Plan(Action.WAIT, manifest)
    if have is not None and not whole and not _is_for(device, manifest):
        return Plan(Action.WAIT, manifest)
    snapshot = _install(have, manifest, at_hand)
    if have is None or whole or have.generation != manifest.generation:
        return snapshot
    delta = manifest.delta_from(have.version)
    if delta is None:
        return snapshot
    blobs, relist = [delta.blob], None
    if manifest.relist is not None and have.version < manifest.relist.head:
        # Even by an equal codebook: it may have been replaced and come back, and the delta says
        # nothing of what was placed before that.
        relist = manifest.relist
        blobs = [manifest.codebook, relist.blob, delta.blob]
    elif have.codebook_sha256 != manifest.codebook.sha256:
        return snapshot
    plan = Plan(Action.DELTA, manifest, (delta,), tuple(blobs), _missing(blobs, at_hand), relist)
    return plan if plan.fetch_bytes <= snapshot.fetch_bytes else snapshot


def _install(have: Have | None, manifest: Manifest, at_hand: Collection[bytes]) -> Plan:
    """A new install: the snapshot, and what changed since."""
    changes = [manifest.snapshot]
    if manifest.snapshot.head < manifest.version:
        delta = manifest.delta_from(manifest.snapshot.head)
        if delta is None:
            raise TrustError("The manifest names no way from its snapshot to its version.")
        changes.append(delta)
    blobs = [manifest.codebook, *(each.blob for each in changes)]
    if have is None or manifest.bundle.sha256 not in have.bundles:
        blobs.insert(0, manifest.bundle)
    return Plan(Action.INSTALL, manifest, tuple(changes), tuple(blobs), _missing(blobs, at_hand))


def _missing(blobs: Collection[Blob], at_hand: Collection[bytes]) -> int:
    return sum(
        blob.piece_size(number)
        for blob in blobs
        for number, sha256 in enumerate(blob.pieces)
        if sha256 not in at_hand
    )


def _is_for(device: str, manifest: Manifest) -> bool:
    """Whether a version that is rolled out to some devices is for this one.

    Another version reaches other devices first.
    """
    if manifest.rollout >= WHOLE_ROLLOUT:
        return True
    digest = hashlib.sha256(f"{manifest.version} {device}".encode()).digest()
    return int.from_bytes(digest[:2], "little") < manifest.rollout

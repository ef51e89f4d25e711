"""What a server offers a device: the newest version, or its own while that is held back.

offer = Offer.of(store, quarantine, transport, catalogue="main", root=ROOT_JSON, ...)
offer.manifest, offer.metadata      # verified: what a sync goes by
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime

from pocketlens.errors import TrustError
from pocketlens.formats.manifest import Blob, Manifest
from pocketlens.store import trusted
from pocketlens.store.marks import Quarantine
from pocketlens.store.trusted import Trusted
from pocketlens.sync import trust
from pocketlens.sync.observed import Observed
from pocketlens.sync.transports import AtHand, Transport


@dataclass(frozen=True, slots=True)
class Offer:
    """What is signed, and may be believed.

    Attributes:
        manifest: That a sync goes by.
        metadata: That says so, by name; see `trust.Verified`.
        is_recovery: See `trust.Verified`.
        newest: The manifest that was asked for: another than `manifest` where that one does not
            work on this device, or cannot be had now, and its store is of an earlier generation.
        held_back: What does not work here; None where that is not known.
    """

    manifest: Manifest
    metadata: Mapping[str, bytes]
    is_recovery: bool
    newest: Manifest
    held_back: Quarantine | None

    @classmethod
    def of(
        cls,
        store: Observed | None,
        quarantine: Quarantine | None,
        transport: Transport,
        *,
        catalogue: str,
        root: bytes,
        generation: bytes | None,
        now: datetime,
        without_delta: bool,
    ) -> Offer:
        """Asks the server; once more where what it offers is held back.

        Args:
            store: None where there is none yet.
            quarantine: The version that is held back, as the device knows it.
            transport: To the server.
            catalogue: Its name.
            root: Signed metadata that the app came with.
            generation: Id of the one to follow; None for the newest.
            now: The device's clock.
            without_delta: See `AtHand`.

        Raises:
            TransportError, TrustError, ClockSuspect, UpdateRequired: As `sync`.
        """
        trust.check_root(root)

        def asked(wanted: bytes | None) -> trust.Verified:
            return _verified(
                store,
                transport,
                wanted,
                catalogue=catalogue,
                root=root,
                now=now,
                without_delta=without_delta,
            )

        found = asked(generation)
        newest = found.manifest
        if quarantine is None or found.is_recovery:  # the mark may be a thief's doing
            return cls(newest, found.metadata, found.is_recovery, newest, None)
        own = store.facts.generation if store else quarantine.former
        is_other = own not in ("", newest.generation.hex())
        if is_other and generation is None and quarantine.defers(newest):
            # Prices of what is sold do not wait for a model: its own generation has them too.
            instead = asked(bytes.fromhex(own))
            if instead.manifest.generation.hex() == own:
                return cls(
                    instead.manifest, instead.metadata, instead.is_recovery, newest, quarantine
                )
        # A device without a store trusts nothing yet: another's numbers say nothing to it.
        is_held = quarantine.holds(newest) if store else quarantine.is_of(newest)
        return cls(
            newest, found.metadata, found.is_recovery, newest, quarantine if is_held else None
        )

    @property
    def is_held_back(self) -> bool:
        """Whether there is nothing to go by but what does not work here."""
        return self.held_back is not None and self._is_newest

    @property
    def blobs_of_newest(self) -> tuple[Blob, ...]:
        """What most of a version that is tried later is made of; nothing where this is it."""
        if self._is_newest:
            return ()
        return self.newest.bundle, self.newest.codebook, self.newest.snapshot.blob

    @property
    def _is_newest(self) -> bool:
        """Also where it came twice, since the generation that was asked for has retired."""
        same = (self.manifest.generation, self.manifest.version, self.manifest.state_hash)
        return same == (self.newest.generation, self.newest.version, self.newest.state_hash)


def _verified(
    store: Observed | None,
    transport: Transport,
    generation: bytes | None,
    *,
    catalogue: str,
    root: bytes,
    now: datetime,
    without_delta: bool,
) -> trust.Verified:
    believed = store.trusted if store else trusted.NOTHING
    have = _at_hand(store, believed, root, generation)
    transport.poll(replace(have, without_delta=without_delta))

    def fetch(name: str) -> Iterator[bytes] | None:
        digest = hashlib.sha256(believed.manifest).hexdigest()
        if name.startswith(f"targets/manifest/{digest}."):
            return iter([believed.manifest])
        return transport.file(name)

    found = trust.verified(
        believed.metadata,
        root=root,
        fetch=fetch,
        generation=generation,
        now=now,
        signed_before=store.signed_at if store else None,
    )
    if found.manifest.catalogue != catalogue:
        raise TrustError(
            f"Expected the catalogue {catalogue!r}. Received {found.manifest.catalogue!r}."
        )
    return found


def _at_hand(
    store: Observed | None, believed: Trusted, root: bytes, generation: bytes | None
) -> AtHand:
    """What the server is told; a root is always at hand, the app's."""
    metadata = {**believed.metadata, "root.json": root}
    version = store.facts.version if store else 0
    offered = trust.offered_generation(believed.metadata, generation)
    if store and offered and store.facts.generation != offered.hex():
        version = 0  # of that generation: an equal one would say that its manifest is at hand
    return AtHand(
        generation or b"",
        version,
        trust.versions(metadata),
        believed.metadata.get("timestamp.json", b""),
    )

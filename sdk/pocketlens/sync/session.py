"""One sync of a store: what is signed, what is missing, what changes; all or nothing.

    report = sync(directory, transport, root=ROOT_JSON, now=clock())
    report.action, report.version, report.fetched_bytes

Pieces that were fetched stay when a sync is cut off, and are not fetched again. Whatever goes
wrong, the store answers as it did before; searches in all processes go on all the while. A new
install answers golden searches before it is used; a version whose install does not is held back.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime
from functools import partial
from pathlib import Path

from pocketlens import golden_probe
from pocketlens.durable_files import write_file
from pocketlens.errors import (
    GoldenProbeFailed,
    MeteredRefused,
    StateMismatch,
    StoreCorrupt,
    StoreFull,
    SyncCancelled,
)
from pocketlens.formats import bundle as bundles
from pocketlens.formats import manifest as manifests
from pocketlens.formats.delta import DeltaReader
from pocketlens.formats.manifest import Changes, Manifest
from pocketlens.options import SyncOptions
from pocketlens.progress import Progress
from pocketlens.store import database, installs, marks, snapshots, trials, trusted
from pocketlens.store.applying.applier import Applier
from pocketlens.store.applying.relisting import relist
from pocketlens.store.facts import StoreFacts
from pocketlens.store.marks import Quarantine, Verified
from pocketlens.store.pieces import Pieces
from pocketlens.store.reader import Reader
from pocketlens.store.trusted import Trusted
from pocketlens.sync import preflight, thumbnails
from pocketlens.sync.observed import Observed
from pocketlens.sync.offers import Offer
from pocketlens.sync.planner import Action, Plan, make_plan
from pocketlens.sync.reports import SyncReport
from pocketlens.sync.signed_facts import codebook_of, origin_of
from pocketlens.sync.transports import INLINE_BYTES, Transport

logger = logging.getLogger(__name__)


_ATTEMPTS = 3  # of one sync; what fails more often waits for the next


def sync(
    directory: Path,
    transport: Transport,
    *,
    catalogue: str,
    root: bytes,
    now: datetime,
    options: SyncOptions | None = None,
    device: str = "",
    generation: bytes | None = None,
    with_thumbnails: bool = False,
    only_plan: bool = False,
    cancelled: Callable[[], bool] = lambda: False,
    progress: Progress = lambda stage, done, total: None,
    settled: Callable[[], None] = lambda: None,
) -> SyncReport:
    """Brings the store in a folder to the newest version, or makes it.

    Args:
        directory: Of the store; new, empty, or one that follows the same catalogue.
        transport: To the server.
        catalogue: Name of the catalogue.
        root: Signed metadata that the app came with.
        now: The device's clock.
        options: What a sync may cost; `SyncOptions()` if None.
        device: Id of the device, for versions that reach some devices first.
        generation: Id of the one to follow; None for the newest.
        with_thumbnails: Whether they are fetched behind the version, if it has any; what goes
            wrong with them is told by the report alone.
        only_plan: Whether nothing is fetched but what is signed, and nothing changed.
        cancelled: Asked between pieces.
        progress: Called with a stage ("fetching", "writing"), done and total.
        settled: Called when the store is as the report will say, while nobody else may write.

    Raises:
        TransportError: The server cannot be reached, or something changes what it sends.
        TrustError: What came is not to be believed.
        ClockSuspect: The device's clock may be wrong.
        UpdateRequired: The server's formats are newer than this PocketLens.
        StateMismatch: What was signed does not lead to the state that was signed.
        GoldenProbeFailed: What was signed does not answer on this device, which has nothing else to
            go on with; it is held back.
        MeteredRefused: It would cost more than the options allow.
        SyncCancelled: `cancelled` said so.
        StoreLocked, StoreFull, StoreReadOnly: The folder cannot be written.
        StoreCorrupt: What is written there cannot be read again.
        SyncError: The store there is of another catalogue.
    """
    options = options or SyncOptions()
    limit = options.limit_bytes
    with installs.writing(directory):
        trials.undo(directory)
        installs.remove_unneeded(directory)
        store = Observed.of(directory, catalogue, now)

        def offered(wanted: bytes | None, quarantine: Quarantine | None) -> Offer:
            return Offer.of(
                store,
                quarantine,
                transport,
                catalogue=catalogue,
                root=root,
                generation=wanted,
                now=now,
                without_delta=only_plan or (limit is not None and limit < INLINE_BYTES),
            )

        def job(offer: Offer) -> _Job:
            given = options, store, offer, device, now, cancelled, progress
            return _Job(directory, transport, *given)

        offer = offered(generation, marks.get(directory, Quarantine))
        first = job(offer)
        plan = first.plan()
        if only_plan:
            return first.with_thumbnails(first.planned(plan), with_thumbnails, plan=plan)
        if offer.is_recovery:
            marks.remove(directory, Quarantine)
        try:
            report = first.carry_out(plan)
        except (GoldenProbeFailed, MeteredRefused, StoreFull) as exc:
            # A new generation does not work, or cannot be had now: the one at hand goes on.
            own = bytes.fromhex(store.facts.generation) if store and store.is_usable else None
            has_failed = isinstance(exc, GoldenProbeFailed)
            if generation is not None or own in (None, offer.manifest.generation):
                raise
            if first.has_begun and not has_failed:  # the disk filled up in the middle
                raise
            instead = replace(
                offered(own, None),
                newest=offer.manifest,
                held_back=marks.get(directory, Quarantine) if has_failed else None,
            )
            second = job(instead)
            second.fetched = first.fetched
            plan = second.plan()
            if instead.manifest.generation != own or not (has_failed or plan.changes):
                raise
            report = second.carry_out(plan)
        settled()
        return first.with_thumbnails(report, with_thumbnails)


class _Job:
    """One way of a sync, under the store's lock.

    Attributes:
        fetched: Bytes of pieces, of this way and of one before it that failed.
        has_begun: Whether it may cost what it costs, and has begun to.
    """

    def __init__(
        self,
        directory: Path,
        transport: Transport,
        options: SyncOptions,
        store: Observed | None,
        offer: Offer,
        device: str,
        now: datetime,
        cancelled: Callable[[], bool],
        progress: Progress,
    ) -> None:
        self._directory, self._transport, self._options = directory, transport, options
        self._store, self._offer, self._device, self._now = store, offer, device, now
        self._cancelled, self._progress = cancelled, progress
        self._pieces = Pieces(directory / installs.PIECES)
        self.fetched, self.has_begun = 0, False

    def plan(self, *, whole: bool = False) -> Plan:
        """Plans; a store that is damaged is made anew."""
        store, manifest = self._store, self._offer.manifest
        held_back = self._offer.held_back
        if store is None and held_back is not None and self._offer.is_held_back:
            raise GoldenProbeFailed(
                f"Version {manifest.version} does not work on this device, and there is no newer "
                f"one: {held_back.reason}"
            )
        return make_plan(
            store.have if store else None,
            manifest,
            at_hand=self._pieces.at_hand(),
            device=self._device,
            whole=whole or (store is not None and not store.is_whole),
            held_back=self._offer.is_held_back,
            is_recovery=self._offer.is_recovery,
            damaged_bundle=store.damaged_bundle(manifest) if store else None,
        )

    def carry_out(self, plan: Plan) -> SyncReport:
        """Does it; what turns out to be damaged on the way is fetched, or made, again."""
        for attempts_left in reversed(range(_ATTEMPTS)):
            try:
                facts = self._carry_out(plan)
                break
            except (StateMismatch, StoreCorrupt) as exc:
                is_new = plan.action is Action.INSTALL and isinstance(exc, StateMismatch)
                if is_new or not attempts_left:  # what was signed will not fit next time either
                    raise
                logger.warning("sync.failed action=%s error=%s", plan.action.value, exc)
                plan = self.plan(whole=self._pieces.have(plan.blobs))  # or one of them rotted
        return self._report(plan, facts.version, self.fetched)

    def _carry_out(self, plan: Plan) -> StoreFacts:
        store = self._store
        if plan.blobs:
            self._fetch(plan)
        if store is None or plan.action is Action.INSTALL:
            facts = self._install(plan)
        else:
            self._mend_bundle(store, plan)
            facts = self._change(store, plan) if plan.changes else self._remember(store)
        if plan.blobs:
            self._pieces.keep(self._offer.blobs_of_newest)
        if plan.changes and self._offer.held_back is None:
            marks.remove(self._directory, Quarantine)  # there is a newer version now
        return facts

    def with_thumbnails(
        self, report: SyncReport, are_wanted: bool, *, plan: Plan | None = None
    ) -> SyncReport:
        """The report, once thumbnails are those of the store's version; or a plan of that."""
        limit = self._options.limit_bytes
        given = self._directory, self._transport, self._cancelled, self._progress
        found = thumbnails.bring(
            *given,
            are_wanted=are_wanted,
            limit_bytes=None if limit is None else limit - report.fetched_bytes,
            plan_of=plan.manifest if plan and plan.changes else None,
            only_plan=plan is not None,
        )
        return replace(report, thumbnails=found)

    def planned(self, plan: Plan) -> SyncReport:
        """What would be done."""
        before = self._store.facts.version if self._store else 0
        version = plan.manifest.version if plan.changes else before
        return self._report(plan, version, plan.fetch_bytes)

    def _report(self, plan: Plan, version: int, fetched: int) -> SyncReport:
        before = self._store.facts.version if self._store else 0
        as_of, held_back = plan.manifest.as_of, self._offer.held_back
        return SyncReport(plan.action, version, before, fetched, as_of, held_back)

    # --- steps -----------------------------------------------------------------------------------

    def _fetch(self, plan: Plan) -> None:
        preflight.check(plan, self._options, self._directory)
        self.has_begun = True
        self._pieces.keep([*plan.blobs, *self._offer.blobs_of_newest])
        at_hand = set(self._pieces.at_hand())
        done = 0
        self._progress("fetching", done, plan.fetch_bytes)
        for blob in plan.blobs:
            for number, sha256 in enumerate(blob.pieces):
                if sha256 in at_hand:
                    continue
                if self._cancelled():
                    raise SyncCancelled("The sync was cancelled; what was fetched is kept.")
                size = blob.piece_size(number)
                self._pieces.put(sha256, self._transport.piece(blob, number), size=size)
                at_hand.add(sha256)
                done += size
                self._progress("fetching", done, plan.fetch_bytes)
        self.fetched += done

    def _change(self, store: Observed, plan: Plan) -> StoreFacts:
        """Changes rows of the install in use."""
        self._progress("writing", 0, 1)
        with database.changing(store.path) as connection:
            places = self._relist(connection, store, plan)
            facts = self._apply(connection, store.path, plan.changes[0], places)
            self._believe(connection, facts)
            if plan.relist is not None:
                with Reader(self._directory, store.install, connection) as rows:
                    bundle = bundles.decode(rows.bundle_path.read_bytes())
                    self._prove(plan.manifest, partial(golden_probe.probe_rows, rows, bundle))
        trials.renew(store.install, plan.manifest)
        self._progress("writing", 1, 1)
        return facts

    def _relist(
        self, connection: database.Connection, store: Observed, plan: Plan
    ) -> dict[int, int]:
        """Gives the store the codebook of the manifest, if it has another."""
        if plan.relist is None:
            return {}
        codebook = codebook_of(plan.manifest, b"".join(self._pieces.read(plan.manifest.codebook)))
        return relist(connection, store.install, self._stream(plan.relist), codebook)

    def _mend_bundle(self, store: Observed, plan: Plan) -> None:
        """Puts the bundle of the install in use in place again, if it was fetched."""
        for blob in plan.blobs:
            if blob.sha256 == store.facts.bundle_sha256:
                path = installs.bundle_path(self._directory, blob.sha256)
                write_file(path, b"".join(self._pieces.read(blob)))

    def _install(self, plan: Plan) -> StoreFacts:
        """Makes a new install and lets it take the place of the one in use."""
        manifest = plan.manifest
        model = self._bundle(plan)
        codebook = codebook_of(manifest, b"".join(self._pieces.read(manifest.codebook)))
        self._progress("writing", 0, len(plan.changes))
        can_go_back = self._store is not None and self._store.is_usable
        with installs.new_install(
            self._directory, model, manifest=manifest if can_go_back else None
        ) as new:
            new.generation = manifest.generation.hex()
            path = new.folder / database.FILE_NAME
            reader = self._stream(plan.changes[0])
            origin = origin_of(manifest, reader.header)
            if self._store is not None and not self._offer.is_recovery:
                of_store = self._store.facts, self._store.install
                origin = thumbnails.carried(origin, *of_store, new.folder)
            facts = snapshots.write(path, reader, codebook.centroids, origin)
            self._progress("writing", 1, len(plan.changes))
            with database.changing(path) as connection:
                for changes in plan.changes[1:]:
                    facts = self._apply(connection, path, changes)
                self._believe(connection, facts)
            self._prove(manifest, partial(golden_probe.probe, self._directory, new.folder))
            marks.put(new.folder, Verified(self._now.isoformat()))
        self._progress("writing", len(plan.changes), len(plan.changes))
        return facts

    def _prove(self, manifest: Manifest, probe: Callable[[], None]) -> None:
        """Lets what is written prove itself before it is used; what fails is not tried again."""
        try:
            probe()
        except GoldenProbeFailed as exc:
            former = self._store.facts.generation if self._store else ""
            marks.put(self._directory, Quarantine.of(manifest, former, str(exc)))
            raise GoldenProbeFailed(
                f"Version {manifest.version} was signed, and does not work on this device: {exc} "
                "It is held back until there is a newer one."
            ) from exc

    def _bundle(self, plan: Plan) -> bytes:
        bundle = plan.manifest.bundle
        if bundle in plan.blobs:
            return b"".join(self._pieces.read(bundle))
        return installs.bundle_path(self._directory, bundle.sha256).read_bytes()

    def _remember(self, store: Observed) -> StoreFacts:
        """Only what is trusted changes, if anything does."""
        manifest = self._offer.manifest
        believed = replace(store.trusted, metadata=self._offer.metadata)
        of_store = store.facts.generation, store.facts.version
        if (manifest.generation.hex(), manifest.version) == of_store:  # or it is not for it yet
            believed = replace(believed, manifest=manifests.encode(manifest))
        if believed != store.trusted:
            with database.changing(store.path) as connection:
                trusted.write(connection, believed)
        return store.facts

    def _apply(
        self,
        connection: database.Connection,
        path: Path,
        changes: Changes,
        new_places: Mapping[int, int] | None = None,
    ) -> StoreFacts:
        reader = self._stream(changes)
        applier = Applier(connection, path, new_places)
        applier.apply(reader.header, reader.blocks())
        return applier.facts

    def _believe(self, connection: database.Connection, facts: StoreFacts) -> None:
        """Lets the transaction be committed, or not."""
        manifest = self._offer.manifest
        signed = manifest.version, manifest.state_hash
        if (facts.version, facts.state_hash) != signed:
            raise StateMismatch(
                f"What came leads to another state of version {manifest.version} than was signed."
            )
        trusted.write(connection, Trusted(self._offer.metadata, manifests.encode(manifest)))

    def _stream(self, changes: Changes) -> DeltaReader:
        return DeltaReader(self._pieces.read(changes.blob), changes.inflated_size)

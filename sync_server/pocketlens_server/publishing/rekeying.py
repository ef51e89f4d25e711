"""A catalogue on disk whose keys change: rotated, added, revoked, counted, or signing again.

    rotate(folder, ["publishing", "snapshot", "timestamp"], offline=[safe], now=clock())
    add(folder, "root", offline=[safe], into=other_safe, now=clock())

New private keys are on disk before anything names them. Keys that sign no more stay as files that
are named no more; whoever keeps them destroys them.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from securesystemslib.signer import Key

from pocketlens.errors import ServerError
from pocketlens_server.folders import CatalogueFolder
from pocketlens_server.publishing import keys, metadata
from pocketlens_server.publishing.key_changes import change
from pocketlens_server.publishing.metadata import Holder


@dataclass(frozen=True, slots=True)
class Rekeyed:
    """What became of a role.

    Attributes:
        role: Which.
        keyids: Of the keys that sign from now on.
        threshold: How many of them must.
        added, retired: Ids of keys that sign from now on, or no more.
        left: Private halves of retired keys that are still there.
    """

    role: str
    keyids: tuple[str, ...]
    threshold: int
    added: tuple[str, ...]
    retired: tuple[str, ...]
    left: tuple[Path, ...]


def rotate(
    folder: CatalogueFolder,
    roles: Sequence[str],
    *,
    offline: Sequence[Path],
    now: datetime,
    keyid: str | None = None,
) -> list[Rekeyed]:
    """Lets new keys take the place of those that sign for some roles, all in one step.

    Args:
        folder: Of the catalogue.
        roles: Whose keys change.
        offline: Folders of the offline keys that are at hand, one or more; a new key lies where the
            former one does, or in the first of them if that is not at hand.
        now: When it is signed.
        keyid: The beginning of the id of the only key that changes; of one role.

    Raises:
        ServerError: Too few keys are at hand, or there is no such key; nothing has changed.
    """
    with _step(folder, offline, now) as step:
        changes = {}
        for role in dict.fromkeys(roles):
            holder = step.who[role]
            replaced = holder.keys if keyid is None else (_key(role, holder, keyid),)
            signing = [
                step.in_place_of(key, role) if key in replaced else key for key in holder.keys
            ]
            changes[role] = Holder(tuple(signing), holder.threshold)
        return step.take(changes)


def add(
    folder: CatalogueFolder,
    role: str,
    *,
    offline: Sequence[Path],
    now: datetime,
    into: Path | None = None,
    held: tuple[str, bytes] | None = None,
) -> Rekeyed:
    """Lets one more key sign for a role.

    Args:
        folder: Of the catalogue.
        role: Which.
        offline: Folders of the offline keys that are at hand, one or more.
        now: When it is signed.
        into: Folder for the new key; where the role's keys are if None.
        held: URI and public half (PEM) of a key that something else holds; a new one if None.

    Raises:
        ServerError: Too few keys are at hand, or the key cannot sign; nothing has changed.
    """
    with _step(folder, offline, now) as step:
        new = step.new_key(role, into, held)
        holder = step.who[role]
        return step.take({role: Holder((*holder.keys, new), holder.threshold)})[0]


def revoke(
    folder: CatalogueFolder, role: str, keyid: str, *, offline: Sequence[Path], now: datetime
) -> Rekeyed:
    """Lets a key sign for a role no more.

    Args:
        folder: Of the catalogue.
        role: Which.
        keyid: The beginning of the key's id.
        offline: Folders of the offline keys that are at hand, one or more.
        now: When it is signed.

    Raises:
        ServerError: Too few keys are at hand or would remain, or there is no such key; nothing has
            changed.
    """
    with _step(folder, offline, now) as step:
        holder = step.who[role]
        gone = _key(role, holder, keyid)
        kept = tuple(key for key in holder.keys if key != gone)
        if len(kept) < holder.threshold:
            raise ServerError(
                f"Without this key the role {role!r} would have {len(kept)} keys, and needs "
                f"{holder.threshold}. Let another take its place: pocketlens-server keys rotate "
                f"{role} --key {keyid}"
            )
        return step.take({role: Holder(kept, holder.threshold)})[0]


def set_threshold(
    folder: CatalogueFolder, role: str, threshold: int, *, offline: Sequence[Path], now: datetime
) -> Rekeyed:
    """Changes how many of a role's keys must sign.

    Args:
        folder: Of the catalogue.
        role: Which.
        threshold: From 1 to as many as it has keys.
        offline: Folders of the offline keys that are at hand, one or more.
        now: When it is signed.

    Raises:
        ServerError: Too few keys are at hand, or there are; nothing has changed.
    """
    with _step(folder, offline, now) as step:
        return step.take({role: Holder(step.who[role].keys, threshold)})[0]


def renew(
    folder: CatalogueFolder, roles: Collection[str], *, offline: Sequence[Path], now: datetime
) -> None:
    """Signs roles of offline keys again, as they are, for another of their lifetimes.

    Args:
        folder: Of the catalogue.
        roles: Of root, targets and models.
        offline: Folders of the offline keys that are at hand, one or more.
        now: When it is signed.

    Raises:
        ServerError: Too few keys are at hand; nothing has changed.
    """
    with _step(folder, offline, now) as step:
        step.take({}, renewed=roles)


@contextmanager
def _step(folder: CatalogueFolder, offline: Sequence[Path], now: datetime) -> Iterator[_Step]:
    """One signs at a time; keys that were made for a change that is refused go again."""
    with folder.changing():
        step = _Step(folder, offline, now)
        try:
            yield step
        except ServerError:  # before anything was signed
            step.discard()
            raise


class _Step:
    """A change of keys, under the catalogue's lock.

    Attributes:
        who: Signs for each role until now.
    """

    def __init__(self, folder: CatalogueFolder, offline: Sequence[Path], now: datetime) -> None:
        self._public, self._now = folder.public, now
        self._online, self._offline = folder.online_keys, list(offline)
        self.who = metadata.holders(folder.public)
        # A server whose online keys are lost gets new ones.
        online = [self._online] if keys.holds_keys(self._online) else []
        self._folders = [*online, *self._offline]
        self._new: list[str] = []

    def in_place_of(self, key: Key, role: str) -> Key:
        """A new key where a former one is, or in the role's home if that is not at hand."""
        homes = (each for each in self._folders if key.keyid in keys.named(each).get(role, ()))
        return self.new_key(role, next(homes, None))

    def new_key(
        self, role: str, into: Path | None = None, held: tuple[str, bytes] | None = None
    ) -> Key:
        """A new key in a folder, the role's home if None; or one that something else holds.

        Raises:
            ServerError: It cannot sign, or does already.
        """
        home = self._online if role in keys.ONLINE else self._offline[0]
        place = into or home
        if place not in self._folders:
            self._folders.append(place)
        made = keys.adopt(place, role, *held) if held else keys.add(place, role)
        if made.public_key in self.who[role].keys:
            raise ServerError(
                f"Expected another key. Received one that signs for {role!r} already."
            )
        self._new.append(made.public_key.keyid)
        return made.public_key

    def take(
        self, changes: Mapping[str, Holder], *, renewed: Collection[str] = ()
    ) -> list[Rekeyed]:
        """Makes it so; what became of each role that changes.

        Raises:
            ServerError: Too few keys are at hand, or there are; nothing has changed.
        """
        signers = keys.load(self._folders, keys.ROLES)
        change(self._public, changes, signers, now=self._now, renewed=renewed)
        self._new.clear()  # they have signed: whatever comes now, nothing may remove them
        return [self._retired(role, holder) for role, holder in changes.items()]

    def discard(self) -> None:
        """Removes what `new_key` made."""
        for folder in self._folders:
            if keys.holds_keys(folder):
                for path in keys.forget(folder, self._new):
                    path.unlink()

    def _retired(self, role: str, holder: Holder) -> Rekeyed:
        """Names keys that sign no more no more."""
        old, new = self.who[role].keyids, holder.keyids
        retired = tuple(keyid for keyid in old if keyid not in new)
        # A folder may hold none any more: all were named no more, or it was unplugged.
        named = [folder for folder in self._folders if keys.holds_keys(folder)]
        left = [path for folder in named for path in keys.forget(folder, retired)]
        added = tuple(keyid for keyid in new if keyid not in old)
        return Rekeyed(role, tuple(new), holder.threshold, added, retired, tuple(left))


def _key(role: str, holder: Holder, beginning: str) -> Key:
    found = [key for key in holder.keys if key.keyid.startswith(beginning)]
    if len(found) != 1:
        known = ", ".join(keyid[:12] for keyid in holder.keyids)
        raise ServerError(
            f"Expected the beginning of the id of one key of the role {role!r} ({known}). "
            f"Received {beginning!r}."
        )
    return found[0]

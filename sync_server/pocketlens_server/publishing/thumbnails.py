"""Thumbnails of a catalogue's images -> packs of at most 1 MiB, and the list that names them.

    before = published_packs(catalogue)
    blob = publish(catalogue, before, thumbnail_of, version=7)     # for the manifest

What came since the list before goes into packs of its own, so that a device fetches no more than
that. Many small packs become large ones, without what no image shows any more; each says by which
version a device has all of it.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

from pocketlens.formats import manifest as manifests
from pocketlens.formats import pack_list, thumbnail_pack
from pocketlens.formats.manifest import PIECE_BYTES, Blob
from pocketlens.formats.pack_list import Pack, PackList
from pocketlens.formats.thumbnail_pack import ENTRY_BYTES, HEAD, TAIL_BYTES, Entry
from pocketlens_server.publishing import holdings
from pocketlens_server.publishing.images import image_of, picture_of
from pocketlens_server.publishing.open_catalogue import Catalogue
from pocketlens_server.storage.blobs import Blobs
from pocketlens_server.storage.history import IMAGE

MOST_SMALL = 16  # packs: each is a request of a new device, and some 50 bytes of the list
_SMALL_BYTES = PIECE_BYTES // 2


def published_packs(catalogue: Catalogue) -> PackList | None:
    """The packs of the newest version; None where it has none, or their list is damaged."""
    encoded = list(catalogue.vectors.manifests().values())
    blob = manifests.decode(encoded[-1]).thumbnails if encoded else None
    return None if blob is None else holdings.read_packs(catalogue.blobs.folder, blob)


def waiting_pictures(catalogue: Catalogue) -> list[bytes]:
    """SHA-256 of the pictures whose thumbnails `publish` will ask for.

    Those of images that came since the packs of the newest version; of all where one is damaged.
    """
    before, history = published_packs(catalogue), catalogue.history
    waiting = [picture_of(value) for _, value in history.begun_since(IMAGE, _head(before))]
    if waiting and before and _newest(catalogue.blobs, before.packs) is None:
        return [picture_of(value) for _, value in history.values(IMAGE)]
    return waiting


def publish(
    catalogue: Catalogue,
    before: PackList | None,
    thumbnail_of: Callable[[bytes], bytes | None],
    *,
    version: int,
) -> Blob:
    """Makes packs of what came since `before`.

    Args:
        catalogue: At `version`.
        before: Packs of an earlier version; None makes all of them anew.
        thumbnail_of: SHA-256 of a picture to its thumbnail; None where that cannot be drawn.
        version: That the packs are of.

    Returns:
        The list of packs.

    Raises:
        StoreFull: The disk has no room.
    """
    if before is None or any(catalogue.history.begun_since(IMAGE, before.head)):
        before = _grown(catalogue, before or PackList(0, ()), thumbnail_of, version)
    return catalogue.blobs.put([pack_list.encode(before)])


def _grown(
    catalogue: Catalogue,
    before: PackList,
    thumbnail_of: Callable[[bytes], bytes | None],
    version: int,
) -> PackList:
    packs = list(before.packs)
    newest = _newest(catalogue.blobs, packs)
    if newest is None:  # a pack is missing or damaged
        before, packs, newest = PackList(0, ()), [], {}
    # Without what is new: a device that keeps up has all of what they become, and fetches none.
    if sum(1 for each in packs if each.size < _SMALL_BYTES) >= MOST_SMALL:
        packs = _merged(catalogue, packs, newest)
    changed = _changed(catalogue, before.head, thumbnail_of, newest)
    packs += _packed(catalogue.blobs, changed, version)
    return PackList(version, tuple(packs))


def _changed(
    catalogue: Catalogue,
    base: int,
    thumbnail_of: Callable[[bytes], bytes | None],
    newest: Mapping[bytes, tuple[int, Entry]],
) -> Iterator[tuple[bytes, bytes]]:
    """Keys and thumbnails of images whose thumbnail is another; empty where there is none now."""
    for _, value in catalogue.history.begun_since(IMAGE, base):
        image = image_of(value)
        key = thumbnail_pack.key_of(image.id)
        thumbnail = thumbnail_of(image.code) or b""
        known = newest.get(key)
        if thumbnail if known is None else not known[1].holds(thumbnail):
            yield key, thumbnail


def _head(packs: PackList | None) -> int:
    return packs.head if packs else 0


def _newest(blobs: Blobs, packs: Sequence[Pack]) -> dict[bytes, tuple[int, Entry]] | None:
    """Which pack counts for each key; None where one cannot be read."""
    found: dict[bytes, tuple[int, Entry]] = {}
    for number, pack in enumerate(packs):
        data = _whole(blobs, pack)
        if data is None:
            return None
        index = thumbnail_pack.index_of(data)
        found.update((entry.key, (number, entry)) for entry in thumbnail_pack.entries(index))
    return found


def _whole(blobs: Blobs, pack: Pack) -> bytes | None:
    try:
        data = blobs.path(pack.sha256).read_bytes()
    except OSError:
        return None
    return data if Blob.of(data) == pack.blob else None


def _packed(blobs: Blobs, thumbnails: Iterator[tuple[bytes, bytes]], head: int) -> Iterator[Pack]:
    """Packs of thumbnails by their keys, each as large as one may be."""
    waiting: dict[bytes, bytes] = {}
    size = len(HEAD) + TAIL_BYTES
    for key, thumbnail in thumbnails:
        if size + ENTRY_BYTES + len(thumbnail) > PIECE_BYTES:
            yield _put(blobs, waiting, head)
            waiting, size = {}, len(HEAD) + TAIL_BYTES
        waiting[key] = thumbnail
        size += ENTRY_BYTES + len(thumbnail)
    if waiting:
        yield _put(blobs, waiting, head)


def _put(blobs: Blobs, thumbnails: Mapping[bytes, bytes], head: int) -> Pack:
    blob = blobs.put([thumbnail_pack.pack_bytes(thumbnails)])
    return Pack(blob.sha256, blob.size, len(thumbnails), head)


def _merged(
    catalogue: Catalogue, packs: list[Pack], newest: Mapping[bytes, tuple[int, Entry]]
) -> list[Pack]:
    """The same thumbnails in fewer packs; of packs that are half dead, and small ones, new ones."""
    blobs = catalogue.blobs
    images = (image_of(value) for _, value in catalogue.history.values(IMAGE))
    live = {thumbnail_pack.key_of(image.id) for image in images}
    kept: list[list[Entry]] = [[] for _ in packs]
    for key, (number, entry) in newest.items():
        if key in live:
            kept[number].append(entry)
    again = [
        number
        for number, pack in enumerate(packs)
        if pack.size < _SMALL_BYTES or 2 * len(kept[number]) < pack.count
    ]

    def thumbnails() -> Iterator[tuple[bytes, bytes]]:
        for number in again:
            data = _whole(blobs, packs[number]) or b""
            for entry in kept[number]:
                yield entry.key, data[entry.offset : entry.offset + entry.size]

    head = max(packs[number].head for number in again)
    stay = [pack for number, pack in enumerate(packs) if number not in set(again)]
    return [*stay, *_packed(blobs, thumbnails(), head)]

"""Thumbnails follow a version: only what is new is fetched, and no version waits for them."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tests.making import followers
from tests.making.servers import Server, change

from pocketlens import Lens
from pocketlens.errors import SyncCancelled, TransportError
from pocketlens.formats import manifest as manifests
from pocketlens.formats import pack_list, thumbnail_pack
from pocketlens.formats.manifest import Blob
from pocketlens.formats.pack_list import Pack, PackList
from pocketlens.formats.thumbnail_pack import Entry
from pocketlens.options import SyncOptions
from pocketlens.store import installs, thumbnails
from pocketlens.store.facts import StoreFacts
from pocketlens.store.reader import Reader, facts_of
from pocketlens.store.verification import verify
from pocketlens.sync.thumbnails import planned
from pocketlens.sync.transports import AtHand, FolderTransport
from pocketlens_server.catalogue.operations import DeleteImage, PatchProduct, apply
from pocketlens_server.publishing import thumbnails as publishing
from pocketlens_server.publishing.images import image_of
from pocketlens_server.storage.history import IMAGE

FIRST = "pictures/00000-0.jpg"


def drawn(picture: bytes) -> bytes:
    """A stand-in of 1 to 60 bytes: what is in a thumbnail is no business of a sync."""
    return picture + picture[: picture[0] % 28]


@pytest.fixture
def server(tmp_path: Path) -> Server:
    made = Server.published(tmp_path)
    made.thumbnail_of = drawn
    made.put_image("first", unit(900), ["sku-1"])
    made.publish()
    return made


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return tmp_path / "store"


def unit(seed: int) -> np.ndarray:
    vector = np.random.default_rng(seed).normal(size=16)
    return (vector / np.linalg.norm(vector)).astype(np.float32)


def expected(server: Server) -> dict[str, bytes]:
    images = (image_of(value) for _, value in server.catalogue.history.values(IMAGE))
    return {image.id: drawn(image.code) for image in images}


def shown(store: Path, ids: Iterable[str]) -> dict[str, bytes | None]:
    with Reader.open(store) as reader:
        return {each: reader.thumbnails.of(each) for each in ids}


def listed(server: Server) -> PackList:
    found = publishing.published_packs(server.catalogue)
    assert found is not None
    return found


class Asked(FolderTransport):
    """A folder that notes what is asked of it, and does not give some of it."""

    def __init__(self, server: Server, *, refused: int = -1, wrong: bool = False) -> None:
        super().__init__(server.public)
        packs = publishing.published_packs(server.catalogue)
        self.packs = {each.sha256 for each in packs.packs} if packs else set()
        self.refused, self.wrong = refused, wrong
        self.fetched: list[bytes] = []

    def poll(self, have: AtHand) -> None:
        pass

    def piece(self, blob: Blob, number: int) -> Iterator[bytes]:
        if blob.sha256 not in self.packs:
            yield from super().piece(blob, number)
            return
        if len(self.fetched) == self.refused:
            if not self.wrong:
                raise TransportError("It went away.")
            yield bytes(blob.size)
            return
        self.fetched.append(blob.sha256)
        yield from super().piece(blob, number)


def test_a_store_that_wants_them_has_all_and_remembers_that(server: Server, store: Path) -> None:
    report = followers.install(server, store, thumbnails=True)

    assert shown(store, expected(server)) == expected(server)
    assert report.thumbnails.packs == len(listed(server).packs) == 1
    assert report.thumbnails.waiting_bytes == 0
    assert verify(store).is_whole
    server.put_image("new", unit(901), ["sku-1"])
    server.publish()

    report = followers.sync(server, store)

    assert report.thumbnails.packs == 1
    assert report.thumbnails.fetched_bytes < 300  # the list, and a pack of one
    assert shown(store, expected(server)) == expected(server)


def test_a_store_that_does_not_want_them_fetches_nothing(server: Server, store: Path) -> None:
    without = Server.published(store.parent / "another")
    before = followers.install(without, store.parent / "without")

    report = followers.install(server, store, transport=(asked := Asked(server)))

    assert asked.fetched == []
    assert report.thumbnails == before.thumbnails
    assert not list(store.rglob(f"*{thumbnails.SUFFIX}"))
    assert facts_of(installs.current(store)).thumbnail_facts == ((), b"", 0)


def test_a_version_of_prices_fetches_no_list(server: Server, store: Path) -> None:
    followers.install(server, store, thumbnails=True)
    apply(server.catalogue.history, PatchProduct("sku-1", None, 77))
    server.publish()

    report = followers.sync(server, store)

    assert report.version == 3
    assert report.thumbnails.fetched_bytes == 0
    assert shown(store, expected(server)) == expected(server)


def test_they_go_when_nobody_wants_them(server: Server, store: Path) -> None:
    followers.install(server, store, thumbnails=True)

    followers.sync(server, store, thumbnails=False)

    assert not list(store.rglob(f"*{thumbnails.SUFFIX}"))
    assert followers.sync(server, store).thumbnails.fetched_bytes == 0
    assert verify(store).is_whole
    followers.sync(server, store, thumbnails=True)
    assert shown(store, expected(server)) == expected(server)
    server.thumbnail_of = None
    server.put_image("other", unit(902), ["sku-1"])
    server.publish()
    followers.sync(server, store)
    assert not list(store.rglob(f"*{thumbnails.SUFFIX}"))


def test_another_picture_shows_another_thumbnail_and_one_not_drawn_none(
    server: Server, store: Path
) -> None:
    followers.install(server, store, thumbnails=True)
    server.put_image(FIRST, unit(903), ["sku-0"])
    server.publish()
    followers.sync(server, store)
    assert shown(store, [FIRST])[FIRST] == expected(server)[FIRST]

    server.thumbnail_of = lambda picture: None
    server.put_image(FIRST, unit(904), ["sku-0"])
    server.publish()
    followers.sync(server, store)

    assert shown(store, [FIRST, "first"]) == {FIRST: None, "first": expected(server)["first"]}


def test_an_image_that_changes_without_its_picture_is_not_packed_again(server: Server) -> None:
    before = listed(server)
    server.put_image("first", unit(900), ["sku-1", "sku-2"])

    server.publish()

    assert listed(server).packs == before.packs


def test_many_small_packs_become_one_and_a_device_fetches_each_thumbnail_once(
    server: Server, store: Path
) -> None:
    followers.install(server, store, thumbnails=True)
    fetched = 0
    for number in range(3 * publishing.MOST_SMALL):
        server.put_image(f"n{number}", unit(1000 + number), ["sku-1"])
        server.publish()
        followers.sync(server, store, transport=(asked := Asked(server)))
        counts = {each.sha256: each.count for each in listed(server).packs}
        fetched += sum(counts[each] for each in asked.fetched)
        assert len(counts) <= publishing.MOST_SMALL

    assert fetched == 3 * publishing.MOST_SMALL
    assert shown(store, expected(server)) == expected(server)
    report = followers.install(server, store.parent / "late", thumbnails=True)
    assert report.thumbnails.packs == len(listed(server).packs)
    assert shown(store.parent / "late", expected(server)) == expected(server)


def test_what_nothing_shows_goes_from_the_server_and_from_devices(
    server: Server, store: Path
) -> None:
    for number in range(200):
        server.put_image(f"n{number}", unit(2000 + number), ["sku-1"])
    server.publish()
    followers.install(server, store, thumbnails=True)
    for number in range(200):
        apply(server.catalogue.history, DeleteImage(f"n{number}"))
    server.publish()

    for number in range(publishing.MOST_SMALL + 1):
        server.put_image(f"m{number}", unit(3000 + number), ["sku-1"])
        server.publish()
        followers.sync(server, store)

    assert sum(each.count for each in listed(server).packs) == len(expected(server))
    with Reader.open(store) as reader:
        assert reader.thumbnails.facts.count == len(expected(server))
    assert shown(store, expected(server)) == expected(server)


@pytest.mark.parametrize("wrong", [False, True])
def test_a_pack_that_does_not_come_holds_no_version_up(
    server: Server, store: Path, *, wrong: bool
) -> None:
    for number in range(3):
        server.put_image(f"n{number}", unit(4000 + number), ["sku-1"])
        server.publish()

    cut = Asked(server, refused=2, wrong=wrong)
    report = followers.install(server, store, thumbnails=True, transport=cut)

    assert report.version == facts_of(installs.current(store)).version == 5
    assert report.thumbnails.packs == 2
    assert report.thumbnails.waiting_bytes > 0
    assert report.thumbnails.reason
    assert set(shown(store, expected(server)).values()) == {None}
    report = followers.sync(server, store, transport=(asked := Asked(server)))
    assert len(asked.fetched) == report.thumbnails.packs == 2  # of four: the others are at hand
    assert shown(store, expected(server)) == expected(server)


def test_a_sync_that_is_cancelled_goes_on_later(server: Server, store: Path) -> None:
    followers.install(server, store)
    stages: list[str] = []

    def cancelled() -> bool:
        return "thumbnails" in stages

    with pytest.raises(SyncCancelled):
        followers.sync(
            server,
            store,
            thumbnails=True,
            cancelled=cancelled,
            progress=lambda stage, done, total: stages.append(stage),
        )

    assert followers.sync(server, store).thumbnails.packs == 1  # that they are wanted is remembered
    assert shown(store, expected(server)) == expected(server)


@pytest.mark.parametrize("limit", [0, 60, 300])
def test_what_costs_too_much_waits_and_the_version_comes(
    server: Server, store: Path, limit: int
) -> None:
    followers.install(server, store)
    apply(server.catalogue.history, PatchProduct("sku-1", None, 77))
    server.publish()
    rows = followers.sync(server, store, only_plan=True).fetched_bytes
    options = SyncOptions(is_metered=True, metered_bytes=rows + limit)

    report = followers.sync(server, store, thumbnails=True, options=options)

    assert report.version == 3
    assert report.fetched_bytes == rows
    assert report.thumbnails.fetched_bytes <= limit
    assert report.thumbnails.packs == 0
    assert "allowed" in report.thumbnails.reason
    assert followers.sync(server, store).thumbnails.packs == 1


def test_a_plan_counts_them_apart_and_changes_nothing(server: Server, store: Path) -> None:
    followers.install(server, store)
    plan = followers.sync(server, store, thumbnails=True, only_plan=True)

    done = followers.sync(server, store)
    assert done.thumbnails.packs == 0  # a plan is not remembered
    done = followers.sync(server, store, thumbnails=True)

    assert plan.fetched_bytes == done.fetched_bytes == 0
    assert plan.thumbnails.packs == 0
    assert plan.thumbnails.waiting_bytes == sum(each.size for each in listed(server).packs)
    first = followers.install(server, store.parent / "new", thumbnails=True, only_plan=True)
    assert first.thumbnails.waiting_bytes == plan.thumbnails.waiting_bytes
    assert not (store.parent / "new/CURRENT").exists()


@pytest.mark.parametrize("damage", ["flipped", "missing", "empty"])
def test_a_damaged_pack_is_mended(server: Server, store: Path, damage: str) -> None:
    followers.install(server, store, thumbnails=True)
    (pack,) = store.rglob(f"*{thumbnails.SUFFIX}")
    data = bytearray(pack.read_bytes())
    if damage == "missing":
        pack.unlink()
    else:
        data[20] ^= 1
        pack.write_bytes(data if damage == "flipped" else b"")
    assert len(verify(store).findings) == 1

    followers.sync(server, store)

    assert verify(store).is_whole
    assert shown(store, expected(server)) == expected(server)


def test_a_lost_pack_that_the_server_packed_anew_is_mended_too(server: Server, store: Path) -> None:
    followers.install(server, store, thumbnails=True)
    (first,) = store.rglob(f"*{thumbnails.SUFFIX}")
    for number in range(publishing.MOST_SMALL + 1):
        server.put_image(f"n{number}", unit(1000 + number), ["sku-1"])
        server.publish()
        followers.sync(server, store)
    assert first.exists()
    assert bytes.fromhex(first.stem) not in {each.sha256 for each in listed(server).packs}
    first.unlink()

    followers.sync(server, store)

    assert shown(store, expected(server)) == expected(server)


def test_a_new_generation_takes_them_over(server: Server, store: Path) -> None:
    followers.install(server, store, thumbnails=True)
    server.put_image("new", unit(905), ["sku-1"])
    server.publish(begin_again=True)

    report = followers.sync(server, store)

    assert report.action.value == "install"
    assert report.thumbnails.packs == 1
    assert shown(store, expected(server)) == expected(server)
    with Lens.open(store) as lens:
        assert lens.thumbnail("new") == expected(server)["new"]


def test_an_open_lens_moves_to_thumbnails_alone(server: Server, store: Path) -> None:
    followers.install(server, store)
    with Lens.open(store) as lens:
        assert lens.thumbnail("first") is None

        followers.sync(server, store, thumbnails=True)

        assert lens.refresh()
        assert lens.thumbnail("first") == expected(server)["first"]


def test_a_list_that_is_none_holds_no_version_up(server: Server, store: Path) -> None:
    blob = server.catalogue.blobs.put([b"\xff no list"])
    (encoded,) = server.catalogue.vectors.manifests().values()
    manifest = replace(manifests.decode(encoded), thumbnails=blob)
    server.sign(manifest)

    report = followers.install(server, store, thumbnails=True)

    assert report.version == 2
    assert "list of packs" in report.thumbnails.reason


def forged(*entries: tuple[int, int, bytes]) -> bytes:
    """A pack whose entries, all of image "first", say what they like: offset, size, and bytes."""
    key = thumbnail_pack.key_of("first")
    rows = [
        Entry(key, offset, size, thumbnail_pack.checksum_of(key, data))
        for offset, size, data in entries
    ]
    return thumbnail_pack.HEAD + b"x" * 4000 + thumbnail_pack.index_bytes(rows)


@pytest.mark.parametrize(
    "pack",
    [
        b"\xff" * 100,
        b"P",
        thumbnail_pack.HEAD,
        thumbnail_pack.HEAD[:4] + b"\2" + thumbnail_pack.HEAD[5:] + bytes(4),
        forged()[:-4] + b"\xff" * 4,
        forged((8, 3073, b"x" * 3073)),
        forged((2**64 - 1, 3, b"xxx")),
        forged((1 << 40, 3, b"xxx")),
        forged((4000, 3000, b"x" * 3000)),
        forged(*[(8, 3, b"xxy")] * 3),
    ],
    ids="noise byte head newer entries large overflow beyond index thrice".split(),
)
def test_a_signed_pack_that_is_none_is_left_until_the_server_has_another(
    server: Server, store: Path, pack: bytes
) -> None:
    blob = server.catalogue.blobs.put([pack])
    listed = PackList(2, (Pack(blob.sha256, blob.size, 1, 2),))
    (encoded,) = server.catalogue.vectors.manifests().values()
    named = server.catalogue.blobs.put([pack_list.encode(listed)])
    server.sign(replace(manifests.decode(encoded), thumbnails=named))

    report = followers.install(server, store, thumbnails=True)

    assert (report.version, report.thumbnails.packs) == (2, 0)
    assert "pack of thumbnails" in report.thumbnails.reason
    assert shown(store, ["first", FIRST]) == {"first": None, FIRST: None}
    assert verify(store).is_whole
    assert followers.answer(server, store) == 2
    assert not list(store.rglob(f"*{thumbnails.SUFFIX}"))
    server.put_image("new", unit(907), ["sku-1"])
    server.publish()
    followers.sync(server, store)
    assert shown(store, expected(server)) == expected(server)


def test_a_damaged_list_or_pack_of_the_server_is_packed_anew(server: Server, store: Path) -> None:
    for path in [server.catalogue.blobs.path(each.sha256) for each in listed(server).packs]:
        path.write_bytes(b"rot")
    server.put_image("new", unit(906), ["sku-1"])

    server.publish()

    followers.install(server, store, thumbnails=True)
    assert shown(store, expected(server)) == expected(server)


@pytest.mark.parametrize("seed", range(6))
def test_devices_that_sync_now_and_then_show_what_the_server_draws(
    tmp_path: Path, seed: int
) -> None:
    """Images come, change and go, versions are rolled back; packs are merged on the way."""
    rng = random.Random(seed)
    server = Server.published(tmp_path)
    server.thumbnail_of = drawn
    stores = [tmp_path / f"store{number}" for number in range(3)]
    for _ in range(25):
        change(server, rng)
        if rng.random() < 0.1:
            server.roll_back(rng.randint(1, server.catalogue.history.head))
        server.publish()
        for store in stores:
            if rng.random() < 0.4:
                if (store / "CURRENT").exists():
                    followers.sync(server, store)
                else:
                    followers.install(server, store, thumbnails=True)
                assert shown(store, expected(server)) == expected(server)


def test_the_plan_of_a_store_ahead_of_the_list_begins_anew(server: Server, store: Path) -> None:
    followers.install(server, store, thumbnails=True)
    facts: StoreFacts = facts_of(installs.current(store))
    one, two = (Pack(bytes([n]) * 32, 100, 1, n) for n in (1, 2))
    ahead = replace(facts, thumbnail_packs=(b"x" * 32,), thumbnail_version=9)

    plan = planned(ahead, {b"x" * 32: 100, one.sha256: 100}, PackList(2, (one, two)))

    assert plan.packs == (one.sha256, two.sha256)
    assert plan.missing == (two,)


def test_the_list_round_trips() -> None:
    some = PackList(7, (Pack(b"a" * 32, 9, 1, 3), Pack(b"b" * 32, 1 << 20, 400, 7)))

    assert pack_list.decode(pack_list.encode(some)) == some

"""From history to device: a store that applies what changed has the state that the server has."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import hashlib
import random
import shutil
import sqlite3
from dataclasses import replace
from pathlib import Path

import pytest
from tests.making import histories
from tests.making.histories import State, encoded, write_store

from pocketlens.formats import parts
from pocketlens.formats.delta import DeltaReader, Header
from pocketlens.store import database
from pocketlens.store.applying.applier import Applier
from pocketlens.store.verification import verify
from pocketlens_server.publishing import changes
from pocketlens_server.publishing.changes import changes_since
from pocketlens_server.storage import migrations
from pocketlens_server.storage.history import IMAGE, OFFER, PRODUCT, History, placement_kind


class Shop:
    """A history that is kept equal to the states of a random catalogue."""

    def __init__(self, made: histories.History) -> None:
        connection = sqlite3.connect(":memory:", isolation_level=None)
        migrations.create(connection)
        self.made, self.history = made, History(connection)
        self.codes: dict[bytes, bytes] = {}
        for state in made.states:
            self._follow(state)

    def _follow(self, state: State) -> None:
        kinds = {
            PRODUCT: state.products,
            OFFER: state.offers,
            IMAGE: {key: self._without_code(image) for key, image in state.images.items()},
            placement_kind(1): state.placements,
        }
        for kind, values in kinds.items():
            for key, _ in list(self.history.values(kind)):
                if key not in values:
                    self.history.delete(kind, key)
            for key, part in values.items():
                self.history.put(kind, key, parts.encode(part))
        self.history.publish(histories.AS_OF)

    def _without_code(self, image: parts.ImagePart) -> parts.ImagePart:
        picture = hashlib.sha256(image.code).digest()
        self.codes[picture] = image.code
        return replace(image, code=picture)

    def delta(self, base: int) -> tuple[list[bytes], int]:
        generation = bytes.fromhex(histories.GENERATION)
        codebook, head = histories.CODEBOOK, self.history.head
        header = Header("shop", generation, codebook, base, head, histories.AS_OF, histories.DIM)
        blocks = list(
            changes_since(base, self.history, generation=1, code_of=self.codes.__getitem__)
        )
        return encoded(header, *blocks)


@pytest.mark.parametrize("seed", range(12))
def test_devices_of_every_version_end_at_the_servers_state(
    seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(changes, "BLOCK_BYTES", 200)  # so that there are many
    monkeypatch.setattr(changes, "BLOCK_KEYS", 2)
    made = histories.History(seed, products=8, images=12)
    rng = random.Random(seed)
    for _ in range(4):
        made.go_on(rng.randint(0, 15))
    shop = Shop(made)
    write_store(tmp_path / "1", *made.delta(0, 1))
    assert shop.history.head == 5

    for base in range(1, 5):
        store = tmp_path / "store"
        shutil.copytree(tmp_path / "1", store)
        # A device at `base` got there by a delta of its own.
        if base > 1:
            _apply(store, *encoded(*made.delta(1, base)))
        final = _apply(store, *shop.delta(base))
        assert final == made.states[-1].hash
        assert verify(store).findings == ()
        shutil.rmtree(store)


def test_a_delta_from_nothing_holds_everything() -> None:
    made = histories.History(5, products=8, images=12)
    made.go_on(20)
    shop = Shop(made)

    blocks = list(changes_since(0, shop.history, generation=1, code_of=shop.codes.__getitem__))

    state = made.states[-1]
    for name in ("products", "offers", "images", "placements"):
        found = [part for block in blocks for part in getattr(block, name)]
        assert found == [part for _, part in sorted(getattr(state, name).items())]


def _apply(store: Path, data: list[bytes], size: int) -> bytes:
    (path,) = store.glob("installs/*/store.sqlite")
    with database.changing(path) as connection:
        applier = Applier(connection, path)
        reader = DeltaReader(data, size)
        applier.apply(reader.header, reader.blocks())
        return applier.facts.state_hash

"""A store follows a catalogue: any delta, from any version that it serves, ends at head's state."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from tests.making.histories import History, write_store

from pocketlens.errors import StateMismatch
from pocketlens.formats.delta import Header
from pocketlens.formats.delta_blocks import Block
from pocketlens.formats.parts import ImagePart, OfferPart, PlacementPart, ProductPart
from pocketlens.store import chunks, database, rows
from pocketlens.store.applying.applier import Applier
from pocketlens.store.facts import StoreFacts
from pocketlens.store.reader import Reader
from pocketlens.store.verification import verify


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Chunks that a few keys fill, so that they split, empty and are packed anew."""
    monkeypatch.setattr(rows, "CHUNK_CODES", 3)
    monkeypatch.setattr(rows, "MAP_CHUNK", 4)


def applied(path: Path, header: Header, *blocks: Block) -> StoreFacts:
    with database.changing(path) as connection:
        applier = Applier(connection, path)
        applier.apply(header, blocks)
        return applier.facts


@example(seed=57222611, size=21, versions=5)  # a list whose last chunk was emptied before
@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(seed=st.integers(0, 2**32), size=st.integers(0, 25), versions=st.integers(2, 6))
def test_every_delta_from_every_version_ends_at_heads_state(
    tmp_path: Path, seed: int, size: int, versions: int
) -> None:
    folder = tmp_path / str(seed)
    shutil.rmtree(folder, ignore_errors=True)
    history = History(seed, products=1 + size // 2, images=max(1, size))
    for number in range(versions - 1):
        history.go_on(1 + (seed >> number) % 12)
    stores = [folder / "1"]
    write_store(stores[0], *history.delta(0, 1))
    for head in range(2, versions + 1):
        stores.append(folder / str(head))
        shutil.copytree(stores[-2], stores[-1])
        facts = applied(database_of(stores[-1]), *history.delta(head - 1, head))
        assert facts.state_hash == history.states[head - 1].hash

    for base in range(1, versions):
        for at in range(base, versions):
            copy = folder / "copy"
            shutil.copytree(stores[at - 1], copy)
            facts = applied(database_of(copy), *history.delta(base, versions))
            assert facts.state_hash == history.states[-1].hash
            assert verify(copy).findings == ()
            shutil.rmtree(copy)
    write_store(folder / "whole", *history.delta(0, versions))
    with Reader.open(folder / "whole") as reader:
        assert reader.facts.state_hash == history.states[-1].hash
    assert verify(folder / "whole").findings == ()


def database_of(directory: Path) -> Path:
    (found,) = directory.glob("installs/*/store.sqlite")
    return found


@given(
    sizes=st.lists(st.integers(0, 5), max_size=6),
    chosen=st.sets(st.integers(0, 60), max_size=20),
    new=st.sets(st.integers(0, 99), max_size=20),
)
def test_chunks_stay_within_their_limit_and_hold_what_they_should(
    sizes: list[int], chosen: set[int], new: set[int]
) -> None:
    keys = np.arange(0, 2 * sum(sizes), 2, dtype=np.uint32)
    removed = np.array(sorted(chosen & set(keys.tolist())), np.uint32)
    stays = np.setdiff1d(keys, removed)
    added = np.array(sorted(new - set(stays.tolist())), np.uint32)

    after = chunks.resized(keys, np.array(sizes, np.int64), removed, added, 5)

    assert after.sum() == len(stays) + len(added)
    assert len(after) >= 1
    assert after.min() >= 0
    assert after.max() <= 5
    assert after.sum() == 0 or len(after) <= 2 * -(-after.sum() // 5) + 1


def test_what_was_deleted_is_not_found_any_more(tmp_path: Path) -> None:
    history = History(3, products=5, images=9)
    path = write_store(tmp_path / "s", *history.delta(0, 1))
    header, _ = history.delta(0, 1)
    header = replace(header, base=1, head=2)
    with database.changing(path):
        pass  # from now on readers do not mind
    with Reader.open(tmp_path / "s") as before:
        kept = before.images([1])

        facts = applied(path, header, Block(deleted_images=[1, 2, 77]))

        assert before.images([1]) == kept  # a reader that was open sees what it saw
    assert (facts.images, facts.version, facts.max_image_key) == (7, 2, 9)
    with Reader.open(tmp_path / "s") as after:
        assert sorted(np.concatenate([after.read_list(n)[0] for n in range(3)])) == list(
            range(3, 10)
        )
        assert set(after.links()[0].tolist()) == set(range(3, 10))


PRODUCT = ProductPart(99, "new", "", "", "")
IMAGE = ImagePart(99, "new", "", (1,), bytes(4))


@pytest.mark.parametrize(
    ("changes", "block", "says"),
    [
        ({"catalogue": "other"}, Block(), "another catalogue"),
        ({"generation": bytes(32)}, Block(), "another catalogue, generation"),
        ({"codebook_sha256": bytes(32)}, Block(), "or codebook"),
        ({"base": 2, "head": 3}, Block(), "the store being at 1"),
        ({"base": 0, "head": 1}, Block(), "the store being at 1"),
        ({}, Block(products=[PRODUCT]), "a product without its offer"),
        ({}, Block(offers=[OfferPart(99, -1, "", -1)]), "an offer without its product"),
        ({}, Block(images=[IMAGE]), "image 99 in no list"),
        ({}, Block(images=[IMAGE], placements=[PlacementPart(99, 3)]), "image 99 in no list"),
        ({}, Block(placements=[PlacementPart(99, 1)]), "image that is not there"),
        (
            {},
            Block(deleted_images=[1], placements=[PlacementPart(1, 1)]),
            "which it deletes",
        ),
    ],
)
def test_a_delta_that_makes_no_sense_leaves_the_store_as_it_was(
    tmp_path: Path, changes: dict[str, object], block: Block, says: str
) -> None:
    history = History(1)
    path = write_store(tmp_path / "s", *history.delta(0, 1))
    header = replace(history.delta(0, 1)[0], **({"base": 1, "head": 2} | changes))  # type: ignore[arg-type]

    with pytest.raises(StateMismatch, match=says):
        applied(path, header, block)

    with Reader.open(tmp_path / "s") as reader:
        assert reader.facts.version == 1
    assert verify(tmp_path / "s").is_whole

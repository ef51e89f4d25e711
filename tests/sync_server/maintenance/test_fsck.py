"""Each damage of a server is found as what it is, and as nothing else."""

# SPDX-License-Identifier: Apache-2.0
# ruff: noqa: S608 # the statements are ours

from __future__ import annotations

import json
import os
import random
import shutil
import sqlite3
import threading
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest
from tests.making.restored import copied
from tests.making.tiles import TileShop

from pocketlens.formats import parts
from pocketlens.formats.manifest import decode, encode
from pocketlens.formats.parts import OfferPart
from pocketlens_server.folders import MAIN, ServerFolder
from pocketlens_server.maintenance.findings import Check, Finding
from pocketlens_server.maintenance.fsck import examine
from pocketlens_server.publishing import releasing
from pocketlens_server.publishing.restored import Restored, mark
from pocketlens_server.storage import migrations
from pocketlens_server.storage.history import HOLDS, IMAGE, OFFER, PRODUCT, placement_kind

PLACEMENT = placement_kind(1)
Plant = Callable[[TileShop, random.Random], None]


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> TileShop:
    """Four versions, and a push that waits."""
    made = TileShop(tmp_path_factory.mktemp("tiles") / "shop", dict.fromkeys(range(6), 1))
    made.publish()
    for number in (1, 2):
        made.stock[number] = 7
        made.stock[10 + number] = 1
        made.publish()
    del made.stock[4]
    made.publish()
    made.stock[5] = 9
    made.stock[13] = 1
    made.push()
    return made


@pytest.fixture
def shop(template: TileShop, tmp_path: Path) -> TileShop:
    return copied(template, tmp_path / "shop")


def found(shop: TileShop) -> list[Finding]:
    return examine(ServerFolder(shop.folder / "server"), now=shop.now)


def checks(shop: TileShop, *, damages: bool) -> list[Check]:
    return [each.check for each in found(shop) if each.is_damage is damages]


# --- damages --------------------------------------------------------------------------------------


def sql(statement: str, *values: object) -> Plant:
    """A statement that changes something; "LIMIT 1" picks a row by chance."""

    def plant(shop: TileShop, rng: random.Random) -> None:
        with closing(sqlite3.connect(shop.catalogue.database, isolation_level=None)) as tables:
            tables.create_function("chance", 1, lambda _: rng.random())
            assert tables.execute(statement, values).rowcount > 0

    return plant


def row(table: str, where: str, columns: str) -> str:
    """Picks one row of a table without rowids."""
    inner = f"SELECT {columns} FROM {table} WHERE {where} ORDER BY chance({columns.split(',')[0]})"
    return f"({columns}) = ({inner} LIMIT 1)"


def history(kind: int, *, holds: bool = True) -> str:
    to = f"valid_to = {HOLDS} AND valid_from < 5" if holds else "1"
    return row("history", f"kind = {kind} AND {to}", "key,kind,valid_from")


ANY_EMBEDDING = row("embeddings", "1", "picture,bundle")
SOLD = "picture IN (SELECT picture FROM codes)"


def torn_page(shop: TileShop, rng: random.Random) -> None:
    with closing(sqlite3.connect(shop.catalogue.database)) as tables:
        tables.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        (size,) = tables.execute("PRAGMA page_size").fetchone()
        query = "SELECT rootpage FROM sqlite_master WHERE name IN ('history', 'keys', 'embeddings')"
        (page,) = rng.choice(tables.execute(query).fetchall())
    with shop.catalogue.database.open("r+b") as file:
        file.seek((page - 1) * size)
        file.write(rng.randbytes(size))


def altered_offer(shop: TileShop, rng: random.Random) -> None:
    """A value that can be read, and that nobody published."""
    with closing(sqlite3.connect(shop.catalogue.database, isolation_level=None)) as tables:
        query = "SELECT key, value FROM history WHERE kind = ? AND valid_from < 5 AND valid_to = ?"
        key, value = rng.choice(tables.execute(query, (OFFER, HOLDS)).fetchall())
        offer = parts.decode(value)
        assert isinstance(offer, OfferPart)
        other = parts.encode(replace(offer, stock=offer.stock + 1))
        tables.execute(
            "UPDATE history SET value = ? WHERE kind = ? AND key = ? AND valid_to = ?",
            (other, OFFER, key, HOLDS),
        )


def altered_manifest(shop: TileShop, rng: random.Random) -> None:
    with shop.catalogue.changing() as tables:
        (data,) = tables.vectors.manifests().values()
        tables.vectors.put_manifest(1, encode(replace(decode(data), state_hash=rng.randbytes(32))))


def no_manifest(shop: TileShop, rng: random.Random) -> None:
    with shop.catalogue.changing() as tables:
        tables.vectors.put_manifest(1, rng.randbytes(40))


def older_tables(shop: TileShop, rng: random.Random) -> None:
    before = shop.catalogue.database.with_name("before")
    with (
        closing(sqlite3.connect(shop.catalogue.database)) as tables,
        closing(sqlite3.connect(before)) as copy,
    ):
        tables.backup(copy)
    shop.publish()
    for path in shop.catalogue.folder.glob("catalogue.sqlite*"):
        path.unlink()
    before.rename(shop.catalogue.database)


def gone(pattern: str) -> Plant:
    return lambda shop, rng: rng.choice(files(shop, pattern)).unlink()


def rotten_float_model(shop: TileShop, rng: random.Random) -> None:
    shop.catalogue.floats.mkdir()
    (shop.catalogue.floats / f"{rng.randbytes(32).hex()}.keras").write_bytes(b"another model")


def rotten(pattern: str) -> Plant:
    def plant(shop: TileShop, rng: random.Random) -> None:
        path = rng.choice(files(shop, pattern))
        data = bytearray(path.read_bytes())
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
        path.write_bytes(data)

    return plant


def longer(pattern: str) -> Plant:
    def plant(shop: TileShop, rng: random.Random) -> None:
        with rng.choice(files(shop, pattern)).open("ab") as file:
            file.write(b"\0")

    return plant


def named_blobs(shop: TileShop) -> list[Path]:
    (manifest,) = releasing.newest(shop.catalogue)
    blobs = [manifest.bundle, manifest.codebook, manifest.snapshot.blob]
    blobs += [each.blob for each in manifest.deltas]
    return [shop.public / "blobs" / each.sha256.hex() for each in blobs]


def files(shop: TileShop, pattern: str) -> list[Path]:
    """Files that are needed."""
    if pattern == "blobs":
        return named_blobs(shop)
    found = sorted((shop.folder / "server").glob(pattern))
    newest = max(found, key=lambda path: path.stat().st_mtime_ns)  # others are of earlier versions
    return [newest] if pattern.startswith("public") else found


def unsigned_change(shop: TileShop, rng: random.Random) -> None:
    """A timestamp that says something else than was signed."""
    path = shop.public / "metadata" / "timestamp.json"
    value = json.loads(path.read_bytes())
    value["signed"]["expires"] = f"20{rng.randrange(30, 99)}-01-01T00:00:00Z"
    path.write_text(json.dumps(value))


def readable_key(shop: TileShop, rng: random.Random) -> None:
    rng.choice(files(shop, "catalogues/main/keys/*.pem")).chmod(0o644)


def another_key(shop: TileShop, rng: random.Random) -> None:
    """They are keys; only nobody trusts what they sign."""
    other = ServerFolder(shop.folder / "server").add_catalogue("other", now=shop.now)
    for path in other.online_keys.iterdir():
        shutil.copy(path, shop.catalogue.online_keys)  # with its mode


def tokens(shop: TileShop, rng: random.Random) -> None:
    (shop.folder / "server" / "tokens.sqlite").write_bytes(rng.randbytes(9000))


NAN = np.full(48, np.nan, "<f4").tobytes()
DAMAGES: Mapping[str, tuple[Check, Plant]] = {
    "a page of the database": (Check.DATABASE, torn_page),
    "a step that is not known": (
        Check.DATABASE,
        sql("INSERT INTO migrations (name) VALUES ('of tomorrow')"),
    ),
    "an overlap": (
        Check.HISTORY,
        sql(
            f"INSERT INTO history SELECT kind, key, valid_from + 1, {HOLDS}, value FROM history"
            f" WHERE {history(OFFER)}"
        ),
    ),
    "a value without a version": (
        Check.HISTORY,
        sql(f"UPDATE history SET valid_to = valid_from WHERE {history(PRODUCT, holds=False)}"),
    ),
    "a value from a version to come": (
        Check.HISTORY,
        sql(f"UPDATE history SET valid_from = 9 WHERE {history(IMAGE)}"),
    ),
    "no value": (Check.HISTORY, sql(f"UPDATE history SET value = x'00' WHERE {history(PRODUCT)}")),
    "a value of another key": (
        Check.HISTORY,
        sql(f"UPDATE history SET key = key + 90 WHERE {history(PLACEMENT)}"),
    ),
    "a product without an offer": (
        Check.HISTORY,
        sql(f"DELETE FROM history WHERE {history(OFFER)}"),
    ),
    "an offer without a product": (
        Check.HISTORY,
        sql(f"DELETE FROM history WHERE {history(PRODUCT)}"),
    ),
    "an image without a list": (
        Check.HISTORY,
        sql(f"DELETE FROM history WHERE {history(PLACEMENT)}"),
    ),
    "a key without an id": (
        Check.HISTORY,
        sql(f"DELETE FROM keys WHERE {row('keys', f'kind = {IMAGE}', 'key,kind')}"),
    ),
    "a link too few": (
        Check.LINKS,
        sql(f"DELETE FROM links WHERE {row('links', '1', 'product_key,image_key')}"),
    ),
    "a link too many": (Check.LINKS, sql("INSERT INTO links VALUES (1, 3)")),
    "a missing picture": (Check.PICTURES, gone("catalogues/main/pictures/*/*")),
    "a rotten picture": (Check.PICTURES, rotten("catalogues/main/pictures/*/*")),
    "a missing bundle": (Check.BUNDLES, gone("catalogues/main/bundles/*")),
    "a rotten bundle": (Check.BUNDLES, rotten("catalogues/main/bundles/*")),
    "a missing embedding": (
        Check.EMBEDDINGS,
        sql(f"DELETE FROM embeddings WHERE {row('embeddings', SOLD, 'picture,bundle')}"),
    ),
    "an embedding of NaN": (
        Check.EMBEDDINGS,
        sql(f"UPDATE embeddings SET embedding = ? WHERE {ANY_EMBEDDING}", NAN),
    ),
    "an embedding of nothing": (
        Check.EMBEDDINGS,
        sql(f"UPDATE embeddings SET embedding = zeroblob(192) WHERE {ANY_EMBEDDING}"),
    ),
    "a short embedding": (
        Check.EMBEDDINGS,
        sql(f"UPDATE embeddings SET embedding = x'00' WHERE {ANY_EMBEDDING}"),
    ),
    "a missing code": (
        Check.CODES,
        sql("DELETE FROM codes WHERE picture IN (SELECT picture FROM embeddings)"),
    ),
    "a short code": (Check.CODES, sql("UPDATE codes SET code = x'0102'")),
    "another code": (Check.STATE, sql("UPDATE codes SET code = zeroblob(48)")),
    "another offer": (Check.STATE, altered_offer),
    "another sum": (
        Check.STATE,
        sql("UPDATE states SET parts_sum = zeroblob(64) WHERE version = 4"),
    ),
    "a lost state": (Check.STATE, sql("DELETE FROM states WHERE version = 4")),
    "another manifest": (Check.STATE, altered_manifest),
    "no manifest": (Check.STATE, no_manifest),
    "a missing blob": (Check.BLOBS, gone("blobs")),
    "a rotten blob": (Check.BLOBS, rotten("blobs")),
    "a longer blob": (Check.BLOBS, longer("blobs")),
    "a rotten float model": (Check.FLOATS, rotten_float_model),
    "a rotten timestamp": (Check.METADATA, unsigned_change),
    "a missing timestamp": (Check.METADATA, gone("public/main/metadata/timestamp.json")),
    "a missing root": (Check.METADATA, gone("public/main/metadata/1.root.json")),
    "a missing snapshot": (Check.METADATA, gone("public/main/metadata/*.snapshot.json")),
    "a rotten manifest": (Check.METADATA, rotten("public/main/targets/manifest/*.newest")),
    "a rotten manifest of a generation": (
        Check.METADATA,
        rotten("public/main/targets/manifest/*[0-9a-f]"),
    ),
    "a missing manifest": (Check.METADATA, gone("public/main/targets/manifest/*.newest")),
    "older tables": (Check.BEHIND, older_tables),
    "a missing key": (Check.KEYS, gone("catalogues/main/keys/*.pem")),
    "no keys": (Check.KEYS, gone("catalogues/main/keys/keys.json")),
    "another's keys": (Check.KEYS, another_key),
    "a key that all can read": (Check.KEYS, readable_key),
    "rotten tokens": (Check.TOKENS, tokens),
}


@pytest.mark.parametrize("name", DAMAGES)
def test_a_damage_is_found_and_nothing_else(name: str, shop: TileShop) -> None:
    check, plant = DAMAGES[name]
    assert checks(shop, damages=True) == []

    plant(shop, random.Random(name))

    damages = [each for each in found(shop) if each.is_damage]
    assert [each.check for each in damages] == [check], damages
    assert damages[0].text
    assert damages[0].mend


def test_every_check_of_damages_has_one(shop: TileShop) -> None:
    kinds = {each for each in Check if Finding(MAIN, each, "", "").is_damage}

    assert {check for check, _ in DAMAGES.values()} == kinds


# --- what is no damage ----------------------------------------------------------------------------


def test_a_file_that_nothing_names_is_told(shop: TileShop) -> None:
    (shop.catalogue.folder / "pictures" / "ab").mkdir()
    (shop.catalogue.folder / "pictures" / "ab" / ("ab" * 32)).write_bytes(b"?")
    (note,) = [each for each in found(shop) if each.check is Check.LEFTOVERS]

    assert "1 files in pictures" in note.text
    assert not note.is_damage
    for hours in (1, 25, 1):
        shop.now += timedelta(hours=hours)
        releasing.collect(shop.catalogue, now=shop.now)
    (note,) = [each for each in found(shop) if each.check is Check.LEFTOVERS]
    assert note.text == "nothing names 1 files in pictures"  # which came today


def test_what_has_expired_is_told(shop: TileShop) -> None:
    shop.now += timedelta(days=4)

    (note,) = [each for each in found(shop) if each.check is Check.EXPIRED]

    assert note.text == "the metadata of timestamp has expired"
    assert checks(shop, damages=True) == []


def test_a_version_that_is_not_signed_is_told(shop: TileShop) -> None:
    timestamp = shop.public / "metadata" / "timestamp.json"
    before = timestamp.read_bytes()
    shop.publish()
    assert Check.UNSIGNED not in checks(shop, damages=False)

    timestamp.write_bytes(before)

    assert Check.UNSIGNED in checks(shop, damages=False)
    assert checks(shop, damages=True) == []


def test_a_catalogue_that_was_restored_is_told(shop: TileShop) -> None:
    mark(shop.catalogue.folder, Restored(shop.now, shop.now, 4))

    (note,) = [each for each in found(shop) if each.check is Check.RESTORED]

    assert "at version 4" in note.text
    assert "--above" in note.mend


def test_a_database_of_before_is_told_and_not_changed(shop: TileShop) -> None:
    sql("DELETE FROM migrations")(shop, random.Random(0))

    assert checks(shop, damages=False) == [Check.UPGRADE]
    assert checks(shop, damages=True) == []
    with closing(sqlite3.connect(shop.catalogue.database)) as tables:
        assert migrations.lacking(tables) == [step.name for step in migrations.STEPS]


def test_a_new_catalogue_is_whole(shop: TileShop) -> None:
    server = ServerFolder(shop.folder / "server")
    server.add_catalogue("toys", now=shop.now)

    assert examine(server, ["toys"], now=shop.now) == []


def test_nothing_is_changed(shop: TileShop) -> None:
    def contents() -> dict[Path, bytes]:
        paths = (path for path in (shop.folder / "server").rglob("*") if path.is_file())
        return {path: path.read_bytes() for path in paths if "sqlite-" not in path.name}

    before = contents()

    found(shop)

    assert contents() == before


def test_a_picture_that_is_collected_meanwhile_is_no_damage(shop: TileShop) -> None:
    (shop.catalogue.folder / "settings.toml").write_text("[keeping]\nversions = 1\n")
    shop.publish()
    pictures = set(shop.catalogue.folder.glob("pictures/*/*"))
    for path in pictures:
        os.utime(path, (0, 0))

    def go(stage: str, done: int, total: int) -> None:
        if (stage, done) == ("pictures", 0):
            del shop.stock[0], shop.stock[1]
            for pieces in (30, 31):  # the second version forgets what the first took away
                shop.stock[5] = pieces
                shop.publish()
            releasing.collect(shop.catalogue, now=shop.now)

    server = ServerFolder(shop.folder / "server")
    findings = examine(server, now=shop.now, progress=go)

    assert len(pictures - set(shop.catalogue.folder.glob("pictures/*/*"))) >= 2
    assert [each for each in findings if each.is_damage] == []


def test_a_server_that_changes_meanwhile_is_whole(shop: TileShop) -> None:
    """Versions are pruned and files collected, so that what was named goes."""
    (shop.catalogue.folder / "settings.toml").write_text("[keeping]\nversions = 1\n")
    done, failed = threading.Event(), []

    def change() -> None:
        number = 20
        try:
            while not done.is_set():
                shop.stock[number] = 1
                shop.stock.pop(number - 2, None)
                number += 1
                shop.now += timedelta(hours=13)
                shop.publish()
        except Exception as exc:  # told in the other thread
            failed.append(exc)

    changing = threading.Thread(target=change)
    changing.start()
    try:
        damages = [each for _ in range(12) for each in checks(shop, damages=True)]
    finally:
        done.set()
        changing.join(60)

    assert failed == []
    assert damages == []

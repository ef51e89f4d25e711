"""Words of products: what is found, that nothing people write is an error, and how they last."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import multiprocessing
import random
import shutil
import signal
import sqlite3
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.making import colour_bundle as colours
from tests.making.word_shops import WORDS, columns_of, tokens, word_rows, word_store

from pocketlens import Lens, Product, install
from pocketlens.errors import MissingExtraError
from pocketlens.store import words as module
from pocketlens.store.reader import Reader
from pocketlens.store.verification import verify
from pocketlens.store.words import FILE_NAME, MOST_WORDS, Hits, Words, words_of
from pocketlens.testing import MemoryServer

PRODUCTS = 300


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return word_store(tmp_path_factory.mktemp("words"), word_rows(PRODUCTS))


@pytest.fixture(scope="module")
def opened(made: Path) -> Iterator[tuple[Words, dict[int, Product]]]:
    with Reader.open(made) as reader, Words(reader) as words:
        yield words, reader.products(range(1, PRODUCTS + 1))


@pytest.fixture
def store(made: Path, tmp_path: Path) -> Path:
    copied = shutil.copytree(made, tmp_path / "store")
    (copied / "cache" / FILE_NAME).unlink(missing_ok=True)
    return copied


def hits_of(store: Path, text: str) -> Hits:
    with Reader.open(store) as reader, Words(reader) as words:
        return words.hits(text)


def same(one: Hits, other: Hits) -> bool:
    return (one.asked, one.unknown) == (other.asked, other.unknown) and all(
        np.array_equal(getattr(one, name), getattr(other, name))
        for name in ("product_keys", "shares")
    )


def naive_shares(products: dict[int, Product], text: str) -> dict[int, float]:
    """What each product has of a text, by looking at each."""
    words = words_of(text)
    shares = dict.fromkeys(products, 0.0)
    total = 0.0
    for word in words:
        wanted, is_last = tokens(word), word == words[-1]
        has = {key: _counts(columns_of(each), wanted, is_last) for key, each in products.items()}
        having = sum(count > 0 for count in has.values())
        if not having:
            continue
        rarity = np.log1p((len(products) - having + 0.5) / (having + 0.5))
        total += rarity
        for key, count in has.items():
            shares[key] += rarity * count
    return {key: share / total for key, share in shares.items() if share}


def _counts(columns: tuple[list[str], ...], wanted: list[str], is_last: bool) -> float:
    count = 0.0
    for column in columns:
        for start in range(len(column) - len(wanted) + 1):
            here = column[start : start + len(wanted)]
            if here == wanted:
                return 1.0
            if is_last and here[:-1] == wanted[:-1] and here[-1].startswith(wanted[-1]):
                count = 0.5
    return count


@given(
    asked=st.lists(
        st.sampled_from([*WORDS, "BLUE", "Cafe", "uber", "gru", "t-sh", "colour", "yes", "none"]),
        min_size=1,
        max_size=4,
    )
)
@settings(deadline=None, max_examples=150)
def test_shares_are_what_looking_at_each_product_says(
    opened: tuple[Words, dict[int, Product]], asked: list[str]
) -> None:
    words, products = opened

    found = words.hits(" ".join(asked))

    expected = naive_shares(products, " ".join(asked))
    assert found.product_keys.tolist() == sorted(expected)
    assert found.shares == pytest.approx([expected[key] for key in sorted(expected)], abs=1e-5)
    assert (words.scores(found) > 0).all()


@given(text=st.text())
@settings(deadline=None, max_examples=300)
def test_no_text_is_an_error(opened: tuple[Words, dict[int, Product]], text: str) -> None:
    found = opened[0].hits(text)

    assert ((found.shares > 0) & (found.shares <= 1)).all()
    assert len(opened[0].scores(found)) == len(found.product_keys)
    assert set(found.unknown) <= set(found.asked)


@pytest.mark.parametrize(
    "text",
    [
        '"', '""', 'red"', '"red" OR "blue"', "red AND NOT blue", "title:red", "-red", "red*",
        "^red", "NEAR(red blue)", "{title category}: red", "red + blue", "\0", "re\0d", "red\ud800",
        "'; DROP", "(((", "🎉", "🎉 red", "%", "\N{ZERO WIDTH SPACE}", "a" * 10_000, "red " * 5_000,
        "é" * 10_240,
    ],
)  # fmt: skip
def test_what_sqlite_would_read_as_its_own_is_a_word_or_nothing(
    opened: tuple[Words, dict[int, Product]], text: str
) -> None:
    words, products = opened

    found = words.hits(text)

    if "red" in text:
        red = [key for key, each in products.items() if any("red" in x for x in columns_of(each))]
        assert set(red) <= set(found.product_keys.tolist())


def test_words_are_told_apart_once_and_no_more_than_some() -> None:
    assert words_of(' blue\t"Mug",BLUE - 🎉 t-shirt ') == ("blue", "Mug", "t-shirt")
    assert words_of("") == words_of(" \0 &") == ()
    assert len(words_of(" ".join(map(str, range(100))))) == MOST_WORDS


def test_words_that_no_product_has_are_told(opened: tuple[Words, dict[int, Product]]) -> None:
    found = opened[0].hits("red zebra mug")

    assert (found.asked, found.unknown) == (("red", "zebra", "mug"), ("zebra",))
    assert opened[0].hits("zebra").product_keys.tolist() == []


def test_a_title_scores_above_an_attribute(tmp_path: Path) -> None:
    rows = word_rows(40)
    for row in rows:
        row.update({"title": "thing", "category": "things", "attr.colour": "grey"})
    rows[3]["title"] = "azure"
    rows[9]["attr.colour"] = "azure"

    with Reader.open(word_store(tmp_path, rows)) as reader, Words(reader) as words:
        found = words.hits("azure")
        assert found.product_keys[np.argsort(-words.scores(found))].tolist() == [4, 10]
        assert words.scores(words.hits("zebra")).tolist() == []


# --- the file -------------------------------------------------------------------------------------


def test_a_store_in_which_nobody_asks_has_no_words(store: Path) -> None:
    with Lens.open(store) as lens:
        lens.search_vector(np.eye(16)[0])

    assert not (store / "cache" / FILE_NAME).exists()


def test_what_is_kept_answers_as_what_is_made(store: Path) -> None:
    before = hits_of(store, "red mug")
    kept = (store / "cache" / FILE_NAME).read_bytes()

    after = hits_of(store, "red mug")

    assert same(before, after)
    assert (store / "cache" / FILE_NAME).read_bytes() == kept
    assert verify(store).is_whole


def damaged(data: bytes) -> dict[str, bytes]:
    rng = random.Random(5)
    flipped = bytearray(data)
    flipped[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    other = (7).to_bytes(4, "little") + data[4:]
    return {
        "empty": b"",
        "cut": data[: len(data) // 2],
        "flipped": bytes(flipped),
        "seal": other,
        "text": b"no database",
    }


@pytest.mark.parametrize("kind", ["empty", "cut", "flipped", "seal", "text"])
def test_words_that_are_damaged_are_made_again(kind: str, store: Path) -> None:
    before = hits_of(store, "red mug")
    file = store / "cache" / FILE_NAME
    whole = file.read_bytes()
    file.write_bytes(damaged(whole)[kind])

    assert same(hits_of(store, "red mug"), before)
    assert len(file.read_bytes()) == len(whole)
    assert same(hits_of(store, "red mug"), before)


def test_words_that_are_sound_but_of_another_kind_are_made_again(store: Path) -> None:
    before = hits_of(store, "red")
    file = store / "cache" / FILE_NAME
    for statement in ("PRAGMA user_version = 9", "DROP TABLE words", "DELETE FROM documents"):
        connection = sqlite3.connect(":memory:", isolation_level=None)
        connection.deserialize(file.read_bytes()[4:])
        connection.execute(statement)
        data = connection.serialize()
        connection.close()
        file.write_bytes(module.checksum(data).to_bytes(4, "little") + data)

        assert same(hits_of(store, "red"), before)


def test_words_are_found_where_nothing_can_be_written(store: Path) -> None:
    shutil.rmtree(store / "cache")
    (store / "cache").write_bytes(b"in the way")  # whoever the test runs as

    assert len(hits_of(store, "red").product_keys) > 0


def _make(store: Path) -> None:
    hits_of(store, "red")


def test_a_process_that_is_killed_leaves_words_or_none(store: Path) -> None:
    expected = hits_of(store, "red mug")
    (store / "cache" / FILE_NAME).unlink()
    context, endings = multiprocessing.get_context("fork"), []
    for wait_ms in range(0, 40, 4):
        process = context.Process(target=_make, args=(store,))
        process.start()
        process.join(wait_ms / 1000)
        process.kill()
        process.join()
        endings.append(process.exitcode)

        assert same(hits_of(store, "red mug"), expected)
        (store / "cache" / FILE_NAME).unlink()
    assert -signal.SIGKILL in endings
    assert verify(store).is_whole


def test_threads_share_words(opened: tuple[Words, dict[int, Product]]) -> None:
    words, _ = opened
    expected = words.hits("red mu")

    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda _: words.hits("red mu"), range(40)))

    assert all(same(each, expected) for each in answers)


def test_sqlite_without_fts5_is_named(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # What SQLite says of a module that it does not have, it says of FTS5 where that is left out.
    monkeypatch.setattr(module, "_SCHEMA", module._SCHEMA.replace("fts5", "fts_absent"))

    with pytest.raises(MissingExtraError, match="FTS5"):
        hits_of(store, "red")


# --- a catalogue that changes ---------------------------------------------------------------------


def tile(number: int, title: str) -> Product:
    return Product(f"sku-{number}", title, "tiles", attributes={"size": str(number % 3)})


@pytest.fixture
def server() -> MemoryServer:
    made = MemoryServer(colours.colour_bundle())
    rng = np.random.default_rng(3)
    for number in range(40):
        made.put(tile(number, f"Tile {WORDS[number % 3]}"), colours.fields(rng, side=64))
    made.publish()
    return made


def ids_with(store: Path, text: str) -> set[str]:
    with Reader.open(store) as reader, Words(reader) as words:
        keys = words.hits(text).product_keys.tolist()
        return {each.id for each in reader.products(keys).values()}


def test_words_follow_every_version(server: MemoryServer, tmp_path: Path) -> None:
    store = tmp_path / "store"
    install(store, server="memory", root=server.root, transport=server)
    assert "sku-1" in ids_with(store, "blue")
    file = store / "cache" / FILE_NAME
    first = file.read_bytes()

    server.put(tile(1, "Tile violet"))
    server.put(tile(50, "Tile violet"), colours.fields(np.random.default_rng(9), side=64))
    server.delete("sku-4")
    server.publish()
    with Lens.open(store) as lens:
        lens.sync(transport=server)

    assert ids_with(store, "violet") == {"sku-1", "sku-50"}
    assert not {"sku-1", "sku-4"} & ids_with(store, "blue")
    assert file.read_bytes() != first  # a twentieth of the products has changed

    server.put(Product("sku-2", "Tile grey", "tiles"))
    server.publish()
    second = file.read_bytes()
    with Lens.open(store) as lens:
        lens.sync(transport=server)
    assert ids_with(store, "grey") == {"sku-2"}
    assert file.read_bytes() == second  # one product has: it is taken in by whoever reads

    for number in range(30):
        server.put(tile(number, "Tile other"))
    server.publish()
    with Lens.open(store) as lens:
        lens.sync(transport=server)
    assert ids_with(store, "other") == {f"sku-{number}" for number in range(30) if number != 4} | {
        "sku-4"
    }


def test_a_lens_that_is_behind_has_the_words_of_its_version(
    server: MemoryServer, tmp_path: Path
) -> None:
    store = tmp_path / "store"
    install(store, server="memory", root=server.root, transport=server)
    with Reader.open(store) as behind:
        server.put(tile(1, "Tile violet"))
        server.publish()
        with Lens.open(store) as lens:
            lens.sync(transport=server)
        assert ids_with(store, "violet") == {"sku-1"}

        with Words(behind) as words:
            assert words.hits("violet").product_keys.tolist() == []
    assert ids_with(store, "violet") == {"sku-1"}

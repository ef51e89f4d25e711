"""Lens over real stores: what it answers, and its rules for threads, processes and closing."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import os
import shutil
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.making.colour_bundle import colour_bundle
from tests.making.delegates import compiled, invocations
from tests.making.open_files import open_files
from tests.making.shops import Shop, bare_description, make_shop, sealed_bundle, write_csv

from pocketlens import Embedder, Filter, Lens, PictureLimits, SearchOptions, Verdict, indexing
from pocketlens.errors import (
    AcceleratorRejected,
    BundleHashMismatch,
    PictureTooLarge,
    QueryError,
    StoreCorrupt,
    StoreError,
    StoreNotFound,
)
from pocketlens.formats.bundle import Calibration

TINY_BUNDLE = Path(__file__).resolve().parents[1] / "conformance" / "vectors" / "tiny_bundle.tflite"
NOON = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Shop:
    return make_shop(tmp_path_factory.mktemp("shop"), products=60, images_each=2)


@pytest.fixture(scope="module")
def store(shop: Shop, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return built(shop, tmp_path_factory.mktemp("stores") / "store")


def built(shop: Shop, out: Path) -> Path:
    indexing.index(shop.list, vectors=shop.vectors, model=shop.bundle, out=out, clock=lambda: NOON)
    return out


def ids(found: object) -> list[str]:
    return [match.product.id for match in found.matches]  # type: ignore[attr-defined]


def test_an_embedding_finds_its_own_product_and_image(shop: Shop, store: Path) -> None:
    with Lens.open(store) as lens:
        found = lens.search_vector(shop.embeddings[7], 3)

    best = found.matches[0]
    assert best.product.id == "sku-3"
    assert best.image.id == "pictures/00003-1.jpg"
    assert best.image.url == "https://shop.example/i/3-1.jpg"
    assert best.similarity == pytest.approx(1, abs=0.02)
    assert len(found.matches) == 3
    assert found.margin == pytest.approx(best.similarity - found.matches[1].similarity)


def test_every_answer_says_what_it_was_made_from(shop: Shop, store: Path) -> None:
    with Lens.open(str(store)) as lens:
        found = lens.search_vector(shop.embeddings[0])
        facts = lens.facts

    assert (found.generation, found.version, found.as_of) == (facts.generation, 1, NOON)
    assert found.gallery_size == found.matches_in_filter == 60
    assert found.accelerator == ""
    assert found.timings.decode_ms == found.timings.embed_ms == 0
    assert found.timings.search_ms > 0


def test_without_a_calibration_the_verdict_is_unsure(shop: Shop, store: Path) -> None:
    with Lens.open(store) as lens:
        found = lens.search_vector(shop.embeddings[0])

    assert (found.verdict, found.confidence, found.threshold) == (Verdict.UNSURE, None, None)


def test_verdict_comes_from_the_calibration_of_the_device(tmp_path: Path) -> None:
    shop = make_shop(tmp_path, products=30)
    for name, expected in (("device", Verdict.MATCH), ("photo", Verdict.UNSURE)):
        calibration = Calibration(name, -5, 10, 2, 0, match_threshold=0.9, no_match_threshold=0.2)
        description = bare_description(16)
        object.__setattr__(description, "calibrations", (calibration,))
        shop.bundle.write_bytes(sealed_bundle(description))
        with Lens.open(built(shop, tmp_path / name)) as lens:
            found = lens.search_vector(shop.embeddings[0])
            assert found.verdict is expected


def test_vector_of_any_length_above_zero_is_normalised(shop: Shop, store: Path) -> None:
    with Lens.open(store) as lens:
        once = lens.search_vector(shop.embeddings[5], 5)
        scaled = lens.search_vector((shop.embeddings[5] * 1e-9).tolist(), 5)

    assert ids(once) == ids(scaled)
    assert once.matches[0].similarity == pytest.approx(scaled.matches[0].similarity, abs=1e-5)


@pytest.mark.parametrize(
    "vector",
    [np.zeros(16), np.full(16, np.nan), np.full(16, np.inf), np.ones(15), np.ones((1, 16)), "shoe"],
    ids="zero nan infinite short matrix text".split(),
)
def test_vector_that_cannot_be_an_embedding_is_refused(vector: object, store: Path) -> None:
    with Lens.open(store) as lens:
        with pytest.raises(QueryError, match="Expected a vector"):
            lens.search_vector(vector)  # type: ignore[arg-type]
        assert lens.search_vector(np.ones(16)).matches  # the Lens goes on


@pytest.mark.parametrize("k", [0, -1])
def test_k_below_one_is_refused(k: int, shop: Shop, store: Path) -> None:
    with Lens.open(store) as lens, pytest.raises(QueryError, match=f"Received {k}"):
        lens.search_vector(shop.embeddings[0], k)


def test_k_beyond_the_catalogue_gives_all_there_is(shop: Shop, store: Path) -> None:
    with Lens.open(store) as lens:
        found = lens.search_vector(shop.embeddings[0], 10_000)

    shown = [*ids(found), *(each.id for match in found.matches for each in match.alternatives)]
    assert sorted(shown) == sorted(f"sku-{n}" for n in range(60))


def test_filter_narrows_matches_but_not_the_verdict(shop: Shop, store: Path) -> None:
    wanted = Filter(category="category 2", max_price=Decimal(40), in_stock=True)
    with Lens.open(store) as lens:
        free = lens.search_vector(shop.embeddings[0], 5)
        found = lens.search_vector(shop.embeddings[0], 50, filter=wanted)

    expected = {f"sku-{n}" for n in range(60) if n % 7 == 2 and n < 40 and n % 11 and n % 13}
    expected = {each for each in expected if int(each[4:]) % 5}
    shown = {*ids(found), *(each.id for m in found.matches for each in m.alternatives)}
    assert shown == expected
    assert found.matches_in_filter == len(expected)
    assert found.gallery_size == 60
    assert found.margin == free.margin
    assert found.best == free.best == free.matches[0]
    assert free.best_is_in_filter
    assert not found.best_is_in_filter  # sku-0, of category 0


def test_options_reach_the_search(shop: Shop, store: Path) -> None:
    with (
        pytest.raises(QueryError, match="probe"),
        Lens.open(store, options=SearchOptions(probes=0)) as lens,
    ):
        lens.search_vector(shop.embeddings[0])


# --- photos ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with five products of one picture each, and a store made of them."""
    folder = tmp_path_factory.mktemp("pictures")
    rng = np.random.default_rng(3)
    for number in range(5):
        product = folder / "list" / f"sku-{number}"
        product.mkdir(parents=True)
        pixels = rng.integers(0, 256, (4, 4, 3), dtype=np.uint8)
        Image.fromarray(pixels).resize((64, 64)).save(product / "front.png")
    (folder / "shop.tflite").write_bytes(colour_bundle())
    indexing.index(folder / "list", model=folder / "shop.tflite", out=folder / "store")
    return folder


def photo_of(pictures: Path, number: int) -> Path:
    return pictures / "list" / f"sku-{number}" / "front.png"


def test_a_photo_and_its_embedding_get_one_answer(pictures: Path) -> None:
    with Embedder.open(pictures / "shop.tflite") as embedder:
        embedding = embedder.embed(photo_of(pictures, 2))
    with Lens.open(pictures / "store") as lens:
        found = lens.search(photo_of(pictures, 2), 3)
        given = lens.search_vector(embedding, 3)

    assert found.matches == given.matches
    assert found.matches[0].product.id == "sku-2"
    assert (found.accelerator, given.accelerator) == ("cpu", "")
    assert found.timings.decode_ms > 0
    assert found.timings.embed_ms > 0


def test_limits_reach_the_picture(pictures: Path) -> None:
    limits = PictureLimits(encoded_bytes=100)
    with Lens.open(pictures / "store", limits=limits) as lens:
        with pytest.raises(PictureTooLarge):
            lens.search(photo_of(pictures, 0))
        assert lens.search(np.full((32, 32, 3), 200, np.uint8)).matches


def test_the_library_of_an_accelerator_reaches_the_embedder(shop: Shop, tmp_path: Path) -> None:
    library, out = compiled(tmp_path, "exact"), tmp_path / "store"
    indexing.index(shop.list, vectors=shop.vectors, model=TINY_BUNDLE, out=out)

    with Lens.open(out, accelerator="gpu", delegate=library) as lens:
        found = lens.search(np.full((32, 32, 3), 200, np.uint8))

    assert found.accelerator == "gpu"
    assert found.matches
    assert invocations(library) > 0


def test_absent_accelerator_is_refused_at_the_first_photo(pictures: Path) -> None:
    with Lens.open(pictures / "store", accelerator="nnapi") as lens:
        for _ in range(2):
            with pytest.raises(AcceleratorRejected):
                lens.search(photo_of(pictures, 0))
        assert lens.search_vector(np.ones(lens.facts.dim)).matches


def test_golden_checks_are_remembered_in_the_cache(pictures: Path, tmp_path: Path) -> None:
    store = shutil.copytree(pictures / "store", tmp_path / "store")
    for path in (store / "cache").iterdir():
        path.unlink()
    with Lens.open(store) as lens:
        lens.search(photo_of(pictures, 0))

    assert len(list((store / "cache").iterdir())) == 1


def test_photos_are_answered_after_the_store_was_made_anew(pictures: Path, tmp_path: Path) -> None:
    """The model loads with the first photo, when its file may be gone from the folder."""
    store = shutil.copytree(pictures / "store", tmp_path / "store")
    with Lens.open(store) as lens:
        shutil.rmtree(store)
        assert lens.search(photo_of(pictures, 1)).matches[0].product.id == "sku-1"


# --- opening --------------------------------------------------------------------------------


def test_folder_without_a_store_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(StoreNotFound, match="pocketlens index"):
        Lens.open(tmp_path)


def test_store_without_its_bundle_is_corrupt(store: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(store, tmp_path / "copy")
    next((copy / "files").iterdir()).unlink()

    with pytest.raises(StoreCorrupt, match=r"bundle .* cannot be read"):
        Lens.open(copy)


def test_bundle_that_was_changed_is_refused(shop: Shop, store: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(store, tmp_path / "copy")
    file = next((copy / "files").iterdir())
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)

    with Lens.open(copy) as lens, pytest.raises(BundleHashMismatch):
        lens.search_vector(shop.embeddings[0])


def test_error_of_opening_leaves_no_file_open(store: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(store, tmp_path / "copy")
    next((copy / "files").iterdir()).unlink()
    before = open_files()

    for _ in range(3):
        with pytest.raises(StoreCorrupt):
            Lens.open(copy)

    assert open_files() == before


# --- closing, forking, refreshing ----------------------------------------------------------


def test_closed_lens_refuses_and_says_what_to_do(shop: Shop, store: Path) -> None:
    lens = Lens.open(store)
    lens.close()
    lens.close()

    for call in (lambda: lens.search_vector(shop.embeddings[0]), lens.refresh, lambda: lens.facts):
        with pytest.raises(StoreError, match=r"closed.*Lens\.open"):
            call()


def test_closing_frees_every_file(shop: Shop, store: Path) -> None:
    before = open_files()

    for _ in range(3):
        with Lens.open(store) as lens:
            lens.search_vector(shop.embeddings[0])

    assert open_files() == before


def test_close_lets_running_searches_end(shop: Shop, store: Path) -> None:
    before = open_files()
    for _ in range(20):
        lens = Lens.open(store)
        expected = ids(lens.search_vector(shop.embeddings[0], 5))
        started = threading.Barrier(5)

        def work(lens: Lens = lens, started: threading.Barrier = started) -> list[list[str]]:
            found = []
            started.wait()
            while True:
                try:
                    found.append(ids(lens.search_vector(shop.embeddings[0], 5)))
                except StoreError:
                    return found

        with ThreadPoolExecutor(4) as pool:
            working = [pool.submit(work) for _ in range(4)]
            started.wait()
            lens.close()
            answers = [answer for each in working for answer in each.result(timeout=30)]
        assert all(answer == expected for answer in answers)
    assert open_files() == before


def test_threads_get_the_answers_that_one_thread_gets(shop: Shop, store: Path) -> None:
    with Lens.open(store) as lens:
        alone = [ids(lens.search_vector(each, 5)) for each in shop.embeddings]
    with Lens.open(store) as lens, ThreadPoolExecutor(8) as pool:
        together = list(pool.map(lambda each: ids(lens.search_vector(each, 5)), shop.embeddings))

    assert together == alone


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
@pytest.mark.skipif(sys.version_info >= (3, 12), reason="forking beside threads warns from 3.12 on")
def test_lens_of_the_parent_refuses_after_a_fork(shop: Shop, store: Path) -> None:
    with Lens.open(store) as lens:
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            text = "no error"
            try:
                lens.search_vector(shop.embeddings[0])
            except StoreError as exc:
                text = str(exc)
            lens.close()  # must leave the parent's files alone
            os.write(writing, text.encode())
            os._exit(0)
        os.waitpid(child, 0)
        os.close(writing)
        with os.fdopen(reading, "rb") as answer:
            said = answer.read().decode()
        assert "fork" in said
        assert f"Lens.open({str(store)!r})" in said
        assert lens.search_vector(shop.embeddings[0]).matches


def test_lens_keeps_its_install_until_it_is_refreshed(tmp_path: Path) -> None:
    old_shop = make_shop(tmp_path / "old", products=20)
    new_shop = make_shop(tmp_path / "new", products=30, seed=1)
    new_shop.bundle.write_bytes(sealed_bundle(bare_description(16, name="newer")))
    store = built(old_shop, tmp_path / "store")

    with Lens.open(store) as lens:
        before = lens.facts.generation
        built(new_shop, store)  # removes the files that the Lens has open
        kept = lens.search_vector(old_shop.embeddings[4])
        moved = lens.refresh()
        found = lens.search_vector(new_shop.embeddings[4])
        again = lens.refresh()
        name = lens.bundle.spec.name

    assert (kept.generation, kept.gallery_size) == (before, 20)
    assert (moved, again) == (True, False)
    assert found.generation != before
    assert found.gallery_size == 30
    assert found.matches[0].product.id == "sku-4"
    assert name == "newer"


def test_refresh_that_fails_leaves_the_lens_as_it_was(shop: Shop, tmp_path: Path) -> None:
    store = built(shop, tmp_path / "store")
    with Lens.open(store) as lens:
        (store / "CURRENT").write_bytes(b"nonsense\n")
        with pytest.raises(StoreCorrupt):
            lens.refresh()
        assert lens.search_vector(shop.embeddings[0]).matches


def test_searches_go_on_while_the_store_is_made_anew(tmp_path: Path) -> None:
    shop = make_shop(tmp_path / "shop", products=20)
    lines = shop.list.read_text().splitlines()
    rows = [dict(zip(lines[0].split(","), line.split(","), strict=True)) for line in lines[1:]]
    store = built(shop, tmp_path / "store")
    stop = threading.Event()

    def work() -> int:
        count = 0
        with Lens.open(store) as lens:
            while not stop.is_set():
                found = lens.search_vector(shop.embeddings[3], 1)
                assert found.matches[0].product.id == "sku-3"
                assert found.matches[0].product.title.endswith(f"of {found.as_of.minute}")
                lens.refresh()
                count += 1
        return count

    def remake(minute: int) -> None:
        retitled = [{**row, "title": f"edition of {minute}"} for row in rows]
        write_csv(shop.list, retitled)
        indexing.index(
            shop.list,
            vectors=shop.vectors,
            model=shop.bundle,
            out=store,
            clock=lambda: NOON.replace(minute=minute),
        )

    remake(0)
    with ThreadPoolExecutor(3) as pool:
        working = [pool.submit(work) for _ in range(3)]
        for minute in range(1, 9):
            remake(minute)
        stop.set()
        counts = [each.result(timeout=60) for each in working]
    assert all(count > 0 for count in counts)

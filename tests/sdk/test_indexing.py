"""`index`: pictures or vectors to a store; bad input is refused and harms nothing."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from tests.making.colour_bundle import colour_bundle, fields
from tests.making.embeddings import clustered
from tests.making.pictures import encoded
from tests.making.shops import Shop, bare_bundle, make_shop, product_row, write_csv

from pocketlens.errors import BundleError, CatalogError, ImageListError, StoreError
from pocketlens.formats import bundle as bundles
from pocketlens.indexing import IndexReport, index
from pocketlens.query import codes
from pocketlens.query.codebook import Codebook
from pocketlens.query.embedder import Embedder
from pocketlens.store.reader import Reader
from pocketlens.store.verification import verify


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    return make_shop(tmp_path / "shop", products=40)


def make(shop: Shop, out: Path, **others: Any) -> IndexReport:
    return index(shop.list, **{"vectors": shop.vectors, "model": shop.bundle, "out": out, **others})


def state(directory: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(directory)): path.read_bytes()
        for path in directory.rglob("*")
        if path.is_file()
    }


def test_vectors_make_a_whole_store(shop: Shop, tmp_path: Path) -> None:
    stages: list[tuple[str, int, int]] = []

    report = make(shop, tmp_path / "s", progress=lambda *step: stages.append(step))

    assert (report.images, report.products, report.lists) == (40, 40, 1)
    assert report.problems == ()
    assert verify(tmp_path / "s").is_whole
    assert [stage for stage, done, total in stages if done == total] == [
        "reading",
        "clustering",
        "encoding",
        "writing",
    ]
    assert not list((tmp_path / "s").rglob("*scratch*"))


def test_one_seed_gives_one_store(shop: Shop, tmp_path: Path) -> None:
    moment = datetime(2026, 1, 1, tzinfo=UTC)

    for name in ("one", "two"):
        make(shop, tmp_path / name, clock=lambda: moment)

    assert state(tmp_path / "one") == state(tmp_path / "two")


def test_vectors_are_normalised_in_any_float_type(shop: Shop, tmp_path: Path) -> None:
    lengths = np.linspace(0.1, 9, len(shop.embeddings))[:, None]
    np.save(shop.vectors, shop.embeddings.astype(np.float64) * lengths)
    make(shop, tmp_path / "long")
    np.save(shop.vectors, shop.embeddings.astype(np.float16))
    make(shop, tmp_path / "half")

    for name in ("long", "half"):
        with Reader.open(tmp_path / name) as reader:
            decoded = codes.decode(reader.read_list(0)[1], reader.facts.scale)
        assert ((decoded * shop.embeddings).sum(axis=1) > 0.99).all()


def test_scale_holds_the_bundles_own_embeddings_too(shop: Shop, tmp_path: Path) -> None:
    representative = bundles.decode(shop.bundle.read_bytes()).representative

    make(shop, tmp_path / "s")

    both = np.concatenate([shop.embeddings, representative])
    with Reader.open(tmp_path / "s") as reader:
        assert np.allclose(reader.facts.scale, 1.1 * np.abs(both).max(axis=0), rtol=1e-5)


def test_lines_repeat_images_and_products(tmp_path: Path) -> None:
    first, second = product_row(1), product_row(2)
    rows = [
        {**first, "title": "", "image_url": ""},
        second,
        second,  # an exact duplicate: its vector is passed over
        {**second, "image": first["image"]},  # one image of two products
        {**first, "title": "Mug", "image": "other.jpg"},
    ]
    shop = make_shop(tmp_path / "shop", products=5)
    write_csv(shop.list, rows)

    report = make(shop, tmp_path / "s")

    assert (report.images, report.products) == (3, 2)
    assert [problem.line for problem in report.problems] == [4]
    with Reader.open(tmp_path / "s") as reader:
        images = reader.images([1, 2, 3])
        assert [(image.id, keys) for image, keys in images.values()] == [
            (first["image"], (1, 2)),
            (second["image"], (2,)),
            ("other.jpg", (1,)),
        ]
        assert images[1][0].url == second["image_url"]
        assert reader.products([1])[1].title == "Mug"
        decoded = codes.decode(reader.read_list(0)[1], reader.facts.scale)
    assert ((decoded * shop.embeddings[[0, 1, 4]]).sum(axis=1) > 0.99).all()
    assert verify(tmp_path / "s").is_whole


def wrong_vectors(embeddings: npt.NDArray[np.float32]) -> dict[str, tuple[object, str]]:
    zero, infinite, short = embeddings.copy(), embeddings.copy(), embeddings[:, :-1]
    zero[7], infinite[9, 3] = 0, np.inf
    return {
        "a row less": (embeddings[:-1], r"\(40, 16\).*Received float32 \(39, 16\)"),
        "another dim": (short, r"Received float32 \(40, 15\)"),
        "one dimension": (embeddings[0], r"Received float32 \(16,\)"),
        "integers": (embeddings.astype(np.int32), "Received int32"),
        "column by column": (np.asfortranarray(embeddings), "column by column"),
        "a zero row": (zero, "row 7"),
        "an infinite number": (infinite, "row 9"),
        "text": (b"no numbers", "numpy.save"),
        "nothing": (b"", "numpy.save"),
    }


@pytest.mark.parametrize("case", wrong_vectors(np.ones((40, 16), np.float32)))
def test_wrong_vectors_are_refused_and_nothing_stays(shop: Shop, tmp_path: Path, case: str) -> None:
    vectors, what = wrong_vectors(shop.embeddings)[case]
    if isinstance(vectors, bytes):
        shop.vectors.write_bytes(vectors)
    else:
        np.save(shop.vectors, vectors)  # type: ignore[arg-type] # an array

    with pytest.raises(CatalogError, match=what):
        make(shop, tmp_path / "s")

    assert not (tmp_path / "s").exists()


def test_cut_and_pickled_vectors_are_refused(shop: Shop, tmp_path: Path) -> None:
    data = shop.vectors.read_bytes()
    shop.vectors.write_bytes(data[:-5])
    with pytest.raises(CatalogError, match="it was cut"):
        make(shop, tmp_path / "s")

    np.save(shop.vectors, np.array([{}], object), allow_pickle=True)
    with pytest.raises(CatalogError, match="Received object"):
        make(shop, tmp_path / "s")


def test_a_bad_list_harms_no_existing_store(shop: Shop, tmp_path: Path) -> None:
    make(shop, tmp_path / "s")
    before = state(tmp_path / "s")
    shop.list.write_text(shop.list.read_text().replace(",EUR,", ",euro,"))

    with pytest.raises(ImageListError, match=r"line .*currency"):
        make(shop, tmp_path / "s")

    assert state(tmp_path / "s") == before


@pytest.mark.parametrize("stage", ["reading", "clustering", "encoding", "writing"])
def test_ctrl_c_at_any_stage_leaves_the_old_store(shop: Shop, tmp_path: Path, stage: str) -> None:
    make(shop, tmp_path / "s")
    before = state(tmp_path / "s")
    shop.bundle.write_bytes(bare_bundle(16, name="another"))

    def interrupt(now: str, done: int, total: int) -> None:
        if now == stage and (now != "writing" or done == 0):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        make(shop, tmp_path / "s", progress=interrupt)

    assert state(tmp_path / "s") == before
    with pytest.raises(KeyboardInterrupt):
        make(shop, tmp_path / "new", progress=interrupt)
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("data", [None, b"", b"no model", b"\x1c\0\0\0TFL3"])
def test_what_is_no_bundle_is_refused(shop: Shop, tmp_path: Path, data: bytes | None) -> None:
    shop.bundle.unlink()
    if data is not None:
        shop.bundle.write_bytes(data)

    with pytest.raises(BundleError):
        make(shop, tmp_path / "s")

    assert not (tmp_path / "s").exists()


def test_a_folder_of_something_else_is_not_written_into(shop: Shop, tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="holds other things"):
        make(shop, shop.list.parent)


def test_more_images_get_lists_and_every_image_is_in_its_own(tmp_path: Path) -> None:
    n, dim = 20_500, 8
    embeddings = clustered(np.random.default_rng(3), n, dim)
    shop = make_shop(tmp_path / "shop", products=1, dim=dim)
    with shop.list.open("w") as file:
        file.write("image,product_id\n")
        file.writelines(f"{row}.jpg,p{row}\n" for row in range(n))
    np.save(shop.vectors, embeddings)

    report = make(shop, tmp_path / "s")

    assert report.lists == round(2 * n**0.5)
    assert report.probes_estimated
    assert 1 <= report.probes <= report.lists
    with Reader.open(tmp_path / "s") as reader:
        codebook = Codebook(reader.centroids(), index="exact")
        assert codebook.sha256 == reader.facts.codebook_sha256
        expected = codebook.assign(embeddings)
        seen = np.zeros(n + 1, int)
        for number in range(report.lists):
            keys, _ = reader.read_list(number)
            seen[keys] += 1
            assert (expected[keys.astype(int) - 1] == number).all()
        assert (seen[1:] == 1).all()


def test_photos_of_the_bundle_fit_the_probes(tmp_path: Path) -> None:
    n, dim = 20_500, 8
    shop = make_shop(tmp_path / "shop", products=1, dim=dim)
    shop.list.write_text("image,product_id\n" + "".join(f"{row}.jpg,p{row}\n" for row in range(n)))
    np.save(shop.vectors, clustered(np.random.default_rng(3), n, dim))
    queries = clustered(np.random.default_rng(4), 50, dim)
    shop.bundle.write_bytes(bare_bundle(dim, queries=queries))

    assert not make(shop, tmp_path / "s").probes_estimated


def picture_shop(folder: Path) -> tuple[Path, Path]:
    rng = np.random.default_rng(1)
    rows = []
    for number in range(6):
        (folder / f"{number}.png").write_bytes(encoded(_image(fields(rng)), "PNG"))
        rows.append({"image": f"{number}.png", "product_id": f"p{number}"})
    model = folder / "shop.tflite"
    model.write_bytes(colour_bundle())
    return write_csv(folder / "list.csv", rows), model


def test_pictures_are_embedded_by_the_bundle(tmp_path: Path) -> None:
    image_list, model = picture_shop(tmp_path)

    report = index(image_list, model=model, out=tmp_path / "s", accelerator="cpu")

    assert (report.images, report.products, report.problems) == (6, 6, ())
    with Embedder.open(model, accelerator="cpu") as embedder, Reader.open(tmp_path / "s") as reader:
        expected = embedder.embed_many([tmp_path / f"{number}.png" for number in range(6)])
        decoded = codes.decode(reader.read_list(0)[1], reader.facts.scale)
    assert ((decoded * expected).sum(axis=1) > 0.99).all()
    assert verify(tmp_path / "s").is_whole


def test_a_bad_picture_is_a_row_of_the_report(tmp_path: Path) -> None:
    image_list, model = picture_shop(tmp_path)
    (tmp_path / "1.png").write_bytes(b"no picture")
    (tmp_path / "4.png").unlink()
    with image_list.open("a") as file:
        file.write("1.png,p5\r\n")  # the bad picture again, of a good product

    report = index(image_list, model=model, out=tmp_path / "s", accelerator="cpu")

    assert (report.images, report.products) == (4, 4)
    assert sorted(problem.line for problem in report.problems) == [3, 6]
    assert "1.png" in " ".join(map(str, report.problems))
    with Reader.open(tmp_path / "s") as reader:
        assert [product.id for product in reader.products([1, 2, 3, 4]).values()] == [
            "p0",
            "p2",
            "p3",
            "p5",
        ]


def test_a_picture_in_which_the_model_sees_nothing_is_a_row_of_the_report(tmp_path: Path) -> None:
    image_list, model = picture_shop(tmp_path)
    blank = np.full((40, 40, 3), 255, np.uint8)
    (tmp_path / "3.png").write_bytes(encoded(_image(blank), "PNG"))

    report = index(image_list, model=model, out=tmp_path / "s", accelerator="cpu")

    assert (report.images, report.products) == (5, 5)
    assert [problem.line for problem in report.problems] == [5]
    assert "sees nothing" in str(report.problems[0])


def test_all_pictures_bad_is_an_error_that_shows_the_first(tmp_path: Path) -> None:
    image_list, model = picture_shop(tmp_path)
    for number in range(6):
        (tmp_path / f"{number}.png").write_bytes(b"no picture")

    with pytest.raises(ImageListError, match=r"No picture of it can be used.*line 2"):
        index(image_list, model=model, out=tmp_path / "s", accelerator="cpu")

    assert not (tmp_path / "s").exists()


def _image(pixels: npt.NDArray[np.uint8]) -> Any:
    from PIL import Image

    return Image.fromarray(pixels)

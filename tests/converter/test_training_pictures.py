"""Lists to pictures to learn from: whose they are, what is left out, what counts as one."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pocketlens.errors import TrainingError
from pocketlens_converter import training_pictures


def write_list(folder: Path, name: str, rows: list[tuple[str, str, int]]) -> Path:
    """A list of (file, product, grey level); files are written too."""
    for file, _, level in rows:
        Image.new("RGB", (40, 40), (level,) * 3).save(folder / file)
    lines = ["image,product_id,category", *(f"{f},{p},kind {level % 2}" for f, p, level in rows)]
    path = folder / f"{name}.csv"
    path.write_text("\n".join(lines) + "\n")
    return path


def test_the_first_of_two_lists_is_the_catalogue(tmp_path: Path) -> None:
    shown = write_list(tmp_path, "c", [("a.png", "a", 10), ("b.png", "b", 21)])
    photos = write_list(tmp_path, "p", [("a1.png", "a", 12), ("a2.png", "a", 14)])

    pictures = training_pictures.read([shown, photos], 32)

    assert [entry.slot for entry in pictures.entries] == [0, 1, -1, -1]
    assert pictures.catalogue == [[0], [1]]
    assert pictures.photos == [[2, 3], []]
    assert pictures.categories.tolist() == [0, 1]


def test_a_products_only_picture_is_its_catalogue_picture_in_any_list(tmp_path: Path) -> None:
    one = write_list(tmp_path, "one", [("a.png", "a", 10), ("b.png", "b", 20)])
    other = write_list(
        tmp_path, "two", [("c.png", "c", 30), ("d1.png", "d", 40), ("d2.png", "d", 50)]
    )

    pictures = training_pictures.read([one, other], 32)

    assert [entry.slot for entry in pictures.entries] == [0, 1, 2, -1, -1]


def test_products_whose_pictures_are_all_the_same_are_one(tmp_path: Path) -> None:
    shown = write_list(
        tmp_path, "c", [("a.png", "a", 10), ("copy.png", "b", 10), ("c.png", "c", 30)]
    )

    pictures = training_pictures.read([shown], 32)

    assert pictures.product_count == 2
    assert [entry.product for entry in pictures.entries] == [0, 0, 1]


def test_a_picture_saved_twice_in_other_qualities_is_one(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    patches = rng.integers(0, 256, (2, 6, 6, 3)).astype(np.uint8)
    same, other = (Image.fromarray(each).resize((96, 96)) for each in patches)
    same.save(tmp_path / "a.png")
    same.save(tmp_path / "b.jpg", quality=75)
    same.save(tmp_path / "c.jpg", quality=90)
    other.save(tmp_path / "d.png")
    rows = ["image,product_id", "a.png,a", "b.jpg,b", "c.jpg,c", "d.png,d"]
    (tmp_path / "c.csv").write_text("\n".join(rows) + "\n")

    pictures = training_pictures.read([tmp_path / "c.csv"], 96)

    assert [entry.product for entry in pictures.entries] == [0, 0, 0, 1]


def test_only_as_many_pictures_are_held_as_fit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    listed = write_list(tmp_path, "c", [(f"{n}.png", f"{n}", 20 * n) for n in range(6)])
    whole = training_pictures.read([listed], 32).squares(range(6), 32)
    monkeypatch.setattr(training_pictures, "MEMORY_BYTES", 2 * 3 * 32 * 32)

    pictures = training_pictures.read([listed], 32)

    assert len(pictures._squares) == 2
    np.testing.assert_array_equal(pictures.squares(range(6), 32), whole)


def test_a_picture_of_products_that_differ_elsewhere_is_left_out(tmp_path: Path) -> None:
    shown = write_list(
        tmp_path,
        "c",
        [("room.png", "a", 10), ("room2.png", "b", 10), ("a.png", "a", 30), ("b.png", "b", 50)],
    )

    pictures = training_pictures.read([shown], 32)

    assert [entry.path.name for entry in pictures.entries] == ["a.png", "b.png"]
    assert len(pictures.problems) == 2
    assert "room.png shows 2 products (a...). Left out." in pictures.problems[0]


def test_a_bad_picture_is_a_problem_and_not_the_end(tmp_path: Path) -> None:
    shown = write_list(tmp_path, "c", [(f"{n}.png", f"p{n}", 20 * n) for n in range(4)])
    (tmp_path / "2.png").write_bytes(b"no picture")

    pictures = training_pictures.read([shown], 32)

    assert len(pictures.entries) == 3
    assert len(pictures.problems) == 1
    assert "2.png" in pictures.problems[0]


def test_one_product_is_too_few(tmp_path: Path) -> None:
    shown = write_list(tmp_path, "c", [("a.png", "a", 10)])

    with pytest.raises(TrainingError, match="2 or more products"):
        training_pictures.read([shown], 32)


def test_what_is_left_out_is_drawn_no_more_but_a_last_photo_stays(tmp_path: Path) -> None:
    photos = write_list(
        tmp_path,
        "p",
        [("a1.png", "a", 10), ("a2.png", "a", 20), ("b1.png", "b", 30), ("b2.png", "b", 40)],
    )
    pictures = training_pictures.read([photos], 32)

    assert pictures.leave_out({0, 2, 3}) == {0, 3}

    assert pictures.photos == [[1], [2]]


def test_squares_are_the_same_kept_or_decoded_anew(tmp_path: Path) -> None:
    shown = write_list(tmp_path, "c", [("a.png", "a", 10), ("b.png", "b", 20)])
    pictures = training_pictures.read([shown], 32)
    kept = pictures.squares([1, 0], 16)

    pictures.keep({})

    np.testing.assert_array_equal(pictures.squares([1, 0], 16), kept)
    assert kept.shape == (2, 16, 16, 3)

"""Lines of any letters and length, in drawings."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import pytest
from PIL import Image, ImageChops, ImageDraw, ImageFont

from pocketlens.lettering import SYSTEM_FONTS, write

WIDTH, HEIGHT = 320, 24


def written(text: str, *, width: int = WIDTH, fonts: tuple[str, ...] = ()) -> Image.Image:
    paper = Image.new("RGB", (WIDTH, HEIGHT), "white")
    draw = ImageDraw.Draw(paper)
    write(draw, (2, 2), text, size=14, colour=(0, 0, 0), width=width, fonts=fonts)
    return paper


def right_edge(paper: Image.Image) -> int:
    box = ImageChops.invert(paper).getbbox()
    return 0 if box is None else box[2]


@pytest.mark.parametrize(
    ("text", "same"),
    [
        ("Crème brûlée", "Creme brulee"),
        ("two\nlines\t of it ", "two lines of it"),
        ("\N{CYRILLIC CAPITAL LETTER ZHE} (sku-1)", "? (sku-1)"),
        ("a\x00b", "a?b"),
    ],
    ids="accents lines alphabet control".split(),
)
def test_without_a_font_that_has_them_letters_are_spelled(text: str, same: str) -> None:
    assert written(text) == written(same)


def test_a_font_of_the_system_draws_what_ours_lacks() -> None:
    try:
        ImageFont.truetype("DejaVuSans.ttf")
    except OSError:
        pytest.skip("the system has no DejaVuSans.ttf")
    cup = "Чашка crème"

    drawn = written(cup, fonts=("absent.ttf", *SYSTEM_FONTS))

    assert drawn != written(cup)
    assert drawn != written("????? creme", fonts=SYSTEM_FONTS)


def test_letters_that_ours_has_look_the_same_on_every_system() -> None:
    assert written("A red mug", fonts=SYSTEM_FONTS) == written("A red mug")


@pytest.mark.parametrize(
    "text", ["W" * 40, "i" * 100_000, "no-space-" * 50, "\u202e" * 9 + "x" * 99]
)
def test_no_line_is_wider_than_it_may_be(text: str) -> None:
    narrow = right_edge(written(text, width=150))

    assert 100 < narrow <= 153


def test_what_fits_is_left_as_it_is() -> None:
    assert written("fits", width=40) == written("fits")
    assert written("", width=0) == Image.new("RGB", (WIDTH, HEIGHT), "white")

"""A survey as one page that needs no network: tables, with the pictures that they are about."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import io
from collections.abc import Sequence

from pocketlens.duplicates.found import Copy, Group
from pocketlens.errors import PictureError
from pocketlens.query import pictures as decoded
from pocketlens.report import pages
from pocketlens.report.survey import PoorPicture, Survey

MAX_ROWS = 20  # of a table, and rows of pictures; the JSON form has all
_MAX_COPIES = 8
_MOST_LETTERS = 120  # of a title or category: a phone shows them in a column
_SIDE = 96  # of a picture on the page, in pixels


def html(survey: Survey) -> str:
    """The page; pictures are shown where the survey was given a list of them."""
    facts = survey.facts
    sections = [
        _counts(survey),
        _categories(survey),
        *_poor_pictures(survey),
        _hubs(survey),
        *_duplicates(survey),
        _tables(survey),
    ]
    name = f"Catalogue {facts.catalogue}" if facts.catalogue else "Catalogue"
    return pages.page(f"{name}, version {facts.version}", sections)


def _counts(survey: Survey) -> str:
    facts = survey.facts
    rows = [
        ["products", f"{facts.products:,}"],
        ["images", f"{facts.images:,}"],
        ["products without an image", f"{survey.without_image:,}"],
        ["images without a product", f"{survey.without_product:,}"],
        ["products without a price", f"{survey.without_price:,}"],
        ["products out of stock", f"{survey.out_of_stock:,}"],
        ["categories", f"{sum(1 for each in survey.categories if each.name):,}"],
        ["as of", f"{facts.as_of:%Y-%m-%d %H:%M} UTC"],
    ]
    return pages.section("What is in it", pages.table(["", ""], rows))


def _categories(survey: Survey) -> str:
    rows = [
        [_short(each.name) or "(none)", f"{each.products:,}", f"{each.images:,}"]
        for each in survey.categories[:MAX_ROWS]
    ]
    alone = [
        [each.id, _short(each.title), _short(each.category)] for each in survey.alone[:MAX_ROWS]
    ]
    parts = [pages.table(["category", "products", "images"], rows)]
    parts += _more(len(survey.categories))
    if alone:
        parts += [
            pages.note(
                f"Alone in the category, so that nothing like it is found there: "
                f"{_counted(len(survey.alone), 'product')}."
            ),
            pages.table(["product", "title", "category"], alone),
            *_more(len(survey.alone)),
        ]
    return pages.section("Categories", *parts)


def _duplicates(survey: Survey) -> list[str]:
    found = survey.duplicates
    kinds = [
        (
            "Images that the model takes for one thing",
            found.same,
            f"Codes at a cosine of {found.cosine:.4g} or more: a search hardly tells them apart. "
            "Nearly the same things are here as well as pictures that are there twice.",
        )
    ]
    if found.pictures:
        kinds = [
            ("Pictures that are there twice", found.exact, "Byte by byte."),
            (
                "Pictures that are there twice, altered",
                found.near,
                "Saved anew, scaled, cropped, mirrored or tinted.",
            ),
            *kinds,
        ]
    return [_groups(title, groups, explained) for title, groups, explained in kinds]


def _groups(title: str, groups: Sequence[Group], explained: str) -> str:
    if not groups:
        return pages.section(title, pages.note("None were found."))
    images = sum(len(group.copies) for group in groups)
    parts = [pages.note(f"{_counted(len(groups), 'group')} of {images:,} images. {explained}")]
    for group in groups[:MAX_ROWS]:
        more = len(group.copies) - _MAX_COPIES
        text = f"{len(group.copies):,} images of {_counted(group.products, 'product')}"
        parts.append(pages.figures(text, [_figure(copy) for copy in group.copies[:_MAX_COPIES]]))
        if more > 0:
            parts.append(pages.note(f"and {more:,} more"))
    return pages.section(title, *parts, *_more(len(groups)))


def _poor_pictures(survey: Survey) -> list[str]:
    if not survey.duplicates.pictures:
        without = pages.note(
            "Without a list of its pictures nothing is known of them: a store has none."
        )
        return [pages.section("Pictures", without)]
    width, height = survey.input_size
    return [
        _poor(
            "Small pictures",
            survey.small,
            f"Enlarged to the {width} x {height} pixels that the model sees.",
        ),
        _poor("Blurred pictures", survey.blurred, "At the size that the model sees."),
        *_problems(survey),
    ]


def _poor(title: str, poor: Sequence[PoorPicture], explained: str) -> str:
    if not poor:
        return pages.section(title, pages.note("None were found."))
    shown = [
        _figure(each.copy, f"{each.width} x {each.height}, blur {each.blur:.2f}")
        for each in poor[:MAX_ROWS]
    ]
    says = pages.note(f"{_counted(len(poor), 'picture')}. {explained}")
    return pages.section(title, says, pages.figures("", shown), *_more(len(poor)))


def _problems(survey: Survey) -> list[str]:
    problems = survey.duplicates.problems
    if not problems:
        return []
    rows = [[str(each)] for each in problems[:MAX_ROWS]]
    return [pages.section("Left out", pages.table(["problem"], rows), *_more(len(problems)))]


def _hubs(survey: Survey) -> str:
    explained = pages.note(
        f"An image is among the ten nearest of ten others on average. {survey.never:.1%} are among "
        "those of none. An image that is everybody's neighbour is often a poor picture, or one of "
        "little but ground, and is found where something else should be."
    )
    shown = [_figure(each.copy, f"{each.times:,} times") for each in survey.hubs[:MAX_ROWS]]
    parts = [pages.figures("", shown)] if shown else [pages.note("None is that of 40 or more.")]
    return pages.section(
        "Images that are everybody's neighbour", explained, *parts, *_more(len(survey.hubs))
    )


def _tables(survey: Survey) -> str:
    images = max(survey.facts.images, 1)
    rows = [
        [name, f"{size:,}", f"{size / images:,.1f}"] for name, size in survey.table_bytes.items()
    ]
    total = sum(survey.table_bytes.values())
    rows.append(["all", f"{total:,}", f"{total / images:,.1f}"])
    parts = [pages.table(["table", "bytes", "an image"], rows)]
    if survey.is_estimated:
        parts.append(
            pages.note(
                "Estimated: the file's size, shared out by what the rows hold. SQLite is built "
                "here without the table that tells."
            )
        )
    return pages.section("Size of the tables", *parts)


def _counted(count: int, name: str) -> str:
    return f"{count:,} {name}" if count == 1 else f"{count:,} {name}s"


def _short(text: str) -> str:
    return text if len(text) <= _MOST_LETTERS else f"{text[:_MOST_LETTERS]}…"


def _more(count: int) -> list[str]:
    return [pages.note(f"The first {MAX_ROWS} of {count:,}.")] if count > MAX_ROWS else []


def _figure(copy: Copy, says: str = "") -> tuple[bytes | None, str]:
    """A picture as a small JPEG, None where there is none, and what is below it."""
    text = "\n".join(each for each in (", ".join(copy.product_ids) or copy.image.id, says) if each)
    if copy.path is None:
        return None, text
    try:
        picture = decoded.upright(copy.path, at_least=_SIDE)
    except PictureError:
        return None, text
    picture.thumbnail((_SIDE, _SIDE))
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=80)
    return file.getvalue(), text

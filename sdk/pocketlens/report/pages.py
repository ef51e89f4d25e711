"""HTML pages that need no network: tables and pictures in one file, readable in dark and light.

text = page("Receipt", [section("Size", table(["", "bytes"], [["bundle", "2,890,648"]]))])
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import base64
from collections.abc import Iterable, Sequence
from html import escape

_STYLE = """
:root { color-scheme: light dark; }
body { font: 16px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 62rem; padding: 0 1rem; }
h1 { font-size: 1.6rem; } h2 { font-size: 1.2rem; margin-top: 2.2rem; }
section { overflow-x: auto; }
table { border-collapse: collapse; margin: .8rem 0; }
th, td { padding: .25rem .8rem; text-align: right; border-bottom: 1px solid #8884; }
td { overflow-wrap: anywhere; min-width: 4.5rem; }
th:first-child, td:first-child { text-align: left; min-width: 9rem; }
@media (max-width: 30rem) { table { font-size: .88rem; }
th, td { padding: .25rem .4rem; } td:first-child { min-width: 6rem; } }
h1, td, figcaption { unicode-bidi: plaintext; }
tbody tr:hover { background: #8882; }
p.note { opacity: .75; max-width: 46rem; } p.bad { color: #b3261e; font-weight: 600; }
img { max-width: 100%; height: auto; background: #fff; }
.group { display: inline-block; vertical-align: top; margin-right: 1.6rem; }
.figures { display: flex; flex-wrap: wrap; gap: .6rem; margin: .4rem 0 1.2rem; }
figure { margin: 0; width: 6.5rem; } figcaption { font-size: .72rem; line-height: 1.3;
white-space: pre-line; overflow-wrap: anywhere; opacity: .8; }
h3 { font-size: 1rem; font-weight: 500; margin: 1rem 0 0; }
"""


def page(title: str, sections: Iterable[str]) -> str:
    """A whole page; the title is escaped, sections are as `section` makes them."""
    body = "\n".join(sections)
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n"
        f"<h1>{escape(title)}</h1>\n{body}\n</body>\n</html>\n"
    )


def section(title: str, *parts: str) -> str:
    """A heading and what is below it."""
    return f"<section>\n<h2>{escape(title)}</h2>\n" + "\n".join(parts) + "\n</section>"


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table of texts, its first column to the left, the others to the right."""
    head = "".join(f"<th>{escape(cell)}</th>" for cell in header)
    lines = "\n".join(
        "<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows
    )
    return f"<table>\n<thead><tr>{head}</tr></thead>\n<tbody>\n{lines}\n</tbody>\n</table>"


def note(text: str) -> str:
    """A paragraph of explanation."""
    return f'<p class="note">{escape(text)}</p>'


def warning(text: str) -> str:
    """A paragraph that must not be overlooked."""
    return f'<p class="bad">{escape(text)}</p>'


def picture(png: bytes, description: str) -> str:
    """A picture inside the page; `description` is for who cannot see it."""
    data = base64.b64encode(png).decode()
    return f'<p><img src="data:image/png;base64,{data}" alt="{escape(description)}"></p>'


def figures(title: str, shown: Iterable[tuple[bytes | None, str]]) -> str:
    """Small pictures in a row, under a title if there is one.

    Args:
        title: Above them, or "".
        shown: The JPEG of each, or None for its text alone, and what is below it.
    """
    cells = []
    for jpeg, says in shown:
        data = "" if jpeg is None else base64.b64encode(jpeg).decode()
        image = f'<img src="data:image/jpeg;base64,{data}" alt="">' if data else ""
        cells.append(f"<figure>{image}<figcaption>{escape(says)}</figcaption></figure>")
    heading = f"<h3>{escape(title)}</h3>\n" if title else ""
    shown_in_a_row = "\n".join(cells)
    return f'<div class="group">{heading}<div class="figures">{shown_in_a_row}</div></div>'

"""Groups of duplicates as one picture, to be looked through."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from collections.abc import Sequence

from pocketlens.duplicates.found import Duplicates, Group
from pocketlens.report import contact_sheets
from pocketlens.report.contact_sheets import Cell

# Of a kind, and of a group or of groups in one row: a sheet is 20 megapixels at most.
MAX_GROUPS, MAX_COPIES = 40, 8


def png(found: Duplicates) -> bytes:
    """The sheet: the first groups of each kind, and the first images of each group.

    Args:
        found: With pictures; images that have none are left out.
    """
    kinds = [
        ("The same bytes", found.exact),
        ("One picture, altered", found.near),
        (f"The same thing to the model: codes at {found.cosine:.4g} or nearer", found.same),
    ]
    return contact_sheets.png([(_heading(title, groups), _rows(groups)) for title, groups in kinds])


def _heading(title: str, groups: Sequence[Group]) -> str:
    shown = f", {MAX_GROUPS} are shown" if len(groups) > MAX_GROUPS else ""
    return f"{title} ({len(groups):,} {'group' if len(groups) == 1 else 'groups'}{shown})"


def _rows(groups: Sequence[Group]) -> list[list[Cell]]:
    """Groups one after the other, as many in a row as have room."""
    rows: list[list[Cell]] = []
    for cells in map(_cells, groups[:MAX_GROUPS]):
        if rows and len(rows[-1]) + len(cells) <= MAX_COPIES:
            rows[-1] += cells
        else:
            rows.append(cells)
    return [row for row in rows if row]


def _cells(group: Group) -> list[Cell]:
    shown = [copy for copy in group.copies if copy.path is not None][:MAX_COPIES]
    left_out = len(group.copies) - len(shown)
    return [
        Cell(
            copy.path,
            ", ".join(copy.product_ids)
            + (f"\nand {left_out:,} more" if left_out and number == len(shown) else ""),
            is_last=number == len(shown),
        )
        for number, copy in enumerate(shown, 1)
        if copy.path is not None
    ]

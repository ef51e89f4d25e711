"""Groups of duplicates as one picture, to be looked through."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from collections.abc import Sequence

from pocketlens.duplicates.found import Duplicates, Group
from pocketlens.report import contact_sheets
from pocketlens.report.contact_sheets import Cell

MAX_GROUPS, MAX_COPIES = 40, 8  # of a kind, and of a group: a sheet is 13 megapixels at most


def png(found: Duplicates) -> bytes:
    """The sheet: the first groups of each kind, and the first images of each group.

    Args:
        found: With pictures; images that have none are left out.
    """
    kinds = [
        ("The same bytes", found.exact),
        ("One picture, altered", found.near),
        (f"The same thing to the model: codes at {found.cosine:.2f} or nearer", found.same),
    ]
    return contact_sheets.png(
        [(_heading(title, groups), _rows(groups)) for title, groups in kinds if groups], columns=2
    )


def _heading(title: str, groups: Sequence[Group]) -> str:
    shown = f", {MAX_GROUPS} are shown" if len(groups) > MAX_GROUPS else ""
    return f"{title} ({len(groups):,} groups{shown})"


def _rows(groups: Sequence[Group]) -> list[list[Cell]]:
    rows = []
    for group in groups[:MAX_GROUPS]:
        shown = [copy for copy in group.copies if copy.path is not None][:MAX_COPIES]
        left_out = len(group.copies) - len(shown)
        names = [f"{', '.join(copy.product_ids)}\n" for copy in shown]
        if left_out and names:
            names[-1] += f"and {left_out:,} more"
        rows.append(
            [
                Cell(copy.path, name)
                for copy, name in zip(shown, names, strict=True)
                if copy.path is not None
            ]
        )
    return rows

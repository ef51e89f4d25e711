"""Links to groups: what is joined to what, however long the chain. Values in, values out."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Numbers = npt.NDArray[np.int64]


def joined(labels: Numbers, ones: Numbers, others: Numbers) -> Numbers:
    """Labels after linking rows; rows of one label are one group.

    A link costs as much however large the groups are, so that a flood of copies, each linked to a
    few, stays cheap.

    Args:
        labels: int64 (n,), of earlier links; `np.arange(n)` of none. A label is the lowest row of
            its group.
        ones: int64 (m,), a row that each link joins.
        others: int64 (m,), the other row.

    Returns:
        int64 (n,), the lowest row of each row's group.
    """
    labels = labels.copy()
    while True:
        apart = labels[ones] != labels[others]
        if not apart.any():
            return labels
        first, second = labels[ones[apart]], labels[others[apart]]
        np.minimum.at(labels, np.maximum(first, second), np.minimum(first, second))
        while not np.array_equal(labels, up := labels[labels]):
            labels = up


def equals(values: npt.NDArray[np.uint8], rows: Numbers) -> tuple[Numbers, Numbers]:
    """Links between rows whose values are equal, as many as there are rows.

    Args:
        values: uint8 (n, bytes).
        rows: int64 (n,), what each value is of.

    Returns:
        `rows`, and the row of the first equal value of each.
    """
    whole = np.ascontiguousarray(values).view(f"V{values.shape[1]}").ravel()
    _, first, number = np.unique(whole, return_index=True, return_inverse=True)
    return rows, rows[first[number.reshape(-1)]]


def members(labels: Numbers) -> list[Numbers]:
    """Rows of each group of two or more, ascending; larger groups first, equals by their first."""
    order = np.argsort(labels, kind="stable")
    bounds = np.flatnonzero(np.diff(labels[order])) + 1
    found = [rows for rows in np.split(order, bounds) if len(rows) > 1]
    return sorted(found, key=lambda rows: (-len(rows), int(rows[0])))

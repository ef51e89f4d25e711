"""While a store goes from version to version, every answer is one version's, whole.

The short form of benchmarks/faults/searching_while_syncing.py.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from pathlib import Path

from tests.making.courses import DELTA, INSTALL, SWAP, Course
from tests.making.searching import searched_while_syncing

SEARCHES, INSTALLS = 500, 5


def test_every_answer_is_one_versions_and_none_fails(scratch: Path) -> None:
    course = Course.make(
        scratch / "many installs", (INSTALL, *(SWAP, DELTA) * INSTALLS), products=30
    )

    told = searched_while_syncing(course, scratch / "searched", searches=SEARCHES // (2 * INSTALLS))

    assert told.errors == []
    assert told.wrong == []
    assert told.searches >= SEARCHES
    assert told.searches_elsewhere > 0

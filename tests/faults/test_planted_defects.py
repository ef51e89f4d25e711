"""The tests notice defects: some that are planted in a copy of the source, and noticed fast.

The short form of benchmarks/faults/planted_defects.py, which plants all of them.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import pytest
from tests.making.device_defects import DEVICE_DEFECTS
from tests.making.planting import ROOT, Sources
from tests.making.server_defects import SERVER_DEFECTS

DEFECTS = (*DEVICE_DEFECTS, *SERVER_DEFECTS)
# Each starts the tests anew, seconds; test_power_cuts.py and test_ingest_power_cuts.py plant more.
FAST = (
    "a stream may have a tail",
    "a model that no model key signed is believed",
    "two may write at once",
    "a method has no row",
    "a token is logged",
)


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Sources:
    return Sources(tmp_path_factory.mktemp("planted") / "sources")


@pytest.mark.parametrize("name", FAST)
def test_a_planted_defect_is_noticed(sources: Sources, name: str) -> None:
    (planted,) = [each for each in DEFECTS if each.name == name]

    assert sources.is_noticed(planted)


def test_every_defect_can_still_be_planted() -> None:
    for each in DEFECTS:
        source = (ROOT / each.defect.file).read_text()
        assert source.count(each.defect.text) == 1, f"the source has moved on: {each.name}"
        for test in each.tests:
            assert (ROOT / test.partition("::")[0]).is_file(), test
    assert len({each.name for each in DEFECTS}) == len(DEFECTS) >= 30
    assert {each.row for each in DEFECTS} >= set(range(23, 32))

"""Contents that lie, signed by the right keys: refused with nothing left behind, or harmless.

The short form; benchmarks/faults has the long one.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import random
from collections import Counter
from pathlib import Path

import pytest
from tests.making.hostile_contents import DIM, INSTALLED, REFUSED, HostileShop, Mutants
from tests.making.shops import make_shop

MUTANTS = 1_000


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    folder = tmp_path_factory.mktemp("shop")
    return make_shop(folder, products=4, dim=DIM).bundle.read_bytes()


@pytest.fixture
def shop(bundle: bytes, tmp_path: Path) -> HostileShop:
    return HostileShop(tmp_path / "shop", bundle)


@pytest.mark.parametrize("name", list(REFUSED))
def test_contents_that_lie_are_refused(shop: HostileShop, tmp_path: Path, name: str) -> None:
    found = shop.received(REFUSED[name], tmp_path / "device")

    assert found.said != "installed"
    assert found.written <= found.signed
    assert found.is_tidy
    assert found.is_whole  # there is no store
    assert shop.received(lambda contents: None, tmp_path / "again").said == "installed"


@pytest.mark.parametrize("name", list(INSTALLED))
def test_what_only_looks_dangerous_is_installed(
    shop: HostileShop, tmp_path: Path, name: str
) -> None:
    found = shop.received(INSTALLED[name], tmp_path / "device")

    assert found.said == "installed"
    assert found.is_tidy
    assert found.is_whole


def test_mutants_of_snapshots_and_deltas_are_refused_or_read(
    shop: HostileShop, tmp_path: Path
) -> None:
    made = Mutants(shop.contents(), tmp_path / "device", random.Random(34))

    outcomes = Counter(made.outcomes(MUTANTS))

    assert [each for each in outcomes if each.startswith("escaped")] == []
    assert outcomes["read"] > 20
    assert outcomes["StateMismatch"] > MUTANTS / 2
    assert made.left == []

"""Sizes of tables, where SQLite tells and where it does not."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from pathlib import Path

from tests.making.shops import make_shop

from pocketlens import index
from pocketlens.store import sizes


def test_estimate_shares_out_the_whole_file(tmp_path: Path) -> None:
    shop = make_shop(tmp_path / "shop", products=2_000)
    index(shop.list, vectors=shop.vectors, model=shop.bundle, out=tmp_path / "store")
    (database,) = (tmp_path / "store").glob("installs/*/store.sqlite")

    found = sizes.estimated_table_bytes(database.parent)

    assert abs(sum(found.values()) - database.stat().st_size) <= len(found)
    assert list(found.values()) == sorted(found.values(), reverse=True)
    assert found["trusted"] == 0
    told = sizes.table_bytes(database.parent)
    for name in ("products", "images", "list_chunks") if told else ():
        assert 0.5 < found[name] / told[name] < 1.6

"""`pocketlens info` and `verify`, and `doctor` where there is no store."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from tests.making.shops import make_shop

from pocketlens import index
from pocketlens.cli import main
from pocketlens.store.verification import verify


@pytest.fixture
def store(tmp_path: Path) -> Path:
    shop = make_shop(tmp_path / "shop", products=12)
    index(shop.list, vectors=shop.vectors, model=shop.bundle, out=tmp_path / "store")
    return tmp_path / "store"


def has_dbstat() -> bool:
    """Whether this SQLite tells sizes of tables: Keras brings one that does not."""
    with closing(sqlite3.connect(":memory:")) as connection:
        options = connection.execute("PRAGMA compile_options").fetchall()
    return ("ENABLE_DBSTAT_VTAB",) in options


def test_info_says_what_a_store_holds(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["info", str(store)]) == 0

    facts, _, tables = capsys.readouterr().out.partition("\n\n")
    said = dict(line.split(maxsplit=1) for line in facts.splitlines())
    assert said["images"] == said["products"] == "12"
    assert said["version"].startswith("1 as of 2")
    assert said["bundle"].startswith("bare (")
    assert said["calibration"].startswith("none")
    assert ("list_chunks" in tables) == has_dbstat()


def test_info_as_json_has_the_figures(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["info", str(store), "--json"]) == 0

    said = json.loads(capsys.readouterr().out)
    facts = verify(store).facts
    assert facts is not None
    assert (said["images"], said["products"], said["dim"], said["version"]) == (12, 12, 16, 1)
    assert said["generation"] == facts.generation
    assert said["state_hash"] == facts.state_hash.hex()
    assert said["bundle"]["sha256"] == facts.bundle_sha256.hex()
    assert said["bundle"]["calibrations"] == []
    assert len(said["scale"]) == 16
    assert sum(said["table_bytes"].values()) <= said["database_bytes"]
    assert (said["probes"], said["probes_estimated"]) == (1, False)


def test_info_calls_estimated_probes_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shop = make_shop(tmp_path / "shop", products=20_100)  # more than one list holds
    index(shop.list, vectors=shop.vectors, model=shop.bundle, out=tmp_path / "store")

    main(["info", str(tmp_path / "store")])

    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("probes")]
    assert lines[0].endswith(" (estimated)")


def test_verify_says_that_a_store_is_whole(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verify", str(store)]) == 0
    assert capsys.readouterr().out.startswith("whole: 12 images, 12 products, state hash ")
    assert main(["verify", str(store), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["is_whole"] is True


def test_verify_names_what_is_damaged(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (database,) = store.glob("installs/*/store.sqlite")
    with sqlite3.connect(database) as connection:
        connection.execute("UPDATE offers SET price = price + 1 WHERE product_key = 3")
    connection.close()

    assert main(["verify", str(store)]) == 1
    assert capsys.readouterr().out.startswith("damaged: ")
    assert main(["verify", str(store), "--json"]) == 1
    said = json.loads(capsys.readouterr().out)
    assert said["is_whole"] is False
    assert len(said["findings"]) >= 1


@pytest.mark.parametrize("command", ["info", "verify", "doctor", "search"])
def test_folder_without_a_store_is_named(
    command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    photos = ["photo.jpg"] if command == "search" else []

    assert main([command, str(tmp_path), *photos]) == 1

    printed = capsys.readouterr()
    assert f"There is no store in {tmp_path}" in printed.out + printed.err

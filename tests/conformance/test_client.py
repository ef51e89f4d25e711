"""The commands of CLIENT.md, asked of an executable as any binding would be.

CONFORMANCE_CLIENT names another executable than the Python SDK's client, and lets a binding's own
tests run these cases.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import json
import os
import shlex
import shutil
import sqlite3
import struct
import subprocess
import sys
import zlib
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from tests.conformance import case_answers
from tests.conformance.make_vectors import FOLDER, PATH
from tests.making.shops import make_shop

from pocketlens import indexing
from pocketlens.store import installs

HERE = Path(__file__).resolve().parent
TINY_BUNDLE = PATH.parent / "tiny_bundle.tflite"
GOLDEN: dict[str, Any] = json.loads(PATH.read_text())
CLIENT = shlex.split(os.environ.get("CONFORMANCE_CLIENT", "")) or [
    sys.executable,
    str(HERE / "clients" / "pocketlens_python.py"),
]
NUMBERS = range(len(GOLDEN["parts"]))


def ask(*arguments: str) -> tuple[int, str]:
    """Exit code and the one line of stdout; "" where there is none."""
    done = subprocess.run(
        [*CLIENT, *arguments], capture_output=True, text=True, timeout=60, check=False
    )
    if done.returncode:
        assert done.stdout == ""
        assert done.stderr.strip()
        return done.returncode, ""
    line, rest = done.stdout.split("\n", 1)
    assert rest == ""
    return 0, line


@pytest.fixture
def known_failures(request: pytest.FixtureRequest) -> None:
    """Lets a case fail that the client lists, with a reason."""
    path = HERE / "clients" / f"{Path(CLIENT[-1]).stem}.xfails"
    for line in path.read_text().splitlines() if path.exists() else []:
        name, _, reason = line.partition(" ")
        if name == request.node.name:
            request.applymarker(pytest.mark.xfail(reason=reason, strict=True))


pytestmark = pytest.mark.usefixtures("known_failures")


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    shop = make_shop(tmp_path_factory.mktemp("shop"), products=20)
    directory = shop.list.parent / "store"
    indexing.index(shop.list, vectors=shop.vectors, model=shop.bundle, out=directory)
    return directory


@pytest.mark.parametrize("number", NUMBERS)
def test_decode_part(number: int) -> None:
    golden = GOLDEN["parts"][number]

    code, line = ask("decode-part", golden["bytes"])

    assert code == 0
    assert json.loads(line) == {"kind": golden["kind"], "fields": golden["fields"]}


@pytest.mark.parametrize("number", NUMBERS)
def test_encode_part(number: int) -> None:
    golden = GOLDEN["parts"][number]
    asked = json.dumps({"kind": golden["kind"], "fields": golden["fields"]})

    assert ask("encode-part", asked) == (0, golden["bytes"])


@pytest.mark.parametrize("number", range(len(GOLDEN["refused"])))
def test_decode_part_refuses_what_is_not_canonical(number: int) -> None:
    assert ask("decode-part", GOLDEN["refused"][number])[0] == 1


def test_encode_part_refuses_a_field_that_cannot_be() -> None:
    fields = {"key": 5, "price_minor_units": -7, "currency": "EUR", "stock": 1}

    assert ask("encode-part", json.dumps({"kind": "offer", "fields": fields}))[0] == 1


@pytest.mark.parametrize("number", range(len(GOLDEN["states"])))
def test_state_hash(number: int) -> None:
    golden = GOLDEN["states"][number]
    parts = [GOLDEN["parts"][part]["bytes"] for part in golden["parts"]]

    assert ask("state-hash", json.dumps(golden | {"parts": parts})) == (0, golden["state_hash"])


def test_bundle() -> None:
    code, line = ask("bundle", str(TINY_BUNDLE))

    assert code == 0
    assert json.loads(line) == {"name": "shop", "height": 32, "width": 32, "dim": 16}


@pytest.mark.parametrize("where", [0.0, 0.3, 0.999])
def test_bundle_refuses_a_changed_bit(where: float, tmp_path: Path) -> None:
    data = bytearray(TINY_BUNDLE.read_bytes())
    data[int(where * len(data))] ^= 1
    changed = tmp_path / "changed.tflite"
    changed.write_bytes(data)

    assert ask("bundle", str(changed))[0] == 1


def test_store(store: Path) -> None:
    code, line = ask("store", str(store))

    answer = json.loads(line)
    assert code == 0
    assert (answer["images"], answer["products"]) == (20, 20)
    with closing(sqlite3.connect(installs.current(store) / "store.sqlite")) as connection:
        facts = dict(connection.execute("SELECT name, value FROM facts"))
    assert answer["state_hash"] == facts["state_hash"].hex()


def test_store_refuses_a_missing_one(tmp_path: Path) -> None:
    assert ask("store", str(tmp_path / "none"))[0] == 1


def test_store_refuses_a_changed_row(store: Path, tmp_path: Path) -> None:
    changed = _copy(store, tmp_path)
    with closing(sqlite3.connect(changed)) as connection, connection:
        connection.execute("UPDATE offers SET stock = stock + 1 WHERE rowid = 3")

    assert ask("store", str(tmp_path / "store"))[0] == 1


def test_store_of_a_newer_format_is_named_as_such(store: Path, tmp_path: Path) -> None:
    newer = _copy(store, tmp_path)
    with closing(sqlite3.connect(newer)) as connection, connection:
        connection.execute("PRAGMA user_version = 99")
        value = struct.pack("<q", 99)
        row = value, zlib.crc32(b"format\0" + value)
        connection.execute("UPDATE facts SET value = ?, checksum = ? WHERE name = 'format'", row)

    assert ask("store", str(tmp_path / "store"))[0] == 3


def test_store_whose_number_of_the_format_rotted_is_damaged(store: Path, tmp_path: Path) -> None:
    rotten = _copy(store, tmp_path)
    with closing(sqlite3.connect(rotten)) as connection, connection:
        connection.execute("PRAGMA user_version = 99")

    assert ask("store", str(tmp_path / "store"))[0] == 1


@pytest.mark.parametrize("command", case_answers.COMMANDS)
def test_cases(command: str) -> None:
    code, line = ask(command, str(FOLDER / case_answers.COMMANDS[command]))

    assert code == 0
    case_answers.check(command, json.loads(line))


def test_unknown_commands_exit_with_two() -> None:
    assert ask("dance", "now")[0] == 2


def _copy(store: Path, folder: Path) -> Path:
    shutil.copytree(store, folder / "store")
    return installs.current(folder / "store") / "store.sqlite"

"""`pocketlens-server validate`, as an operator types it."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from tests.making.vision_files import row, vision_csv, written

from pocketlens.cli import output, programs
from pocketlens_server.cli import validate


def run(*arguments: object) -> int:
    app = programs.program("pocketlens-server", "Publish.", example="validate LIST")
    app.command("other")(lambda: None)  # a program of one command has no name for it
    validate.register(app)
    return output.run(app, ["validate", *map(str, arguments)])


def test_a_good_list_exits_with_0(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = vision_csv(tmp_path, products=2, rng=np.random.default_rng(0))

    assert run(path, "--pictures", tmp_path / "pictures") == 0

    out, talk = capsys.readouterr()
    assert out == "4 images of 2 products: 0 refused, 0 notices\n"
    assert "checking: 4 of 4" in talk


def test_notices_alone_exit_with_0(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = vision_csv(tmp_path, products=1, rng=np.random.default_rng(0))
    path.write_bytes(path.read_bytes() * 2)

    assert run(path, "--pictures", tmp_path / "pictures") == 0
    assert "0 refused, 3 notices" in capsys.readouterr().out


def test_what_is_refused_is_a_table_and_exits_with_1(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [row(f"gs://b/{number}.jpg", product_id=f"p{number}") for number in range(30)]
    path = written(tmp_path / "products.csv", [*rows, row(labels="tan")])

    assert run(path) == 1

    out, talk = capsys.readouterr()
    lines = out.splitlines()
    assert lines[0].split() == ["line", "column", "what"]
    assert lines[1].split()[:4] == ["1", "image-uri", "refused", "no"]
    assert len(lines) == 1 + 20 + 1
    assert lines[-1] == "30 images of 30 products: 31 refused, 30 notices"
    assert "... and 41 more (--json lists them all)" in talk


def test_json_has_everything(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [row(f"gs://b/{number}.jpg") for number in range(30)]
    path = written(tmp_path / "products.csv", [*rows, row(labels="tan")])

    assert run(path, "--json") == 1

    told = json.loads(capsys.readouterr().out)
    assert (told["products"], told["images"], len(told["refused"])) == (1, 30, 31)
    assert told["refused"][-1] == {
        "line": 31,
        "column": "labels",
        "what": "Expected labels such as color=black,style=formal. Received 'tan'.",
    }
    assert told["notices"] == [
        {"line": None, "column": None, "what": "product 'p' has no picture that can be used"}
    ]


def test_wrong_usage_exits_with_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(tmp_path / "x.csv", "--pictures", tmp_path / "absent") == 2
    assert "Expected a folder" in capsys.readouterr().err
    assert run(tmp_path / "absent.csv") == 1
    assert "There is no such file or folder." in capsys.readouterr().out

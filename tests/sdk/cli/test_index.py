"""`pocketlens index`: what it prints, and that Ctrl-C leaves nothing behind."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from tests.making.shops import Shop, make_shop, product_row, write_csv

from pocketlens.cli import main


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    return make_shop(tmp_path / "shop", products=12)


def arguments(shop: Shop, out: Path) -> list[str]:
    given = ["index", str(shop.list), "--model", str(shop.bundle)]
    return [*given, "--vectors", str(shop.vectors), "--out", str(out)]


def test_index_says_what_it_made(
    shop: Shop, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments(shop, tmp_path / "store")) == 0

    printed = capsys.readouterr()
    assert printed.out.startswith(f"12 images of 12 products in {tmp_path / 'store'} (")
    assert len(printed.out.splitlines()) == 1
    assert "encoding: 12 of 12" in printed.err  # plain lines: this is no terminal


def test_problems_are_told_and_the_rest_is_taken(
    shop: Shop, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [{**product_row(number), "colour": "red"} for number in range(12)]
    write_csv(shop.list, rows)

    assert main(arguments(shop, tmp_path / "store")) == 0

    printed = capsys.readouterr()
    assert "problem: line 1, column 'colour': an unknown column; ignored" in printed.err
    assert "1 problems" in printed.out


def test_json_is_the_whole_report(
    shop: Shop, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*arguments(shop, tmp_path / "store"), "--json"]) == 0

    report = json.loads(capsys.readouterr().out)
    assert (report["images"], report["products"], report["problems"]) == (12, 12, [])
    assert (report["lists"], report["probes"]) == (1, 1)
    assert len(report["generation"]) == 64
    assert report["directory"] == str(tmp_path / "store")


def test_vectors_that_do_not_fit_are_refused(
    shop: Shop, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    np.save(shop.vectors, shop.embeddings[:5])

    code = main(arguments(shop, tmp_path / "store"))

    printed = capsys.readouterr()
    assert code == 1
    assert printed.out == ""
    assert printed.err.splitlines()[-1].startswith("error: ")
    assert not (tmp_path / "store").exists()


def test_what_is_needed_is_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["index", "list.csv"]) == 2

    assert "--model" in capsys.readouterr().err


@pytest.mark.skipif(os.name == "nt", reason="no SIGINT to send")
def test_interrupted_index_leaves_the_old_store_and_nothing_else(tmp_path: Path) -> None:
    shop = make_shop(tmp_path / "small", products=12)
    large = make_shop(tmp_path / "large", products=30_000)
    store = tmp_path / "store"
    assert main(arguments(shop, store)) == 0
    before = sorted(path.relative_to(store) for path in store.rglob("*"))
    run = "import sys; from pocketlens.cli import main; sys.exit(main(sys.argv[1:]))"

    for out in (store, tmp_path / "new"):
        process = subprocess.Popen(
            [sys.executable, "-c", run, *arguments(large, out)], stderr=subprocess.PIPE, text=True
        )
        assert process.stderr is not None
        for line in process.stderr:
            if line.startswith("clustering"):
                break
        process.send_signal(signal.SIGINT)
        process.stderr.read()
        process.stderr.close()
        assert process.wait(timeout=60) == 130

    assert sorted(path.relative_to(store) for path in store.rglob("*")) == before
    assert not (tmp_path / "new").exists()
    assert main(["verify", str(store)]) == 0

"""Questions over HTTP as they are typed: `serve`, and the curl of docs/rest.md."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import json
import re
import shutil
import signal
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest
from tests.making.asking import Asker
from tests.making.serving import serving
from tests.making.tiles import TileShop, tile

from pocketlens_server.callers import Scope
from pocketlens_server.config import Listen, ServerConfig
from pocketlens_server.folders import ServerFolder
from pocketlens_server.tokens import Tokens

ROOT = Path(__file__).resolve().parents[2]


def typed() -> list[str]:
    """The commands of the section, each in one line."""
    page = (ROOT / "docs" / "rest.md").read_text("utf-8")
    section = page.partition("## With curl\n")[2].partition("\n## ")[0].replace("\\\n", "")
    lines = [" ".join(line.split()) for line in section.splitlines() if line.startswith("    ")]
    return [line for line in lines if line.startswith(("curl", "TOKEN"))]


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed: apt install curl")
def test_every_command_is_answered(tmp_path: Path) -> None:
    shop = TileShop(tmp_path / "shop", dict.fromkeys(range(60), 1), now=datetime.now(UTC))
    shop.publish()
    (tmp_path / "runs").mkdir()
    (tmp_path / "photo.jpg").write_bytes(tile(7))
    folder = ServerFolder(shop.folder / "server")
    with Tokens(folder) as tokens:
        tokens.make([Scope.QUERY], now=shop.now, into=tmp_path / "runs" / "query.token")
    set_token, *commands = typed()
    assert len(commands) == 5

    answers = []
    config = ServerConfig(listen=Listen(rest_port=0))
    with serving(folder.path, config, asks_tokens=True) as address:
        for command in commands:
            here = command.replace(":8090/", f":{address.web_port}/").replace("books-053", "sku-7")
            done = subprocess.run(
                ["bash", "-c", f"{set_token}\n{here} --silent --show-error --fail-with-body"],
                cwd=tmp_path,
                capture_output=True,
                text=True,
                timeout=60,
            )
            assert done.returncode == 0, done
            answers.append(json.loads(done.stdout))

    photo, form, price, facts, similar = answers
    assert photo["best"]["product"]["id"] == "sku-7"
    assert len(photo["matches"]) == len(form["matches"]) == 3
    assert (price["band"], price["items"]) == (None, [])  # the shop has no prices
    assert facts["products"] == 60
    assert len(similar["matches"]) == 2


def test_the_answers_that_the_page_tells_of_are_those_that_there_are() -> None:
    page = (ROOT / "docs" / "rest.md").read_text("utf-8")
    document = json.loads((ROOT / "docs" / "openapi.json").read_text())

    told = {
        path.replace("NAME", "{name}").replace("ID", "{id}")
        for path in re.findall(r"`(?:GET|POST) (/v1/[^`]+)`", page)
    }

    assert told == document["paths"].keys() - {"/v1/openapi.json"}


def test_serve_says_where_the_page_is(tmp_path: Path) -> None:
    shop = TileShop(tmp_path / "shop", {1: 1}, now=datetime.now(UTC))
    program = "import sys; from pocketlens_server.cli import main; sys.exit(main())"
    options = ["--data", str(shop.folder / "server"), "--port", "0", "--rest-port", "0", "--page"]

    with subprocess.Popen(
        [sys.executable, "-c", program, "serve", *options], stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stderr is not None
        try:
            said = [process.stderr.readline() for _ in range(3)]
            rest, page, serving_on = said
            port = int(page.rpartition(":")[2].strip().strip("/"))
            opened = Asker(port).get("/")
        finally:
            process.send_signal(signal.SIGTERM)
            process.stderr.read()

    assert re.fullmatch(r"questions over HTTP on http://127\.0\.0\.1:\d+/v1\n", rest), said
    assert re.fullmatch(r"a page to search on: http://127\.0\.0\.1:\d+/\n", page), said
    assert serving_on.startswith("serving "), said
    assert b"<title>PocketLens</title>" in opened.data
    assert process.returncode == 0

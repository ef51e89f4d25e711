"""The page as a shopper has it: a real Chromium on the real server, over a shop of drawn products.

What it promises is in page.test.mjs. Needs Node, npm's playwright-core, and a Chromium; where one
of them is missing, nothing is tried.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import io
import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.making.colour_bundle import CALIBRATION, colour_bundle, described_as, fields
from tests.making.serving import ONE_CLIENT, serving

from pocketlens import image_lists
from pocketlens.formats import bundle as bundles
from pocketlens.testing import ShopSize, make_sample_shop
from pocketlens_server.cli import main as pocketlens_server
from pocketlens_server.config import Listen, ServerConfig
from pocketlens_server.web.page_files import FOLDER

HERE = Path(__file__).resolve().parent
NAMES = ("chromium", "chromium-browser", "google-chrome")
NO_NETWORK = re.compile(
    r"code (ENOTFOUND|EAI_AGAIN|ECONN\w+|ENETUNREACH|EHOSTUNREACH|ETIMEDOUT|ERR_SOCKET_TIMEOUT)\b"
)
INSTALL_SECONDS = 120
TEST_SECONDS = 300
MOST_BYTES = 64_000  # of the page in all, before any compression
SIZE = ShopSize(16, 0, 0, 0, 0, 0, 0, 0)
WIDE = 2000  # more pixels a side than are sent
UPSIDE_DOWN, ORIENTATION, DESCRIPTION = 3, 0x0112, 0x010E  # of EXIF
SECRET = "the garden gate"  # noqa: S105 # of no server


@pytest.fixture(scope="module")
def chromium() -> str:
    if os.environ.get("POCKETLENS_BROWSER") != "1":
        pytest.skip("a browser needs the cores to itself, some minutes: make page")
    for name in NAMES:
        if (found := shutil.which(name)) is not None:
            return found
    pytest.skip(f"a browser is needed to try the page, and none was found: {', '.join(NAMES)}")


@pytest.fixture(scope="module")
def program(chromium: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """This folder with its modules; skips where there is no Node, or no network to get them."""
    for tool in ("node", "npm"):
        if shutil.which(tool) is None:
            pytest.skip(f"{tool} is needed to try the page, and was not found")
    folder = tmp_path_factory.mktemp("driver") / "web_page"
    shutil.copytree(HERE, folder, ignore=shutil.ignore_patterns("node_modules", "__pycache__"))
    install = "npm ci --ignore-scripts --prefer-offline --fetch-retries=1 --no-audit --no-fund"
    try:
        done = subprocess.run(
            install.split(),
            cwd=folder,
            capture_output=True,
            text=True,
            check=False,
            timeout=INSTALL_SECONDS,
        )
    except subprocess.TimeoutExpired:  # a network that swallows everything
        pytest.skip(f"npm has not got playwright-core in {INSTALL_SECONDS} s")
    if done.returncode and (found := NO_NETWORK.search(done.stderr)):
        pytest.skip(f"npm cannot reach playwright-core: {found[1]}")
    assert done.returncode == 0, done.stderr
    return folder / "page.test.mjs"


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a server of the sample shop, photos, and `shop.json`, which tells of them."""
    folder = tmp_path_factory.mktemp("page")
    drawn = make_sample_shop(folder / "shop", seed=7, size=SIZE)
    (folder / "shop.tflite").write_bytes(bundle())
    data = ["--data", str(folder / "server")]
    run("init", str(folder / "server"))
    run("model", "add", str(folder / "shop.tflite"), *data)
    run("push", str(drawn.catalog), *data)
    run("publish", *data)

    products = image_lists.read(drawn.catalog).products
    pictures = {each.product_ids[0]: each.path for each in image_lists.read(drawn.catalog).entries}
    first, *_, last = products.values()
    others = [each.category for each in products.values() if each.category != first.category]
    facts = {
        "product": first.title,
        "category": first.category,
        "otherCategory": others[0],
        "otherProduct": last.title,
        "products": len(products),
        "stocks": {each.title: each.stock for each in products.values()},
        "secret": SECRET,
    }
    (folder / "shop.json").write_text(json.dumps(facts))
    take_photos(folder / "photos", pictures[first.id], pictures[last.id])
    return folder


@pytest.fixture(scope="module")
def address(shop: Path) -> Iterator[str]:
    config = ServerConfig(listen=Listen(rest_port=0, page=True), limits=ONE_CLIENT)
    with serving(shop / "server", config, asks_tokens=True) as found:
        yield f"http://127.0.0.1:{found.web_port}"


def test_a_shopper_can_use_the_page(program: Path, chromium: str, shop: Path, address: str) -> None:
    env = {**os.environ, "PAGE": address, "CHROMIUM": chromium, "SHOP": str(shop)}

    done = subprocess.run(
        ["node", "--test", "--test-reporter=spec", program],
        cwd=program.parent,
        env=env,
        capture_output=True,
        text=True,
        check=False,
        timeout=TEST_SECONDS,
    )

    assert done.returncode == 0, done.stdout + done.stderr


def test_the_page_is_small() -> None:
    assert sum(each.stat().st_size for each in FOLDER.iterdir()) <= MOST_BYTES


def test_the_page_names_no_other_host() -> None:
    known = {"http://www.w3.org/2000/svg"}  # a name, which nobody fetches
    text = "".join(each.read_text() for each in FOLDER.iterdir())

    assert set(re.findall(r"(?:https?:)?//[\w.-]+\.\w[\w./-]*", text)) <= known


def test_every_text_of_the_page_is_in_one_place() -> None:
    """Between tags of index.html stands nothing, but the name and what is read without a script."""
    body = (FOLDER / "index.html").read_text().partition("<body>")[2]
    shown = [each.strip() for each in re.findall(r">([^<>]+)<", body)]

    assert [each for each in shown if each] == [
        "PocketLens",
        "This page needs JavaScript.",
        "\N{LEFTWARDS ARROW}",
    ]
    named = set(re.findall(r'data-text="(\w+)"', body))
    fixed = (FOLDER / "texts.js").read_text().partition("FIXED = {")[2].partition("\n};")[0]
    assert named <= set(re.findall(r"^  (\w+):", fixed, re.MULTILINE))


def bundle() -> bytes:
    """The bundle of colours, which knows what the server's answers are worth too."""
    data = colour_bundle()
    known = bundles.decode(data)
    calibrations = (*known.calibrations, replace(CALIBRATION, name="embedding"))
    return described_as(data, replace(known, calibrations=calibrations))


def take_photos(folder: Path, one: Path, other: Path) -> None:
    """Photos of one product, of two, of what the shop has not, of nothing, and what is no photo."""
    folder.mkdir()
    with Image.open(one) as opened:
        picture = opened.convert("RGB")
    large = picture.resize((WIDE, WIDE), Image.Resampling.LANCZOS)
    exif = Image.Exif()
    exif[ORIENTATION], exif[DESCRIPTION] = UPSIDE_DOWN, SECRET
    large.rotate(180).save(folder / "known.jpg", quality=92, exif=exif)
    with Image.open(other) as opened:
        beside = opened.convert("RGB").resize((600, 600))
    both = Image.new("RGB", (1600, 1200), "white")
    both.paste(picture.resize((600, 600)), (0, 0))
    both.paste(beside, (1000, 600))
    both.save(folder / "two.jpg", quality=92)
    strange = fields(np.random.default_rng(11), side=320)
    Image.fromarray(strange).save(folder / "strange.png")
    Image.new("RGB", (800, 600), "sienna").save(folder / "blank.jpg")
    (folder / "damaged.jpg").write_bytes((folder / "known.jpg").read_bytes()[:300])
    (folder / "notes.txt").write_text("milk, bread")


def run(*command: str) -> None:
    said = io.StringIO()
    with redirect_stdout(said), redirect_stderr(said):
        assert pocketlens_server(command) == 0, said.getvalue()

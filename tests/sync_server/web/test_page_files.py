"""The page: what it comes with, what its cookie opens, and for whom."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from http.cookies import SimpleCookie
from pathlib import Path

import pytest
from hatchling.builders.wheel import WheelBuilder
from tests.making.asking import Answer, Asker
from tests.making.serving import ONE_CLIENT, Address, serving
from tests.making.tiles import TileShop, tile

from pocketlens.errors import ServerError
from pocketlens_server.config import Listen, ServerConfig
from pocketlens_server.web.page_files import FOLDER, PageFiles
from pocketlens_server.web.visitors import Visitors

ROOT = Path(__file__).resolve().parents[3]
SEARCH = "/v1/catalogs/main/search"
CONFIG = ServerConfig(listen=Listen(rest_port=0, page=True), limits=ONE_CLIENT)
OWN = {"Sec-Fetch-Site": "same-origin"}


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> TileShop:
    made = TileShop(
        tmp_path_factory.mktemp("shop"), dict.fromkeys(range(6), 1), now=datetime.now(UTC)
    )
    made.publish()
    return made


@pytest.fixture(scope="module")
def address(shop: TileShop) -> Iterator[Address]:
    with serving(shop.folder / "server", CONFIG, asks_tokens=True) as found:
        yield found


def cookie_of(answer: Answer) -> str:
    """As a browser sends it."""
    [(name, morsel)] = SimpleCookie(answer.headers["set-cookie"]).items()
    return f"{name}={morsel.value}"


@pytest.fixture
def visitor(address: Address) -> Asker:
    """Somebody who has the page open."""
    opened = Asker(address.web_port).get("/")
    return Asker(address.web_port, {"Cookie": cookie_of(opened), **OWN})


def test_the_page_comes_with_a_cookie_that_no_script_and_no_other_site_has(
    address: Address,
) -> None:
    page = Asker(address.web_port).get("/")

    assert page.status == 200
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    policy = page.headers["content-security-policy"]
    assert "script-src 'self'" in policy
    assert "unsafe" not in policy
    assert "camera=(self)" in page.headers["permissions-policy"]
    for each in ("HttpOnly", "SameSite=Strict", "Path=/"):
        assert each in page.headers["set-cookie"]
    assert "Secure" not in page.headers["set-cookie"]  # where nothing is encrypted


def test_every_file_of_the_page_is_there_and_nothing_beside_it(address: Address) -> None:
    asker = Asker(address.web_port)
    for path in FOLDER.iterdir():
        answer = asker.get(f"/{path.name}")
        assert (answer.status, answer.data) == (200, path.read_bytes())
        again = asker.ask("GET", f"/{path.name}", headers={"If-None-Match": answer.headers["etag"]})
        assert (again.status, again.data) == (304, b"")
    assert asker.get("/page.json").json == {"catalogue": "main"}
    for path in (
        "/../visitors.py",
        "/..%2Fvisitors.py",
        "/page_files.py",
        "/tokens.sqlite",
        "/%00",
    ):
        assert asker.get(path).status == 404


def test_a_visitor_asks_what_the_page_asks(visitor: Asker) -> None:
    found = visitor.post(SEARCH, tile(3), "image/png")

    assert found.json["best"]["product"]["id"] == "sku-3"
    image = found.json["best"]["image"]["id"]
    assert visitor.get(f"/v1/catalogs/main/images/{image}/thumbnail").status == 200
    assert visitor.get("/v1/catalogs/main/products/sku-3/similar").status == 200
    assert visitor.get("/v1/catalogs/main").status == 200
    assert visitor.post("/v1/catalogs/main/estimate", tile(3), "image/png").status == 200


def test_a_visitor_asks_nothing_else(shop: TileShop, visitor: Asker) -> None:
    assert visitor.post("/v1/catalogs/main/embed", tile(3), "image/png").status == 403
    assert visitor.get("/v1/catalogs/outlet").status == 403


@pytest.mark.parametrize(
    "headers",
    [
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Origin": "https://other.example"},
        {"Origin": "null"},
        {},
    ],
)
def test_a_cookie_is_taken_from_the_page_alone(
    headers: dict[str, str], address: Address, visitor: Asker
) -> None:
    elsewhere = Asker(address.web_port, {"Cookie": visitor.headers["Cookie"], **headers})

    assert elsewhere.post(SEARCH, tile(3), "image/png").error[:2] == (403, "PERMISSION_DENIED")
    own = Asker(
        address.web_port,
        {
            "Cookie": visitor.headers["Cookie"],
            "Origin": f"http://127.0.0.1:{address.web_port}",
        },
    )
    assert own.post(SEARCH, tile(3), "image/png").status == 200


def test_a_cookie_is_not_taken_from_a_site_that_has_our_address_for_its_own(
    address: Address, visitor: Asker
) -> None:
    def status(**headers: str) -> int:
        said = {name.replace("_", "-"): value for name, value in headers.items()}
        asker = Asker(address.web_port, {"Cookie": visitor.headers["Cookie"], **said})
        return asker.get("/v1/catalogs/main").status

    assert status(Host="rebound.example:8090") == 403
    assert status(Host="rebound.example:8090", Origin="http://rebound.example:8090") == 403
    assert status(Host="LocalHost:8090") == status(Host="[::1]") == 200
    # Behind a proxy that has TLS; without, a browser says it at names of its own machine alone.
    assert status(Host="shop.example", Sec_Fetch_Site="same-origin") == 200


def test_a_cookie_that_was_changed_opens_nothing(address: Address, visitor: Asker) -> None:
    cookie = visitor.headers["Cookie"]
    name, _, value = cookie.partition("=")
    id_, until, made = value.split(".")
    for other in (
        f"{id_}.{int(until) + 1}.{made}",
        f"{'0' * 16}.{until}.{made}",
        f"{id_}.{until}",
        "",
    ):
        asker = Asker(address.web_port, {"Cookie": f"{name}={other}", **OWN})
        assert asker.get("/v1/catalogs/main").status == 401


def test_a_token_counts_more_than_a_cookie(address: Address, visitor: Asker) -> None:
    both = replace(visitor, headers={**visitor.headers, "Authorization": "Bearer nonsense"})

    assert both.get("/v1/catalogs/main").status == 401


def test_a_visitor_who_asks_without_end_is_told_when_to_ask_again(visitor: Asker) -> None:
    statuses = [visitor.get("/v1/catalogs/main/products/sku-1/similar").status for _ in range(40)]
    refused = visitor.post(SEARCH, tile(1), "image/png")

    assert statuses[:20] == [200] * 20
    assert statuses.count(429) > 10
    assert refused.error[:2] == (429, "RESOURCE_EXHAUSTED")
    assert int(refused.headers["retry-after"]) >= 1
    assert visitor.get("/v1/catalogs/main").status == 200  # pictures and the rest still come


def test_a_cookie_holds_for_a_day_and_no_longer() -> None:
    now = 1000.0
    visitors = Visitors(secret=bytes(32), clock=lambda: now)
    name, _, value = visitors.cookie(is_secure=True).partition(";")[0].partition("=")

    others = Visitors(secret=bytes(31) + b"1", clock=lambda: now)
    shown = [f"{name}={value}"]

    assert visitors.visitor(shown, is_secure=True) is not None
    assert visitors.visitor(shown, is_secure=False) is None
    assert others.visitor(shown, is_secure=True) is None
    now += 12 * 3600 + 1
    assert visitors.visitor(shown, is_secure=True) is None


def test_a_cookie_is_found_among_others_and_read_as_it_is() -> None:
    visitors = Visitors(secret=bytes(32), clock=lambda: 0.0)
    name, _, value = visitors.cookie(is_secure=False).partition(";")[0].partition("=")

    def visitor(*cookies: str) -> str | None:
        return visitors.visitor(cookies, is_secure=False)

    assert visitor(f'theme="\\{value}"; {name}={value};lang=en') == value[:16]
    assert visitor("theme=dark", f"{name}={value}") == value[:16]
    # Nothing is unquoted, which costs Python 3.11 the square of what came.
    assert visitor(f'{name}="{value}"') is None
    assert visitor(f"theme={name}={value}", "", ";", name) is None


def test_under_tls_a_cookie_is_sent_encrypted_alone() -> None:
    cookie = Visitors(secret=bytes(32), clock=lambda: 0.0).cookie(is_secure=True)

    assert cookie.startswith("__Host-")
    assert cookie.endswith("; Secure")


def test_a_server_without_the_page_it_is_to_show_does_not_start(
    shop: TileShop, tmp_path: Path
) -> None:
    with pytest.raises(ServerError, match="Expected a page"):
        PageFiles.of(tmp_path, Visitors(secret=b"", clock=lambda: 0.0), catalogue="main")


def test_the_page_is_in_the_wheel() -> None:
    files = WheelBuilder(str(ROOT)).recurse_included_files()

    shipped = {
        Path(each.distribution_path).name for each in files if "web/page/" in each.distribution_path
    }
    assert shipped == {path.name for path in FOLDER.iterdir()} >= {"index.html", "page.js"}


@pytest.mark.skipif(shutil.which("node") is None, reason="Node is not on the PATH")
@pytest.mark.parametrize(
    ("low", "high", "said"),
    [
        ("9.50", "95.00", "about €12.00, four of five from €9.50 to €95.00"),
        ("9.50", "95.01", "too far apart"),
        ("0", "15", "too far apart"),
    ],
)
def test_prices_too_far_apart_tell_no_middle(
    tmp_path: Path, low: str, high: str, said: str
) -> None:
    texts = shutil.copy(FOLDER / "texts.js", tmp_path / "texts.mjs")
    estimate = {"currency": "EUR", "band": {"low": low, "middle": "12.00", "high": high}}
    program = f"""globalThis.navigator = {{ languages: ["en"] }};
        const {{ bandIn }} = await import("{texts.as_uri()}");
        console.log(bandIn({json.dumps(estimate)}));"""

    line = subprocess.run(
        ["node", "--input-type=module", "-e", program], capture_output=True, text=True, check=True
    ).stdout

    assert said in line
    assert ("about" in line) == ("about" in said)

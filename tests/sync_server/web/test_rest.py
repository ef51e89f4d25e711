"""Questions over HTTP to a real server: what is found, what is refused, and how it is said."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from jsonschema import Draft202012Validator
from PIL import Image
from tests.making import pictures
from tests.making.asking import FORM, Answer, Asker, form
from tests.making.colour_bundle import colour_bundle
from tests.making.serving import ONE_CLIENT, serving
from tests.making.tiles import TileShop, tile

from pocketlens.query.embedder import Embedder
from pocketlens_server.config import Listen, ServerConfig
from pocketlens_server.query.settings import QuerySettings
from pocketlens_server.web.openapi import document

TILES = range(12)
SEARCH, EMBED = "/v1/catalogs/main/search", "/v1/catalogs/main/embed"
CONFIG = ServerConfig(
    listen=Listen(rest_port=0), limits=ONE_CLIENT, query=QuerySettings(photo_bytes=1 << 20)
)


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> TileShop:
    made = TileShop(tmp_path_factory.mktemp("shop"), dict.fromkeys(TILES, 1), now=datetime.now(UTC))
    made.stock[3] = 0
    made.publish()
    return made


@pytest.fixture(scope="module")
def asker(shop: TileShop) -> Iterator[Asker]:
    with serving(shop.folder / "server", CONFIG) as address:
        yield Asker(address.web_port)


@pytest.fixture(scope="module")
def vector() -> list[float]:
    with Embedder.open(colour_bundle(name="first")) as embedder:
        return [float(each) for each in embedder.embed(tile(5))]


def ids(answer: Answer) -> list[str]:
    assert answer.status == 200, answer.data
    return [match["product"]["id"] for match in answer.json["matches"]]


def check(answer: Answer, schema: str) -> None:
    """An answer is what the document says of it."""
    components = document()["components"]
    wanted = {"$ref": f"#/components/schemas/{schema}", "components": components}
    Draft202012Validator(wanted).validate(answer.json)


@pytest.mark.parametrize("number", TILES)
def test_a_photo_finds_its_product_as_a_body_and_in_a_form(asker: Asker, number: int) -> None:
    bare = asker.post(SEARCH, tile(number), "image/png", k=3)
    in_form = asker.post_form(SEARCH, tile(number), k="3")

    assert ids(bare)[0] == f"sku-{number}"
    assert len(ids(bare)) == 3
    assert ids(in_form) == ids(bare)
    check(bare, "Answer")
    assert bare.json["answered_by"] == "embedding"
    assert bare.json["gallery_size"] == 12
    assert bare.json["as_of"].endswith("Z")
    assert bare.json["best"] == bare.json["matches"][0]


def test_a_photo_of_one_colour_says_so(asker: Asker) -> None:
    found = asker.post(
        SEARCH, pictures.encoded(Image.new("RGB", (90, 40), (40, 90, 200))), "image/jpeg"
    )

    check(found, "Answer")
    assert (found.json["is_blank"], found.json["verdict"]) == (True, "unsure")
    assert (found.json["confidence"], found.json["threshold"]) == (None, None)
    assert len(found.json["matches"]) == 10
    assert asker.post(SEARCH, tile(5), "image/png").json["is_blank"] is False


def test_an_embedding_finds_what_its_photo_does(asker: Asker, vector: list[float]) -> None:
    generation = asker.get("/v1/catalogs/main").json["generation"]

    named = asker.post_json(SEARCH, {"embedding": {"generation": generation, "values": vector}})
    newest = asker.post_json(SEARCH, {"embedding": {"values": vector}, "k": 2})

    assert ids(named) == ids(asker.post(SEARCH, tile(5), "image/png"))
    assert ids(newest) == ids(named)[:2]
    assert named.json["accelerator"] == ""
    check(named, "Answer")


def test_a_photo_is_embedded(asker: Asker, vector: list[float]) -> None:
    found = asker.post(EMBED, tile(5), "image/png")

    check(found, "Embedded")
    assert found.json["embedding"] == pytest.approx(vector, abs=1e-3)
    assert asker.post_form(EMBED, tile(5), model="bundle").json["answered_by"] == "embedding"


def test_what_a_thing_may_sell_for_is_told_however_it_comes(
    asker: Asker, vector: list[float]
) -> None:
    """This shop has no prices: what is told of others is in tests/sync_server/query."""
    path = "/v1/catalogs/main/estimate"
    found = [
        asker.post(path, tile(5), "image/png", currency="EUR"),
        asker.post_form(path, tile(5), in_stock="true"),
        asker.post_json(path, {"embedding": {"values": vector}, "filter": {"currency": "EUR"}}),
    ]

    for each in found:
        check(each, "Estimate")
        assert (each.json["band"], each.json["items"]) == (None, [])
    assert [each.json["currency"] for each in found] == ["EUR", "", "EUR"]
    for bad in ({"k": "3"}, {"currency": "euro"}, {"auto_category": "tell"}):
        assert asker.post(path, tile(5), "image/png", **bad).error[0] == 400
    asked = {"embedding": {"values": vector}, "k": 3}
    assert asker.post_json(path, asked).error[:2] == (400, "INVALID_ARGUMENT")


def test_a_product_finds_others_like_it(asker: Asker) -> None:
    found = asker.get("/v1/catalogs/main/products/sku-5/similar", k=4)

    check(found, "Answer")
    assert len(ids(found)) == 4
    assert "sku-5" not in ids(found)
    varied = asker.get("/v1/catalogs/main/products/sku-5/similar", k=4, variety="0.9")
    assert ids(varied) != ids(found)
    for variety in ("2", "-1", "nan", "much"):
        answer = asker.get("/v1/catalogs/main/products/sku-5/similar", variety=variety)
        assert answer.error[:2] == (400, "INVALID_ARGUMENT")
    assert asker.get("/v1/catalogs/main/products/no%2Fsuch/similar").status == 404


def test_the_facts_and_the_pictures_of_a_catalogue(asker: Asker) -> None:
    facts = asker.get("/v1/catalogs/main")
    image = asker.post(SEARCH, tile(2), "image/png").json["best"]["image"]["id"]
    thumbnail = asker.get(f"/v1/catalogs/main/images/{image}/thumbnail")

    check(facts, "Facts")
    assert (facts.json["products"], facts.json["images"], facts.json["version"]) == (12, 12, 1)
    assert thumbnail.data.startswith(b"\xff\xd8")
    assert thumbnail.headers["content-type"] == "image/jpeg"
    assert "private" in thumbnail.headers["cache-control"]


def test_a_filter_is_the_same_however_it_comes(asker: Asker, vector: list[float]) -> None:
    wanted = {"in_stock": True, "attributes": {}}
    found = [
        asker.post(SEARCH, tile(3), "image/png", in_stock="true"),
        asker.post_form(SEARCH, tile(3), in_stock="true"),
        asker.post_json(SEARCH, {"embedding": {"values": vector}, "filter": wanted}),
    ]

    for each in found:
        assert each.json["matches_in_filter"] == 11
        assert "sku-3" not in ids(each)
    assert not found[0].json["best_is_in_filter"]
    assert found[0].json["best"]["product"]["stock"] == 0
    for said in ({"category": "none"}, {"attr.colour": "red"}, {"max_price": "1.50"}):
        assert asker.post(SEARCH, tile(3), "image/png", **said).json["matches"] == []


def test_likely_categories_are_told_however_they_are_asked_for(
    asker: Asker, vector: list[float]
) -> None:
    """This shop has none: what is told of others is in tests/sync_server/query."""
    found = [
        asker.post(SEARCH, tile(5), "image/png", auto_category="search"),
        asker.post_form(SEARCH, tile(5), auto_category="tell"),
        asker.post_json(SEARCH, {"embedding": {"values": vector}, "auto_category": "tell"}),
    ]

    for each in found:
        check(each, "Answer")
        assert (each.json["categories"], each.json["searched"]) == ([], [])
        assert ids(each)[0] == "sku-5"


def test_a_box_is_of_the_photo(asker: Asker) -> None:
    whole = asker.post(EMBED, tile(5), "image/png").json["embedding"]

    part = asker.post(EMBED, tile(5), "image/png", box="0,0,32,32").json["embedding"]
    outside = asker.post(SEARCH, tile(5), "image/png", box="900,900,950,950")

    assert part != whole
    assert outside.error[:2] == (400, "INVALID_ARGUMENT")


BAD_FIELDS = {
    "k of nothing": ({"k": "0"}, "k of 1 to 100"),
    "k beyond": ({"k": "10000"}, "k of 1 to 100"),
    "k of words": ({"k": "many"}, "whole number"),
    "k endless": ({"k": "9" * 3000}, "whole number"),
    "misspelt": ({"in_stok": "true"}, "Expected parameters of"),
    "no truth": ({"in_stock": "yes"}, "true or false"),
    "price": ({"max_price": "1e9"}, "decimal such as"),
    "price NaN": ({"min_price": "NaN"}, "decimal such as"),
    "prices": ({"min_price": "2", "max_price": "1"}, "min_price <= max_price"),
    "currency": ({"currency": "eur"}, "three capital letters"),
    "auto of words": ({"auto_category": "true"}, "search or tell"),
    "two categories": ({"auto_category": "search", "category": "a"}, "Received both: 'a'"),
    "box of three": ({"box": "1,2,3"}, "left,top,right,bottom"),
    "box of words": ({"box": "a,b,c,d"}, "left,top,right,bottom"),
    "attribute without a name": ({"attr.": "red"}, "Expected parameters of"),
}


@pytest.mark.parametrize("case", BAD_FIELDS)
def test_a_parameter_that_cannot_be_is_told(case: str, asker: Asker) -> None:
    said, text = BAD_FIELDS[case]

    bare = asker.post(SEARCH, tile(1), "image/png", **said)
    in_form = asker.post_form(SEARCH, tile(1), **said)

    for status, code, message in (bare.error, in_form.error):
        assert (status, code) == (400, "INVALID_ARGUMENT")
        assert text in message
    check(bare, "Error")


def test_what_is_said_twice_or_not_in_utf8_is_refused(asker: Asker) -> None:
    for query in ("k=1&k=2", "category=%ff", "&".join(f"attr.{n}=1" for n in range(80))):
        answer = asker.ask(
            "POST", f"{SEARCH}?{query}", tile(1), headers={"Content-Type": "image/png"}
        )
        assert answer.status == 400, query


BAD_JSON = {
    "empty": b"",
    "no JSON": b"{",
    "no UTF-8": b'{"k": "\xff"}',
    "deep": b'{"embedding": ' + b"[" * 100_000,
    "NaN": b'{"embedding": {"values": [NaN]}}',
    "Infinity": b'{"embedding": {"values": [1, -Infinity]}}',
    "an array": b"[]",
    "nothing asked": b"{}",
    "a text": b'{"embedding": "AAAA"}',
    "texts": b'{"embedding": {"values": ["0.1"]}}',
    "too few": b'{"embedding": {"values": [1]}}',
    "beyond floats": b'{"embedding": {"values": [1e999]}}',
    "endless number": b'{"embedding": {"values": [' + b"9" * 50_000 + b"]}}",
    "generation": b'{"embedding": {"generation": "zz", "values": [1]}}',
    "generation of a number": b'{"embedding": {"generation": 7, "values": [1]}}',
    "unknown name": b'{"embeding": {"values": [1]}}',
    "k of a text": b'{"embedding": {"values": [1]}, "k": "5"}',
    "k of true": b'{"embedding": {"values": [1]}, "k": true}',
    "k of a fraction": b'{"embedding": {"values": [1]}, "k": 2.5}',
    "auto of true": b'{"embedding": {"values": [1]}, "auto_category": true}',
    "auto of words": b'{"embedding": {"values": [1]}, "auto_category": "auto"}',
    "filter of an array": b'{"embedding": {"values": [1]}, "filter": []}',
    "filter misspelt": b'{"embedding": {"values": [1]}, "filter": {"categories": "a"}}',
    "stock of a text": b'{"embedding": {"values": [1]}, "filter": {"in_stock": "true"}}',
    "price of true": b'{"embedding": {"values": [1]}, "filter": {"min_price": true}}',
    "price in floats": b'{"embedding": {"values": [1]}, "filter": {"min_price": 1e400}}',
    "attributes": b'{"embedding": {"values": [1]}, "filter": {"attributes": {"a": 1}}}',
    "half a character": b'{"embedding": {"values": [1]}, "filter": {"category": "\\ud800"}}',
    "in a value": b'{"embedding": {"values": [1]}, "filter": {"attributes": {"a": "\\ud800"}}}',
    "in a name": b'{"embedding": {"values": [1]}, "filter": {"attributes": {"\\udfff": "a"}}}',
}


@pytest.mark.parametrize("case", BAD_JSON)
def test_json_that_cannot_be_is_told(case: str, asker: Asker) -> None:
    answer = asker.post(SEARCH, BAD_JSON[case], "application/json")

    status, code, message = answer.error
    assert (status, code) == (400, "INVALID_ARGUMENT")
    assert message.startswith("Expected"), message


def test_json_that_says_something_twice_is_refused(asker: Asker, vector: list[float]) -> None:
    asked = json.dumps({"embedding": {"values": vector}, "filter": {"in_stock": True}})

    answer = asker.post(SEARCH, f'{asked[:-1]}, "filter": {{}}}}'.encode(), "application/json")

    assert answer.error[:2] == (400, "INVALID_ARGUMENT")
    assert "once" in answer.error[2]


def test_a_vector_that_is_none_of_unit_length_is_refused(asker: Asker, vector: list[float]) -> None:
    for values in ([each * 2 for each in vector], [0.0] * len(vector), vector[:-1]):
        assert asker.post_json(SEARCH, {"embedding": {"values": values}}).status == 400


def test_a_price_keeps_its_cents(asker: Asker, vector: list[float]) -> None:
    asked = json.dumps({"embedding": {"values": vector}, "filter": {"max_price": 0.1}})

    assert asker.post(SEARCH, asked.encode(), "application/json").status == 200


BAD_PHOTOS = {
    "nothing": b"",
    "text": b"no photo",
    "a bomb": pictures.flat_jpeg(30_000, 29_000, progressive=True),
    "cut": tile(1)[:300],
}


@pytest.mark.parametrize("case", BAD_PHOTOS)
def test_a_photo_that_is_none_is_told(case: str, asker: Asker) -> None:
    for answer in (
        asker.post(SEARCH, BAD_PHOTOS[case], "image/png"),
        asker.post_form(SEARCH, BAD_PHOTOS[case]),
    ):
        assert answer.error[:2] == (400, "INVALID_ARGUMENT"), answer.data


def test_other_bodies_are_refused_with_what_to_try(asker: Asker) -> None:
    for content_type in ("application/x-www-form-urlencoded", "text/plain", ""):
        status, _, message = asker.post(SEARCH, tile(1), content_type).error
        assert status == 415
        assert "image/jpeg" in message
    packed = asker.ask(
        "POST",
        SEARCH,
        tile(1),
        headers={"Content-Type": "image/png", "Content-Encoding": "gzip"},
    )
    assert packed.status == 415
    assert asker.post(EMBED, b"{}", "application/json").status == 415


def test_a_body_beyond_the_limit_is_refused(asker: Asker) -> None:
    most = CONFIG.query.photo_bytes
    endless = iter([b"x" * 65536] * 40)  # in chunks, which say no length

    assert asker.post(SEARCH, bytes(most + 1)).error[:2] == (413, "INVALID_ARGUMENT")
    assert asker.ask("POST", SEARCH, endless, headers={"Content-Type": "image/png"}).status == 413  # type: ignore[arg-type]
    assert asker.post(SEARCH, b" " * (300 << 10), "application/json").status == 413
    assert asker.post_form(SEARCH, bytes(most + (80 << 10))).status == 413
    assert asker.post(SEARCH, bytes(most)).status == 400


BAD_FORMS = {
    "no photo": form(b"", {}).replace(b'"photo"', b'"k"'),
    "two photos": form(tile(1), {"photo": "x"}),
    "no end": form(tile(1), {})[:-10],
    "no boundary": b"x",
    "no name": form(tile(1), {}).replace(b"name=", b"nome="),
    "long text": form(tile(1), {"category": "x" * 5000}),
    "no UTF-8": form(tile(1), {"category": "x"}).replace(b"\r\n\r\nx\r\n", b"\r\n\r\n\xff\r\n"),
    "many parts": form(tile(1), {f"attr.{n}": "1" for n in range(100)}),
    "no blank line": form(tile(1), {}).replace(b"\r\n\r\n", b"\r\n"),
}


@pytest.mark.parametrize("case", BAD_FORMS)
def test_a_form_that_cannot_be_is_told(case: str, asker: Asker) -> None:
    answer = asker.post(SEARCH, BAD_FORMS[case], FORM)

    status, code, message = answer.error
    assert (status, code) == (400, "INVALID_ARGUMENT")
    assert message.startswith("Expected"), message
    assert asker.post(SEARCH, form(tile(1), {}), "multipart/form-data").status == 400


def test_what_is_not_there_is_told_in_json(asker: Asker) -> None:
    for method, path, status, code in [
        ("GET", "/nowhere", 404, "NOT_FOUND"),
        ("GET", "/", 404, "NOT_FOUND"),
        ("GET", "/v1/catalogs/main/", 404, "NOT_FOUND"),
        ("GET", "/v1/catalogs/nowhere", 404, "NOT_FOUND"),
        ("GET", "/v1/catalogs/main/images/none/thumbnail", 404, "NOT_FOUND"),
        ("GET", SEARCH, 405, "UNIMPLEMENTED"),
        ("OPTIONS", SEARCH, 405, "UNIMPLEMENTED"),
        ("DELETE", "/v1/catalogs/main", 405, "UNIMPLEMENTED"),
    ]:
        answer = asker.ask(method, path)
        assert answer.error[:2] == (status, code), (method, path)
        check(answer, "Error")
    assert asker.ask("GET", SEARCH).headers["allow"] == "POST"


def test_every_answer_tells_browsers_to_guess_run_and_keep_nothing(asker: Asker) -> None:
    for answer in (asker.get("/v1/catalogs/main"), asker.get("/nowhere"), asker.get(SEARCH)):
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert "default-src 'none'" in answer.headers["content-security-policy"]
        assert answer.headers["cache-control"] == "no-store"
        assert "access-control-allow-origin" not in answer.headers
        assert "server" not in answer.headers


def test_a_head_has_what_the_answer_has_but_the_answer(asker: Asker) -> None:
    whole, head = asker.get("/v1/openapi.json"), asker.ask("HEAD", "/v1/openapi.json")

    assert (head.status, head.data) == (200, b"")
    assert head.headers["content-length"] == str(len(whole.data))


def test_a_request_id_comes_back(asker: Asker) -> None:
    named = asker.ask("GET", "/v1/catalogs/main", headers={"X-Request-Id": "shelf-7"})
    other = asker.ask("GET", "/v1/catalogs/main", headers={"X-Request-Id": "no such word!"})

    assert named.headers["x-request-id"] == "shelf-7"
    assert other.headers["x-request-id"] not in ("", "no such word!")


def test_only_named_websites_may_ask_from_a_browser(shop: TileShop) -> None:
    config = replace(CONFIG, listen=Listen(rest_port=0, rest_origins="https://shop.example"))
    wish = {
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "authorization",
    }

    with serving(shop.folder / "server", config, asks_tokens=True) as address:
        asker = Asker(address.web_port)
        named, other = (
            asker.ask("OPTIONS", SEARCH, headers={"Origin": origin, **wish})
            for origin in ("https://shop.example", "https://other.example")
        )
        asked = asker.ask("GET", "/v1/openapi.json", headers={"Origin": "https://shop.example"})

    assert named.status == 200
    assert named.headers["access-control-allow-origin"] == "https://shop.example"
    assert "access-control-allow-origin" not in other.headers
    assert asked.headers["access-control-allow-origin"] == "https://shop.example"
    assert "access-control-allow-credentials" not in {**named.headers, **asked.headers}


def test_without_tokens_no_page_of_another_site_asks_through_a_browser(asker: Asker) -> None:
    for headers in (
        {"Sec-Fetch-Site": "cross-site"},
        {"Origin": "https://other.example"},
        {"Host": "rebound.example"},
        {"Host": "127.0.0.1.rebound.example:8090"},
        {"Host": '{}".rebound.example'},  # of which urllib and Starlette make nothing
    ):
        answer = asker.ask("GET", "/v1/catalogs/main", headers=headers)
        assert answer.error[:2] == (403, "PERMISSION_DENIED"), headers


class Opened:
    """Files that this process opens to write while it is asked to look."""

    def __init__(self) -> None:
        self.paths: list[object] = []
        self.is_looking = False
        sys.addaudithook(self._heard)  # for ever, which costs nothing while it does not look

    def _heard(self, event: str, arguments: tuple[object, ...]) -> None:
        if self.is_looking and event == "open":
            flags = arguments[2]
            if isinstance(flags, int) and flags & (os.O_WRONLY | os.O_RDWR):
                self.paths.append(arguments[0])


def test_a_photo_is_written_nowhere(shop: TileShop, asker: Asker) -> None:
    photo = tile(7) + b"canary" * 100_000  # longer than what others spool into files
    opened = Opened()
    before = {path for path in shop.folder.rglob("*") if path.is_file()}

    opened.is_looking = True
    answers = [asker.post(SEARCH, photo, "image/png"), asker.post_form(SEARCH, photo)]
    opened.is_looking = False

    assert [ids(each)[0] for each in answers] == ["sku-7", "sku-7"]
    assert opened.paths == []
    for path in shop.folder.rglob("*"):
        if path.is_file():
            assert path in before or path.name.endswith(("-wal", "-shm")), path
            assert b"canarycanary" not in path.read_bytes()

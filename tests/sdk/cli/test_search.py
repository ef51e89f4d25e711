"""`pocketlens search`: what it prints of an answer, for people and for programs."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.making.colour_bundle import colour_bundle
from tests.making.query_servers import StoreService, answering, dead

from pocketlens import index
from pocketlens.cli import main
from pocketlens.cli.answers import agreement_line, as_json, categories_line, headline
from pocketlens.products import Image as CatalogueImage
from pocketlens.products import Price, Product
from pocketlens.results import CategoryShare, Match, SearchResult, Timings, Verdict


def result(
    verdict: Verdict, confidence: float | None, best: Match | None, *matches: Match
) -> SearchResult:
    return SearchResult(
        verdict=verdict,
        confidence=confidence,
        best=best,
        matches=matches,
        threshold=None if confidence is None else 0.8,
        margin=0.25,
        matches_in_filter=2,
        gallery_size=3,
        generation="ab" * 32,
        version=4,
        as_of=datetime(2026, 11, 20, 12, tzinfo=UTC),
        accelerator="cpu",
        timings=Timings(1.0, 2.0, 0.5),
    )


SHOE = Product(
    "R-1", "Red shoe", "shoes", price=Price(1250, "EUR"), stock=3, attributes={"colour": "red"}
)
MATCH = Match(SHOE, CatalogueImage("r1.jpg"), 0.75, (Product("R-2"),))
OTHER = Match(Product("B-7"), CatalogueImage("b7.jpg"), 0.25)
ALTERNATIVE = Match(Product("R-2"), CatalogueImage("r1.jpg"), 0.75)


@pytest.mark.parametrize(
    ("found", "line"),
    [
        (result(Verdict.MATCH, 0.968, MATCH, MATCH), "MATCH 0.97: Red shoe (R-1)"),
        (result(Verdict.NO_MATCH, 0.031, MATCH, MATCH), "NO MATCH 0.03: nearest is Red shoe (R-1)"),
        (result(Verdict.UNSURE, 0.5, MATCH, MATCH), "UNSURE 0.50: Red shoe (R-1)"),
        (
            result(Verdict.UNSURE, None, MATCH, MATCH),
            "UNSURE: Red shoe (R-1) (the bundle has no device calibration)",
        ),
        (
            replace(result(Verdict.UNSURE, None, MATCH, MATCH), answered_by="photo"),
            "UNSURE: Red shoe (R-1) (the bundle has no photo calibration)",
        ),
        (
            result(Verdict.MATCH, 0.9, MATCH),
            "MATCH 0.90: Red shoe (R-1); no product satisfies the filter",
        ),
        (
            result(Verdict.MATCH, 0.9, MATCH, OTHER),
            "MATCH 0.90: Red shoe (R-1); it does not satisfy the filter",
        ),
        (result(Verdict.MATCH, 0.9, MATCH, ALTERNATIVE), "MATCH 0.90: Red shoe (R-1)"),
        (
            replace(result(Verdict.UNSURE, None, MATCH, MATCH), is_blank=True),
            "UNSURE: Red shoe (R-1) (the photo is of one colour: what it is like means nothing)",
        ),
        (result(Verdict.UNSURE, None, None), "UNSURE: the store is empty"),
    ],
    ids="match no-match unsure bare photo unfiltered filtered alternative blank empty".split(),
)
def test_headline_says_the_verdict(found: SearchResult, line: str) -> None:
    assert headline(found) == line


def test_json_has_every_documented_key() -> None:
    said = as_json(result(Verdict.MATCH, 0.9, OTHER, MATCH))

    product = {
        "id": "R-1",
        "title": "Red shoe",
        "category": "shoes",
        "url": "",
        "price": {"amount": "12.50", "currency": "EUR"},
        "stock": 3,
        "attributes": {"colour": "red"},
    }
    bare = {**dict.fromkeys(("title", "category", "url"), ""), "price": None, "stock": None}
    match = {
        "rank": 1,
        "similarity": 0.75,
        "product": product,
        "image": {"id": "r1.jpg", "url": ""},
        "alternatives": [{"id": "R-2", **bare, "attributes": {}}],
    }
    best = {
        "similarity": 0.25,
        "product": {"id": "B-7", **bare, "attributes": {}},
        "image": {"id": "b7.jpg", "url": ""},
        "alternatives": [],
    }
    assert json.loads(json.dumps(said)) == {
        "verdict": "match",
        "confidence": 0.9,
        "threshold": 0.8,
        "margin": 0.25,
        "best": best,
        "matches": [match],
        "matches_in_filter": 2,
        "gallery_size": 3,
        "generation": "ab" * 32,
        "version": 4,
        "as_of": "2026-11-20T12:00:00+00:00",
        "accelerator": "cpu",
        "answered_by": "device",
        "timings": {"decode_ms": 1.0, "queue_ms": 0.0, "embed_ms": 2.0, "search_ms": 0.5},
        "agreement": [],
        "categories": [],
        "searched": [],
        "words": None,
        "is_blank": False,
        "fallback": None,
    }


@pytest.mark.parametrize(
    ("agreement", "line"),
    [
        ((0.9, 0.8), "photos agree: 0.90, 0.80"),
        (
            (0.9, 0.9, 0.1),
            "photos agree: 0.90, 0.90, 0.10; c: another thing than the rest, it seems",
        ),
        (
            (0.1, 0.1),
            "photos agree: 0.10, 0.10; they seem to show different things: search them one by one",
        ),
    ],
)
def test_people_are_told_whether_photos_agree(agreement: tuple[float, ...], line: str) -> None:
    found = replace(result(Verdict.MATCH, 0.9, MATCH, MATCH), agreement=agreement)

    assert agreement_line(found, "abc"[: len(agreement)]) == line


@pytest.mark.parametrize(
    ("searched", "named"),
    [
        (("shoes",), "shoes"),
        (("shoes", "boots"), "shoes and boots"),
        ((), "all"),
    ],
)
def test_people_are_told_what_was_searched(searched: tuple[str, ...], named: str) -> None:
    told = {"shoes": 0.8, "boots": 0.15, "hats": 0.03, "coats": 0.01}
    shares = tuple(CategoryShare(*each) for each in told.items())
    found = replace(result(Verdict.MATCH, 0.9, MATCH, OTHER), categories=shares, searched=searched)

    line = f"category: shoes 0.80, boots 0.15, hats 0.03; searched {named}"
    assert categories_line(found) == line
    which = "is not of the likely category" if searched else "does not satisfy the filter"
    assert headline(found).endswith(f"; it {which}")


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Seven products: sku-0 to sku-5 with a picture each, and sku-6 with that of sku-5."""
    folder = tmp_path_factory.mktemp("shop")
    rng = np.random.default_rng(4)
    lines = ["image,product_id,title,category,price,currency,stock,image_url,attr.colour"]
    for number in range(7):
        picture = f"{min(number, 5)}.png"
        if not (folder / picture).exists():
            pixels = rng.integers(0, 256, (4, 4, 3), dtype=np.uint8)
            Image.fromarray(pixels).resize((64, 64)).save(folder / picture)
        offer = f"{number * 10}.00,{'USD' if number == 1 else 'EUR'},{number % 2}"
        colour = "red" if number < 3 else "blue"
        url = f"https://shop.example/{picture}"
        lines.append(
            f"{picture},sku-{number},Thing {number},things {number % 2},{offer},{url},{colour}"
        )
    (folder / "list.csv").write_text("\n".join(lines))
    (folder / "shop.tflite").write_bytes(colour_bundle())
    index(folder / "list.csv", model=folder / "shop.tflite", out=folder / "store")
    return folder


def asked(
    shop: Path, capsys: pytest.CaptureFixture[str], *options: str, photo: str = "2.png"
) -> set[str]:
    code = main(["search", str(shop / "store"), str(shop / photo), "-k", "50", "--json", *options])
    (found,) = json.loads(capsys.readouterr().out)
    assert code == 0
    shown = [match["product"]["id"] for match in found["matches"]]
    shown += [each["id"] for match in found["matches"] for each in match["alternatives"]]
    assert found["matches_in_filter"] == len(shown)
    return {each.removeprefix("sku-") for each in shown}


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ([], "0123456"),
        (["--category", "things 1"], "135"),
        (["--in-stock"], "135"),
        (["--max-price", "30"], "0123"),
        (["--min-price", "20.01"], "3456"),
        (["--currency", "EUR"], "023456"),
        (["--attribute", "colour=red"], "012"),
        (["--attribute", "colour=red", "--attribute", "size=9"], ""),
        (["--min-price", "10", "--max-price", "50", "--in-stock", "--currency", "EUR"], "35"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else value or "none",
)
def test_options_filter_products(
    options: list[str], expected: str, shop: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert asked(shop, capsys, *options) == set(expected)


def test_people_see_the_verdict_then_a_table(
    shop: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["search", str(shop / "store"), str(shop / "5.png"), "-k", "2"]) == 0

    lines = capsys.readouterr().out.splitlines()
    assert "Thing 5 (sku-5)" in lines[0]
    assert lines[1].split() == ["#", "product", "price", "similarity", "image"]
    assert lines[2].split()[:6] == ["1", "Thing", "5", "(sku-5)", "50.00", "EUR"]
    assert lines[2].endswith("https://shop.example/5.png")
    assert lines[3].split() == ["or", "Thing", "6", "(sku-6)", "60.00", "EUR"]


def test_several_photos_are_told_apart(shop: Path, capsys: pytest.CaptureFixture[str]) -> None:
    photos = [str(shop / "1.png"), str(shop / "nowhere.png"), str(shop / "3.png")]

    assert main(["search", str(shop / "store"), *photos, "-k", "1"]) == 1

    printed = capsys.readouterr()
    lines = printed.out.splitlines()
    assert lines[0] == photos[0]
    assert photos[2] in lines
    assert [line for line in lines if "Thing" in line and "sku-1" in line]
    assert photos[1] in printed.err
    assert photos[1] not in printed.out


def test_photos_together_get_one_answer(shop: Path, capsys: pytest.CaptureFixture[str]) -> None:
    photos = [str(shop / "2.png"), str(shop / "2.png"), str(shop / "4.png")]
    command = ["search", str(shop / "store"), *photos, "--together", "-k", "2"]

    assert main([*command, "--json"]) == 0
    (found,) = json.loads(capsys.readouterr().out)
    assert main(command) == 0
    lines = capsys.readouterr().out.splitlines()

    assert found["photos"] == photos
    assert found["matches"][0]["product"]["id"] == "sku-2"
    assert len(found["agreement"]) == 3
    assert found["agreement"][2] < found["agreement"][0]
    assert "Thing 2 (sku-2)" in lines[0]
    assert lines[1].startswith("photos agree: ")
    assert lines[2].split()[:2] == ["#", "product"]


def test_a_bad_photo_fails_those_beside_it_and_is_named(
    shop: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    photos = [str(shop / "1.png"), str(shop / "nowhere.png")]

    assert main(["search", str(shop / "store"), *photos, "--together", "--json"]) == 1

    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith("error: Photo 2 of 2: ")


def test_photos_together_are_not_for_a_server(
    shop: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["search", str(shop / "store"), str(shop / "1.png"), "--together"]

    assert main([*command, "--server-fallback", "shop.example:1"]) == 2
    assert "--together" in capsys.readouterr().err


def test_category_auto_finds_out_which(shop: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["search", str(shop / "store"), str(shop / "3.png"), "--category", "auto"]

    assert main([*command, "--json"]) == 0
    (found,) = json.loads(capsys.readouterr().out)
    assert main(command) == 0
    lines = capsys.readouterr().out.splitlines()

    shares = {each["category"]: each["probability"] for each in found["categories"]}
    assert set(shares) <= {"things 0", "things 1"}
    assert sum(shares.values()) == pytest.approx(1, abs=0.02)
    shown = {match["product"]["category"] for match in found["matches"]}
    assert shown == set(found["searched"] or ["things 0", "things 1"])
    assert lines[1].startswith("category: things ")


def test_a_category_that_is_called_auto_can_be_named(
    tmp_path: Path, shop: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [f"{shop / '1.png'},a,auto", f"{shop / '2.png'},b,shoes"]
    (tmp_path / "list.csv").write_text("\n".join(["image,product_id,category", *rows]))
    index(tmp_path / "list.csv", model=shop / "shop.tflite", out=tmp_path / "store")
    command = ["search", str(tmp_path / "store"), str(shop / "2.png"), "--json"]

    assert main([*command, "--category", "=auto"]) == 0

    (found,) = json.loads(capsys.readouterr().out)
    assert [match["product"]["id"] for match in found["matches"]] == ["a"]
    assert found["categories"] == []


def test_accelerator_that_is_absent_is_refused(
    shop: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code = main(["search", str(shop / "store"), str(shop / "1.png"), "--accelerator", "nnapi"])

    printed = capsys.readouterr()
    assert (code, printed.out) == (1, "")
    assert "nnapi" in printed.err


@pytest.mark.parametrize("options", [[], ["--send-photo"]], ids=["embedding", "photo"])
def test_a_server_that_is_named_may_answer(
    options: list[str], shop: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = shutil.copytree(shop / "store", tmp_path / "store")
    (tmp_path / "token").write_text("a-token\n")
    command = ["search", str(store), str(shop / "5.png"), "-k", "2", "--when", "always", *options]
    with answering(service := StoreService(shop / "store")) as address:
        server = ["--server-fallback", address, "--token-file", str(tmp_path / "token")]
        assert main([*command, *server]) == 0
        lines = capsys.readouterr().out.splitlines()
        assert main([*command, *server, "--catalog", "shop", "--json"]) == 0
        (found,) = json.loads(capsys.readouterr().out)

    what = "photo" if options else "embedding"
    assert lines[1].startswith(f"answered by the server ({what}, ")
    assert "sku-5" in lines[3]
    assert [each.WhichOneof("query") for each in service.asked] == [what, what]
    assert [each.catalogue for each in service.asked] == ["main", "shop"]
    assert service.tokens == ["Bearer a-token"] * 2
    assert found["answered_by"] == what
    assert found["fallback"]["outcome"] == "answered"
    assert found["fallback"]["sent_bytes"] == service.asked[1].ByteSize()
    assert main(["info", str(store), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["sent"]["questions"] == {what: 2}


def test_a_server_that_is_dead_leaves_the_devices_answer(
    shop: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ledger = ["--ledger", str(tmp_path / "sent.sqlite")]
    with dead() as address:
        named = ["--server-fallback", address, *ledger, "--when", "always"]
        code = main(["search", str(shop / "store"), str(shop / "5.png"), *named])

    lines = capsys.readouterr().out.splitlines()
    assert code == 0
    assert "Thing 5 (sku-5)" in lines[0]
    assert lines[1].startswith("answered by the device (server unavailable, ")
    assert main(["info", str(shop / "store"), *ledger]) == 0
    said = capsys.readouterr().out
    assert "sent         1 embeddings (" in said
    assert f"to {address} (main): unavailable" in said


@pytest.mark.parametrize(
    ("options", "code", "told"),
    [
        (["--server-fallback", "nowhere"], 1, "HOST:PORT"),
        (["--server-fallback", "a.example:1", "--when", "seldom"], 2, "unsure or always"),
        (["--server-fallback", "a.example:1", "--deadline", "0"], 1, "deadline"),
        (["--server-fallback", "a.example:1", "--ca", "/nowhere"], 1, "cannot be read"),
        (["--server-fallback", "store", "--when", "always"], 0, "follows no server"),
    ],
    ids=["address", "when", "deadline", "ca", "store"],
)
def test_a_server_that_cannot_be_asked_is_told(
    options: list[str], code: int, told: str, shop: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = main(["search", str(shop / "store"), str(shop / "5.png"), *options])

    printed = capsys.readouterr()
    assert found == code
    assert told in printed.out + printed.err
    assert not (shop / "store" / "ledger.sqlite").exists()


def test_box_of_the_photo_is_searched(
    shop: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    photo = Image.new("RGB", (128, 64))
    for place, number in enumerate((0, 4)):
        with Image.open(shop / f"{number}.png") as image:
            photo.paste(image, (64 * place, 0))
    photo.save(tmp_path / "two.png")
    arguments = ["search", str(shop / "store"), str(tmp_path / "two.png"), "-k", "1", "--json"]

    found = []
    for box in ("0,0,64,64", "64,0,128,64"):
        assert main([*arguments, "--box", box]) == 0
        found.append(json.loads(capsys.readouterr().out)[0]["matches"][0]["product"]["id"])

    assert found == ["sku-0", "sku-4"]


def test_why_a_photo_matches_is_drawn(
    shop: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    photo, file = str(shop / "2.png"), tmp_path / "why.png"
    arguments = ["search", str(shop / "store"), photo, "--explain", str(file)]

    assert main(arguments) == 0
    assert "This is Thing 2 (sku-2)\nSimilarity 0.999" in capsys.readouterr().out
    with Image.open(file) as drawn:
        assert drawn.format == "PNG"
    file.unlink()
    assert main([*arguments, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)[0]["verdict"] == "match"
    assert file.exists()
    assert main([*arguments, photo]) == 2
    assert "one photo" in capsys.readouterr().err


def test_what_is_explained_is_the_answer_that_was_given(
    shop: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["search", str(shop / "store"), str(shop / "5.png"), "--text", "4"]

    assert main([*arguments, "--explain", str(tmp_path / "why.png")]) == 0

    assert "Also like it is Thing 4 (sku-4)" in capsys.readouterr().out


def test_searching_needs_nothing_but_the_store(
    shop: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(shop / "store", tmp_path / "elsewhere")

    code = main(["search", str(tmp_path / "elsewhere"), str(shop / "3.png"), "--json"])

    (found,) = json.loads(capsys.readouterr().out)
    assert code == 0
    assert found["matches"][0]["product"]["id"] == "sku-3"


def test_words_beside_a_photo_and_alone(shop: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store, photo = str(shop / "store"), str(shop / "5.png")

    assert main(["search", store, photo, "-k", "2", "--text", "6 zebra"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "Thing 5 (sku-5)" in lines[0]  # the verdict is that of the photo
    assert "filter" not in lines[0]
    assert lines[1] == "products with some of the words: 1; none with zebra"
    assert lines[3].split()[:4] == ["1", "Thing", "6", "(sku-6)"]

    assert main(["search", store, photo, "-k", "2", "--text", "4"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "Thing 5 (sku-5)" in lines[0]
    assert lines[0].endswith("; another one has the words")
    assert lines[3].split()[:4] == ["1", "Thing", "4", "(sku-4)"]

    assert main(["search", store, "--text", "thing RED", "-k", "2", "--in-stock"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "products with some of the words: 3"
    assert lines[1].split() == ["#", "product", "price", "share", "image"]
    assert lines[2].split()[:6] == ["1", "Thing", "1", "(sku-1)", "10.00", "USD"]

    assert main(["search", store, "--text", "thing", "--category", "boats"]) == 0
    assert capsys.readouterr().out == (
        "products with some of the words: none; no product satisfies the filter\n"
    )

    assert main(["search", store, photo, "--text", "zebra", "--json"]) == 0
    (found,) = json.loads(capsys.readouterr().out)
    assert found["words"] == {"asked": ["zebra"], "unknown": ["zebra"], "matching": 0}

    assert main(["search", store, "--text", "blue", "-k", "1", "--json"]) == 0
    (found,) = json.loads(capsys.readouterr().out)
    assert (found["text"], found["words"]["matching"]) == ("blue", 4)
    assert found["matches"][0]["product"]["attributes"] == {"colour": "blue"}
    assert found["matches"][0]["image"]["url"] == "https://shop.example/3.png"


def test_neither_photo_nor_words_is_wrong_usage(
    shop: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["search", str(shop / "store")]) == 2

    assert "--text" in capsys.readouterr().err

    needing = "--together", "--box=0,0,9,9", "--category=auto", "--thumbnails=pictures"
    for beside in needing:
        assert main(["search", str(shop / "store"), "--text", "blue", beside]) == 2
        assert "needs one" in " ".join(capsys.readouterr().err.split())

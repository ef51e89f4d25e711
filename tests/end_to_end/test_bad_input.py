"""Bad input through the commands: a clear line, the right exit code, no harm to what was there."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import hashlib
import io
import json
import shutil
import sqlite3
import struct
import subprocess
import sys
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.making.colour_bundle import colour_bundle

from pocketlens.cli import main
from pocketlens.formats import flatbuffers

PRODUCTS = 6


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with pictures, list.csv and a store made of them."""
    folder = tmp_path_factory.mktemp("shop")
    (folder / "pictures").mkdir()
    lines = ["image,product_id,title,category,price,currency,stock"]
    for number in range(PRODUCTS):
        picture(number).save(folder / "pictures" / f"{number}.jpg", quality=92)
        price = f"{number}.50,EUR,{number}"
        lines.append(f"pictures/{number}.jpg,sku-{number},Thing {number},things,{price}")
    (folder / "list.csv").write_text("\n".join(lines) + "\n")
    (folder / "shop.tflite").write_bytes(colour_bundle())
    assert main(index_of(folder, folder / "list.csv")) == 0
    return folder


def index_of(
    shop: Path, image_list: Path, *, model: Path | None = None, out: Path | None = None
) -> list[str]:
    """Arguments of `index`; the shop's own bundle and store where none is given."""
    given = ["index", str(image_list), "--model", str(model or shop / "shop.tflite")]
    return [*given, "--out", str(out or shop / "store")]


def picture(number: int, size: int = 96) -> Image.Image:
    rng = np.random.default_rng(number)
    blocks = rng.integers(0, 256, (4, 4, 3), dtype=np.uint8)
    return Image.fromarray(blocks).resize((size, size), Image.Resampling.NEAREST)


def contents(folder: Path) -> dict[str, str]:
    """Every file below a folder with the hash of its bytes; caches aside."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.parent.name != "cache"
    }


def encoded(image: Image.Image, format: str, **options: object) -> bytes:
    data = io.BytesIO()
    image.save(data, format, **options)
    return data.getvalue()


def png_header(width: int, height: int, depth: int = 8, colour: int = 2) -> bytes:
    """A PNG that claims a size and has next to no data."""

    def chunk(name: bytes, body: bytes) -> bytes:
        crc = zlib.crc32(name + body)
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", crc)

    head = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    data = chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(b"\0")) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + data


# --- pictures: `search` ---------------------------------------------------------------------

GOOD_JPEG = encoded(picture(3), "JPEG", quality=92)

REFUSED_PICTURES: dict[str, tuple[bytes, str]] = {
    "truncated": (GOOD_JPEG[: len(GOOD_JPEG) // 2], "PictureTruncated"),
    "empty": (b"", "PictureError"),
    "text": (b"This is a letter, not a picture.", "PictureFormat"),
    "a format that is not read": (encoded(picture(3), "BMP"), "PictureFormat"),
    "tiny": (encoded(picture(3).resize((5, 40)), "PNG"), "PictureError"),
    "more pixels than the limit": (png_header(12_000, 12_000), "PictureTooLarge"),
    "a longer side than the limit": (png_header(40_000, 20), "PictureTooLarge"),
    "more bytes decoded than the limit": (png_header(7000, 7000, 16, 6), "PictureTooLarge"),
    "more bytes encoded than the limit": (GOOD_JPEG + bytes(64 << 20), "PictureTooLarge"),
}

READ_PICTURES: dict[str, bytes] = {
    "CMYK": encoded(picture(3).convert("CMYK"), "JPEG", quality=92),
    "grey": encoded(picture(3).convert("L"), "PNG"),
    "16-bit": encoded(
        Image.fromarray(np.asarray(picture(3).convert("L")).astype(np.uint16) * 257), "PNG"
    ),
    "palette": encoded(picture(3).convert("P", palette=Image.Palette.ADAPTIVE), "PNG"),
    "transparent": encoded(picture(3).convert("RGBA"), "PNG"),
    "animated": encoded(
        picture(3), "WEBP", save_all=True, append_images=[picture(4)], duration=100, lossless=True
    ),
    "animated PNG": encoded(picture(3), "PNG", save_all=True, append_images=[picture(4)]),
}


def rotated_by_exif() -> bytes:
    """Lying on its side in the file; orientation 6 says: turn it clockwise to see it."""
    exif = Image.Exif()
    exif[0x0112] = 6
    lying = picture(3).transpose(Image.Transpose.ROTATE_90)
    return encoded(lying, "JPEG", quality=92, exif=exif)


READ_PICTURES["rotated by EXIF"] = rotated_by_exif()


@pytest.mark.parametrize("name", REFUSED_PICTURES)
def test_photo_that_cannot_be_used_is_one_line_and_exit_1(
    name: str, shop: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data, error = REFUSED_PICTURES[name]
    photo = tmp_path / "photo.jpg"
    photo.write_bytes(data)
    before = contents(shop / "store")

    code = main(["search", str(shop / "store"), str(photo)])
    printed = capsys.readouterr()
    as_json_code = main(["search", str(shop / "store"), str(photo), "--json"])
    (row,) = json.loads(capsys.readouterr().out)

    assert (code, as_json_code) == (1, 1)
    assert printed.out == ""
    assert printed.err.startswith("error: ")
    assert len(printed.err.splitlines()) == 1
    assert str(photo) in printed.err
    assert row["photo"] == str(photo)
    assert error in {row["error"]["type"], "PictureError"}
    assert row["error"]["type"].startswith("Picture")
    assert contents(shop / "store") == before


@pytest.mark.parametrize("name", READ_PICTURES)
def test_unusual_picture_is_read_as_people_see_it(
    name: str, shop: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    photo = tmp_path / "photo"
    photo.write_bytes(READ_PICTURES[name])

    assert main(["search", str(shop / "store"), str(photo), "--json"]) == 0

    (found,) = json.loads(capsys.readouterr().out)
    if name in {"grey", "16-bit"}:
        assert found["matches"]  # its colours are gone: what it shows is another question
    else:
        assert found["matches"][0]["product"]["id"] == "sku-3"
        assert found["matches"][0]["similarity"] > 0.9


def test_grey_picture_of_16_bits_looks_like_that_of_8(
    shop: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    photos = []
    for name in ("grey", "16-bit"):
        photos.append(str(tmp_path / name))
        Path(photos[-1]).write_bytes(READ_PICTURES[name])

    main(["search", str(shop / "store"), *photos, "--json"])

    first, second = json.loads(capsys.readouterr().out)
    assert first["matches"] == second["matches"]


def test_photo_that_is_missing_is_named(shop: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code = main(["search", str(shop / "store"), "nowhere/photo.jpg"])

    printed = capsys.readouterr().err
    assert code == 1
    assert len(printed.splitlines()) == 1
    assert "nowhere/photo.jpg" in printed


def test_one_bad_photo_does_not_stop_the_others(
    shop: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bad = tmp_path / "bad.jpg"
    bad.write_bytes(b"")
    good = [str(shop / "pictures" / f"{number}.jpg") for number in (1, 2)]

    code = main(["search", str(shop / "store"), good[0], str(bad), good[1], "--json", "-k", "1"])

    first, second, third = json.loads(capsys.readouterr().out)
    assert code == 1
    assert first["matches"][0]["product"]["id"] == "sku-1"
    assert set(second) == {"photo", "error"}
    assert third["matches"][0]["product"]["id"] == "sku-2"


@pytest.mark.skipif(sys.platform != "linux", reason="reads peak memory from /proc")
def test_photo_of_94_megapixels_is_searched_in_little_memory(shop: Path, tmp_path: Path) -> None:
    photo, progressive = tmp_path / "baseline.jpg", tmp_path / "progressive.jpg"
    make = (
        "import sys; from PIL import Image; image = Image.open(sys.argv[1])\n"
        "image = image.resize((11_200, 8_400), Image.Resampling.NEAREST)\n"
        "image.save(sys.argv[2], quality=80)\n"
        "image.crop((0, 0, 11_200, 8_400)).save(sys.argv[3], quality=80, progressive=True)\n"
    )
    source = str(shop / "pictures" / "3.jpg")
    subprocess.run([sys.executable, "-c", make, source, photo, progressive], check=True)
    search = (
        "import json, sys, pocketlens\n"
        "from pathlib import Path\n"
        "with pocketlens.Lens.open(sys.argv[1]) as lens:\n"
        "    found = lens.search(sys.argv[2], 1)\n"
        "    try:\n"
        "        lens.search(sys.argv[3])\n"
        "        refused = ''\n"
        "    except pocketlens.PocketLensError as exc:\n"
        "        refused = type(exc).__name__\n"
        # Not getrusage: its peak is inherited from the process that started this one.
        "status = Path('/proc/self/status').read_text()\n"
        "peak_kib = int(status.partition('VmHWM:')[2].split()[0])\n"
        "print(json.dumps([found.matches[0].product.id, refused, peak_kib]))\n"
    )

    done = subprocess.run(
        [sys.executable, "-c", search, str(shop / "store"), photo, progressive],
        capture_output=True,
        text=True,
        check=True,
    )

    product_id, refused, peak_kib = json.loads(done.stdout)
    assert product_id == "sku-3"
    assert refused == "PictureTooLarge"
    assert peak_kib < 300 * 1024


# --- pictures and lists: `index` ----------------------------------------------------------------


def test_bad_pictures_of_a_list_are_rows_of_the_report(
    shop: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for number, (data, _) in enumerate(REFUSED_PICTURES.values()):
        (tmp_path / f"bad-{number}.jpg").write_bytes(data)
    (tmp_path / "good.jpg").write_bytes(GOOD_JPEG)
    images = [*(f"bad-{number}.jpg" for number in range(len(REFUSED_PICTURES))), "good.jpg"]
    lines = [f"{image},sku-{number}" for number, image in enumerate([*images, "missing.jpg"])]
    (tmp_path / "list.csv").write_text("\n".join(["image,product_id", *lines, lines[-2]]))
    out = tmp_path / "store"

    code = main(
        [
            "index",
            str(tmp_path / "list.csv"),
            "--model",
            str(shop / "shop.tflite"),
            "--out",
            str(out),
            "--json",
        ]
    )

    report = json.loads(capsys.readouterr().out)
    assert code == 0
    assert (report["images"], report["products"]) == (1, 1)
    told = {problem["line"] for problem in report["problems"]}
    assert told == {*range(2, 2 + len(REFUSED_PICTURES)), len(images) + 2, len(images) + 3}
    assert main(["verify", str(out)]) == 0


BAD_LISTS: dict[str, tuple[bytes, tuple[str, ...]]] = {
    "only missing pictures": (b"image,product_id\nno.jpg,a\n", ("picture",)),
    "a bad price": (
        b"image,product_id,price,currency\npictures/0.jpg,a,cheap,EUR\n",
        ("line 2", "price", "cheap"),
    ),
    "a bad currency": (
        b"image,product_id,price,currency\npictures/0.jpg,a,1.50,euro\n",
        ("line 2", "currency"),
    ),
    "no rows": (b"image,product_id\n", ("Received none",)),
    "nothing at all": (b"", ("empty",)),
    "a wrong encoding": (
        "image,product_id,title\npictures/0.jpg,a,Café\n".encode("latin-1"),
        ("UTF-8",),
    ),
    "a missing column": (b"image,title\npictures/0.jpg,a\n", ("product_id",)),
    "an id that is too long": (
        b"image,product_id\npictures/0.jpg," + b"x" * 201 + b"\n",
        ("line 2", "product_id"),
    ),
}


@pytest.mark.parametrize("name", BAD_LISTS)
def test_bad_list_is_refused_and_the_store_stays(
    name: str, shop: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data, expected = BAD_LISTS[name]
    image_list = shop / "bad.csv"
    image_list.write_bytes(data)
    before = contents(shop / "store")

    code = main(index_of(shop, image_list))

    assert_refused(code, capsys, "bad.csv", *expected)
    assert contents(shop / "store") == before
    assert main(["verify", str(shop / "store")]) == 0


def assert_refused(
    code: int, capsys: pytest.CaptureFixture[str], *expected: str, error_lines: int = 1
) -> None:
    """Exit code 1, nothing on stdout, one line of error with these texts."""
    printed = capsys.readouterr()
    errors = [line for line in printed.err.splitlines() if line.startswith("error: ")]
    assert code == 1
    assert printed.out == ""
    assert len(errors) == error_lines
    for text in expected:
        assert text in errors[0]
    assert "Traceback" not in printed.err
    assert "please report" not in printed.err


@pytest.mark.parametrize("name", BAD_LISTS)
def test_bad_list_leaves_nothing_where_there_was_nothing(
    name: str, shop: Path, tmp_path: Path
) -> None:
    (shop / "bad.csv").write_bytes(BAD_LISTS[name][0])
    out = tmp_path / "new" / "store"

    code = main(index_of(shop, shop / "bad.csv", out=out))

    assert code == 1
    assert not out.exists()


def test_duplicate_lines_are_reported_and_ignored(
    shop: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = (shop / "list.csv").read_text()
    (shop / "twice.csv").write_text(text + text.splitlines()[1] + "\n")

    code = main(
        [
            "index",
            str(shop / "twice.csv"),
            "--model",
            str(shop / "shop.tflite"),
            "--out",
            str(tmp_path / "store"),
        ]
    )

    printed = capsys.readouterr()
    assert code == 0
    assert f"line {PRODUCTS + 2}: repeats an earlier line" in printed.err
    assert f"{PRODUCTS} images of {PRODUCTS} products" in printed.out


# --- models ---------------------------------------------------------------------------------


def changed_by_a_bit(data: bytes) -> bytes:
    middle = len(data) // 2
    return data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :]


def without_a_spec(data: bytes) -> bytes:
    found = data.index(b"POCKETLENS")
    return data[:found] + b"POCKETLEN_" + data[found + 10 :]


BAD_MODELS: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "another format": (lambda data: b"PK\x03\x04" + data, "tflite"),
    "an empty file": (lambda data: b"", "tflite"),
    "half a file": (lambda data: data[: len(data) // 2], ""),
    "no spec": (without_a_spec, "spec"),
    "a changed bit": (changed_by_a_bit, "not those it was made with"),
}


@pytest.mark.parametrize("name", BAD_MODELS)
def test_bad_model_is_refused_and_the_store_stays(
    name: str, shop: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    change, expected = BAD_MODELS[name]
    model = shop / "bad.tflite"
    model.write_bytes(change(colour_bundle()))
    before = contents(shop / "store")

    code = main(index_of(shop, shop / "list.csv", model=model))

    assert_refused(code, capsys, expected)
    assert contents(shop / "store") == before


def test_model_that_is_missing_is_named(shop: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code = main(index_of(shop, shop / "list.csv", model=shop / "nowhere.tflite"))

    assert_refused(code, capsys, "nowhere.tflite")


def test_metadata_of_the_golden_bundle_is_where_these_tests_change_it() -> None:
    data = colour_bundle()
    assert data.count(b"POCKETLENS") == 1
    assert flatbuffers.metadata_range(without_a_spec(data), "POCKETLENS") is None


# --- stores ---------------------------------------------------------------------------------


def database_of(store: Path) -> Path:
    (found,) = store.glob("installs/*/store.sqlite")
    return found


def sql(store: Path, statement: str, *parameters: object) -> None:
    with sqlite3.connect(database_of(store)) as connection:
        connection.execute(statement, parameters)
    connection.close()


def make_newer(store: Path) -> None:
    sql(store, "PRAGMA user_version = 99")
    value = struct.pack("<q", 99)
    expected = zlib.crc32(b"format\0" + value)
    sql(store, "UPDATE facts SET value = ?, checksum = ? WHERE name = 'format'", value, expected)


def cut_centroids(store: Path) -> None:
    sql(store, "UPDATE codebook SET centroids = substr(centroids, 1, length(centroids) / 2)")


def damage_bundle(store: Path) -> None:
    (file,) = (store / "files").iterdir()
    file.write_bytes(changed_by_a_bit(file.read_bytes()))


def remove_bundle(store: Path) -> None:
    (file,) = (store / "files").iterdir()
    file.unlink()


def flip_codes(store: Path) -> None:
    sql(store, "UPDATE list_chunks SET codes = zeroblob(length(codes))")


BAD_STORES: dict[str, tuple[Callable[[Path], object], str]] = {
    "of a newer format": (
        make_newer,
        "Update PocketLens",
    ),
    "without a codebook": (lambda store: sql(store, "DELETE FROM codebook"), "codebook"),
    "with a cut codebook": (cut_centroids, "codebook"),
    "with damaged codes": (flip_codes, "list 0"),
    "with a cut database": (
        lambda store: database_of(store).write_bytes(database_of(store).read_bytes()[:5000]),
        "damaged",
    ),
    "with an empty database": (lambda store: database_of(store).write_bytes(b""), "store"),
    "with another file as database": (
        lambda store: database_of(store).write_bytes(b"not a database" * 1000),
        "damaged",
    ),
    "without a database": (lambda store: database_of(store).unlink(), "missing"),
    "with a damaged bundle": (damage_bundle, ""),
    "without a bundle": (remove_bundle, "bundle"),
    "whose CURRENT names nothing": (
        lambda store: (store / "CURRENT").write_text("nothing\n"),
        "CURRENT",
    ),
    "that is not there": (shutil.rmtree, "There is no store"),
}


@pytest.mark.parametrize("name", BAD_STORES)
def test_bad_store_is_refused_by_every_command(
    name: str, shop: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    damage, expected = BAD_STORES[name]
    store = shutil.copytree(shop / "store", tmp_path / "store")
    damage(store)
    before = contents(store) if store.exists() else {}
    photo = str(shop / "pictures" / "0.jpg")

    assert_refused(main(["search", str(store), photo]), capsys, expected)
    assert main(["verify", str(store)]) == 1
    said = capsys.readouterr()
    assert expected in said.out + said.err
    assert main(["doctor", str(store)]) == 1
    assert "fail" in capsys.readouterr().out
    assert (contents(store) if store.exists() else {}) == before


@pytest.mark.parametrize("name", BAD_STORES)
def test_index_mends_a_bad_store(name: str, shop: Path, tmp_path: Path) -> None:
    store = shutil.copytree(shop / "store", tmp_path / "store")
    BAD_STORES[name][0](store)

    code = main(index_of(shop, shop / "list.csv", out=store))

    assert code == 0
    assert main(["verify", str(store)]) == 0


def test_folder_of_something_else_is_left_alone(
    shop: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "diary.txt").write_text("dear diary")

    code = main(
        [
            "index",
            str(shop / "list.csv"),
            "--model",
            str(shop / "shop.tflite"),
            "--out",
            str(tmp_path),
        ]
    )

    assert_refused(code, capsys, str(tmp_path))
    assert contents(tmp_path) == {"diary.txt": hashlib.sha256(b"dear diary").hexdigest()}


# --- questions ------------------------------------------------------------------------------


def test_k_of_0_is_refused(shop: Path, capsys: pytest.CaptureFixture[str]) -> None:
    photo = str(shop / "pictures" / "0.jpg")

    code = main(["search", str(shop / "store"), photo, "-k", "0"])

    assert_refused(code, capsys, "Expected k of 1 or more. Received 0.")


def test_k_beyond_the_catalogue_gives_all_there_is(
    shop: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    photo = str(shop / "pictures" / "0.jpg")

    code = main(["search", str(shop / "store"), photo, "-k", "1000", "--json"])

    (found,) = json.loads(capsys.readouterr().out)
    shown = [match["product"]["id"] for match in found["matches"]]
    shown += [each["id"] for match in found["matches"] for each in match["alternatives"]]
    assert code == 0
    assert sorted(shown) == [f"sku-{number}" for number in range(PRODUCTS)]


@pytest.mark.parametrize(
    ("options", "code", "expected"),
    [
        (["--box", "0,0,10"], 2, "LEFT,TOP,RIGHT,BOTTOM"),
        (["--box", "50,50,10,10"], 1, "box"),
        (["--box", "500,500,900,900"], 1, "box"),
        (["--max-price", "cheap"], 2, "--max-price"),
        (["--max-price", "-1"], 1, "max_price"),
        (["--min-price", "5", "--max-price", "1"], 1, "min_price"),
        (["--currency", "euro"], 1, "currency"),
        (["--attribute", "red"], 2, "NAME=VALUE"),
        (["--accelerator", "abacus"], 2, "abacus"),
        (["-k", "many"], 2, "-k"),
        (["--colour", "red"], 2, "--colour"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_question_that_cannot_be_is_refused(
    options: list[str],
    code: int,
    expected: str,
    shop: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    photo = str(shop / "pictures" / "0.jpg")

    assert main(["search", str(shop / "store"), photo, *options]) == code

    printed = capsys.readouterr()
    assert printed.out == ""
    assert expected in printed.err

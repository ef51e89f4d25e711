"""Hostile pictures are refused by name, soon, and within memory.

The short form; benchmarks/faults has the long one.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import contextlib
import subprocess
import sys
import zlib
from pathlib import Path
from time import process_time

import numpy as np
import pytest
from PIL import Image
from tests.making import pictures as making

from pocketlens.errors import PictureError, PictureFormat
from pocketlens.formats.bundle import Spec
from pocketlens.query.pictures import tensor

ROOT = Path(__file__).resolve().parents[2]
SPEC = Spec("test", 64, 64, 8)
MUTANTS = 2000
MOST_SECONDS, MOST_MB = 2.0, 300  # of CPU time: other work on the machine is not ours
SMALL = making.drawn(48, 36)


def webp(image: Image.Image, **options: object) -> bytes:
    return making.encoded(image, "WEBP", lossless=True, **options)


def mode_fixtures() -> dict[str, bytes]:
    """Pictures of odd kinds that must be read."""
    palette = SMALL.convert("P")
    made = {
        "1 bit": making.encoded(SMALL.convert("1"), "PNG"),
        "grey": making.encoded(SMALL.convert("L"), "PNG"),
        "grey with alpha": making.encoded(SMALL.convert("LA"), "PNG"),
        "palette": making.encoded(palette, "PNG"),
        "palette with alpha": making.encoded(palette, "PNG", transparency=bytes(range(256))),
        "RGBA": making.encoded(SMALL.convert("RGBA"), "PNG"),
        "CMYK": making.encoded(SMALL.convert("CMYK")),
        "grey JPEG": making.encoded(SMALL.convert("L")),
        "progressive": making.encoded(SMALL, progressive=True),
        "interlaced": making.png(48, 36),
        "animated PNG": making.animated("PNG"),
        "animated WebP": making.animated("WEBP"),
        "WebP with alpha": webp(SMALL.convert("RGBA")),
        "broken profile": making.encoded(SMALL, icc_profile=b"\xff" * 70_000),
        "broken profile in PNG": making.encoded(SMALL, "PNG", icc_profile=b"\xff" * 70_000),
        "nonsense EXIF": making.with_exif(making.encoded(SMALL), b"Exif\0\0MM\0*\xff" * 999),
        "film behind": making.encoded(SMALL) + bytes(1_000_000),
    }
    made |= {f"16 bits {each}": making.png_16_bit(48, 36, colour=each) for each in (0, 2, 4, 6)}
    made |= {
        f"EXIF {each}": making.with_exif(making.encoded(SMALL), making.exif(each))
        for each in range(9)
    }
    return made


def bomb_fixtures() -> dict[str, bytes]:
    """Small files that claim, or unfold into, much."""
    png, jpeg = making.encoded(SMALL, "PNG"), making.encoded(SMALL)
    text = making.png_chunk(b"zTXt", b"c\0\0" + zlib.compress(bytes(80_000_000)))
    progressive = making.encoded(SMALL, progressive=True)
    scan = progressive.rindex(b"\xff\xda")
    exif = making.with_exif(b"\xff\xd8", b"Exif\0\0" + bytes(65_000))[2:]
    many_small = making.png_chunk(b"teXt") * 90_000
    return {
        "94 MP progressive": making.flat_jpeg(11_700, 8_050, progressive=True),
        "200 MP baseline": making.flat_jpeg(20_000, 10_000),
        "4 GP baseline": making.flat_jpeg(65_000, 65_000)[:100_000],
        "50 MP of zeros": making.png(10_000, 5_000),
        "64-bit PNG": making.png(30_000, 30_000, depth=16, colour=6, data=b""),
        "1-bit PNG": making.png(30_000, 30_000, depth=1, colour=0, data=bytes(1000)),
        "text": making.with_png_chunks(png, text),
        "profile": making.with_png_chunks(png, text.replace(b"zTXt", b"iCCP")),
        "chunks": making.with_png_chunks(png, many_small),
        "scans": progressive[:-2] + progressive[scan:-2] * 50_000,
        "scans within the limit": progressive[:-2] + progressive[scan:-2] * 80,
        "EXIF segments": jpeg[:2] + exif * 800 + jpeg[2:],
        "comments": jpeg[:2] + b"\xff\xfe\0\2" * 9_000 + jpeg[2:],
        "fill": jpeg[:2] + b"\xff" * 5_000_000 + jpeg[2:],
        "junk": jpeg[:2] + b"\xff\0" * 2_500_000 + jpeg[2:],
        "tables": jpeg[:2] + (b"\xff\xdb\0\x43\0" + b"\1" * 64) * 900 + jpeg[2:],
        "restarts": jpeg[:2] + b"\xff\xd0" * 9_000 + jpeg[2:],
    }


def other_formats() -> dict[str, bytes]:
    """Formats that Pillow or others read and this SDK does not: by magic, or as Pillow writes."""
    magics = """
        gif:474946383961 psd:38425053 pdf:255044462d312e37 eps:25215053 ico:00000100 cur:00000200
        icns:69636e73 jxl:ff0a jp2:0000000c6a502020 j2k:ff4fff51 tiff:49492a00 tiff2:4d4d002a
        bigtiff:49492b00 bmp:424d pcx:0a050108 tga:00000200 dds:44445320 exr:762f3101 hdr:233f5241
        qoi:716f6966 flif:464c4946 bpg:425047fb avif:000000206674797061766966
        mp4:000000186674797069736f6d riff:52494646240000004156492000 wav:524946462400000057415645
        wmf:d7cdc69a emf:01000000 xcf:67696d7020786366 djvu:41542654464f524d fits:53494d504c45
        hdf5:894844460d0a1a0a grib:47524942 svg:3c73766720 html:3c21444f43545950 zip:504b0304
        gz:1f8b08 elf:7f454c46 exe:4d5a script:23212f62696e2f7368 mng:8a4d4e470d0a1a0a
        jng:8b4a4e470d0a1a0a text:68656c6c6f utf16:fffe6800 zeros:0000000000000000 ff:ffffffffffff
    """
    noise = np.random.default_rng(5).bytes(3000)
    made = {name: bytes.fromhex(magic) + noise for name, magic in
            (each.split(":") for each in magics.split())}  # fmt: skip
    made["empty"] = b""
    Image.init()
    for form in ("GIF", "BMP", "TIFF", "PPM", "ICO", "TGA", "PCX", "SGI", "JPEG2000", "AVIF"):
        if form in Image.SAVE:
            made[f"Pillow's {form}"] = making.encoded(SMALL, form)
    return made


def outcome(data: bytes) -> str:
    """What became of a picture: "read", or the error's name; any but a PictureError escapes."""
    try:
        made = tensor(data, SPEC)
    except PictureError as exc:
        return type(exc).__name__
    assert made.shape == (64, 64, 3)
    return "read"


@pytest.mark.parametrize("form", ["JPEG", "progressive", "PNG", "WEBP"])
def test_mutants_are_read_or_refused(form: str) -> None:
    rgba = making.drawn(40, 30).convert("RGBA")
    seeds = {
        "JPEG": [
            making.encoded(SMALL, exif=making.exif(6)),
            making.encoded(SMALL.convert("CMYK")),
            making.encoded(SMALL.convert("L"), restart_marker_blocks=2),
        ],
        "progressive": [making.encoded(SMALL, progressive=True, icc_profile=bytes(300))],
        "PNG": [
            making.encoded(SMALL, "PNG", exif=making.exif(3)),
            making.encoded(SMALL.convert("P"), "PNG", transparency=bytes(range(256))),
            making.png_16_bit(30, 20, colour=4),
            making.animated("PNG"),
        ],
        "WEBP": [
            webp(rgba, exif=making.exif(8)),
            making.encoded(SMALL, "WEBP", quality=50),
            making.animated("WEBP"),
        ],
    }[form]
    outcomes: dict[str, int] = {}
    for mutant in making.mutants(seeds, MUTANTS // 4, np.random.default_rng(32)):
        started = process_time()
        name = outcome(mutant)
        assert process_time() - started < MOST_SECONDS
        outcomes[name] = outcomes.get(name, 0) + 1

    # Both ways are taken: these are mutants, neither all noise nor all harmless.
    assert outcomes.pop("read", 0) > 5
    assert sum(outcomes.values()) > 50


@pytest.mark.parametrize("name", list(mode_fixtures()))
def test_odd_picture_is_read(name: str) -> None:
    assert outcome(mode_fixtures()[name]) == "read"


@pytest.mark.parametrize("name", list(other_formats()))
def test_other_format_is_refused(name: str) -> None:
    with pytest.raises(PictureFormat):
        tensor(other_formats()[name], SPEC)


def test_bombs_cost_neither_time_nor_memory(tmp_path: Path) -> None:
    """In a process of its own, whose largest memory is asked for after each."""
    if not Path("/proc/self/status").exists():
        pytest.skip("peak memory is read from /proc")
    for name, data in bomb_fixtures().items():
        (tmp_path / name).write_bytes(data)
    code = f"""
import sys
from pathlib import Path
from time import process_time
from pocketlens.errors import PictureError
from pocketlens.formats.bundle import Spec
from pocketlens.query.pictures import tensor
for path in sorted(Path(sys.argv[1]).iterdir()):
    started = process_time()
    try:
        tensor(path, Spec("test", 64, 64, 8))
        outcome = "read"
    except PictureError as exc:
        outcome = type(exc).__name__
    seconds = process_time() - started
    lines = Path("/proc/self/status").read_text().splitlines()
    peak = next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM"))
    print(path.name, outcome, seconds, peak, sep="|")
    assert seconds < {MOST_SECONDS} and peak < {MOST_MB}
"""
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=False
    )

    assert done.returncode == 0, done.stdout + done.stderr
    outcomes = dict(line.split("|")[:2] for line in done.stdout.splitlines())
    assert len(outcomes) == len(bomb_fixtures())
    for harmless in ("text", "profile", "EXIF segments", "200 MP baseline", "50 MP of zeros"):
        assert outcomes[harmless] == "read", harmless
    for refused in ("94 MP progressive", "scans", "64-bit PNG", "4 GP baseline"):
        assert outcomes[refused] != "read", refused


def test_nothing_is_left_open_or_said(
    tmp_path: Path, recwarn: pytest.WarningsRecorder, capfd: pytest.CaptureFixture[str]
) -> None:
    """A refused file can be deleted on every system, and Pillow's warnings stay inside."""
    for name, data in (mode_fixtures() | other_formats()).items():
        path = tmp_path / name
        path.write_bytes(data)
        with path.open("rb") as file:
            with contextlib.suppress(PictureError):
                tensor(file, SPEC)
            assert not file.closed  # the caller's

    assert [str(warning.message) for warning in recwarn] == []
    assert capfd.readouterr().err == ""

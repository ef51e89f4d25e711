"""What a picture may not be is refused from its header; what it may be stays within memory."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import io
import struct
import subprocess
import sys
import zlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.making import pictures as making

from pocketlens.errors import PictureError, PictureFormat, PictureTooLarge, PictureTruncated
from pocketlens.formats.bundle import Spec
from pocketlens.options import PictureLimits
from pocketlens.query import picture_headers
from pocketlens.query.pictures import tensor, upright

ROOT = Path(__file__).resolve().parents[3]
SPEC = Spec("test", 224, 224, 8)
LIMITS = PictureLimits()
PEAK_MB = 300

# Embeds and searches nothing: what is measured is a process with the SDK's own parts loaded.
MEASURED = """
import sys
import zlib
from pathlib import Path
from pocketlens.query import pictures
from pocketlens.query.embedder import Embedder
box = eval(sys.argv[3])
with Embedder.open(sys.argv[1], accelerator="cpu") as embedder:
    made = embedder.embed(Path(sys.argv[2]), box=box)
    assert made.shape == (embedder.spec.dim,)
lines = Path("/proc/self/status").read_text().splitlines()
print(next(line.split()[1] for line in lines if line.startswith("VmHWM")))
"""


def peak_mb(picture: Path, box: str = "None") -> float:
    """Largest resident memory of a process that embeds `picture`."""
    if not Path("/proc/self/status").exists():
        pytest.skip("peak memory is read from /proc")
    bundle = ROOT / "tests/conformance/vectors/tiny_bundle.tflite"
    done = subprocess.run(
        [sys.executable, "-c", MEASURED, str(bundle), str(picture), box],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return int(done.stdout) / 1024


def test_94_megapixel_baseline_jpeg_works_within_memory(tmp_path: Path) -> None:
    path = tmp_path / "large.jpg"
    path.write_bytes(making.flat_jpeg(11_700, 8_050))

    assert peak_mb(path) < PEAK_MB
    assert peak_mb(path, "(5000, 4000, 5300, 4300)") < PEAK_MB


def test_200_megapixel_baseline_jpeg_works_whatever_pillow_allows(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)  # the app's own choice, left alone

    made = tensor(making.flat_jpeg(20_000, 10_000), SPEC)

    assert made[112, 112].tolist() == [128, 128, 128]
    for other in (making.png(2_000, 1_000, colour=6), making.png(2_000, 1_000, colour=0)):
        assert tensor(other, SPEC).shape == (224, 224, 3)
    assert Image.MAX_IMAGE_PIXELS == 1000


def test_94_megapixel_progressive_jpeg_is_refused_from_its_header() -> None:
    """It has no pixels at all behind its header, so nothing can have been decoded."""
    with pytest.raises(PictureTooLarge, match=r"50 megapixels.*94\.2"):
        tensor(making.flat_jpeg(11_700, 8_050, progressive=True), SPEC)


def test_50_megapixel_png_works_within_memory(tmp_path: Path) -> None:
    path = tmp_path / "large.png"
    path.write_bytes(making.png(10_000, 5_000))

    assert peak_mb(path) < PEAK_MB


def test_large_picture_with_alpha_works_within_memory(tmp_path: Path) -> None:
    """At the limit of bytes: a copy of it in RGB would be beyond the memory."""
    path = tmp_path / "alpha.png"
    path.write_bytes(making.png(6_000, 6_000, colour=6))

    assert peak_mb(path) < PEAK_MB


def test_large_webp_works_within_memory(tmp_path: Path) -> None:
    path = tmp_path / "large.webp"
    image = Image.new("RGB", (4_600, 3_040), (10, 20, 30))
    path.write_bytes(making.encoded(image, "WEBP", quality=10, method=0))
    del image

    assert peak_mb(path) < PEAK_MB


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("baseline of 201 megapixels", making.flat_jpeg(20_100, 10_000)),
        ("long baseline", making.flat_jpeg(30_001, 8)),
        ("low", making.png(500, 7)),
        ("narrow", making.png(7, 500)),
        ("51 megapixels", making.png(10_200, 5_000, depth=1, colour=0, data=b"")),
        ("151 MB at 8 bits", making.png(6_145, 6_145, colour=6, data=b"")),
        ("151 MB at 16 bits", making.png(5_020, 5_020, depth=16, data=b"")),
        ("empty side", making.png(0, 100, data=b"")),
        ("4 gigapixels", making.png(65_535, 65_535, depth=1, colour=0, data=b"")),
    ],
)
def test_beyond_the_limits_is_refused(name: str, data: bytes) -> None:
    with pytest.raises(PictureTooLarge, match="Expected"):
        tensor(data, SPEC)


def test_just_within_the_limits_is_not_refused_for_its_size() -> None:
    for data in (
        making.png(10_000, 5_000, data=b""),
        making.png(5_000, 5_000, depth=16, data=b""),
        making.png(30_000, 8, data=b""),
    ):
        with pytest.raises(PictureTruncated):  # no pixels inside
            tensor(data, SPEC)


def test_limits_are_options() -> None:
    picture = making.encoded(making.drawn(100, 60), "PNG")
    for changed in (
        {"encoded_bytes": len(picture) - 1},
        {"other_pixels": 5_999},
        {"decoded_bytes": 17_999},
        {"min_side": 61},
        {"max_side": 99},
    ):
        with pytest.raises(PictureTooLarge):
            tensor(picture, SPEC, limits=replace(LIMITS, **changed))
    exact = PictureLimits(len(picture), 1, 6_000, 18_000, 60, 100)
    assert tensor(picture, SPEC, limits=exact).shape == (224, 224, 3)
    with pytest.raises(PictureTooLarge):
        tensor(making.encoded(making.drawn(100, 60)), SPEC, limits=exact)


def test_limits_hold_for_images_and_arrays() -> None:
    image = making.drawn(100, 60)
    limits = replace(LIMITS, other_pixels=5_999)
    for picture in (image, np.asarray(image)):
        with pytest.raises(PictureTooLarge):
            tensor(picture, SPEC, limits=limits)


def test_file_is_not_read_further_than_its_limit() -> None:
    class Endless(io.RawIOBase):
        given = 0

        def read(self, size: int = -1) -> bytes:
            assert size >= 0, "a file without an end would be read for ever"
            self.given += size
            return bytes(size)

    file = Endless()
    with pytest.raises(PictureTooLarge, match="at most 1000 bytes"):
        tensor(file, SPEC, limits=replace(LIMITS, encoded_bytes=1000))  # type: ignore[arg-type]
    assert file.given == 1001


def test_file_beyond_its_limit_is_not_read_at_all(tmp_path: Path) -> None:
    path = tmp_path / "sparse.jpg"
    with path.open("wb") as file:
        file.truncate(1 << 40)

    with pytest.raises(PictureTooLarge, match=r"sparse\.jpg"):
        tensor(path, SPEC)


def test_file_that_comes_in_small_parts_is_read_whole() -> None:
    class Slow(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            return super().read(min(size or 1, 100))

    jpeg = making.encoded(making.drawn(300, 200))

    assert (tensor(Slow(jpeg), SPEC) == tensor(jpeg, SPEC)).all()


def test_progressive_jpeg_counts_its_coefficients() -> None:
    """Full colour resolution takes twice the memory of the usual halved one."""
    halved = making.encoded(making.drawn(320, 320), progressive=True, subsampling=2)
    full = making.encoded(making.drawn(320, 320), progressive=True, subsampling=0)

    assert picture_headers.read(halved).memory_bytes == 320 * 320 * 3
    assert picture_headers.read(full).memory_bytes == 320 * 320 * 6
    assert not picture_headers.read(full).scalable
    with pytest.raises(PictureTooLarge):
        tensor(full, SPEC, limits=replace(LIMITS, decoded_bytes=320 * 320 * 5))


def test_baseline_jpeg_in_several_scans_counts_as_progressive() -> None:
    """libjpeg keeps all coefficients of it, too."""
    jpeg = bytearray(making.encoded(making.drawn(64, 64)))
    assert picture_headers.read(bytes(jpeg)).scalable
    jpeg[jpeg.index(b"\xff\xda") + 4] = 1

    assert not picture_headers.read(bytes(jpeg)).scalable


def test_jpeg_of_a_thousand_scans_is_refused() -> None:
    jpeg = making.encoded(making.drawn(64, 64), progressive=True)
    scan = jpeg.rindex(b"\xff\xda")

    with pytest.raises(PictureFormat, match="scans"):
        tensor(jpeg[:-2] + jpeg[scan:-2] * 1000 + b"\xff\xd9", SPEC)


def test_picture_of_a_million_segments_ends_soon() -> None:
    jpeg = making.encoded(making.drawn(64, 64))
    comments = b"\xff\xfe\x00\x02" * 1_000_000
    with pytest.raises(PictureFormat, match="segments"):
        tensor(jpeg[:2] + comments + jpeg[2:], SPEC)

    png = making.encoded(making.drawn(64, 64), "PNG")
    with pytest.raises(PictureFormat, match="chunks"):
        tensor(making.with_png_chunks(png, *[making.png_chunk(b"teXt")] * 101_000), SPEC)


def test_text_that_inflates_to_gigabytes_is_never_opened() -> None:
    bomb = zlib.compress(bytes(50_000_000))
    text = making.png_chunk(b"zTXt", b"comment\0\0" + bomb)
    profile = making.png_chunk(b"iCCP", b"profile\0\0" + bomb)
    png = making.encoded(making.drawn(64, 64), "PNG")

    made = tensor(making.with_png_chunks(png, text, profile), SPEC)

    assert (made == tensor(png, SPEC)).all()


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP"])
def test_every_cut_is_truncated_or_whole(form: str) -> None:
    options = {"lossless": True} if form == "WEBP" else {}
    data = making.encoded(making.drawn(40, 30), form, **options)
    spec = Spec("test", 32, 32, 8)
    whole = tensor(data, spec)
    for length in range(len(data)):
        try:
            made = tensor(data[:length], spec)
        except PictureTruncated:
            assert length > 2
        except PictureFormat:
            assert length < 34, length  # not yet to be known as one
        else:
            assert form == "JPEG", length
            assert length >= len(data) - 2, length  # only the end marker is missing
            assert (made == whole).all()


def test_empty_and_other_data_is_named() -> None:
    for data, named in (
        (b"", "0 bytes"),
        (b"GIF89a" + bytes(50), "a GIF"),
        (b"BM" + bytes(50), "a BMP"),
        (b"II*\0" + bytes(50), "a TIFF"),
        (b"hello, I am no picture", "none"),
    ):
        with pytest.raises(PictureFormat, match=f"Received {named}"):
            tensor(data, SPEC)


def test_error_names_the_file(tmp_path: Path) -> None:
    path = tmp_path / "cut.jpg"
    path.write_bytes(making.encoded(making.drawn(200, 200))[:1500])

    with pytest.raises(PictureTruncated, match=r"cut\.jpg: .*ends"):
        tensor(path, SPEC)


def test_headers_that_contradict_each_other_are_refused() -> None:
    webp = bytearray(making.encoded(making.drawn(64, 48), "WEBP", exif=making.exif(3)))
    assert webp[12:16] == b"VP8X"
    webp[24:27] = struct.pack("<I", 20)[:3]

    with pytest.raises(PictureError):
        tensor(bytes(webp), SPEC)


def test_broken_jpeg_headers_are_refused() -> None:
    jpeg = making.encoded(making.drawn(64, 64))
    frame = jpeg.index(b"\xff\xc0")
    segment = jpeg[frame : frame + 19]
    for broken in (
        jpeg[:frame] + segment + jpeg[frame:],  # two frames
        jpeg[:frame] + jpeg[frame + 19 :],  # none
        jpeg[: frame + 4] + b"\x0c" + jpeg[frame + 5 :],  # 12 bits
        jpeg[: frame + 9] + b"\x02" + jpeg[frame + 10 :],  # two components
        jpeg[: frame + 11] + b"\x00" + jpeg[frame + 12 :],  # sampled not at all
        jpeg[: frame + 1] + b"\xc3" + jpeg[frame + 2 :],  # lossless
        jpeg[:frame] + (b"\xff\xdb\x00\x43\x00" + bytes([1] * 64)) * 2000 + jpeg[frame:],  # tables
    ):
        with pytest.raises(PictureFormat):
            tensor(broken, SPEC)


def test_junk_between_jpeg_segments_is_skipped() -> None:
    jpeg = making.encoded(making.drawn(64, 64))
    frame = jpeg.index(b"\xff\xc0")

    made = upright(jpeg[:frame] + b"junk\xff\x00\xff\xff" + jpeg[frame:])

    assert made.tobytes() == upright(jpeg).tobytes()


@pytest.mark.parametrize(
    "exif",
    [
        b"",
        b"Exif\0\0",
        b"II*\0",
        b"II*\0\xff\xff\xff\xff",
        b"MM\0*\0\0\0\x08\xff\xff",
        b"II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x02\0\0\0\x06\0\0\0",
        b"XX*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0",
        making.exif(6)[:-8],
    ],
)
def test_nonsense_exif_is_orientation_1(exif: bytes) -> None:
    assert picture_headers.exif_orientation(exif) == 1


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_of_either_byte_order(orientation: int) -> None:
    little = making.exif(orientation)
    big = b"MM\0*" + struct.pack(">IHHHIHH", 8, 1, 0x0112, 3, 1, orientation, 0) + bytes(4)

    assert picture_headers.exif_orientation(little) == orientation
    assert picture_headers.exif_orientation(little[6:]) == orientation
    assert picture_headers.exif_orientation(big) == orientation

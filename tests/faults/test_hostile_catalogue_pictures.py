"""Catalogue pictures made to do harm cost themselves, and nobody else anything.

They are decoded in other processes, as a server does it (`pocketlens_server.catalogue.decoders`).
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import os
import signal
import struct
import subprocess
import sys
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from time import monotonic

import pytest
from tests.making import pictures as making
from tests.making.decoder_processes import ended, workers
from tests.making.held_pictures import HeldPicture
from tests.making.open_files import open_files

from pocketlens.errors import PictureError, PictureTooLarge
from pocketlens.formats.bundle import Spec
from pocketlens.options import PictureLimits
from pocketlens.query.pictures import tensor
from pocketlens_server.catalogue.decoders import Decoders, DecodingLimits

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="processes are read from /proc")

SPEC = Spec("test", 64, 64, 8)
SMALL = making.drawn(48, 36)
NO_LIMITS = PictureLimits(
    other_pixels=10**12, decoded_bytes=10**13, baseline_jpeg_pixels=10**12, max_side=10**6
)
SOON = 5.0  # seconds on a busy machine for what takes milliseconds


@pytest.fixture(scope="module")
def decoders() -> Iterator[Decoders]:
    with Decoders(workers=2) as made:
        yield made


def saved(folder: Path, data: bytes, name: str = "picture") -> Path:
    (folder / name).write_bytes(data)
    return folder / name


def outcome(decoders: Decoders, path: Path) -> bytes | type[PictureError]:
    try:
        return decoders.decoded(path, SPEC).tobytes()
    except PictureError as exc:
        return type(exc)


def outcome_here(path: Path) -> bytes | type[PictureError]:
    """What this process makes of it, which is tested elsewhere."""
    try:
        return tensor(path, SPEC).tobytes()
    except PictureError as exc:
        return type(exc)


def large_webp(width: int, height: int) -> bytes:
    """A lossless WebP whose header says another size than its data has (RFC 9649, 3.4)."""
    data = bytearray(making.encoded(SMALL, "WEBP", lossless=True))
    struct.pack_into("<I", data, 21, (width - 1) | (height - 1) << 14)
    return bytes(data)


def bombs() -> dict[str, bytes]:
    """Small files that say, or unfold into, much more than is allowed."""
    return {
        "PNG": making.png(30_000, 30_000, depth=16, colour=6, data=b""),
        "JPEG": making.flat_jpeg(65_000, 65_000)[:100_000],
        "progressive JPEG": making.flat_jpeg(30_000, 30_000, progressive=True),
        "WebP": large_webp(16_383, 16_383),
    }


def test_bombs_are_refused_and_cost_no_process(decoders: Decoders, tmp_path: Path) -> None:
    decoders.decoded(saved(tmp_path, making.encoded(SMALL)), SPEC)
    before = workers()
    for name, data in bombs().items():
        began = monotonic()

        assert outcome(decoders, saved(tmp_path, data, name)) is PictureTooLarge, name

        assert monotonic() - began < SOON
    assert workers() == before


def test_what_unfolds_beside_the_pixels_is_not_unfolded(decoders: Decoders, tmp_path: Path) -> None:
    text = making.png_chunk(b"zTXt", b"c\0\0" + zlib.compress(bytes(80_000_000), 1))
    png = making.encoded(SMALL, "PNG")

    found = outcome(decoders, saved(tmp_path, making.with_png_chunks(png, text)))

    assert found == outcome_here(saved(tmp_path, png, "plain"))


@pytest.mark.parametrize("name", ["PNG", "progressive JPEG"])
def test_a_bomb_that_its_header_does_not_betray_meets_the_limit_of_memory(
    decoders: Decoders, tmp_path: Path, name: str
) -> None:
    """As if the check of headers had a hole: it is switched off."""
    path, began = saved(tmp_path, bombs()[name], name), monotonic()
    with pytest.raises(PictureError, match=r"1,024 MiB\. .* decoder needed more memory"):
        decoders.decoded(path, SPEC, limits=NO_LIMITS)

    assert monotonic() - began < SOON


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP"])
def test_a_picture_cut_anywhere_is_read_or_refused(
    decoders: Decoders, tmp_path: Path, form: str
) -> None:
    whole = making.encoded(making.drawn(40, 30), form)
    paths = [
        saved(tmp_path, whole[:size], f"{size}") for size in range(0, len(whole), len(whole) // 60)
    ]
    with ThreadPoolExecutor(4) as threads:
        found = list(threads.map(lambda path: outcome(decoders, path), paths))

    assert found == [outcome_here(path) for path in paths]
    assert sum(isinstance(each, type) for each in found) > 30


def test_what_is_no_picture_is_refused(decoders: Decoders, tmp_path: Path) -> None:
    """Or begins as one and is none: JPEG, PNG and WebP are the last three."""
    magics = """474946383961 25504446 504b0304 7f454c46 3c737667 0000000c6a502020 49492a00
        ffd8ff 89504e470d0a1a0a 52494646000000005745425056503820"""
    for magic in magics.split():
        path = saved(tmp_path, bytes.fromhex(magic) + bytes(range(256)) * 8, magic)

        found = outcome(decoders, path)

        assert found == outcome_here(path), magic
        assert isinstance(found, type), magic


def test_a_jpeg_of_94_megapixels_is_read(decoders: Decoders, tmp_path: Path) -> None:
    """In 0.05 s of a core; one of real pixels, 6.6 MB, takes 0.1 s and 12 MB of memory."""
    path, began = saved(tmp_path, making.flat_jpeg(11_700, 8_050)), monotonic()

    found = decoders.decoded(path, SPEC)

    assert monotonic() - began < SOON
    assert found.tobytes() == outcome_here(path)


@pytest.mark.parametrize("form", ["a pipe", "much alpha"])
def test_a_picture_that_takes_too_long_is_given_up(tmp_path: Path, form: str) -> None:
    """One waits for ever, one computes for a second."""
    good, path = saved(tmp_path, making.encoded(SMALL)), tmp_path / form
    if form == "a pipe":
        HeldPicture(path)
    else:
        path.write_bytes(making.png(6_000, 6_000, colour=6))
    before = workers()
    with Decoders(DecodingLimits(seconds=0.4), 1) as decoders:
        with pytest.raises(PictureError, match=r"within 0.4 s .* took longer"):
            decoders.decoded(path, SPEC)
        assert workers() == before

        assert outcome(decoders, good) == outcome_here(good)


def test_a_process_killed_in_the_middle_costs_its_picture_alone(tmp_path: Path) -> None:
    held = HeldPicture(tmp_path / "held")
    paths = [
        saved(tmp_path, making.encoded(making.drawn(60, 40, seed=n)), f"{n}") for n in range(9)
    ]
    before = workers()
    with Decoders(workers=2) as decoders, ThreadPoolExecutor(3) as threads:
        doomed = threads.submit(decoders.decoded, held.path, SPEC)
        held.wait_until_read()
        (process,) = workers() - before
        others = [threads.submit(outcome, decoders, path) for path in paths * 20]
        os.kill(process, signal.SIGKILL)

        with pytest.raises(PictureError, match=r"held: .* was ended by signal 9 \(Killed\)"):
            doomed.result()
        assert [each.result() for each in others] == [outcome_here(path) for path in paths] * 20
        assert process not in workers()
    held.let_go()


def test_no_process_outlives_a_server_that_is_killed(tmp_path: Path) -> None:
    """Neither one that waits, nor one in the middle of a picture."""
    good, held = saved(tmp_path, making.encoded(SMALL)), HeldPicture(tmp_path / "held")
    code = """
import sys, threading
from pathlib import Path
from pocketlens.formats.bundle import Spec
from pocketlens_server.catalogue.decoders import Decoders
good, held = map(Path, sys.argv[1:])
decoders, spec = Decoders(workers=2), Spec("test", 64, 64, 8)
threading.Thread(target=decoders.decoded, args=(held, spec)).start()
input()
decoders.decoded(good, spec)
print("decoded", flush=True)
input()
"""
    command = [sys.executable, "-c", code, str(good), str(held.path)]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) as server:
        assert server.stdin is not None
        assert server.stdout is not None
        held.wait_until_read()
        print(file=server.stdin, flush=True)
        assert server.stdout.readline() == "decoded\n"
        processes = workers(server.pid)
        server.kill()
    try:
        assert len(processes) == 2
        assert [each for each in processes if not ended(each)] == []
    finally:
        held.let_go()


def test_1000_pictures_leave_nothing_behind(tmp_path: Path) -> None:
    bad = making.encoded(SMALL)[:300]
    paths = [
        saved(
            tmp_path, bad if n % 10 == 0 else making.encoded(making.drawn(60, 40, seed=n)), f"{n}"
        )
        for n in range(50)
    ] * 20
    processes, files, expected = workers(), open_files(), [outcome_here(path) for path in paths]
    with (
        Decoders(DecodingLimits(pictures_each=125), 2) as decoders,
        ThreadPoolExecutor(4) as threads,
    ):
        found = list(threads.map(lambda path: outcome(decoders, path), paths))
        assert len(workers() - processes) <= 2

    assert found == expected
    assert workers() == processes
    assert open_files() <= files

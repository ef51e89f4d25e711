"""What other processes decode is what this one would, and they are kept few, fresh and confined."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import os
import re
import signal
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from tests.making import pictures as making
from tests.making.decoder_processes import rogue, workers
from tests.making.held_pictures import HeldPicture

from pocketlens.errors import PictureError, PictureFormat, QueryError, ServerError
from pocketlens.formats.bundle import Spec
from pocketlens.options import PictureLimits
from pocketlens.query.pictures import tensor
from pocketlens_server.catalogue.decoders import COMMAND, Decoders, DecodingLimits

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="processes are read from /proc")

SPEC = Spec("test", 64, 64, 8)
SMALL = making.drawn(96, 72)


@pytest.fixture(scope="module")
def decoders() -> Iterator[Decoders]:
    with Decoders(workers=2) as made:
        yield made


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    return saved(tmp_path, making.encoded(SMALL))


def saved(folder: Path, data: bytes, name: str = "picture") -> Path:
    (folder / name).write_bytes(data)
    return folder / name


def odd_pictures() -> dict[str, bytes]:
    made = {
        "CMYK": making.encoded(SMALL.convert("CMYK")),
        "progressive": making.encoded(SMALL, progressive=True),
        "palette": making.encoded(SMALL.convert("P"), "PNG"),
        "alpha": making.encoded(SMALL.convert("RGBA"), "PNG"),
        "16 bits": making.png_16_bit(96, 72, colour=6),
        "animated": making.animated("WEBP"),
        "WebP": making.encoded(SMALL, "WEBP", quality=60),
        "large": making.encoded(making.drawn(1500, 900), quality=90),
        "narrow": making.encoded(making.drawn(900, 9), "PNG"),
    }
    made |= {
        f"EXIF {each}": making.with_exif(making.encoded(SMALL), making.exif(each))
        for each in range(1, 9)
    }
    return made


def outcome_here(path: Path, spec: Spec = SPEC) -> bytes | tuple[type[PictureError], str]:
    """What this process makes of it."""
    try:
        return tensor(path, spec).tobytes()
    except PictureError as exc:
        return type(exc), str(exc)


def outcome(
    decoders: Decoders, path: Path, spec: Spec = SPEC
) -> bytes | tuple[type[PictureError], str]:
    """What another one makes of it."""
    try:
        return decoders.decoded(path, spec).tobytes()
    except PictureError as exc:
        return type(exc), str(exc)


@pytest.mark.parametrize(
    "spec",
    [
        SPEC,
        Spec("crop", 48, 80, 8, resize_mode="crop"),
        Spec("squash", 32, 32, 8, resize_mode="squash"),
        Spec("grey", 300, 200, 8, pad_level=7),
    ],
    ids=lambda spec: spec.name,
)
def test_every_kind_of_picture_is_the_same_tensor(
    decoders: Decoders, tmp_path: Path, spec: Spec
) -> None:
    for name, data in odd_pictures().items():
        path = saved(tmp_path, data, name)

        found = decoders.decoded(path, spec)

        assert (found.dtype, found.shape) == (np.uint8, (spec.height, spec.width, 3))
        assert np.array_equal(found, tensor(path, spec)), name


def test_real_pictures_are_the_same_tensors(decoders: Decoders, shared: Path) -> None:
    spec = Spec("real", 224, 224, 128)
    paths = sorted((shared / "data" / "phone_photos").glob("*.jpg"))
    paths += sorted((shared / "data" / "grocery" / "catalog").glob("*.jpg"))[:20]
    assert paths
    for path in paths:
        assert np.array_equal(decoders.decoded(path, spec), tensor(path, spec)), path


def test_what_is_no_picture_is_the_same_error(decoders: Decoders, tmp_path: Path) -> None:
    jpeg = making.encoded(SMALL)
    (tmp_path / "folder").mkdir()
    paths = [
        saved(tmp_path, jpeg[: len(jpeg) // 2], "cut"),
        saved(tmp_path, making.png(30_001, 8, data=b""), "wide"),
        saved(tmp_path, b"GIF89a" + bytes(99), "GIF"),
        saved(tmp_path, b"", "empty"),
        saved(tmp_path, b"", "nämelös \udcff"),
        tmp_path / "missing",
        tmp_path / "folder",
    ]
    found = [outcome(decoders, path) for path in paths]

    assert found == [outcome_here(path) for path in paths]
    assert len({each[0] for each in found}) == 4  # of the four classes


@pytest.mark.skipif(find_spec("pillow_heif") is not None, reason="the extra is installed")
@pytest.mark.parametrize("box", [None, (10, 8, 70, 66), (0.5, 0.5, 95.5, 71.5)])
def test_a_picture_that_is_in_no_file_is_the_same_tensor(
    decoders: Decoders, box: tuple[float, float, float, float] | None
) -> None:
    for data in odd_pictures().values():
        try:
            expected = tensor(data, SPEC, box=box)
        except QueryError as exc:
            with pytest.raises(QueryError, match=re.escape(str(exc))):
                decoders.decoded(data, SPEC, box=box)
        else:
            assert np.array_equal(decoders.decoded(data, SPEC, box=box), expected)


@pytest.mark.parametrize("box", [(0, 0, 97, 72), (5, 5, 5, 9), (float("nan"), 0, 9, 9)], ids=str)
def test_a_box_that_is_no_part_of_a_picture_is_an_error_of_the_question(
    decoders: Decoders, box: tuple[float, float, float, float]
) -> None:
    with pytest.raises(QueryError, match="box"):
        decoders.decoded(making.encoded(SMALL), SPEC, box=box)


def test_what_is_in_no_file_and_no_picture_is_the_same_error(decoders: Decoders) -> None:
    for data in (b"", b"text", making.encoded(SMALL)[:300]):
        with pytest.raises(PictureError) as expected:
            tensor(data, SPEC)
        with pytest.raises(type(expected.value), match=re.escape(str(expected.value))):
            decoders.decoded(data, SPEC)


def test_a_heic_without_its_extra_is_an_error_of_that_picture(
    decoders: Decoders, tmp_path: Path
) -> None:
    path = saved(tmp_path, b"\0\0\0\x18ftypheic" + bytes(99))

    with pytest.raises(PictureFormat, match="pip install"):
        decoders.decoded(path, SPEC)


def test_limits_of_the_caller_hold(decoders: Decoders, picture: Path) -> None:
    with pytest.raises(PictureError, match="at most 5 bytes"):
        decoders.decoded(picture, SPEC, limits=PictureLimits(encoded_bytes=5))


def test_many_threads_share_few_processes(tmp_path: Path) -> None:
    paths = [saved(tmp_path, data, name) for name, data in odd_pictures().items()] * 6
    before = workers()
    with Decoders(workers=2) as decoders, ThreadPoolExecutor(8) as threads:
        found = list(threads.map(lambda path: outcome(decoders, path), paths))
        started = workers() - before

    assert found == [outcome_here(path) for path in paths]
    assert len(started) == 2
    assert workers() == before


def test_processes_are_started_when_they_are_needed(picture: Path) -> None:
    before = workers()
    with Decoders(workers=2) as decoders:
        assert workers() == before

        for _ in range(3):
            decoders.decoded(picture, SPEC)

        assert len(workers() - before) == 1


def test_a_process_is_replaced_after_its_pictures(picture: Path) -> None:
    seen = decoded_by(DecodingLimits(pictures_each=3), picture, count=7)

    assert [seen.count(each) for each in dict.fromkeys(seen)] == [3, 3, 1]


def test_a_process_that_has_grown_is_replaced(picture: Path) -> None:
    seen = decoded_by(DecodingLimits(resident_bytes=1), picture, count=17)

    assert [seen.count(each) for each in dict.fromkeys(seen)] == [16, 1]
    assert len(set(decoded_by(DecodingLimits(), picture, count=17))) == 1


def decoded_by(limits: DecodingLimits, picture: Path, *, count: int) -> list[int]:
    """The process of each picture."""
    before, seen, last = workers(), [], 0
    with Decoders(limits, 1) as decoders:
        for _ in range(count):
            decoders.decoded(picture, SPEC)
            (last,) = workers() - before or {last}  # it may have been its last picture
            seen.append(last)
    return seen


def test_a_process_killed_between_pictures_is_no_fault_of_the_next(picture: Path) -> None:
    before = workers()
    with Decoders(workers=1) as decoders:
        decoders.decoded(picture, SPEC)
        (first,) = workers() - before
        os.kill(first, signal.SIGKILL)
        os.waitid(os.P_PID, first, os.WEXITED | os.WNOWAIT)

        assert outcome(decoders, picture) == outcome_here(picture)

        assert workers() - before - {first}


def test_a_signal_to_stop_does_not_reach_the_picture_at_hand(picture: Path) -> None:
    before = workers()
    with Decoders(workers=1) as decoders:
        decoders.decoded(picture, SPEC)
        (process,) = workers() - before
        for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            os.kill(process, each)

        decoders.decoded(picture, SPEC)

        assert workers() - before == {process}
        assert os.getpgid(process) == process  # a terminal's Ctrl-C is not sent there


def test_a_process_is_confined(picture: Path) -> None:
    before = workers()
    with Decoders(DecodingLimits(memory_bytes=700 << 20), 1) as decoders:
        decoders.decoded(picture, SPEC)
        (process,) = workers() - before
        told = Path(f"/proc/{process}/limits").read_text()
        files = sorted(each.name for each in Path(f"/proc/{process}/fd").iterdir())
        status = Path(f"/proc/{process}/status").read_text()
    limits = {line[:26].strip(): line[26:].split()[:2] for line in told.splitlines()}

    assert limits["Max address space"] == [str(700 << 20)] * 2
    assert limits["Max core file size"] == limits["Max file size"] == ["0", "0"]
    assert limits["Max open files"] == ["16", "16"]
    assert "Umask:\t0077" in status
    assert "Threads:\t1\n" in status
    assert len(files) == 4  # standard input, output and error, and the line


def test_a_process_has_no_secret_of_the_server_in_its_environment(
    picture: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("POCKETLENS_SERVER_SECRET", "canary")
    monkeypatch.setenv("CLOUD_API_KEY", "canary")
    monkeypatch.setenv("LC_ALL", "C.UTF-8")
    before = workers()
    with Decoders(workers=1) as decoders:
        decoders.decoded(picture, SPEC)
        (process,) = workers() - before
        told = Path(f"/proc/{process}/environ").read_bytes()

    assert b"canary" not in told
    assert b"LC_ALL=C.UTF-8" in told
    assert b"PATH=" in told


@pytest.mark.parametrize(
    ("command", "fate"),
    [
        (rogue("sends", b"t" + bytes(4)), "sent what is no answer"),
        (rogue("sends", b"t\0\0\x2f\xff" + bytes(64 * 64 * 3 - 1)), "sent what is no answer"),
        (rogue("sends", b"t\xff\xff\xff\xff"), "sent what is no answer"),
        (rogue("sends", b"x\0\0\0\2[]"), "sent what is no answer"),
        (rogue("sends", b"e\0\0\0\2[]"), "sent what is no answer"),
        (rogue("sends", b"e\0\0\0\4\xff\xfe\0\0"), "sent what is no answer"),
        (rogue("sends", b'e\0\0\0\x13["SystemExit", "1"]'), "sent what is no answer"),
        (rogue("sends", b"e\0\0\xc3\x50" + b"[" * 50_000), "sent what is no answer"),
        (rogue("trickles"), "took longer"),
        (rogue("hangs up"), "hung up"),
        (rogue("ends", 0), "ended with code 0"),
        (rogue("ends", 75), "needed more memory"),
        (rogue("dies", signal.SIGSEGV), r"signal 11 \(Segmentation fault\)"),
        (rogue("dies", signal.SIGRTMIN + 1), "signal 35"),
    ],
)
def test_a_process_that_answers_otherwise_costs_its_picture(
    picture: Path, command: tuple[str, ...], fate: str, caplog: pytest.LogCaptureFixture
) -> None:
    before = workers()
    with Decoders(DecodingLimits(seconds=2), 1, command=command) as decoders:
        with pytest.raises(PictureError, match=f"{picture}: Expected .* within 2 s .*{fate}"):
            decoders.decoded(picture, SPEC)

        assert workers() == before  # it is gone, and not a zombie
    assert str(picture) in caplog.text


def test_without_processes_no_picture_is_at_fault(picture: Path) -> None:
    ends = (sys.executable, "-S", "-c", "")
    for command in (("/missing/program",), ends, (*COMMAND[:-1], "pocketlens_server.missing")):
        with Decoders(command=command) as decoders:
            for _ in range(2):
                with pytest.raises(ServerError, match="process that decodes pictures"):
                    decoders.decoded(picture, SPEC)


def test_after_closing_nothing_is_decoded_or_left(picture: Path) -> None:
    before = workers()
    decoders = Decoders(workers=2)
    decoders.decoded(picture, SPEC)
    decoders.close()
    decoders.close()

    assert workers() == before
    with pytest.raises(ServerError, match="closed"):
        decoders.decoded(picture, SPEC)


def test_closing_lets_pictures_at_hand_be_finished(tmp_path: Path, picture: Path) -> None:
    held = HeldPicture(tmp_path / "held")
    with ThreadPoolExecutor(2) as threads:
        decoders = Decoders(workers=2)
        at_hand = threads.submit(decoders.decoded, held.path, SPEC)
        held.wait_until_read()
        closing = threads.submit(decoders.close)
        held.let_go(picture.read_bytes())

        closing.result()

        assert np.array_equal(at_hand.result(), tensor(picture, SPEC))

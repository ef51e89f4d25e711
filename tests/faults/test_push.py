"""A push takes what it can read, says what it cannot, and goes on after a full disk or a cut."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import hashlib
import io
import json
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image
from tests.making.colour_bundle import colour_bundle, fields

from pocketlens.errors import StoreFull
from pocketlens.query.embedder import Embedder
from pocketlens_server.catalogue.pushing import push
from pocketlens_server.catalogue.settling import AT_ONCE
from pocketlens_server.catalogue.targets import LocalTarget
from pocketlens_server.cli import main as server
from pocketlens_server.folders import ServerFolder
from pocketlens_server.publishing import comparing


def picture(number: int, side: int = 64) -> bytes:
    file = io.BytesIO()
    noise = np.random.default_rng(number).integers(0, 256, (side, side, 3), dtype=np.uint8)
    drawn = fields(np.random.default_rng(number), side=side) // 2 + noise // 2
    Image.fromarray(drawn).save(file, "PNG")
    return file.getvalue()


def make_server(folder: Path, data: Path) -> Path:
    (folder / "shop.tflite").write_bytes(colour_bundle())
    offline = ["--offline-keys", str(folder / "offline")]
    assert server(["init", str(data), *offline]) == 0
    assert server(["model", "add", str(folder / "shop.tflite"), "--data", str(data)]) == 0
    return data


def as_list(folder: Path, names: list[str]) -> Path:
    rows = [f"{name},sku-{number},image-{number}" for number, name in enumerate(names)]
    (folder / "list.csv").write_text("\n".join(["image,product_id,image_id", *rows]) + "\n")
    return folder / "list.csv"


def test_pictures_that_cannot_be_read_are_told_by_line_and_left_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = make_server(tmp_path, tmp_path / "server")
    (tmp_path / "good.png").write_bytes(picture(1))
    (tmp_path / "folder.png").mkdir()
    (tmp_path / "loop.png").symlink_to("loop.png")
    # It can be opened by anybody, and read by nobody: as a file on a disk that is breaking.
    (tmp_path / "unreadable.png").symlink_to("/proc/self/mem")
    (tmp_path / "text.png").write_text("no picture")
    names = ["good.png", "gone.png", "folder.png", "loop.png", "x" * 300, "unreadable.png",
             "text.png"]  # fmt: skip
    if not Path("/proc/self/mem").exists():
        names.remove("unreadable.png")
    capsys.readouterr()

    pushed = server(["push", str(as_list(tmp_path, names)), "--data", str(data), "--json"])

    printed = capsys.readouterr()
    report = json.loads(printed.out)
    assert (pushed, report["images"]) == (1, 1)
    assert "Traceback" not in printed.err
    for line, name in enumerate(names[1:], start=3):
        (told,) = [each for each in report["problems"] if f"line {line}" in each]
        assert name in told
        assert "left out" in told
    assert server(["publish", "--data", str(data)]) == 0


def test_a_full_disk_is_told_and_the_push_goes_on_when_there_is_room(
    tmp_path: Path, small_disk: Callable[[int], Path]
) -> None:
    disk = small_disk(1 << 20)
    folder = ServerFolder(make_server(tmp_path, disk / "server")).catalogue("main")
    for number in range(40):
        (tmp_path / f"{number}.png").write_bytes(picture(number))
    target = LocalTarget(folder, clock=lambda: datetime.now(UTC))
    image_list = as_list(tmp_path, [f"{number}.png" for number in range(40)])
    ballast = disk / "ballast"

    failures = 0
    for left in range(0, 400_000, 10_000):
        fill(ballast, left)
        try:
            report = push(target, image_list)
        except StoreFull:
            failures += 1
        else:
            break
        finally:
            ballast.unlink()

    assert failures > 3
    assert (report.images, report.problems) == (40, ())
    kept = [hashlib.sha256(picture(number)).digest() for number in range(40)]
    with folder.reading() as tables:
        assert list(tables.vectors.without_embedding(1, kept)) == []
    assert not list(disk.rglob("*.tmp"))


def test_a_push_that_is_cut_off_while_it_embeds_embeds_each_picture_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pictures = AT_ONCE + 22
    folder = ServerFolder(make_server(tmp_path, tmp_path / "server")).catalogue("main")
    for number in range(pictures):
        (tmp_path / f"{number}.png").write_bytes(picture(number))
    target = LocalTarget(folder, clock=lambda: datetime.now(UTC))
    image_list = as_list(tmp_path, [f"{number}.png" for number in range(pictures)])
    counts: Counter[bytes] = Counter()
    told: list[tuple[str, int]] = []
    embed = Embedder.embed_tensor

    def counting(self: Embedder, tensor: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        counts[tensor.tobytes()] += 1
        return embed(self, tensor)

    def killed(stage: str, done: int, total: int) -> None:
        told.append((stage, done))
        if told.count(("embedding", AT_ONCE)) == 2:  # they were embedded, and now they hold
            raise KeyboardInterrupt

    monkeypatch.setattr(Embedder, "embed_tensor", counting)
    with pytest.raises(KeyboardInterrupt):
        push(target, image_list, progress=killed)
    assert counts.total() == AT_ONCE
    assert comparing.status(folder).waiting_images == AT_ONCE

    report = push(target, image_list)

    assert (len(counts), counts.total()) == (pictures, pictures)
    assert (report.images, report.embedded) == (pictures, pictures - AT_ONCE)
    assert comparing.status(folder).waiting_images == pictures


def fill(ballast: Path, left: int) -> None:
    """Takes all room of a disk but so many bytes."""
    try:
        with ballast.open("wb") as file:
            while file.write(bytes(4096)):
                file.flush()
    except OSError:
        pass
    with ballast.open("rb+") as file:
        file.truncate(max(0, ballast.stat().st_size - left))

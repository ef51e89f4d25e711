"""The demo, in its short form, as `make demo` runs it; and the small programs it is made of."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import importlib
import re
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType

import pytest
from PIL import Image

from pocketlens import Match, Product, SearchResult, Verdict, image_lists
from pocketlens.products import Image as CatalogueImage

ROOT = Path(__file__).resolve().parent.parent.parent
STEPS = 6  # before the search


def example(name: str, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(ROOT / "examples")
    return importlib.import_module(name)


def run_demo(folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, ROOT / "examples" / "demo.py", "--quick", "--out", folder],
        capture_output=True,
        text=True,
        check=False,
        timeout=900,
    )


def test_demo_goes_the_whole_path_once_and_then_only_searches(tmp_path: Path) -> None:
    pytest.importorskip("tensorflow", reason="training needs pocketlens[converter]")
    folder = tmp_path / "demo"

    first = run_demo(folder)
    trained = (folder / "shop.keras").stat().st_mtime_ns
    second = run_demo(folder)

    # The short form learns for seconds: what the full one must reach is not asked of it.
    recall = re.search(r"recall@1 ([0-9.]+) over", first.stdout)
    assert recall is not None, first.stdout + first.stderr
    assert float(recall[1]) >= 0.7
    assert first.returncode == ("MISSED" in first.stdout)
    assert "skipped" not in first.stdout
    assert second.returncode == first.returncode, second.stdout + second.stderr
    assert second.stdout.count("unchanged, skipped") == STEPS
    assert (folder / "shop.keras").stat().st_mtime_ns == trained
    with Image.open(folder / "matches.png") as picture:
        assert min(picture.size) > 300


@pytest.mark.parametrize(
    ("right", "refused", "code"),
    [(9, 4, 0), (8, 4, 1), (10, 3, 1), (0, 0, 1)],
    ids=["both reached", "recall missed", "absent product not refused", "both missed"],
)
def test_demo_fails_when_a_goal_is_missed(
    right: int, refused: int, code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    demo = example("demo", monkeypatch)

    def asked(product_id: str | None, found: str, verdict: Verdict) -> object:
        match = Match(Product(found), CatalogueImage(found), 0.9)
        now = datetime.now(UTC)
        result = SearchResult(verdict, 0.9, match, (match,), 0.5, 0.1, 9, 9, "", 1, now)
        return demo.Asked(Path("absent-1") / "0.jpg", product_id, result)

    present = [asked("a", "a" if n < right else "b", Verdict.MATCH) for n in range(10)]
    absent = [
        asked(None, "a", Verdict.NO_MATCH if n < refused else Verdict.MATCH) for n in range(4)
    ]

    assert demo.judge(present, absent) == code


def test_a_step_is_done_again_only_when_something_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps = example("remembered_steps", monkeypatch)
    source, result = tmp_path / "source", tmp_path / "result"
    source.mkdir()
    (source / "a.txt").write_text("1")
    done: list[str] = []

    def perform(settings: str) -> bool:
        def run() -> None:
            done.append(settings)
            result.write_text((source / "a.txt").read_text() + settings)

        step = steps.Step("copy", (source,), (result,), settings, run)
        return bool(steps.RememberedSteps(tmp_path / "steps.json").do(step))

    assert perform("x")
    assert not perform("x")
    assert perform("y"), "settings changed"
    (source / "a.txt").write_text("2")
    assert perform("y"), "an input changed"
    (source / "b.txt").write_text("2")
    assert perform("y"), "an input was added"
    result.unlink()
    assert perform("y"), "the result is missing"
    result.write_text("damaged")
    assert perform("y"), "the result was changed"
    (tmp_path / "steps.json").write_text("{")
    assert perform("y"), "nothing is remembered"
    assert not perform("y")
    assert done == ["x", *"yyyyyy"]


def test_a_step_that_fails_is_not_remembered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps = example("remembered_steps", monkeypatch)

    def fail() -> None:
        raise RuntimeError("stopped")

    remembered = steps.RememberedSteps(tmp_path / "steps.json")
    for _ in range(2):
        with pytest.raises(RuntimeError):
            remembered.do(steps.Step("one", (), (tmp_path / "made",), "", fail))

    assert not (tmp_path / "steps.json").exists()


def test_lists_of_the_grocery_dataset_can_be_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    grocery_lists = example("grocery_lists", monkeypatch)
    for name in ("iconic/Kiwi.jpg", "train/Kiwi_001.jpg", "val/Kiwi_001.jpg", "test/Kiwi_001.jpg"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.new("RGB", (20, 20)).save(tmp_path / name)
    (tmp_path / "classes.csv").write_text(
        "Class Name (str),Class ID (int),Coarse Class Name (str),Coarse Class ID (int),"
        "Iconic Image Path (str),Product Description Path (str)\n"
        "Gold-Kiwi,7,Kiwi,3,/iconic/Kiwi.jpg,/iconic/Kiwi.txt\n"
    )
    for name in ("train", "val", "test"):
        (tmp_path / f"{name}.txt").write_text(f"{name}/Kiwi_001.jpg, 7, 3\n")

    grocery_lists.main([str(tmp_path)])

    for name in ("catalog", "photo_train", "photo_val", "photo_test"):
        found = image_lists.read(tmp_path / f"{name}.csv")
        assert found.problems == ()
        assert [each.path.is_file() for each in found.entries] == [True]
        assert found.products["Gold-Kiwi"].title == "Gold Kiwi"
        assert found.products["Gold-Kiwi"].category == "Kiwi"
    assert capsys.readouterr().out.count("1 pictures") == 4

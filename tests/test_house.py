"""The house keeps its own rules: names, sizes, licence lines, the index of decisions."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
SOURCES = [
    path
    for top in ("sdk", "converter", "sync_server", "protos", "tools", "examples")
    for path in sorted((ROOT / top).rglob("*.py"))
    if not path.stem.endswith(("_pb2", "_pb2_grpc"))
]
EVERYTHING = [
    *SOURCES,
    *sorted((ROOT / "tests").rglob("*.py")),
    *sorted((ROOT / "benchmarks").rglob("*.py")),
]
FORBIDDEN_NAMES = re.compile(
    r"(^|_)(utils?|helpers?|common|misc|base|core|managers?|handlers?|processors?|service_impl)(_|$)"
)
# "base install" is what packaging calls it: no vaguer noun is hidden there.
ALLOWED_NAMES = {"check_base_install"}
MAX_LINES = 400


def relative(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("path", SOURCES, ids=relative)
def test_module_is_named_after_one_idea(path: Path) -> None:
    parts = [path.stem, *(parent.name for parent in path.relative_to(ROOT).parents)]

    vague = [p for p in parts if FORBIDDEN_NAMES.search(p) and p not in ALLOWED_NAMES]

    assert not vague, f"{vague}: a noun is missing"


@pytest.mark.parametrize("path", SOURCES, ids=relative)
def test_module_fits_its_size(path: Path) -> None:
    lines = len(path.read_text().splitlines())

    assert lines <= MAX_LINES, f"{lines} lines: split it by idea"


def test_every_python_file_names_its_licence() -> None:
    without = [
        relative(path)
        for path in EVERYTHING
        if len(path.read_text().splitlines()) > 8
        and "# SPDX-License-Identifier: Apache-2.0\n" not in path.read_text()
    ]

    assert without == []


def test_packages_ship_their_types() -> None:
    for package in ("sdk/pocketlens", "converter/pocketlens_converter", "protos/pocketlens_protos"):
        assert (ROOT / package / "py.typed").exists()


def test_decisions_are_numbered_and_listed() -> None:
    folder = ROOT / "docs" / "decisions"
    index = (folder / "README.md").read_text()
    pages = sorted(folder.glob("[0-9]*.md"))

    assert [page.name[:4] for page in pages] == [f"{n:04}" for n in range(1, len(pages) + 1)]
    assert [page.name for page in pages if f"({page.name})" not in index] == []


def test_no_large_file_is_kept() -> None:
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=False
    ).stdout.decode()
    if not listed:
        pytest.skip("not a git checkout: nothing says which files are kept")

    large = [
        name
        for name in listed.split("\0")
        if name and (ROOT / name).is_file() and (ROOT / name).stat().st_size > 400_000
    ]

    assert large == []

"""What is installed is pinned, what is built can be built again, nothing unsafe is loaded."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import ast
import hashlib
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
SHIPPED = [
    path
    for top in ("sdk", "converter", "sync_server", "protos")
    for path in sorted((ROOT / top).rglob("*.py"))
    if not path.stem.endswith(("_pb2", "_pb2_grpc"))
]
REQUIREMENTS = sorted((ROOT / "requirements").glob("*.txt"))
BANNED_IMPORTS = {"pickle", "marshal", "shelve", "dill", "cloudpickle", "json_format", "tarfile"}
BANNED_CALLS = {"eval", "exec", "compile", "__import__"}
BANNED_METHODS = {"extractall", "system", "popen", "unsafe_load"}


@pytest.mark.parametrize("path", REQUIREMENTS, ids=lambda path: path.name)
def test_every_requirement_is_pinned_with_hashes(path: Path) -> None:
    text = path.read_text().replace("\\\n", " ")
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith((" ", "#"))]

    loose = [
        line[:60]
        for line in lines
        if not re.match(r"[A-Za-z0-9._-]+(\[[a-z,]+\])?==\S+ .*--hash=sha256:[0-9a-f]{64}", line)
    ]

    assert lines
    assert loose == []


@pytest.mark.parametrize("path", sorted((ROOT / "requirements").iterdir()), ids=lambda p: p.name)
def test_no_requirement_names_where_it_is_fetched_from(path: Path) -> None:
    text = path.read_text()

    assert "://" not in text
    assert not re.search(r"^\s*(-i|--index-url|--extra-index-url|--find-links)", text, re.MULTILINE)


def unsafe_loads(source: str) -> list[str]:
    """What in `source` could run code that came as data."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = {alias.name.partition(".")[0] for alias in node.names}
            if isinstance(node, ast.ImportFrom):
                names |= {alias.name for alias in node.names} | set((node.module or "").split("."))
            found += sorted(names & BANNED_IMPORTS)
        if isinstance(node, ast.Call):
            if isinstance(node.func, ast.Name) and node.func.id in BANNED_CALLS:
                found.append(node.func.id)
            if isinstance(node.func, ast.Attribute) and node.func.attr in BANNED_METHODS:
                found.append(node.func.attr)
            for keyword in node.keywords:
                value = keyword.value.value if isinstance(keyword.value, ast.Constant) else None
                if (keyword.arg, value) in {
                    ("allow_pickle", True),
                    ("safe_mode", False),
                    ("shell", True),
                }:
                    found.append(f"{keyword.arg}={value}")
    return found


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: str(path.relative_to(ROOT)))
def test_nothing_loads_code_from_data(path: Path) -> None:
    assert unsafe_loads(path.read_text()) == []


@pytest.mark.parametrize(
    "line",
    [
        "import pickle",
        "from google.protobuf import json_format",
        "eval(text)",
        "np.load(path, allow_pickle=True)",
        "archive.extractall(out)",
        "keras.models.load_model(path, safe_mode=False)",
    ],
)
def test_an_unsafe_load_is_noticed(line: str) -> None:
    assert unsafe_loads(line)


def test_wheel_and_sdist_can_be_built_again_byte_for_byte(tmp_path: Path) -> None:
    digests = []
    environment = {name: text for name, text in os.environ.items() if name != "SOURCE_DATE_EPOCH"}
    for name, umask in (("here", 0o022), ("there", 0o077)):
        copy = tmp_path / name / "source"
        copy.mkdir(parents=True)
        for each in ("protos", "sdk", "converter", "sync_server"):
            ignored = shutil.ignore_patterns("__pycache__")
            shutil.copytree(ROOT / each, copy / each, ignore=ignored)
        for each in ("pyproject.toml", "README.md", "LICENSE", "CHANGELOG.md"):
            shutil.copy(ROOT / each, copy / each)
        build = [sys.executable, "-m", "hatchling", "build", "-d", str(tmp_path / name / "dist")]
        subprocess.run(
            build, cwd=copy, env=environment, umask=umask, check=True, capture_output=True
        )
        built = sorted((tmp_path / name / "dist").iterdir())
        digests.append({path.name: hashlib.sha256(path.read_bytes()).digest() for path in built})

    first, second = digests
    assert len(first) == 2
    assert first == second

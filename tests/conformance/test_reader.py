"""The reader in TypeScript passes the golden files that it is for."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import hashlib
import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from tests.conformance import case_answers
from tests.conformance.make_vectors import FOLDER

READER = Path(__file__).parents[2] / "examples" / "reader"
NODE = shutil.which("node")
TYPES_STRIPPED_FROM = (22, 18)  # Node runs TypeScript as it stands
BUILT_FOR = (20, 0)


def node_version() -> tuple[int, int]:
    """Major and minor; (0, 0) without Node."""
    if NODE is None:
        return 0, 0
    said = subprocess.run([NODE, "--version"], capture_output=True, text=True, check=True).stdout
    major, minor = re.findall(r"\d+", said)[:2]
    return int(major), int(minor)


VERSION = node_version()
needs_node = pytest.mark.skipif(VERSION < BUILT_FOR, reason="Node 20 or newer is not on the PATH")
MAINS = [
    "build/main.js",
    pytest.param(
        "src/main.ts",
        marks=pytest.mark.skipif(
            VERSION < TYPES_STRIPPED_FROM, reason="only Node 22.18 and newer runs TypeScript"
        ),
    ),
]


def reader(main: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Runs the reader; `main` is below its folder."""
    assert NODE is not None
    command = [NODE, str(READER / main), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


@needs_node
@pytest.mark.parametrize("main", MAINS)
@pytest.mark.parametrize("command", case_answers.COMMANDS)
def test_it_answers_every_case(command: str, main: str) -> None:
    done = reader(main, command, str(FOLDER / case_answers.COMMANDS[command]))

    assert (done.returncode, done.stderr) == (0, "")
    case_answers.check(command, json.loads(done.stdout))


@needs_node
@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        ((), 2, "Usage: "),
        (("dance", "deltas.json"), 2, "Usage: "),
        (("apply", "none.json"), 2, "Expected a JSON file. Received none.json"),
        (("apply", str(FOLDER / "deltas.json"), "no_such"), 2, "Expected one of empty_snapshot, "),
        (("apply", str(FOLDER / "deltas.json"), "no_zlib"), 1, "no zlib stream"),
        (("apply", str(FOLDER / "deltas.json"), "format_2"), 3, "Update the reader"),
    ],
)
def test_it_says_what_is_wrong(arguments: tuple[str, ...], code: int, says: str) -> None:
    done = reader("build/main.js", *arguments)

    assert (done.returncode, done.stdout) == (code, "")
    assert says in done.stderr


def test_what_was_built_is_of_these_sources() -> None:
    sources = sorted((READER / "src").glob("*.ts"))
    digests = "".join(
        f"{hashlib.sha256(path.read_bytes()).hexdigest()}  src/{path.name}\n" for path in sources
    )

    assert (READER / "build" / "sources.sha256").read_text() == digests
    assert {path.stem for path in (READER / "build").glob("*.js")} == {p.stem for p in sources}

"""What the README tells to type runs: from a server to every phone, and more from a store.

What `make demo` makes is there without training, the shop is smaller, and the port is a free one.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import os
import shlex
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from tests.making.colour_bundle import colour_bundle

from pocketlens.testing import ShopSize, make_sample_shop

ROOT = Path(__file__).resolve().parents[2]
SEARCH = "pocketlens search runs/phone runs/demo/shop/queries/books-053/000.jpg"
# A command that fails ends it, and what still serves with it.
BEGINS = "set -eum\ntrap 'kill $(jobs -p) 2>/dev/null || true' EXIT"


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A folder where `make demo` has run, and its commands."""
    demo, programs = tmp_path / "runs" / "demo", tmp_path / "bin"
    make_sample_shop(demo / "shop", seed=7, size=ShopSize(54, 0, 0, 0, 0, 0, 2, 0))
    (demo / "shop.tflite").write_bytes(colour_bundle())
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    programs.mkdir()
    for name in ("pocketlens", "pocketlens-server"):
        module = f"{name.replace('-', '_')}.cli"
        program = f"#!{sys.executable}\nimport sys\nfrom {module} import main\nsys.exit(main())\n"
        (programs / name).write_text(program)
        (programs / name).chmod(0o755)
    return tmp_path


def typed(heading: str) -> list[str]:
    """The commands of a section, in order, each in one line."""
    page = (ROOT / "README.md").read_text("utf-8")
    section = page.partition(f"## {heading}\n")[2].partition("\n## ")[0]
    lines = section.replace("\\\n", "").splitlines()
    return [" ".join(line.split()) for line in lines if line.startswith("    ")]


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port: int = listening.getsockname()[1]
    return port


def run(commands: list[str], folder: Path) -> list[tuple[str, str]]:
    """Each command with what it printed, run in one shell."""
    port = free_port()
    names = {
        "two_days.py": "two_days.py --products 60",
        "serve --data": f"serve --port {port} --data",
        "127.0.0.1:8443": f"127.0.0.1:{port}",
        "sleep 5 ": f"until (: <>/dev/tcp/127.0.0.1/{port}) 2>&-; do kill -0 %1; sleep 0.1; done ",
        "kill %1": "kill %1; wait %1",
    }
    lines = [BEGINS]
    for command in commands:
        lines.append(f"echo {shlex.quote(f'$ {command}')}")
        for name, value in names.items():
            command = command.replace(name, value)
        lines.append(command)
    path = [str(folder / "bin"), str(Path(sys.executable).parent), os.environ["PATH"]]
    done = subprocess.run(
        ["bash", "-c", "\n".join(lines)],
        cwd=folder,
        env={**os.environ, "PATH": os.pathsep.join(path)},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    said = [each.partition("\n") for each in done.stdout.removeprefix("$ ").split("\n$ ")]
    return [(command, printed) for command, _, printed in said]


def test_what_the_readme_tells_to_type_brings_a_shop_to_a_phone(clone: Path) -> None:
    commands = typed("From a server to every phone")
    assert len(commands) == 16

    said = run(commands, clone)

    assert [command for command, _ in said] == commands
    synced = [printed for command, printed in said if command == "pocketlens sync runs/phone"]
    assert ["from version 1, version 2; a delta took" in each for each in synced] == [True]
    found = [printed for command, printed in said if command == SEARCH]
    assert len(found) == 2  # while there is a server, and when there is none
    for each in found:
        assert "similarity" in each


def test_what_the_readme_tells_of_a_store_runs(clone: Path) -> None:
    commands = typed("More from the same vectors")
    assert len(commands) == 9
    index = "pocketlens index runs/demo/shop/catalog.csv --model runs/demo/shop.tflite"

    said = dict(run([f"{index} --out runs/demo/store", *commands], clone))

    for command, printed in said.items():
        assert printed or "--out" in command, command
    assert {each.name for each in (clone / "runs").iterdir() if each.is_file()} == {
        "why.png",
        "seen.png",
        "duplicates.png",
        "catalogue.html",
    }

"""Generates the message classes beside the .proto files; `--check` fails on a difference.

The oldest grpcio-tools with wheels for Python 3.11 makes them, in an environment of its own
(requirements/stubs.txt), so that apps keep their freedom of protobuf versions.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PROTOS = ROOT / "protos"
ENVIRONMENT = ROOT / ".venv-stubs"
REQUIREMENTS = ROOT / "requirements" / "stubs.txt"


def compiler() -> Path:
    """The Python that has grpcio-tools; its environment is made when missing or outdated."""
    python = ENVIRONMENT / "bin" / "python"
    stamp = ENVIRONMENT / "requirements.txt"
    if not stamp.exists() or stamp.read_bytes() != REQUIREMENTS.read_bytes():
        venv.create(ENVIRONMENT, with_pip=True, clear=True)
        pip = [str(python), "-m", "pip", "install", "--quiet", "--require-hashes"]
        subprocess.run([*pip, "-r", str(REQUIREMENTS)], check=True)
        stamp.write_bytes(REQUIREMENTS.read_bytes())
    return python


def generate(out: Path) -> None:
    """Writes the classes of every .proto file below `out`."""
    sources = sorted(str(path.relative_to(PROTOS)) for path in PROTOS.rglob("*.proto"))
    protoc = [str(compiler()), "-W", "ignore", "-m", "grpc_tools.protoc", f"-I{PROTOS}"]
    command = [*protoc, f"--python_out={out}", f"--pyi_out={out}", *sources]
    subprocess.run(command, check=True, cwd=PROTOS)
    services = [each for each in sources if "\nservice " in (PROTOS / each).read_text()]
    subprocess.run([*protoc, f"--grpc_python_out={out}", *services], check=True, cwd=PROTOS)


def differing() -> list[str]:
    """Generated files that are not what the .proto files give now."""
    with tempfile.TemporaryDirectory() as folder:
        generate(Path(folder))
        fresh = {
            path.relative_to(folder): path.read_bytes() for path in Path(folder).rglob("*_pb2*.py*")
        }
    kept = {path.relative_to(PROTOS): path.read_bytes() for path in PROTOS.rglob("*_pb2*.py*")}
    return sorted(
        str(name) for name in fresh.keys() | kept.keys() if fresh.get(name) != kept.get(name)
    )


def main() -> int:
    """Generates, or checks."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="write nothing, fail on a difference")
    if not parser.parse_args().check:
        generate(PROTOS)
        return 0
    names = differing()
    for name in names:
        print(f"differs from its .proto file: protos/{name} (run tools/generate_stubs.py)")
    return 1 if names else 0


if __name__ == "__main__":
    sys.exit(main())

"""Imports every module of the SDK in an environment of base dependencies only.

Run by `make check` in an environment without extras: nothing of the converter or the server may
be needed, and nothing heavy may load before it is used.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import sys
from importlib import import_module
from importlib.metadata import distributions
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
EXTRAS = {
    "tensorflow",
    "tensorflow-cpu",
    "keras",
    "matplotlib",
    "grpcio",
    "tuf",
    "pillow-heif",
    "imagehash",
}
# Modules that need an extra, and the library that they miss without it.
OF_EXTRAS = {
    "pocketlens.fallback.grpc_server": "grpc",
    "pocketlens.sync.channels": "grpc",
    "pocketlens.sync.grpc_transport": "grpc",
    "pocketlens.sync.http_transport": "urllib3",
    "pocketlens.sync.offers": "tuf",
    "pocketlens.sync.session": "tuf",
    "pocketlens.sync.trust": "tuf",
    "pocketlens.testing.memory_server": "securesystemslib",
    "pocketlens.testing.signed_files": "securesystemslib",
    "pocketlens_protos.v1.catalog_service_pb2_grpc": "grpc",
    "pocketlens_protos.v1.query_service_pb2_grpc": "grpc",
    "pocketlens_protos.v1.sync_service_pb2_grpc": "grpc",
}
HEAVY = {"ai_edge_litert", "tflite_runtime", "tensorflow", "grpc", "PIL", "annoy", "typer"}


def modules() -> list[str]:
    """Dotted names of all modules of the SDK and the messages."""
    names = []
    for top in (ROOT / "sdk", ROOT / "protos"):
        for path in sorted(top.rglob("*.py")):
            parts = path.relative_to(top).with_suffix("").parts
            names.append(".".join(parts[:-1] if parts[-1] == "__init__" else parts))
    return names


def main() -> int:
    """Says what is wrong, or how much was imported."""
    installed = {d.metadata["Name"].lower() for d in distributions()} & EXTRAS
    if installed:
        print(f"this environment has extras: {', '.join(sorted(installed))}")
        return 1
    import_module("pocketlens")
    loaded = sorted(HEAVY & {name.partition(".")[0] for name in sys.modules})
    if loaded:
        print(f"`import pocketlens` loads {', '.join(loaded)}")
        return 1
    names = [name for name in modules() if name not in OF_EXTRAS]
    for name in names:
        import_module(name)
    for name, library in OF_EXTRAS.items():
        try:
            import_module(name)
        except ModuleNotFoundError as exc:
            if (exc.name or "").partition(".")[0] == library:
                continue
            raise
        print(f"{name} needs no extra: take it out of OF_EXTRAS")
        return 1
    print(f"base install: {len(names)} modules imported without extras")
    return 0


if __name__ == "__main__":
    sys.exit(main())

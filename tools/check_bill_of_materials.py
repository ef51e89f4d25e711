"""Holds a release's bill of materials against the requirements it was made of.

    python tools/check_bill_of_materials.py requirements/base.txt dist/pocketlens-base.cdx.json

Every pinned distribution must be a component of that version with all of its hashes, and nothing
else may be one.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

PIN = re.compile(r"^([A-Za-z0-9._-]+)==([^ ;\\]+)")
HASH = re.compile(r"--hash=sha256:([0-9a-f]{64})")


def pinned(requirements: Path) -> dict[tuple[str, str], set[str]]:
    """SHA-256 (hex) of the files of each (name, version)."""
    pins: dict[tuple[str, str], set[str]] = {}
    for line in requirements.read_text().splitlines():
        if found := PIN.match(line):
            hashes = pins.setdefault((found[1], found[2]), set())
        elif found := HASH.search(line):
            hashes.add(found[1])
    return pins


def listed(bill: dict[str, Any]) -> dict[tuple[str, str], set[str]]:
    """What a CycloneDX document lists, in the same form."""
    return {
        (component["name"], component["version"]): {
            digest["content"]
            for reference in component.get("externalReferences", ())
            for digest in reference.get("hashes", ())
        }
        for component in bill["components"]
    }


def main() -> int:
    """Says what differs, or how much was found."""
    requirements, bill = map(Path, sys.argv[1:])
    wanted, found = pinned(requirements), listed(json.loads(bill.read_bytes()))
    differing = sorted(key for key in wanted | found if wanted.get(key) != found.get(key))
    for name, version in differing:
        print(f"{bill}: {name} {version} is not as in {requirements}")
    print(
        f"{bill}: {len(wanted) - len(differing)} of {len(wanted)} distributions with their hashes"
    )
    return 1 if differing or not wanted else 0


if __name__ == "__main__":
    sys.exit(main())

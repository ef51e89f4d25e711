"""The commands of CLIENT.md, answered by the Python SDK.

python tests/conformance/clients/pocketlens_python.py decode-part 0202000000...
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import case_files

from pocketlens.errors import PocketLensError, StoreTooNew
from pocketlens.formats import bundle as bundles
from pocketlens.formats import parts, state_hash
from pocketlens.formats.parts import ImagePart, OfferPart, PlacementPart, ProductPart
from pocketlens.store import verification

KINDS = {"image": ImagePart, "placement": PlacementPart, "product": ProductPart, "offer": OfferPart}
UNKNOWN_COMMAND, TOO_NEW, REFUSED = 2, 3, 1


def decode_part(data: str) -> str:
    part = parts.decode(bytes.fromhex(data))
    kind = next(kind for kind, cls in KINDS.items() if isinstance(part, cls))
    fields = asdict(part)
    if isinstance(part, ImagePart):
        fields["code"] = part.code.hex()
    return json.dumps({"kind": kind, "fields": fields})


def encode_part(text: str) -> str:
    given = json.loads(text)
    fields = given["fields"]
    if given["kind"] == "image":
        fields["product_keys"] = tuple(fields["product_keys"])
        fields["code"] = bytes.fromhex(fields["code"])
    data = parts.encode(KINDS[given["kind"]](**fields))
    parts.decode(data)  # what no reader would take was no part
    return data.hex()


def hash_state(text: str) -> str:
    given = json.loads(text)
    state = state_hash.StateSum()
    state.add(bytes.fromhex(part) for part in given["parts"])
    identity = state_hash.Identity(
        given["catalogue"],
        bytes.fromhex(given["generation"]),
        bytes.fromhex(given["codebook_sha256"]),
    )
    counts = state_hash.Counts(**given["counts"])
    return state_hash.digest(identity, counts, state.value).hex()


def read_bundle(path: str) -> str:
    spec = bundles.decode(Path(path).read_bytes()).spec
    return json.dumps(
        {"name": spec.name, "height": spec.height, "width": spec.width, "dim": spec.dim}
    )


def read_store(directory: str) -> str:
    found = verification.verify(Path(directory))
    if found.facts is None or not found.is_whole:
        raise PocketLensError("; ".join(found.findings))
    facts = found.facts
    return json.dumps(
        {
            "images": facts.images,
            "products": facts.products,
            "generation": facts.generation,
            "state_hash": facts.state_hash.hex(),
        }
    )


COMMANDS: dict[str, Callable[[str], str]] = {
    "decode-part": decode_part,
    "encode-part": encode_part,
    "state-hash": hash_state,
    "bundle": read_bundle,
    "store": read_store,
    "apply": case_files.apply,
    "relist": case_files.relist,
    "search": case_files.search,
    "manifest": case_files.manifest,
}


def main(arguments: list[str]) -> int:
    if len(arguments) != 2 or arguments[0] not in COMMANDS:
        sys.stderr.write(f"Expected one of {', '.join(COMMANDS)}, and its argument.\n")
        return UNKNOWN_COMMAND
    try:
        answer = COMMANDS[arguments[0]](arguments[1])
    except StoreTooNew as exc:
        sys.stderr.write(f"{exc}\n")
        return TOO_NEW
    except PocketLensError as exc:
        sys.stderr.write(f"{exc}\n")
        return REFUSED
    sys.stdout.write(f"{answer}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""vectors/manifests.json: manifests that are accepted, and one for each rule that is broken."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import hashlib
import math
import struct
from collections.abc import Callable
from typing import Any

from tests.conformance.golden_catalogue import (
    BUNDLE_SHA256,
    CATALOGUE,
    CODEBOOK,
    CODEBOOK_SHA256,
    DIM,
    GENERATION,
    SCALE,
)

from pocketlens_protos.v1.manifest_pb2 import Blob, Changes, Manifest

MIB = 1 << 20
VERSION = 9

Change = Callable[[Manifest], object]


def manifest() -> Manifest:
    """One that is accepted; cases change it."""
    return Manifest(
        format=1,
        catalogue=CATALOGUE,
        generation=GENERATION,
        version=VERSION,
        as_of=1793534400000000,
        signed_at=1793534400000001,
        state_hash=_hash(b"state"),
        images=11,
        products=13,
        dim=DIM,
        scale=SCALE,
        bundle=Blob(sha256=BUNDLE_SHA256, size=MIB + 1, pieces=_hash(b"0") + _hash(b"1")),
        codebook=Blob(sha256=CODEBOOK_SHA256, size=len(CODEBOOK)),
        probes=2,
        saturated_share=0.25,
        snapshot=Changes(head=4, inflated_size=900, blob=_blob(b"snapshot")),
        deltas=[_delta(8), _delta(4)],
        rollout=65536,
    )


def vectors() -> dict[str, Any]:
    """The whole file, as JSON holds it."""
    cases: dict[str, Any] = {}
    for name, change in _ACCEPTED.items():
        made = _changed(change)
        cases[name] = {"bytes": made.hex(), "expected": _fields(made)}
    for name, change in _REFUSED.items():
        refused = "newer" if name == "format_2" else "refused"
        cases[name] = {"bytes": _changed(change).hex(), "refused": refused}
    whole = _changed(lambda _: None)
    cases["cut"] = {"bytes": whole[:-1].hex(), "refused": "refused"}
    cases["no_protobuf"] = {"bytes": "ffff", "refused": "refused"}
    cases["of_no_byte"] = {"bytes": "", "refused": "refused"}
    return {"format": 1, "cases": cases}


def _hash(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


def _blob(data: bytes) -> Blob:
    return Blob(sha256=_hash(data), size=len(data))


def _delta(base: int, head: int = VERSION) -> Changes:
    return Changes(base=base, head=head, inflated_size=100 + base, blob=_blob(b"delta %d" % base))


def _set(name: str, value: object) -> Change:
    """Sets a field; points go into messages."""
    *path, field = name.split(".")

    def change(message: Any) -> None:  # a message of any kind
        for each in path:
            message = getattr(message, each)
        setattr(message, field, value)

    return change


def _deltas(*deltas: Changes) -> Change:
    def change(message: Manifest) -> None:
        del message.deltas[:]
        message.deltas.extend(deltas)

    return change


def _without(name: str) -> Change:
    return lambda message: message.ClearField(name)  # type: ignore[arg-type]  # any of its names


def _changed(change: Change) -> bytes:
    made = manifest()
    change(made)
    return made.SerializeToString(deterministic=True)


def _fields(data: bytes) -> dict[str, Any]:
    made = Manifest.FromString(data)
    return {
        "catalogue": made.catalogue,
        "generation": made.generation.hex(),
        "version": made.version,
        "state_hash": made.state_hash.hex(),
        "images": made.images,
        "products": made.products,
        "scale": list(struct.unpack(f"<{made.dim}f", made.scale)),
        "bundle": made.bundle.sha256.hex(),
        "codebook": made.codebook.sha256.hex(),
        "probes": made.probes,
        "snapshot": made.snapshot.head,
        "deltas": [each.base for each in made.deltas],
    }


def _unknown_field(message: Manifest) -> None:
    message.MergeFromString(b"\xc2\x3e\x03new")  # 1000: three bytes


_ACCEPTED: dict[str, Change] = {
    "plain": lambda _: None,
    "no_deltas": _deltas(),
    "a_field_of_the_future": _unknown_field,
    "snapshot_of_this_version": _set("snapshot.head", VERSION),
    "sixty_four_deltas": lambda made: (
        made.MergeFrom(Manifest(version=100, snapshot=Changes(head=100))),
        _deltas(*(_delta(base, 100) for base in range(64, 0, -1)))(made),
    ),
}
_REFUSED: dict[str, Change] = {
    "format_0": _set("format", 0),
    "format_2": _set("format", 2),
    "no_name": _without("catalogue"),
    "name_of_64_letters": _set("catalogue", "n" * 64),
    "generation_of_31_bytes": _set("generation", bytes(31)),
    "state_hash_of_33_bytes": _set("state_hash", bytes(33)),
    "no_state_hash": _without("state_hash"),
    "version_0": _set("version", 0),
    "version_over_2_63": _set("version", 1 << 63),
    "time_after_the_year_9999": _set("as_of", 1 << 62),
    "signed_after_the_year_9999": _set("signed_at", 1 << 62),
    "dim_1": lambda made: (_set("dim", 1)(made), _set("scale", SCALE[:4])(made)),
    "dim_4097": _set("dim", 4097),
    "scale_of_another_length": _set("scale", SCALE[:-4]),
    "scale_with_0": _set("scale", SCALE[:-4] + bytes(4)),
    "scale_below_0": _set("scale", SCALE[:-4] + struct.pack("<f", -1.0)),
    "scale_not_a_number": _set("scale", SCALE[:-4] + struct.pack("<f", math.nan)),
    "scale_infinite": _set("scale", SCALE[:-4] + struct.pack("<f", math.inf)),
    "no_bundle": _without("bundle"),
    "bundle_of_no_byte": _set("bundle.size", 0),
    "bundle_over_2_40": _set("bundle.size", (1 << 40) + 1),
    "bundle_hash_of_31_bytes": _set("bundle.sha256", bytes(31)),
    "a_piece_too_few": _set("bundle.pieces", bytes(32)),
    "a_piece_too_many": _set("bundle.pieces", bytes(96)),
    "half_a_piece": _set("bundle.pieces", bytes(48)),
    "one_piece_named_twice": _set("codebook.pieces", CODEBOOK_SHA256),
    "no_codebook": _without("codebook"),
    "codebook_without_lists": _set("codebook.size", 8),
    "codebook_with_half_a_centroid": _set("codebook.size", len(CODEBOOK) + DIM),
    "codebook_over_65536_lists": _set("codebook.size", 8 + 2 * DIM * 65537),
    "probes_0": _set("probes", 0),
    "probes_over_65536": _set("probes", 65537),
    "share_below_0": _set("saturated_share", -0.1),
    "share_over_1": _set("saturated_share", 1.1),
    "share_not_a_number": _set("saturated_share", math.nan),
    "rollout_over_65536": _set("rollout", 65537),
    "no_snapshot": _without("snapshot"),
    "snapshot_from_1": _set("snapshot.base", 1),
    "snapshot_to_0": _set("snapshot.head", 0),
    "snapshot_beyond_the_version": _set("snapshot.head", VERSION + 1),
    "snapshot_of_no_byte": _set("snapshot.inflated_size", 0),
    "snapshot_over_2_40": _set("snapshot.inflated_size", (1 << 40) + 1),
    "sixty_five_deltas": _deltas(*(_delta(1) for _ in range(65))),
    "delta_to_another_version": _deltas(_delta(7, VERSION - 1)),
    "delta_from_0": _deltas(_delta(8), _delta(0)),
    "delta_from_the_version": _deltas(_delta(VERSION)),
    "bases_that_rise": _deltas(_delta(7), _delta(8)),
    "a_base_twice": _deltas(_delta(7), _delta(7)),
}

"""vectors/thumbnails.json: packs and lists of them, and bytes that are neither."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import hashlib
from typing import Any

from pocketlens.formats import thumbnail_pack
from pocketlens_protos.v1.thumbnails_pb2 import PackList, ThumbnailPack

# What is in a thumbnail is no business of a pack; an empty one says that there is none any more.
PACKS: dict[str, dict[str, bytes]] = {
    "of_none": {},
    "of_one": {"mug-front": b"RIFF"},
    "of_three": {"mug-front": b"one", "pictures/set.jpg": b"three", "\u00e9\u4e2d\U0001f4f7": b""},
}


def vectors() -> dict[str, Any]:
    """The whole file, as JSON holds it."""
    packs = {name: _pack(images) for name, images in PACKS.items()}
    whole = bytes.fromhex(packs["of_three"]["bytes"])
    return {
        "format": 1,
        "packs": packs,
        "no_packs": {
            "of_no_byte": {"bytes": "", "refused": "refused"},
            "another_magic": {"bytes": (b"PLtm" + whole[4:]).hex(), "refused": "refused"},
            "format_2": {"bytes": (whole[:4] + b"\2" + whole[5:]).hex(), "refused": "newer"},
            "more_entries_than_bytes": {
                "bytes": (whole[:-4] + b"\4\0\0\0").hex(),
                "refused": "refused",
            },
        },
        "lists": {
            "of_none": _list(PackList(format=1, head=1)),
            "of_two": _list(
                PackList(format=1, head=9, packs=[_listed(b"old", 3), _listed(b"new", 9)])
            ),
        },
        "no_lists": {
            "format_2": _refused(PackList(format=2, head=1), "newer"),
            "head_0": _refused(PackList(format=1)),
            "hash_of_31_bytes": _refused(
                PackList(format=1, head=9, packs=[ThumbnailPack(sha256=bytes(31), size=9, count=1)])
            ),
            "more_than_a_piece": _refused(
                PackList(format=1, head=9, packs=[_listed(b"x", 9, size=(1 << 20) + 1)])
            ),
            "newer_than_the_list": _refused(PackList(format=1, head=9, packs=[_listed(b"x", 10)])),
            "one_twice": _refused(
                PackList(format=1, head=9, packs=[_listed(b"x", 9), _listed(b"x", 9)])
            ),
            "no_protobuf": {"bytes": "ffff", "refused": "refused"},
        },
    }


def _pack(images: dict[str, bytes]) -> dict[str, Any]:
    keyed = {thumbnail_pack.key_of(id_): data for id_, data in images.items()}
    return {
        "bytes": thumbnail_pack.pack_bytes(keyed).hex(),
        "images": {id_: data.hex() for id_, data in images.items()},
    }


def _listed(name: bytes, head: int, *, size: int = 800) -> ThumbnailPack:
    return ThumbnailPack(sha256=hashlib.sha256(name).digest(), size=size, count=2, head=head)


def _list(listed: PackList) -> dict[str, Any]:
    packs = [[each.sha256.hex(), each.size, each.count, each.head] for each in listed.packs]
    return {
        "bytes": listed.SerializeToString(deterministic=True).hex(),
        "expected": {"head": listed.head, "packs": packs},
    }


def _refused(listed: PackList, how: str = "refused") -> dict[str, str]:
    return {"bytes": listed.SerializeToString(deterministic=True).hex(), "refused": how}

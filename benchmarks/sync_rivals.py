"""What else a shop could ship: a whole Annoy file, or the segments of a Qdrant Edge shard.

Both hold the same embeddings; the shard has price and stock too. Bytes are those after zlib, which
neither does by itself.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import hashlib
import shutil
import zlib
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
from vectors import Floats

TREES = 50
BLOCK = 10_000  # points at once
READ_BYTES = 1 << 20


def annoy_bytes(rows: Floats, work: Path) -> dict[str, int]:
    """Bytes of an Annoy index, which any change makes anew and ships whole."""
    from annoy import AnnoyIndex

    index = AnnoyIndex(rows.shape[1], "angular")
    index.set_seed(1)
    for number, row in enumerate(rows):
        index.add_item(number, row)
    index.build(TREES)
    path = work / "rows.ann"
    index.save(str(path))
    index.unload()
    found = {"file": path.stat().st_size, "compressed": _compressed([path])}
    path.unlink()
    return found


def qdrant_bytes(rows: Floats, count: int, work: Path) -> dict[str, int]:
    """Bytes that a partial snapshot needs after `count` changes of one kind.

    A partial snapshot has whole files of segments. Those that differ after the change are counted,
    which is no more than it ships; it is made by a server that is not here.
    """
    import qdrant_edge as qdrant

    rng = np.random.default_rng(len(rows))
    base = work / "shard"
    shard = qdrant.EdgeShard.create(
        str(base),
        qdrant.EdgeConfig(
            vectors=qdrant.EdgeVectorParams(size=rows.shape[1], distance=qdrant.Distance.Cosine)
        ),
    )
    points = [
        qdrant.Point(number, row.tolist(), {"price": int(rng.integers(50_000)), "stock": 3})
        for number, row in enumerate(rows)
    ]
    for start in range(0, len(points), BLOCK):
        shard.update(qdrant.UpdateOperation.upsert_points(points[start : start + BLOCK]))
    shard.optimize()
    shard.flush()
    shard.close()
    some = sorted(rng.choice(len(rows), count, replace=False).tolist())
    change = qdrant.UpdateOperation
    kinds: dict[str, Callable[[], Iterable[object]]] = {
        "price": lambda: (change.set_payload([n], {"price": n % 9999}) for n in some),
        "image": lambda: [
            change.upsert_points(
                [
                    qdrant.Point(len(rows) + place, rows[n][::-1].tolist(), {"price": 1})
                    for place, n in enumerate(some)
                ]
            )
        ],
        "deletion": lambda: [change.delete_points(some)],
    }
    found = {}
    for name, operations in kinds.items():
        changed = work / f"shard-{name}"
        shutil.copytree(base, changed)
        shard = qdrant.EdgeShard.load(str(changed))
        for operation in operations():
            shard.update(operation)
        shard.flush()
        shard.close()
        found[name] = _compressed(_differing(base / "segments", changed / "segments"))
        shutil.rmtree(changed)
    shutil.rmtree(base)
    return found


def _differing(before: Path, after: Path) -> list[Path]:
    """Files of `after` that are not the same in `before`."""
    found = []
    for path in sorted(path for path in after.rglob("*") if path.is_file()):
        old = before / path.relative_to(after)
        if not old.is_file() or _sha256(old) != _sha256(path):
            found.append(path)
    return found


def _sha256(path: Path) -> bytes:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").digest()


def _compressed(paths: Iterable[Path]) -> int:
    deflate, size = zlib.compressobj(6), 0
    for path in paths:
        with path.open("rb") as file:
            while data := file.read(READ_BYTES):
                size += len(deflate.compress(data))
    return size + len(deflate.flush())

"""Another codebook for a store whose codes stay: every code moves to its list, every map follows.

    places = relist(connection, install, stream, codebook)     # inside a transaction of the caller
    Applier(connection, path, places).apply(header, blocks)    # what else has changed

The store is at its old version in between: an image that the new codebook's version did not have
any more waits in list 0 for the delta that deletes it, and the lists of images that the store does
not have yet are given to the delta that brings them. Codes go through a file, so that memory is
bounded by the keys: 20 bytes an image.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import hashlib
import struct
import tempfile
from array import array
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from pocketlens.errors import StateMismatch
from pocketlens.formats import parts
from pocketlens.formats.delta import DeltaReader
from pocketlens.formats.state_hash import StateSum
from pocketlens.store import database
from pocketlens.store.facts import StoreFacts, to_rows
from pocketlens.store.reader import Reader
from pocketlens.store.writer import list_chunks, map_chunks

Keys = npt.NDArray[np.uint32]


@dataclass(frozen=True, slots=True)
class NewCodebook:
    """A codebook that takes the place of a store's.

    Attributes:
        centroids: float16 (lists, dim).
        probes: Lists that a search scores.
        probes_estimated: Whether they were fitted without held-out photos.
    """

    centroids: npt.NDArray[np.float16]
    probes: int
    probes_estimated: bool

    @property
    def sha256(self) -> bytes:
        """Of its canonical bytes."""
        head = struct.pack("<II", *self.centroids.shape)
        return hashlib.sha256(head + self.centroids.astype("<f2").tobytes()).digest()


def relist(
    connection: database.Connection, install: Path, stream: DeltaReader, codebook: NewCodebook
) -> dict[int, int]:
    """Replaces codebook, lists and probes of a store; its version stays.

    Args:
        connection: Of the store, inside a transaction that may write.
        install: Folder of the install.
        stream: Placements of every image at the version that brought the codebook.
        codebook: That takes the place of the store's.

    Returns:
        Lists of images that the store does not have, by key.

    Raises:
        StateMismatch: The stream is damaged, or of another catalogue, generation or codebook.
        StoreCorrupt: A list of the store is damaged.
        StoreFull: The disk has no room.
    """
    path = install / database.FILE_NAME
    reader = Reader(install.parent.parent, install, connection)
    _check(reader.facts, stream, codebook)
    placed = _Placed(stream, len(codebook.centroids))
    with database.errors(path), tempfile.TemporaryFile(dir=install) as file:
        keys, old = array("I"), array("I")
        for number in range(reader.facts.lists):
            of_list, codes = reader.read_list(number)
            keys.frombytes(of_list.astype(np.uint32).tobytes())
            old.extend([number] * len(of_list))
            file.write(codes.tobytes())
        file.flush()
        image_keys = np.frombuffer(keys, np.uint32)
        codes = (
            np.memmap(file, np.int8, "r", shape=(len(keys), reader.facts.dim))
            if len(keys)
            else np.zeros((0, reader.facts.dim), np.int8)
        )
        new = placed.lists_of(image_keys)
        _write(connection, reader.facts, codebook, image_keys, codes, new)
        _write_facts(connection, reader.facts, codebook, (image_keys, np.frombuffer(old, "I"), new))
    return placed.besides(image_keys)


class _Placed:
    """What the stream says: image keys, ascending, and their lists."""

    def __init__(self, stream: DeltaReader, lists: int) -> None:
        keys, numbers = array("I"), array("I")
        for block in stream.blocks():
            if any(getattr(block, name) for name in _OTHERS):
                raise _wrong("something besides placements")
            for part in block.placements:
                if (keys and part.image_key <= keys[-1]) or part.list_number >= lists:
                    raise _wrong("keys that do not ascend, or a list that the codebook lacks")
                keys.append(part.image_key)
                numbers.append(part.list_number)
        self._keys = np.frombuffer(keys, np.uint32) if keys else np.zeros(0, np.uint32)
        self._lists = np.array(numbers, np.int32)

    def lists_of(self, image_keys: Keys) -> npt.NDArray[np.int32]:
        """The list of each image, int32 (n,); 0 for one that is not placed."""
        if not len(self._keys):
            return np.zeros(len(image_keys), np.int32)
        places = np.minimum(np.searchsorted(self._keys, image_keys), len(self._keys) - 1)
        return np.where(self._keys[places] == image_keys, self._lists[places], 0).astype(np.int32)

    def besides(self, image_keys: Keys) -> dict[int, int]:
        """Lists of all other images."""
        others = ~np.isin(self._keys, image_keys, assume_unique=True)
        return dict(zip(self._keys[others].tolist(), self._lists[others].tolist(), strict=True))


def _check(facts: StoreFacts, stream: DeltaReader, codebook: NewCodebook) -> None:
    header = stream.header
    expected = facts.catalogue, facts.generation, facts.dim, codebook.sha256, 0
    found = header.catalogue, header.generation.hex(), header.dim, header.codebook_sha256
    if expected != (*found, header.base):
        raise _wrong("that of another catalogue, generation or codebook")


def _write(
    connection: database.Connection,
    facts: StoreFacts,
    codebook: NewCodebook,
    image_keys: Keys,
    codes: npt.NDArray[np.int8],
    lists: npt.NDArray[np.int32],
) -> None:
    count = len(codebook.centroids)
    connection.execute("DELETE FROM list_chunks")
    connection.executemany(
        "INSERT INTO list_chunks VALUES (?, ?, ?, ?)", list_chunks(image_keys, codes, lists, count)
    )
    connection.execute("DELETE FROM list_sizes")
    sizes = np.bincount(lists, minlength=count).astype("<u4")
    database.put_rows(connection, "list_sizes", map_chunks(sizes))
    of_images = np.zeros(facts.max_image_key, "<u2")
    of_images[image_keys.astype(np.int64) - 1] = lists
    database.put_rows(connection, "image_lists", map_chunks(of_images))
    database.put_rows(connection, "codebook", [(1, codebook.centroids.astype("<f2").tobytes())])


def _write_facts(
    connection: database.Connection,
    facts: StoreFacts,
    codebook: NewCodebook,
    moved: tuple[Keys, npt.NDArray[np.uint32], npt.NDArray[np.int32]],
) -> None:
    """Facts of the store with its images `moved`: their keys, old lists and new lists."""
    keys, old, new = (each.tolist() for each in moved)
    state = StateSum(facts.state_sum)
    state.subtract(map(parts.encode_placement, keys, old))
    state.add(map(parts.encode_placement, keys, new))
    changed = replace(
        facts,
        lists=len(codebook.centroids),
        codebook_sha256=codebook.sha256,
        probes=codebook.probes,
        probes_estimated=codebook.probes_estimated,
        state_sum=state.value,
    )
    changed = replace(changed, state_hash=changed.digest(state.value))
    database.put_rows(connection, "facts", to_rows(changed))


def _wrong(what: str) -> StateMismatch:
    return StateMismatch(f"Expected the lists of every image. Received {what}.")


_OTHERS = ("deleted_products", "deleted_images", "products", "images", "offers")

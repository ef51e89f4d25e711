"""Embeddings in a file, given as .npy or collected while pictures are embedded, read in blocks.

    file = open_vectors(Path("vectors.npy"), dim=128, lines=1_000_000)
    for block in EmbeddingRows(file, rows).blocks(): ...       # float32 (n, dim), unit rows

Blocks are read, not mapped: a mapped file counts as memory as far as it was looked at.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from pocketlens.errors import CatalogError

_BLOCK = 8192
_FORMAT = np.lib.format


@dataclass(frozen=True, slots=True)
class EmbeddingFile:
    """Where rows of numbers begin in a file, and what they are.

    Attributes:
        offset: Bytes before the first row.
        dtype: float16, float32 or float64.
    """

    path: Path
    offset: int
    dtype: np.dtype[np.floating]
    dim: int


def open_vectors(path: Path, *, dim: int, lines: int) -> EmbeddingFile:
    """Checks that a .npy file has a vector for each line of a list.

    Raises:
        CatalogError: It is missing, no .npy file, or of another shape or type.
    """
    try:
        with path.open("rb") as file:
            version = _FORMAT.read_magic(file)
            read = _FORMAT.read_array_header_1_0 if version == (1, 0) else None
            shape, is_fortran, dtype = (read or _FORMAT.read_array_header_2_0)(file)
            offset = file.tell()
            size = file.seek(0, 2)
    except OSError as exc:
        raise CatalogError(f"The vectors {path} cannot be read: {exc.strerror}.") from exc
    except ValueError as exc:
        raise CatalogError(
            f"Expected vectors in a .npy file. Received {path}: {exc}. Write it with numpy.save."
        ) from exc
    expected = f"Expected float vectors ({lines}, {dim}), one a line of the list, in {path}."
    if dtype.kind != "f" or dtype.itemsize > 8 or shape != (lines, dim) or is_fortran:
        order = ", column by column" if is_fortran else ""
        raise CatalogError(f"{expected} Received {dtype} {shape}{order}.")
    if size != offset + lines * dim * dtype.itemsize:
        raise CatalogError(f"{expected} Received {size} bytes: it was cut. Write it again.")
    return EmbeddingFile(path, offset, dtype, dim)


@dataclass(frozen=True, slots=True)
class EmbeddingRows:
    """Some rows of a file, in ascending order: row `rows[i]` is image i + 1.

    Attributes:
        rows: int64 (n,), ascending.
    """

    file: EmbeddingFile
    rows: npt.NDArray[np.int64]

    def blocks(self) -> Iterator[npt.NDArray[np.float32]]:
        """Yields float32 (n, dim), unit rows, of at most 8,192 images after each other.

        Raises:
            CatalogError: A row is zero or not finite.
        """
        width = self.file.dim * self.file.dtype.itemsize
        with self.file.path.open("rb") as file:
            for start in range(0, len(self.rows), _BLOCK):
                wanted = self.rows[start : start + _BLOCK]
                first, last = int(wanted[0]), int(wanted[-1])
                file.seek(self.file.offset + first * width)
                data = file.read((last + 1 - first) * width)
                found = np.frombuffer(data, self.file.dtype).reshape(-1, self.file.dim)
                yield self._units(found[wanted - first].astype(np.float64), wanted)

    def _units(
        self, found: npt.NDArray[np.float64], wanted: npt.NDArray[np.int64]
    ) -> npt.NDArray[np.float32]:
        lengths = np.linalg.norm(found, axis=1, keepdims=True)
        wrong = ~np.isfinite(lengths[:, 0]) | (lengths[:, 0] == 0)
        if wrong.any():
            row = int(wanted[wrong.argmax()])
            raise CatalogError(
                f"Expected a vector of finite numbers, not all zero. Received another in row {row} "
                f"(from 0) of {self.file.path}."
            )
        units: npt.NDArray[np.float32] = (found / lengths).astype(np.float32)
        return units

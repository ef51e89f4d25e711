"""An image list and a bundle to a store: `pocketlens index`.

    report = index("catalogue.csv", model="shop.tflite", out="shop/")
    report.images, report.problems

Given vectors instead of pictures, a million take bounded memory: the list is read once, line by
line, the vectors four times, block by block (greatest numbers and sample; codes and lists; probes;
state). An existing store gets a new install; whatever goes wrong leaves the old one as it was.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import hashlib
import logging
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from pocketlens import image_lists
from pocketlens.cores import usable_cores
from pocketlens.embedding_files import EmbeddingRows, open_vectors
from pocketlens.errors import BundleError, ImageListError, StoreCorrupt, StoreError
from pocketlens.formats import bundle as bundles
from pocketlens.formats.bundle import Bundle
from pocketlens.gathering import Gathered, Gatherer, gather_pictures, gather_thumbnails
from pocketlens.generations import Generation, make_generation
from pocketlens.image_lists import Line, Problem
from pocketlens.options import Accelerator
from pocketlens.progress import Progress
from pocketlens.query import codes
from pocketlens.query.embedder import Embedder
from pocketlens.store import database, installs
from pocketlens.store.facts import Origin
from pocketlens.store.reader import Reader
from pocketlens.store.thumbnails import ThumbnailWriter
from pocketlens.store.writer import Contents, StoreWriter

logger = logging.getLogger(__name__)

_GOLDEN_SEARCHES = 16
_TIE = 1e-5  # of cosine: rounding between equal codes
_NEAR_LISTS = 8  # a code is a little off its embedding, whose nearest list it is in
_EVERY = 1000  # lines between two calls of progress, where a line takes microseconds


@dataclass(frozen=True, slots=True)
class IndexReport:
    """What `index` made.

    Attributes:
        directory: Of the store.
        generation: Hex id.
        images, products, lists: Counts.
        probes: Lists that a search scores.
        probes_estimated: Whether they were fitted without held-out photos.
        saturated_share: Components of codes at the limit, 0 to 1.
        thumbnails: Images that have one.
        thumbnail_bytes: That they take in the store; 0 without any.
        problems: Lines and pictures that were left out or ignored.
        seconds: From start to end.
    """

    directory: Path
    generation: str
    images: int
    products: int
    lists: int
    probes: int
    probes_estimated: bool
    saturated_share: float
    thumbnails: int
    thumbnail_bytes: int
    problems: tuple[Problem, ...]
    seconds: float


def index(
    image_list: str | Path,
    *,
    model: str | Path,
    out: str | Path,
    vectors: str | Path | None = None,
    thumbnails: bool = False,
    progress: Progress | None = None,
    clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    rng: np.random.Generator | None = None,
    accelerator: Accelerator = "auto",
) -> IndexReport:
    """Makes the store of a catalogue, or a new install of one that exists.

    Args:
        image_list: CSV or folder: see `pocketlens.image_lists`.
        model: The bundle.
        out: Folder of the store; made if missing.
        vectors: .npy file of float vectors (lines, dim), one a line of the list, normalised here;
            pictures are not opened then. An image of several lines has the vector of its first.
        thumbnails: Whether each picture is kept small, for `Image.thumbnail`; given vectors, of
            those pictures that are there.
        progress: Called in this thread with a stage ("reading", "embedding" or "thumbnails",
            "clustering", "encoding", "writing"), what is done of it and what there is to do.
        clock: What the store says as its `as_of`.
        rng: Draws samples and first centroids; one seed gives one store.
        accelerator: That embeds the pictures.

    Raises:
        ImageListError: The list is wrong, or no picture of it can be used.
        CatalogError: The vectors are wrong.
        BundleError: The bundle is.
        StoreLocked, StoreFull, StoreReadOnly: `out` cannot be written.
        StoreCorrupt: What was written does not answer as it must.
        StoreError: The store in `out` follows a server.
    """
    started = time.monotonic()
    path, directory = Path(image_list), Path(out)
    model_bytes = _read(Path(model))
    bundle = bundles.decode(model_bytes)
    job = _Job(path, bundle, progress or _silent, rng or np.random.default_rng(0))
    packs: tuple[bytes, ...] = ()
    small: ThumbnailWriter | None = None
    if any((directory / name).exists() for name in installs.FOLLOWED):
        raise StoreError(
            f"The store {directory} follows a server, which would be lost. Choose another folder."
        )
    logger.info("index.started list=%s out=%s", path, directory)
    with installs.writing(directory), installs.new_install(directory, model_bytes) as new:
        scratch = new.folder / "scratch"
        scratch.mkdir()
        with ExitStack() as opened:
            writer = opened.enter_context(StoreWriter(new.folder / database.FILE_NAME))
            if thumbnails:
                small = opened.enter_context(ThumbnailWriter(new.folder))
            if vectors is None:
                with Embedder.open(
                    model_bytes, accelerator=accelerator, interpreters=usable_cores()
                ) as embedder:
                    rows, gathered = job.embed(writer, embedder, scratch / "embeddings", small)
            else:
                rows, gathered = job.take_vectors(writer, Path(vectors), small)
            if small is not None:
                packs = small.finish()
            sha256 = hashlib.sha256(model_bytes).digest()
            generation = job.encode(rows, sha256, scratch / "codes")
            job.progress("writing", 0, gathered.images)
            facts = writer.complete(
                _contents(generation, gathered), _origin(generation, sha256, clock(), packs)
            )
        new.generation = facts.generation
        with Reader(directory, new.folder) as reader:
            _check_answers(reader, generation, job.rng)
        shutil.rmtree(scratch)
    job.progress("writing", gathered.images, gathered.images)
    logger.info("index.complete images=%d products=%d", facts.images, facts.products)
    return IndexReport(
        directory=directory,
        thumbnails=small.count if small else 0,
        thumbnail_bytes=small.size_bytes if small and packs else 0,
        problems=tuple(job.problems),
        seconds=time.monotonic() - started,
        **{name: getattr(facts, name) for name in _REPORTED},
    )


_REPORTED = "generation images products lists probes probes_estimated saturated_share".split()


class _Job:
    """One run of `index`: what its steps share."""

    def __init__(
        self, path: Path, bundle: Bundle, progress: Progress, rng: np.random.Generator
    ) -> None:
        self.path, self.bundle, self.progress, self.rng = path, bundle, progress, rng
        self.problems: list[Problem] = []

    def embed(
        self,
        writer: StoreWriter,
        embedder: Embedder,
        scratch: Path,
        thumbnails: ThumbnailWriter | None,
    ) -> tuple[EmbeddingRows, Gathered]:
        gatherer = Gatherer(writer, self.problems)
        lines = self._lines("embedding", need_files=True)
        file = gather_pictures(lines, gatherer, embedder, scratch=scratch, thumbnails=thumbnails)
        gathered = gatherer.gathered()
        if gathered.images == 0:
            first = next((f" The first: {problem}" for problem in self.problems), "")
            raise ImageListError(f"No picture of it can be used.{first}", path=self.path)
        return EmbeddingRows(file, gathered.rows), gathered

    def take_vectors(
        self, writer: StoreWriter, vectors: Path, thumbnails: ThumbnailWriter | None
    ) -> tuple[EmbeddingRows, Gathered]:
        lines = image_lists.count_rows(self.path)
        file = open_vectors(vectors, dim=self.bundle.spec.dim, lines=lines)
        gatherer = Gatherer(writer, self.problems)
        if thumbnails is not None:
            drawn = self._lines("thumbnails", need_files=False)
            gather_thumbnails(drawn, gatherer, thumbnails)
        else:
            for line in self._lines("reading", need_files=False):
                gatherer.take(line, line.row)
        gathered = gatherer.gathered()
        return EmbeddingRows(file, gathered.rows), gathered

    def encode(self, rows: EmbeddingRows, bundle_sha256: bytes, scratch: Path) -> Generation:
        return make_generation(
            rows,
            self.bundle,
            bundle_sha256,
            scratch=scratch,
            rng=self.rng,
            progress=self.progress,
        )

    def _lines(self, stage: str, *, need_files: bool) -> Iterator[Line]:
        """The lines of the list, while progress is told."""
        total = image_lists.count_rows(self.path)
        if total == 0:
            raise ImageListError("Expected lines below the header. Received none.", path=self.path)
        every = _EVERY if stage == "reading" else 1
        for line in image_lists.iterate(self.path, self.problems, need_files=need_files):
            yield line
            if line.row % every == 0 or line.row + 1 == total:
                self.progress(stage, line.row + 1, total)


def _contents(generation: Generation, gathered: Gathered) -> Contents:
    return Contents(
        image_keys=np.arange(1, gathered.images + 1, dtype=np.uint32),
        codes=generation.codes,
        lists=generation.lists,
        centroids=generation.centroids,
        link_images=gathered.link_images,
        link_products=gathered.link_products,
    )


def _origin(
    generation: Generation,
    bundle_sha256: bytes,
    as_of: datetime,
    thumbnail_packs: tuple[bytes, ...],
) -> Origin:
    return Origin(
        generation=generation.id.hex(),
        bundle_sha256=bundle_sha256,
        catalogue="",
        version=1,
        as_of=as_of,
        scale=generation.scale,
        probes=generation.probes,
        probes_estimated=generation.probes_estimated,
        codebook_sha256=generation.codebook_sha256,
        saturated_share=generation.saturated_share,
        thumbnail_packs=thumbnail_packs,
    )


def _check_answers(reader: Reader, generation: Generation, rng: np.random.Generator) -> None:
    """Golden searches: some images, asked for by their codes, are found as what is nearest.

    Raises:
        StoreCorrupt: One is not: what was written is not what was meant.
    """
    centroids = reader.centroids().astype(np.float32)
    n = reader.facts.images
    chosen = np.sort(rng.choice(n, min(n, _GOLDEN_SEARCHES), replace=False))
    lists = reader.lists_of((chosen + 1).astype(np.uint32)).tolist()
    for key, number in zip((chosen + 1).tolist(), lists, strict=True):
        query = codes.decode(np.asarray(generation.codes[key - 1])[None], reader.facts.scale)[0]
        scores = centroids @ query
        keys, listed = reader.read_list(number)
        units = codes.decode(listed, reader.facts.scale)
        units /= np.linalg.norm(units, axis=1, keepdims=True)
        similarities = units @ query / np.linalg.norm(query)
        found = similarities[keys == key].max(initial=-1) >= similarities.max() - _TIE
        if not found or np.count_nonzero(scores > scores[number]) >= _NEAR_LISTS:
            raise StoreCorrupt(f"The new store does not find its image {key}. Try again.")
        _, product_keys = reader.images([key])[key]
        reader.products(product_keys)


def _read(model: Path) -> bytes:
    try:
        return model.read_bytes()
    except OSError as exc:
        raise BundleError(f"The bundle {model} cannot be read: {exc.strerror}.") from exc


def _silent(stage: str, done: int, total: int) -> None:
    pass

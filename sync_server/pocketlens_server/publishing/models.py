"""Models of a catalogue: a bundle comes in, embeds every picture, and is signed.

    add_model(folder, Path("shop.tflite"), now=clock())

That is a job, which `jobs list` shows; cut off, the same call goes on with it.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from pocketlens.durable_files import write_file
from pocketlens.errors import BundleError, ServerError
from pocketlens.formats.bundle import Bundle
from pocketlens.progress import Progress
from pocketlens.query.embedder import Embedder
from pocketlens_server.catalogue.float_siblings import Sibling, add_sibling, embed_all
from pocketlens_server.catalogue.missing import embed_missing, unreadable_pictures
from pocketlens_server.folders import CatalogueFolder
from pocketlens_server.models.float_models import open_sibling
from pocketlens_server.publishing import keys, signing
from pocketlens_server.publishing.images import picture_of
from pocketlens_server.storage.blobs import Blobs
from pocketlens_server.storage.history import IMAGE
from pocketlens_server.storage.jobs import Job, JobKind, Jobs, JobState


def add_model(
    folder: CatalogueFolder,
    path: Path,
    *,
    float_model: Path | None = None,
    offline: Sequence[Path] = (),
    now: datetime,
    progress: Progress = lambda stage, done, total: None,
) -> str:
    """Adds a bundle and embeds every picture by it; cut off, the same call goes on.

    Args:
        folder: Of the catalogue.
        path: The bundle.
        float_model: That it was made of, for photos at full precision: `.keras` or a float32
            bundle; None leaves what there is. For a bundle that devices trust already nothing is
            signed, and no offline key is needed.
        offline: Folders of the offline keys that are at hand; where `init` put them if empty.
        now: When it is signed.
        progress: Called with "embedding" or "embedding at full precision", done and total.

    Returns:
        SHA-256 of the bundle, hex.

    Raises:
        BundleError: It is no bundle, or none that runs here.
        ServerError: The model key is missing, a later model was added since, or a picture of the
            catalogue cannot be read any more.
    """
    try:
        data = path.read_bytes()
    except OSError as exc:
        raise BundleError(f"The bundle {path} cannot be read: {exc.strerror}.") from exc
    with Embedder.open(data) as embedder:  # what does not run here would end every push
        bundle = embedder.bundle
    sha256 = hashlib.sha256(data).digest()
    sibling = None if float_model is None else add_sibling(folder, float_model, bundle)
    if sibling is not None and sha256 in signing.models(folder.public):
        _embed_precisely(folder, sibling, bundle, progress)
        return sha256.hex()
    keys.load(offline or [folder.offline_keys], [keys.MODELS])  # before minutes of embedding
    with folder.changing() as tables:
        known = tables.vectors.bundles()
        later = [number for number, each in known.items() if each == sha256][:1]
        if later and later[0] != max(known) and sha256 in signing.models(folder.public):
            raise ServerError(
                f"This bundle is model {later[0]} of the catalogue already, and {max(known)} came "
                "after it. To go back to it: pocketlens-server publish --new-generation --model "
                f"{path}"
            )
        if not folder.bundle(sha256).exists():
            write_file(folder.bundle(sha256), data)
        blob = Blobs(folder.public / "blobs").put([data])
        tables.vectors.bundle(sha256)
        pictures = {picture_of(value) for _, value in tables.history.values(IMAGE)}
        job = _job(tables.jobs, sha256.hex(), pictures=len(pictures), now=now)

    def kept(stage: str, done: int, total: int) -> None:
        with folder.changing() as tables:
            tables.jobs.set_embedded(job.number, job.counters.expected - (total - done))
        progress(stage, done, total)

    _, unreadable = embed_missing(folder, pictures, progress=kept)
    if unreadable:
        raise unreadable_pictures(folder, unreadable)
    with folder.changing() as tables:  # one signs at a time
        tables.jobs.set_embedded(job.number, job.counters.expected)
        tables.jobs.end(job.number, JobState.DONE, now=now)
        signers = keys.load(offline or [folder.offline_keys], [keys.MODELS])
        signers |= keys.load([folder.online_keys], keys.ONLINE)
        signing.add_model(folder.public, blob, signers, now=now)
    if sibling is not None:
        _embed_precisely(folder, sibling, bundle, progress)
    return sha256.hex()


def _embed_precisely(
    folder: CatalogueFolder, sibling: Sibling, bundle: Bundle, progress: Progress
) -> None:
    """Embeds by the float model what the newest version shows."""
    with folder.reading() as tables:
        pictures = {picture_of(value) for _, value in tables.history.values(IMAGE)}
    with open_sibling(sibling.model, bundle) as model:
        unreadable = embed_all(sibling, folder, pictures, model, progress=progress)
    if unreadable:
        raise unreadable_pictures(folder, unreadable)


def _job(jobs: Jobs, sha256: str, *, pictures: int, now: datetime) -> Job:
    """The job of a model, which an earlier call may have begun."""
    caller = f"model {sha256}"
    begun = [each for each in jobs.unended(JobKind.MODEL) if each.caller == caller]
    if begun:
        jobs.expect(begun[0].number, pictures)
        return jobs.get(begun[0].number)
    return jobs.open(JobKind.MODEL, caller=caller, now=now, expected=pictures)

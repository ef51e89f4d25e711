"""Images that wait -> images that hold, or dead letters, once their pictures were looked at.

    while settle(folder, clock=clock).pictures: ...

What was told of an image meanwhile counts: a picture that is embedded late shows what its image
shows by then.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import logging
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import datetime

from pocketlens.errors import ModelUnsupported
from pocketlens.progress import Progress
from pocketlens_server.catalogue.decoders import Decoders
from pocketlens_server.catalogue.embedders import Embedders
from pocketlens_server.catalogue.missing import OF_NO_PICTURE, embed_each, embed_missing, reason
from pocketlens_server.catalogue.operations import show
from pocketlens_server.folders import CatalogueFolder, Tables
from pocketlens_server.storage.history import PRODUCT
from pocketlens_server.storage.waiting_images import WaitingImage

logger = logging.getLogger(__name__)

# Pictures between two moments in which images begin to hold, each of which keeps others who write
# waiting for 10 ms. Two cores embed as many a second with 64; sixteen have too little to do then.
AT_ONCE = 256


@dataclass(frozen=True, slots=True)
class Settled:
    """What waits no more.

    Attributes:
        pictures: That were looked at.
        embedded: Embeddings that were made of them, by each bundle that had none.
        images: That hold.
        dead: Images whose picture cannot be embedded.
    """

    pictures: int = 0
    embedded: int = 0
    images: int = 0
    dead: int = 0


def settle(
    folder: CatalogueFolder,
    *,
    clock: Callable[[], datetime],
    decoders: Decoders | None = None,
    embedders: Embedders | None = None,
    progress: Progress = lambda stage, done, total: None,
) -> Settled:
    """Embeds the pictures that have waited longest, and lets their images hold.

    Args:
        folder: Of the catalogue.
        clock: For dead letters and the end of jobs.
        decoders: See `embed_missing`.
        embedders: See there too.
        progress: Called with "embedding", done and total, of this call.

    Returns:
        Nothing where no picture waits, or there is no model yet.

    Raises:
        BundleError: A model cannot be opened, or is not right on its golden examples any more.
        ServerError: No picture can be decoded now, or another process was writing for too long.
    """
    with folder.reading() as tables:
        pictures = tables.waiting.pictures(limit=AT_ONCE)
        if not pictures or not tables.vectors.bundles():
            return Settled()
    with ExitStack() as stack:
        decoders = decoders or stack.enter_context(Decoders())
        embedders = embedders or stack.enter_context(Embedders(folder))
        try:
            embedded, unreadable = embed_missing(
                folder, pictures, decoders=decoders, embedders=embedders, progress=progress
            )
        except Exception as exc:  # of one picture, maybe
            if isinstance(exc, OF_NO_PICTURE) and not isinstance(exc, ModelUnsupported):
                raise
            logger.warning("embedding.repeated catalogue=%s error=%r", folder.name, exc)
            embedded, unreadable = embed_each(
                folder, pictures, decoders=decoders, embedders=embedders
            )
    reasons = {picture: reason(folder, picture, exc) for picture, exc in unreadable.items()}
    with folder.changing() as tables:
        settled = _settled(tables, pictures, reasons, now=clock())
    return replace(settled, embedded=embedded)


def retry(folder: CatalogueFolder, numbers: Collection[int]) -> int:
    """Lets dead letters wait again, all if none is named; how many do.

    One whose products are all gone stays dead.
    """
    chosen, retried = set(numbers), 0
    with folder.changing() as tables:
        for letter in tables.dead_letters.listed(limit=-1):
            if chosen and letter.number not in chosen:
                continue
            known = {tables.history.known_key(PRODUCT, each) for each in letter.product_ids}
            there = _there(tables, sorted(key for key in known if key is not None))
            if there:
                waiting = WaitingImage(
                    letter.image, letter.picture, letter.job, there, letter.request
                )
                tables.waiting.put(waiting)  # it is no dead letter then
                tables.jobs.count(letter.job, {"dead": -1})
                tables.jobs.wait_again(letter.job)
                retried += 1
    return retried


def purge(folder: CatalogueFolder, numbers: Collection[int]) -> int:
    """Forgets dead letters, all if none is named; how many there were of them."""
    with folder.changing() as tables:
        return tables.dead_letters.purge(numbers)


def _settled(
    tables: Tables,
    pictures: Sequence[bytes],
    unreadable: Mapping[bytes, str],
    *,
    now: datetime,
) -> Settled:
    bundles = list(tables.vectors.bundles())  # one may have come meanwhile
    counted: defaultdict[int, Counter[str]] = defaultdict(Counter)
    for picture in pictures:
        images = tables.waiting.showing(picture)
        if picture in unreadable:
            for each in images:
                tables.waiting.drop(each.image.id)
                ids = [tables.history.id(PRODUCT, key) for key in each.product_keys]
                tables.dead_letters.put(each, ids, unreadable[picture], now=now)
                counted[each.job]["dead"] += 1
        elif tables.vectors.is_embedded(bundles, picture):
            for number, each in enumerate(images):
                tables.waiting.drop(each.image.id)
                there = _there(tables, each.product_keys)
                if not there:
                    counted[each.job]["skipped"] += 1
                    continue
                has_changed = show(tables.history, each.image, picture, there)
                counted[each.job]["applied" if has_changed else "unchanged"] += 1
                counted[each.job]["embedded" if number == 0 else "reused"] += 1
    for job, counts in counted.items():
        tables.jobs.count(job, counts)
    tables.jobs.end_embedded(now=now)
    whole: Counter[str] = sum(counted.values(), Counter())
    return Settled(len(pictures), images=whole["applied"] + whole["unchanged"], dead=whole["dead"])


def _there(tables: Tables, product_keys: Sequence[int]) -> list[int]:
    """Those of some products that are there: a rollback may have taken them."""
    return [key for key in product_keys if tables.history.value(PRODUCT, key) is not None]

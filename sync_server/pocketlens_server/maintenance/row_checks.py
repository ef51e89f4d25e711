"""Whether the rows of a catalogue's database fit together: history, links, embeddings, state.

    for check, text in row_findings(connection, catalogue="main"): ...

Inside one view; nothing is changed. What rests on something that is wrong is not looked at, so that
one damage is one finding.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import sqlite3
from collections.abc import Iterator

import numpy as np

from pocketlens.errors import CatalogError, TrustError, UpdateRequired
from pocketlens.formats import manifest as manifests
from pocketlens.formats import parts, state_hash
from pocketlens.formats.parts import ImagePart, PlacementPart, ProductPart
from pocketlens.formats.state_hash import Counts, Identity, StateSum
from pocketlens.query.codebook import Codebook
from pocketlens_server.maintenance.findings import Check, counted
from pocketlens_server.publishing import states
from pocketlens_server.publishing.images import image_of, picture_of
from pocketlens_server.publishing.publisher import codes_of
from pocketlens_server.storage.history import (
    HOLDS,
    IMAGE,
    OFFER,
    PRODUCT,
    History,
    placement_kind,
)
from pocketlens_server.storage.vectors import Generation, State, Vectors

_UNIT_LENGTH = 0.01  # that the length of an embedding may differ from 1
_AT_ONCE = 4096  # embeddings in memory
_KINDS = {PRODUCT: "product", OFFER: "offer", IMAGE: "image"}

Found = Iterator[tuple[Check, str]]


def row_findings(connection: sqlite3.Connection, *, catalogue: str) -> Found:
    """Yields what is wrong.

    Args:
        connection: To the database, inside a transaction.
        catalogue: Its name.

    Raises:
        sqlite3.DatabaseError: It cannot be read.
    """
    history, vectors = History(connection), Vectors(connection)
    wrong = [*_intervals(connection, history.head), *_values(connection)]
    wrong = wrong or list(_pairs(connection, history, vectors))
    if wrong:
        yield Check.HISTORY, "; ".join(wrong)
    else:
        yield from _links(connection, history)
    embeddings = list(_embeddings(connection, history, vectors))
    if embeddings:
        yield Check.EMBEDDINGS, "; ".join(embeddings)
    codes = [] if wrong else list(_codes(connection, history, vectors))
    if codes:
        yield Check.CODES, "; ".join(codes)
    if not wrong and not codes:
        found = list(_states(history, vectors, catalogue))
        if found:
            yield Check.STATE, "; ".join(found)


def _intervals(connection: sqlite3.Connection, head: int) -> Iterator[str]:
    """Values that hold before they begin, beside another, or from a version that is not next."""
    overlapping = connection.execute(
        "SELECT kind, key FROM (SELECT kind, key, valid_from, valid_to,"
        " lag(valid_to) OVER (PARTITION BY kind, key ORDER BY valid_from) AS before FROM history)"
        " WHERE valid_from >= valid_to OR valid_from < before"
        " OR valid_from > ? OR valid_to > ? AND valid_to < ?",
        (head + 1, head + 1, HOLDS),
    )
    if found := [_named(kind, key) for kind, key in overlapping]:
        yield counted(found, "values whose versions overlap or cannot be")


def _values(connection: sqlite3.Connection) -> Iterator[str]:
    """Values that are no parts, or those of another key."""
    ids = {
        (kind, key): id_ for kind, id_, key in connection.execute("SELECT kind, id, key FROM keys")
    }
    unreadable, of_others = [], []
    for kind, key, value in connection.execute("SELECT kind, key, value FROM history"):
        try:
            part = parts.decode(value)
        except CatalogError:
            unreadable.append(_named(kind, key))
            continue
        its_key = part.image_key if isinstance(part, PlacementPart) else part.key
        its_kind = value[0] if kind in _KINDS else kind
        is_placed = isinstance(part, PlacementPart) is (kind not in _KINDS)
        has_id = not isinstance(part, ProductPart | ImagePart) or ids.get((kind, key)) == part.id
        if (its_kind, its_key) != (kind, key) or not is_placed or not has_id:
            of_others.append(_named(kind, key))
    if unreadable:
        yield counted(unreadable, "values that cannot be read")
    if of_others:
        yield counted(of_others, "values of another key")


def _pairs(connection: sqlite3.Connection, history: History, vectors: Vectors) -> Iterator[str]:
    """Products without an offer, images without a list, and the other way round."""
    products, offers = history.keys(PRODUCT), history.keys(OFFER)
    if found := sorted(products ^ offers):
        yield counted(found, "products without an offer, or the other way round")
    if not history.head:
        return
    images = _keys_at_head(connection, IMAGE, history.head)
    for generation in vectors.generations():
        kind = placement_kind(generation.number)
        if found := sorted(images ^ _keys_at_head(connection, kind, history.head)):
            where = f"images without a list in generation {generation.number}"
            yield counted(found, f"{where}, or the other way round")


def _keys_at_head(connection: sqlite3.Connection, kind: int, head: int) -> set[int]:
    query = "SELECT key FROM history WHERE kind = ? AND valid_from <= ? AND valid_to > ?"
    return {key for (key,) in connection.execute(query, (kind, head, head))}


def _links(connection: sqlite3.Connection, history: History) -> Found:
    said = {
        (product, key)
        for key, value in history.values(IMAGE)
        for product in image_of(value).product_keys
    }
    kept = set(connection.execute("SELECT product_key, image_key FROM links"))
    if found := sorted(said ^ kept):
        yield Check.LINKS, counted(found, "links that are not what the images say")


def _embeddings(
    connection: sqlite3.Connection, history: History, vectors: Vectors
) -> Iterator[str]:
    """Embeddings that are missing, of a wrong length, or no unit vectors."""
    pictures = _pictures_at_head(history)
    for generation in vectors.generations():
        if found := vectors.without_embedding(generation.bundle, pictures):
            names = [each.hex()[:12] for each in found]
            yield counted(names, f"pictures without an embedding by bundle {generation.bundle}")
    dims = {each.bundle: len(each.scale) for each in vectors.generations()}
    for bundle in vectors.bundles():
        wrong = []
        rows = connection.execute(
            "SELECT picture, embedding FROM embeddings WHERE bundle = ?", (bundle,)
        )
        while some := rows.fetchmany(_AT_ONCE):
            size = 4 * dims.setdefault(bundle, len(some[0][1]) // 4)
            whole = [(picture, data) for picture, data in some if len(data) == size]
            wrong += [picture for picture, data in some if len(data) != size]
            matrix = np.frombuffer(b"".join(data for _, data in whole), "<f4")
            unit_vectors = matrix.reshape(len(whole), size // 4).astype(np.float64)
            lengths = np.linalg.norm(unit_vectors, axis=1)
            is_wrong = ~(np.abs(lengths - 1) <= _UNIT_LENGTH)  # NaN is wrong too
            wrong += [whole[row][0] for row in np.flatnonzero(is_wrong)]
        if wrong:
            names = [each.hex()[:12] for each in wrong]
            yield counted(names, f"embeddings by bundle {bundle} that are no unit vectors")


def _codes(connection: sqlite3.Connection, history: History, vectors: Vectors) -> Iterator[str]:
    """Codes that are missing, or of a wrong length."""
    pictures = set(_pictures_at_head(history))
    for generation in vectors.generations():
        found = connection.execute(
            "SELECT picture, length(code) FROM codes WHERE generation = ?", (generation.number,)
        )
        whole = {picture for picture, size in found if size == len(generation.scale)}
        if missing := sorted(pictures - whole):
            names = [each.hex()[:12] for each in missing]
            yield counted(names, f"pictures without a code in generation {generation.number}")


def _states(history: History, vectors: Vectors, catalogue: str) -> Iterator[str]:
    """States that differ from what the rows say, or from what was signed."""
    encoded = vectors.manifests()
    for generation in vectors.generations():
        name = f"generation {generation.number}"
        state = _computed(history, vectors, generation)
        if state != vectors.state(generation.number, history.head):
            yield f"the rows of {name} at version {history.head} are others than its state says"
            continue
        try:
            manifest = manifests.decode(encoded[generation.id])
        except (KeyError, TrustError, UpdateRequired) as exc:
            yield f"the manifest of {name} cannot be read ({exc})"
            continue
        said = manifest.version, manifest.state_hash, manifest.images, manifest.products
        digest = _digest(catalogue, generation, state)
        if said != (history.head, digest, state.images, state.products):
            yield f"the manifest of {name} is of another state than version {history.head} has"


def _computed(history: History, vectors: Vectors, generation: Generation) -> State:
    """The state at head, from every row."""
    code_of, head = codes_of(vectors, generation.number), history.head
    whole, placed = StateSum(), StateSum()
    for kind in (PRODUCT, OFFER):
        whole.add(value for _, value in history.values(kind, head))
    whole.add(states.with_code(value, code_of) for _, value in history.values(IMAGE, head))
    placed.add(value for _, value in history.values(placement_kind(generation.number), head))
    images, products = history.count(IMAGE, head), history.count(PRODUCT, head)
    return State(whole.value, placed.value, images, products)


def _digest(catalogue: str, generation: Generation, state: State) -> bytes:
    codebook = Codebook(generation.centroids, index="exact").sha256
    counts = Counts(state.images, state.images, state.products, state.products)
    identity = Identity(catalogue, generation.id, codebook)
    return state_hash.digest(identity, counts, state.state_sum)


def _pictures_at_head(history: History) -> list[bytes]:
    return [picture_of(value) for _, value in history.values(IMAGE, history.head)]


def _named(kind: int, key: int) -> str:
    return f"{_KINDS.get(kind, 'list of image')} {key}"

"""The golden files, read as an implementation in another language would read them."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.conformance.make_vectors import FILES, FOLDER, PATH, text_of

from pocketlens.errors import (
    CatalogError,
    StoreCorrupt,
    StoreTooNew,
    TrustError,
    UpdateRequired,
)
from pocketlens.formats import pack_list, parts, state_hash, thumbnail_pack
from pocketlens.formats.parts import ImagePart, OfferPart, PlacementPart, ProductPart
from pocketlens.query import codes, scoring
from pocketlens.query.codebook import Codebook

GOLDEN: dict[str, Any] = json.loads(PATH.read_text())
EDGES: dict[str, Any] = json.loads((FOLDER / "part_edges.json").read_text())
THUMBNAILS: dict[str, Any] = json.loads((FOLDER / "thumbnails.json").read_text())
KINDS = {"image": ImagePart, "placement": PlacementPart, "product": ProductPart, "offer": OfferPart}


@pytest.mark.parametrize(
    "golden", GOLDEN["parts"] + EDGES["parts"], ids=lambda golden: golden["bytes"][:10]
)
def test_parts_have_their_canonical_bytes(golden: dict[str, Any]) -> None:
    fields = dict(golden["fields"])
    if golden["kind"] == "image":
        fields["product_keys"] = tuple(fields["product_keys"])
        fields["code"] = bytes.fromhex(fields["code"])
    part = KINDS[golden["kind"]](**fields)

    assert parts.encode(part).hex() == golden["bytes"]
    assert parts.decode(bytes.fromhex(golden["bytes"])) == part
    assert hashlib.sha512(parts.encode(part)).hexdigest() == golden["sha512"]


@pytest.mark.parametrize("data", GOLDEN["refused"] + list(EDGES["refused"].values()))
def test_other_bytes_are_refused(data: str) -> None:
    with pytest.raises(CatalogError):
        parts.decode(bytes.fromhex(data))


@pytest.mark.parametrize("golden", GOLDEN["states"], ids=lambda golden: golden["catalogue"])
def test_states_have_their_hash(golden: dict[str, Any]) -> None:
    state = state_hash.StateSum()
    state.add(bytes.fromhex(GOLDEN["parts"][number]["bytes"]) for number in golden["parts"])
    identity = state_hash.Identity(
        golden["catalogue"],
        bytes.fromhex(golden["generation"]),
        bytes.fromhex(golden["codebook_sha256"]),
    )
    counts = state_hash.Counts(**golden["counts"])

    assert state.value.hex() == golden["sum"]
    assert state_hash.digest(identity, counts, state.value).hex() == golden["state_hash"]


@pytest.mark.parametrize("golden", EDGES["sums"])
def test_sums_are_of_what_was_added_and_not_subtracted(golden: dict[str, Any]) -> None:
    added, subtracted = (
        [bytes.fromhex(EDGES["parts"][number]["bytes"]) for number in golden[name]]
        for name in ("added", "subtracted")
    )
    state = state_hash.StateSum()

    state.add(added)
    state.subtract(subtracted)

    assert state.value.hex() == golden["sum"]


def test_the_codebook_has_its_hash() -> None:
    golden = GOLDEN["codebook"]

    codebook = Codebook(np.array(golden["centroids"], np.float16))

    assert codebook.sha256.hex() == golden["sha256"]
    assert hashlib.sha256(bytes.fromhex(golden["bytes"])).hexdigest() == golden["sha256"]


def test_the_generation_has_its_id() -> None:
    golden = GOLDEN["generation"]

    scale = np.array(golden["scale"], np.float32)

    assert codes.generation_id(bytes.fromhex(golden["bundle_sha256"]), scale).hex() == golden["id"]


def test_embeddings_have_their_codes_and_codes_their_similarities() -> None:
    golden = json.loads((FOLDER / "codes.json").read_text())
    scale, query = (
        np.frombuffer(bytes.fromhex(golden[name]), "<f4") for name in ("scale", "query")
    )
    for case in golden["cases"].values():
        embedding = np.frombuffer(bytes.fromhex(case["embedding"]), "<f4")

        code = codes.encode(embedding[None], scale)

        assert code.tobytes().hex() == case["code"]
        similarity = scoring.similarities(scoring.weights(query, scale), code)
        assert similarity == pytest.approx(case["similarity"], rel=1e-5, abs=1e-5)


@pytest.mark.parametrize(
    ("name", "samples"),
    [("both", ["representative", "queries"]), ("without_queries", ["representative"])],
)
def test_codes_with_feedback_are_those_of_the_document(name: str, samples: list[str]) -> None:
    """Step by step as docs/formats.md says, one number at a time."""
    golden = json.loads((FOLDER / "feedback.json").read_text())
    scale = np.array(golden["scale"])
    of_samples = [np.mean([np.outer(x, x) for x in golden[each]], axis=0) for each in samples]
    moment = np.mean(of_samples, axis=0) * np.outer(scale / 127, scale / 127)
    moment += 0.3 * np.diag(moment).mean() * np.eye(len(scale))
    upper = np.linalg.cholesky(np.linalg.inv(moment)).T
    feedback = upper / np.diag(upper)[:, None]
    for embedding, code in zip(golden["embeddings"], golden["codes"][name], strict=True):
        levels, found = 127 * np.array(embedding) / scale, []
        for j, level in enumerate(levels):
            found.append(max(-127, min(127, round(level))))
            levels[j + 1 :] -= feedback[j, j + 1 :] * (level - found[j])

        assert np.array(found, np.int8).tobytes().hex() == code


@pytest.mark.parametrize("golden", THUMBNAILS["packs"].values(), ids=THUMBNAILS["packs"])
def test_packs_have_each_images_thumbnail(golden: dict[str, Any]) -> None:
    data = bytes.fromhex(golden["bytes"])
    index = thumbnail_pack.index_of(data)

    assert len(list(thumbnail_pack.entries(index))) == len(golden["images"])
    for image_id, expected in golden["images"].items():
        entry = thumbnail_pack.find(index, thumbnail_pack.key_of(image_id))
        assert entry is not None
        found = data[entry.offset : entry.offset + entry.size]
        assert entry.holds(found)
        assert found.hex() == expected
    assert thumbnail_pack.find(index, thumbnail_pack.key_of("another")) is None


@pytest.mark.parametrize("golden", THUMBNAILS["no_packs"].values(), ids=THUMBNAILS["no_packs"])
def test_what_is_no_pack_is_refused(golden: dict[str, str]) -> None:
    with pytest.raises(StoreTooNew if golden["refused"] == "newer" else StoreCorrupt):
        thumbnail_pack.index_of(bytes.fromhex(golden["bytes"]))


@pytest.mark.parametrize("golden", THUMBNAILS["lists"].values(), ids=THUMBNAILS["lists"])
def test_lists_name_their_packs(golden: dict[str, Any]) -> None:
    listed = pack_list.decode(bytes.fromhex(golden["bytes"]))

    packs = [[each.sha256.hex(), each.size, each.count, each.head] for each in listed.packs]
    assert {"head": listed.head, "packs": packs} == golden["expected"]


@pytest.mark.parametrize("golden", THUMBNAILS["no_lists"].values(), ids=THUMBNAILS["no_lists"])
def test_what_is_no_list_is_refused(golden: dict[str, str]) -> None:
    with pytest.raises(UpdateRequired if golden["refused"] == "newer" else TrustError):
        pack_list.decode(bytes.fromhex(golden["bytes"]))


@pytest.mark.parametrize("name", FILES)
def test_vectors_are_what_their_script_makes(name: str) -> None:
    assert text_of(FILES[name]()) == (FOLDER / name).read_text()


def test_the_examples_of_the_document_are_vectors() -> None:
    document = (PATH.parents[3] / "docs" / "formats.md").read_text()
    indented = [line[4:54] for line in document.splitlines() if line.startswith("    ")]
    shown = "".join("".join(re.findall(r"\b[0-9a-f]{2}\b", line)) for line in indented)

    for number in (0, 4, 5, 7):
        assert GOLDEN["parts"][number]["bytes"] in shown
    assert GOLDEN["states"][0]["sum"] in shown
    assert GOLDEN["states"][0]["state_hash"] in shown
    assert GOLDEN["codebook"]["bytes"] in shown


def test_no_vector_is_a_large_file() -> None:
    assert all(path.stat().st_size < 64 * 1024 for path in Path(PATH.parent).glob("*.json"))

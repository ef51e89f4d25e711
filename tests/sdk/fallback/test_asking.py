"""A Lens that may ask a server: what leaves, what comes back, and how nothing does."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import io
import os
import random
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path

import grpc
import numpy as np
import pytest
from PIL import Image as Pillow
from tests.making.canaries import canary_photo
from tests.making.certificates import make_certificates
from tests.making.colour_bundle import DIM, SIZE
from tests.making.query_servers import Bytes, StoreService, answering, dead, garbled, silent
from tests.making.tiles import tile
from tests.sdk.fallback.conftest import Stores

from pocketlens import (
    CategoryShare,
    Fallback,
    FallbackOutcome,
    FallbackReport,
    Filter,
    Lens,
    SearchResult,
    Verdict,
)
from pocketlens.errors import StoreError
from pocketlens.fallback.asking import Asking, Question
from pocketlens.fallback.breaker import FAILURES_IN_A_ROW, FIRST_SECONDS
from pocketlens.fallback.ledger import NAME, Summary, summary
from pocketlens.followed import Followed, write
from pocketlens.options import PictureLimits
from pocketlens.store.reader import Reader
from pocketlens_protos.v1 import query_service_pb2 as messages

LONG, SHORT = 30.0, 0.5  # seconds; the long one never passes


def always(address: str = "", **given: object) -> Fallback:
    return Fallback(address, **({"when": "always", "deadline": LONG} | given))  # type: ignore[arg-type]


def asked(store: Path, fallback: Fallback, photo: object = None, **given: object) -> SearchResult:
    with Lens.open(store) as lens:
        return lens.search(photo or tile(7), fallback=fallback, **given)  # type: ignore[arg-type]


def report(found: SearchResult) -> FallbackReport:
    assert found.fallback is not None
    return found.fallback


def ids(found: SearchResult) -> list[str]:
    return [match.product.id for match in found.matches]


def sent(store: Path) -> Summary:
    """What the ledger of a store says."""
    found = summary(store / NAME)
    assert found is not None
    return found


# --- what leaves, and what comes back -------------------------------------------------------


def test_without_a_fallback_nobody_is_asked(stores: Stores, service: StoreService) -> None:
    with Lens.open(stores.first) as lens:
        found = lens.search(tile(7))

    assert (found.answered_by, found.fallback) == ("device", None)
    assert not (stores.first / NAME).exists()
    assert service.asked == []


def test_an_embedding_leaves_and_no_picture(
    stores: Stores, service: StoreService, address: str
) -> None:
    with Lens.open(stores.first) as lens:
        here = lens.search(tile(7), 3, filter=Filter(in_stock=True))
        found = lens.search(tile(7), 3, filter=Filter(in_stock=True), fallback=always(address))

    (question,) = service.asked
    assert question == messages.SearchRequest(
        catalogue="main",
        embedding=question.embedding,
        k=3,
        filter=messages.Filter(in_stock=True),
    )
    assert question.embedding.generation.hex() == here.generation
    assert len(question.embedding.values) == 4 * DIM
    assert (found.answered_by, ids(found)) == ("embedding", ids(here))
    told = report(found)
    assert (told.outcome, told.reason) == (FallbackOutcome.ANSWERED, "")
    assert told.sent_bytes == question.ByteSize() < 4 * DIM + 80
    assert 0 < told.waited_ms < LONG * 1e3
    assert (told.generation, told.version) == (here.generation, here.version)


def test_a_photo_leaves_as_a_small_copy_where_the_shopper_agreed(
    stores: Stores, service: StoreService, address: str
) -> None:
    photo = making_larger(tile(7))
    fallback = always(address, send="photo", photo_consent=True)

    found = asked(stores.first, fallback, photo, box=(0, 0, 400, 400))

    (question,) = service.asked
    assert question.WhichOneof("query") == "photo"
    assert not question.HasField("box")
    copy = Pillow.open(io.BytesIO(question.photo))
    assert (copy.format, copy.size) == ("JPEG", (2 * SIZE, 2 * SIZE))
    assert (found.answered_by, ids(found)[0]) == ("photo", "sku-7")
    assert report(found).sent_bytes == question.ByteSize()
    assert sent(stores.first).questions == {"photo": 1}


def test_a_file_object_is_read_once_for_both(
    stores: Stores, service: StoreService, address: str
) -> None:
    fallback = always(address, send="photo", photo_consent=True)

    found = asked(stores.first, fallback, io.BytesIO(tile(7)))

    assert (found.answered_by, ids(found)[0]) == ("photo", "sku-7")


def making_larger(picture: bytes) -> bytes:
    file = io.BytesIO()
    with Pillow.open(io.BytesIO(picture)) as image:
        image.resize((400, 400)).save(file, "PNG")
    return file.getvalue()


def test_the_ledger_lists_a_question_before_it_leaves(
    stores: Stores, service: StoreService, address: str
) -> None:
    seen: list[Summary | None] = []
    service.looks = lambda: seen.append(summary(stores.first / NAME))

    asked(stores.first, always(address))

    (before,) = seen
    after = sent(stores.first)
    assert before is not None
    assert before.questions == after.questions == {"embedding": 1}
    assert before.sent_bytes == {"embedding": service.asked[0].ByteSize()}
    assert before.last is not None
    assert (before.last.address, before.last.catalogue) == (address, "main")
    assert before.last.outcome == "left"
    assert after.last == replace(before.last, outcome="answered")


def test_steps_are_the_devices_answer_and_then_the_servers(
    stores: Stores, service: StoreService, address: str
) -> None:
    with Lens.open(stores.first) as lens:
        steps = lens.search_in_steps(tile(7), 3, fallback=always(address))
        first = next(steps)
        assert service.asked == []  # nothing leaves before it is asked for
        assert (first.answered_by, first.fallback, steps.fallback) == ("device", None, None)
        second = next(steps)
        assert (second.answered_by, second.fallback) == ("embedding", report(second))
        assert list(steps) == []

    assert steps.fallback == second.fallback
    assert len(service.asked) == 1


def test_a_server_searches_the_likely_categories_where_the_device_does(
    stores: Stores, service: StoreService, address: str
) -> None:
    shares = (CategoryShare("tiles", 0.98),)
    service.changed = lambda found: replace(found, categories=shares, searched=("tiles",))

    found = asked(stores.first, always(address), category="auto")

    (question,) = service.asked
    assert question.auto_category == messages.SearchRequest.SEARCH
    assert not question.filter.HasField("category")
    assert found.answered_by == "embedding"
    assert (found.categories, found.searched) == (shares, ("tiles",))


def test_a_server_is_told_no_words_and_not_asked_beside_them(
    stores: Stores, service: StoreService, address: str
) -> None:
    with Lens.open(stores.first) as lens:
        here = lens.search(tile(7), 3, text="tile")
        steps = lens.search_in_steps(tile(7), 3, text="tile", fallback=always(address))
        (found,) = steps
        waited = lens.search(tile(7), 3, text="tile", fallback=always(address))
        none = lens.search(tile(7), 3, text="!", fallback=always(address))  # holds no word

    assert found.words == waited.words == here.words
    assert ids(found) == ids(waited) == ids(here)
    assert steps.fallback == report(waited)
    told = report(waited)
    assert (told.outcome, told.reason) == (FallbackOutcome.NOT_ASKED, "Servers take no words.")
    assert none.answered_by == "embedding"
    assert len(service.asked) == 1
    assert sent(stores.first).questions == {"embedding": 1}


def test_who_leaves_after_the_first_step_sends_nothing(
    stores: Stores, service: StoreService, address: str
) -> None:
    with Lens.open(stores.first) as lens:
        steps = lens.search_in_steps(tile(7), fallback=always(address))
        next(steps)
        steps.close()

        assert list(steps) == []
    assert service.asked == []
    assert not (stores.first / NAME).exists()


def test_a_device_that_is_sure_asks_nobody(
    stores: Stores, service: StoreService, address: str
) -> None:
    fallback = Fallback(address, deadline=LONG)
    with Lens.open(stores.first) as lens:
        stranger = next(
            tile(number)
            for number in range(30, 200)
            if lens.search(tile(number)).verdict is not Verdict.MATCH
        )

    sure = asked(stores.first, fallback)
    assert (sure.answered_by, sure.verdict) == ("device", Verdict.MATCH)
    assert report(sure).outcome is FallbackOutcome.NOT_NEEDED
    assert service.asked == []
    unsure = asked(stores.first, fallback, stranger)
    assert (unsure.answered_by, len(service.asked)) == ("embedding", 1)


def test_the_servers_verdict_and_confidence_are_kept(
    stores: Stores, service: StoreService, address: str
) -> None:
    service.changed = lambda found: replace(
        found, verdict=Verdict.UNSURE, confidence=0.5, threshold=0.75, margin=0.125
    )

    found = asked(stores.first, always(address))

    judged = (found.verdict, found.confidence, found.threshold, found.margin)
    assert judged == (Verdict.UNSURE, 0.5, 0.75, 0.125)


def test_more_matches_than_a_server_gives_are_not_asked_for(
    stores: Stores, service: StoreService, address: str
) -> None:
    asked(stores.first, always(address), k=1000)

    assert service.asked[0].k == 100


def test_a_token_is_shown(stores: Stores, service: StoreService, address: str) -> None:
    asked(stores.first, always(address, token="a-token"))  # noqa: S106 # of no server

    assert service.tokens == ["Bearer a-token"]


def test_the_server_that_a_store_follows_may_be_the_one(
    stores: Stores, service: StoreService, address: str
) -> None:
    write(stores.first, Followed(address, "main", b"{}", "a device"))

    assert asked(stores.first, always()).answered_by == "embedding"


def test_a_store_that_follows_no_server_says_so(stores: Stores) -> None:
    found = asked(stores.first, always())

    assert (found.answered_by, report(found).outcome) == ("device", FallbackOutcome.NOT_ASKED)
    assert "HOST:PORT" in report(found).reason


# --- other versions -------------------------------------------------------------------------


def test_a_newer_server_knows_products_that_the_store_does_not(
    stores: Stores, service: StoreService, address: str
) -> None:
    service.store = stores.second

    found = asked(stores.first, always(address), tile(20), k=12)

    assert ids(found)[0] == "sku-20"
    assert "sku-3" not in ids(found)
    told = report(found)
    assert (told.unknown, told.gone) == (("sku-20",), ())
    assert (found.version, told.version) == (2, 1)
    assert "version 2, the store has 1" in told.reason


def test_an_older_server_brings_nothing_back_that_is_gone(
    stores: Stores, service: StoreService, address: str
) -> None:
    found = asked(stores.second, always(address), tile(5), k=12)

    assert "sku-3" not in ids(found)
    assert found.best is not None
    assert (found.best.product.id, found.best.product.stock) == ("sku-5", 0)  # as the store says
    assert report(found).gone == ("sku-3",)
    assert found.version == 1


def test_an_older_servers_matches_satisfy_the_filter_by_what_the_store_says(
    stores: Stores, address: str
) -> None:
    found = asked(stores.second, always(address), tile(5), k=12, filter=Filter(in_stock=True))

    assert "sku-5" not in ids(found)
    assert "sku-7" in ids(found)
    assert found.best is not None
    assert found.best.product.id == "sku-5"


def test_a_verdict_on_what_is_gone_leaves_the_devices_answer(
    stores: Stores, service: StoreService, address: str
) -> None:
    with Lens.open(stores.second) as lens:
        here = lens.search(tile(3), 12)
        steps = lens.search_in_steps(tile(3), 12, fallback=always(address))
        found = list(steps)

    assert [each.answered_by for each in found] == ["device"]
    assert ids(found[0]) == ids(here)
    assert steps.fallback is not None
    assert steps.fallback.outcome is FallbackOutcome.OUTDATED
    assert steps.fallback.gone == ("sku-3",)


def test_an_answer_of_another_generation_is_merged_by_product_id(
    stores: Stores, service: StoreService, address: str
) -> None:
    service.changed = lambda found: replace(found, generation="cd" * 32, version=2)

    found = asked(stores.first, always(address))

    assert found.generation == "cd" * 32
    assert report(found).generation != found.generation
    assert ids(found)[0] == "sku-7"


def test_a_store_of_another_catalogue_compares_no_versions(
    stores: Stores, service: StoreService, address: str
) -> None:
    service.store = stores.second

    found = asked(stores.first, always(address, catalogue="other"), tile(20))

    assert service.asked[0].catalogue == "other"
    assert report(found).unknown == ("sku-20",)
    assert "not of the server's catalogue" in report(found).reason


# --- servers that do not answer -------------------------------------------------------------


@pytest.mark.parametrize(
    ("server", "outcome"),
    [
        (dead, FallbackOutcome.UNAVAILABLE),
        (silent, FallbackOutcome.LATE),
        (garbled, FallbackOutcome.UNAVAILABLE),
        (lambda: answering(Bytes(b"\xff" * 40)), FallbackOutcome.UNUSABLE),
        (lambda: answering(Bytes(b"")), FallbackOutcome.UNUSABLE),
    ],
    ids="dead silent garbled bytes nothing".split(),
)
def test_the_devices_answer_stands_where_none_comes(
    stores: Stores,
    server: Callable[[], AbstractContextManager[str]],
    outcome: FallbackOutcome,
) -> None:
    with server() as address, Lens.open(stores.first) as lens:
        here = lens.search(tile(7), 3)
        seconds = SHORT if outcome is FallbackOutcome.LATE else LONG
        found = lens.search(tile(7), 3, fallback=always(address, deadline=seconds))

    assert (found.answered_by, ids(found)) == ("device", ids(here))
    told = report(found)
    assert told.outcome is outcome
    if outcome is not FallbackOutcome.LATE:  # which may be before a busy disk has flushed a row
        assert address in told.reason
        assert told.sent_bytes == sent(stores.first).sent_bytes["embedding"]


def test_a_slow_server_is_left_at_the_deadline(
    stores: Stores, service: StoreService, address: str
) -> None:
    service.waits.clear()

    found = asked(stores.first, always(address, deadline=SHORT))

    told = report(found)
    assert (found.answered_by, told.outcome) == ("device", FallbackOutcome.LATE)
    assert SHORT * 1e3 <= told.waited_ms < LONG * 1e3 / 2
    assert len(service.asked) <= 1


@pytest.mark.parametrize(
    "changed",
    [
        {"answered_by": "device"},
        {"answered_by": "photo"},
        {"matches": None},
        {"best": None, "verdict": Verdict.MATCH},
        {"gallery_size": 7, "confidence": 2.0},
        {"margin": float("nan")},
    ],
    ids=str,
)
def test_an_answer_that_cannot_be_is_none(
    stores: Stores, service: StoreService, address: str, changed: dict[str, object]
) -> None:
    def lie(found: SearchResult) -> SearchResult:
        given = changed if changed != {"matches": None} else {"matches": found.matches * 2}
        return replace(found, **given)  # type: ignore[arg-type]

    service.changed = lie

    found = asked(stores.first, always(address), k=2)

    assert (found.answered_by, report(found).outcome) == ("device", FallbackOutcome.UNUSABLE)
    assert "cannot be" in report(found).reason


@pytest.mark.parametrize(
    ("code", "outcome"),
    [
        (grpc.StatusCode.UNAUTHENTICATED, FallbackOutcome.REFUSED),
        (grpc.StatusCode.PERMISSION_DENIED, FallbackOutcome.REFUSED),
        (grpc.StatusCode.NOT_FOUND, FallbackOutcome.REFUSED),
        (grpc.StatusCode.INVALID_ARGUMENT, FallbackOutcome.REFUSED),
        (grpc.StatusCode.UNIMPLEMENTED, FallbackOutcome.REFUSED),
        (grpc.StatusCode.INTERNAL, FallbackOutcome.UNUSABLE),
        (grpc.StatusCode.UNAVAILABLE, FallbackOutcome.UNAVAILABLE),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, FallbackOutcome.UNAVAILABLE),
    ],
    ids=lambda each: each.name.lower(),
)
def test_a_server_that_refuses_is_heard(
    stores: Stores,
    service: StoreService,
    address: str,
    code: grpc.StatusCode,
    outcome: FallbackOutcome,
) -> None:
    service.refusal = code, "The token has\n expired.", ()

    found = asked(stores.first, always(address))

    assert (found.answered_by, report(found).outcome) == ("device", outcome)
    assert "The token has  expired." in report(found).reason


def test_a_dead_server_is_left_alone(stores: Stores) -> None:
    with dead() as address, Lens.open(stores.first) as lens:
        told = [report(lens.search(tile(7), fallback=always(address))) for _ in range(8)]

    outcomes = [each.outcome.value for each in told]
    rests = len(told) - FAILURES_IN_A_ROW
    assert outcomes == ["unavailable"] * FAILURES_IN_A_ROW + ["resting"] * rests
    assert {each.sent_bytes for each in told[FAILURES_IN_A_ROW:]} == {0}
    assert sent(stores.first).questions == {"embedding": FAILURES_IN_A_ROW}


def test_a_silent_server_costs_a_few_searches_their_deadline(stores: Stores) -> None:
    with silent() as address, Lens.open(stores.first) as lens:
        fallback = always(address, deadline=SHORT)
        late = 0
        while report(found := lens.search(tile(7), fallback=fallback)).outcome.value == "late":
            late += 1
            assert late < 20  # one that was late before it was sent does not count

    assert late >= FAILURES_IN_A_ROW
    assert report(found).outcome is FallbackOutcome.RESTING
    assert report(found).waited_ms < SHORT * 1e3


def test_a_server_that_asks_to_be_spared_is_not_asked_by_the_next_search(
    stores: Stores, service: StoreService, address: str
) -> None:
    service.refusal = (
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        "Try again in 60 s.",
        (("grpc-retry-pushback-ms", "60000"),),
    )
    with Lens.open(stores.first) as lens:
        outcomes = [report(lens.search(tile(7), fallback=always(address))) for _ in range(3)]

    assert [each.outcome.value for each in outcomes] == ["unavailable", "resting", "resting"]
    assert len(service.asked) == 1


def test_all_fallbacks_of_a_lens_to_a_server_share_its_breaker_and_connection(
    stores: Stores, service: StoreService, address: str
) -> None:
    with Lens.open(stores.first) as lens:
        for token in ("one", "two"):
            assert lens.search(tile(7), fallback=always(address, token=token)).fallback
        service.refusal = (
            grpc.StatusCode.UNAVAILABLE, "later", (("grpc-retry-pushback-ms", "60000"),),
        )  # fmt: skip
        lens.search(tile(7), fallback=always(address, token="three"))  # noqa: S106
        rested = report(lens.search(tile(7), fallback=always(address, deadline=LONG / 2)))

    assert rested.outcome is FallbackOutcome.RESTING
    assert service.tokens == ["Bearer one", "Bearer two", "Bearer three"]


def test_a_server_that_comes_back_is_found(stores: Stores, service: StoreService) -> None:
    now = 0.0
    vector = np.full(DIM, DIM**-0.5, np.float32)
    with (
        Lens.open(stores.first) as lens,
        Reader.open(stores.first) as reader,
        Asking(stores.first, seconds=lambda: now, rng=random.Random(1)) as asking,
    ):
        here = lens.search_vector(vector, 3)
        question = Question(b"", None, vector, 3, None, None, lens.bundle.spec, PictureLimits())

        def outcome(address: str) -> str:
            return asking.refined(here, question, always(address), reader)[1].outcome.value

        with dead() as address:
            told = [outcome(address) for _ in range(FAILURES_IN_A_ROW + 1)]
        assert told == [*["unavailable"] * FAILURES_IN_A_ROW, "resting"]
        with answering(service, port=int(address.rpartition(":")[2])):
            assert outcome(address) == "resting"
            now += 2 * FIRST_SECONDS
            assert [outcome(address) for _ in range(2)] == ["answered", "answered"]


def test_over_tls_the_named_authority_is_trusted_alone(
    stores: Stores, service: StoreService, tmp_path: Path
) -> None:
    tls, others = make_certificates(tmp_path / "tls"), make_certificates(tmp_path / "others")
    with answering(service, tls=tls) as address:
        trusted = always(address, ca=tls.ca.read_bytes())
        assert asked(stores.first, trusted).answered_by == "embedding"
        for ca in (others.ca.read_bytes(), None):
            told = report(asked(stores.first, always(address, ca=ca)))
            assert told.outcome is FallbackOutcome.UNAVAILABLE
    assert len(service.asked) == 1


# --- what it may cost -----------------------------------------------------------------------


def test_a_metered_network_takes_embeddings_and_no_photo(
    stores: Stores, service: StoreService, address: str
) -> None:
    photo = canary_photo(2)
    metered = always(address, is_metered=True, metered_bytes=1000)
    picture = replace(metered, send="photo", photo_consent=True)

    assert asked(stores.first, metered, photo).answered_by == "embedding"
    refused = asked(stores.first, picture, photo)

    assert (refused.answered_by, report(refused).outcome) == ("device", FallbackOutcome.METERED)
    assert "1,000 are allowed" in report(refused).reason
    assert len(service.asked) == 1


def test_a_day_has_a_budget(stores: Stores, service: StoreService, address: str) -> None:
    with Lens.open(stores.first) as lens:
        size = report(lens.search(tile(7), fallback=always(address))).sent_bytes
        told = [
            report(lens.search(tile(7), fallback=always(address, daily_bytes=2 * size)))
            for _ in range(3)
        ]

    assert [each.outcome.value for each in told] == ["answered", "over_budget", "over_budget"]
    assert len(service.asked) == 2
    assert sent(stores.first).questions == {"embedding": 2}


def test_nothing_leaves_unlisted(stores: Stores, service: StoreService, address: str) -> None:
    (stores.first / NAME).mkdir()  # as root, a test may write to any folder

    found = asked(stores.first, always(address))

    assert (found.answered_by, report(found).outcome) == ("device", FallbackOutcome.UNLISTED)
    assert NAME in report(found).reason
    assert service.asked == []


def test_another_place_may_be_named_for_the_ledger(
    stores: Stores, service: StoreService, address: str, tmp_path: Path
) -> None:
    elsewhere = tmp_path / "sent.sqlite"

    assert asked(stores.first, always(address, ledger=elsewhere)).answered_by == "embedding"
    assert not (stores.first / NAME).exists()
    assert summary(elsewhere) is not None


# --- closing and forking --------------------------------------------------------------------


def test_a_lens_that_is_closed_ends_the_waiting(
    stores: Stores, service: StoreService, address: str
) -> None:
    service.waits.clear()
    lens = Lens.open(stores.first)
    came = threading.Event()
    service.looks = came.set
    results: list[SearchResult] = []
    search = threading.Thread(
        target=lambda: results.append(lens.search(tile(7), fallback=always(address)))
    )
    search.start()
    assert came.wait(LONG)

    lens.close()
    search.join(LONG / 2)

    (found,) = results
    assert (found.answered_by, ids(found)[0]) == ("device", "sku-7")
    assert report(found).outcome is not FallbackOutcome.ANSWERED
    with pytest.raises(StoreError, match="closed"):
        lens.search(tile(7), fallback=always(address))


def test_steps_that_were_begun_end_well_in_a_closed_lens(
    stores: Stores, service: StoreService, address: str
) -> None:
    lens = Lens.open(stores.first)
    steps = lens.search_in_steps(tile(7), fallback=always(address))
    next(steps)
    lens.close()

    assert list(steps) == []
    assert steps.fallback is not None
    assert steps.fallback.outcome is FallbackOutcome.NOT_ASKED
    assert service.asked == []


@pytest.mark.skipif(not hasattr(os, "fork"), reason="has no fork")
def test_after_a_fork_steps_are_refused(stores: Stores) -> None:
    with Lens.open(stores.first) as lens:
        steps = lens.search_in_steps(tile(7), fallback=Fallback("127.0.0.1:1", when="always"))
        next(steps)
        child = os.fork()
        if child == 0:
            try:
                next(steps)
            except StoreError:
                os._exit(7)
            os._exit(1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7


def test_searches_of_many_threads_are_all_answered(
    stores: Stores, service: StoreService, address: str
) -> None:
    results: list[SearchResult] = []
    with Lens.open(stores.first) as lens:

        def search(number: int) -> None:
            results.append(lens.search(tile(number), 1, fallback=always(address)))

        threads = [threading.Thread(target=search, args=(number,)) for number in range(12)]
        for each in threads:
            each.start()
        for each in threads:
            each.join()

    assert {ids(each)[0] for each in results} == {f"sku-{number}" for number in range(12)}
    assert {each.answered_by for each in results} == {"embedding"}
    assert sent(stores.first).questions == {"embedding": 12}

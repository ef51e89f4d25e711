"""What an app allows, and what it cannot."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from pocketlens import Fallback, SearchResult, Verdict
from pocketlens.errors import QueryError


def found(verdict: Verdict) -> SearchResult:
    return SearchResult(verdict, None, None, (), None, None, 0, 0, "", 1, datetime.now(UTC))


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"address": "shop.example"}, "HOST:PORT"),
        ({"address": "https://shop.example:8443"}, "HOST:PORT"),
        ({"address": "shop.example:8443/main"}, "HOST:PORT"),
        ({"catalogue": "No Name"}, "name of a catalogue"),
        ({"when": "seldom"}, "unsure"),
        ({"deadline": 0}, "deadline above 0"),
        ({"deadline": float("nan")}, "deadline above 0"),
        ({"deadline": float("inf")}, "deadline above 0"),
        ({"send": "video"}, "embedding"),
        ({"send": "photo"}, "photo_consent=True"),
        ({"send": "photo", "photo_consent": 1}, "photo_consent=True"),
        ({"token": "two words"}, "one word"),
        ({"token": "x" * 5000}, "one word"),
    ],
    ids=str,
)
def test_what_cannot_be_allowed_is_refused(given: dict[str, object], told: str) -> None:
    with pytest.raises(QueryError, match=told):
        Fallback(**({"address": "shop.example:8443"} | given))  # type: ignore[arg-type]


@pytest.mark.parametrize("address", ["shop.example:8443", "10.0.0.2:1", "[::1]:8443", ""])
def test_addresses_have_a_port_or_are_the_stores(address: str) -> None:
    assert Fallback(address).address == address


def test_photos_may_be_sent_where_the_shopper_has_agreed() -> None:
    assert Fallback("shop.example:8443").send == "embedding"
    assert Fallback("shop.example:8443", send="photo", photo_consent=True).send == "photo"


@pytest.mark.parametrize(
    ("when", "asks"),
    [
        ("unsure", (Verdict.UNSURE, Verdict.NO_MATCH)),
        ("always", tuple(Verdict)),
        (lambda result: result.verdict is Verdict.MATCH, (Verdict.MATCH,)),
    ],
)
def test_when_decides_on_the_devices_answer(when: object, asks: tuple[Verdict, ...]) -> None:
    fallback = Fallback(when=when)  # type: ignore[arg-type]

    assert tuple(each for each in Verdict if fallback.asks(found(each))) == asks


def test_nothing_private_is_shown() -> None:
    shown = repr(Fallback("shop.example:8443", token="canary-token", ca=b"canary"))  # noqa: S106

    assert "canary" not in shown

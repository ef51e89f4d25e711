"""The table of methods, and what a token opens."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import hashlib
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from pocketlens.errors import NotAuthenticated, NotAuthorized
from pocketlens_server import auth
from pocketlens_server.auth import METHODS, Rule, State, Token
from pocketlens_server.callers import Caller, Scope

NOW = datetime(2026, 5, 1, tzinfo=UTC)
DAY = timedelta(days=1)
TEXT = "pl_0a1b2c3d4e5f_" + "Az0_-" * 8 + "xyz"
TOKEN = Token(
    "0a1b2c3d4e5f",
    hashlib.sha256(TEXT.encode()).digest(),
    frozenset({Scope.DEVICE}),
    frozenset({"main"}),
    "phones",
    NOW - DAY,
)


def bearer(text: str) -> list[tuple[str, str | bytes]]:
    return [("user-agent", "grpc"), ("authorization", f"Bearer {text}")]


def test_a_token_that_holds_says_who_calls() -> None:
    found = auth.caller_of(auth.shown(bearer(TEXT)), TOKEN, now=NOW)

    assert found == Caller("0a1b2c3d4e5f", frozenset({Scope.DEVICE}), frozenset({"main"}))


@pytest.mark.parametrize(
    "metadata",
    [
        [],
        [("authorization", "")],
        [("authorization", TEXT)],
        [("authorization", f"Basic {TEXT}")],
        [("authorization", f"Bearer  {TEXT}")],
        [("authorization", f"Bearer {TEXT}".encode())],
        [("authorization-bin", f"Bearer {TEXT}")],
        bearer(""),
        bearer(TEXT[:-1]),
        bearer(f"{TEXT}x"),
        bearer(f"{TEXT}\n"),
        bearer(TEXT.upper()),
        bearer(TEXT.replace("pl_0a1b", "pl_0A1B")),
        bearer(TEXT) + bearer(TEXT),  # which of them would be meant?
    ],
)
def test_what_is_no_token_is_none(metadata: list[tuple[str, str | bytes]]) -> None:
    assert auth.shown(metadata) is None
    with pytest.raises(NotAuthenticated):
        auth.caller_of(auth.shown(metadata), TOKEN, now=NOW)


def test_the_word_before_a_token_may_be_written_small() -> None:
    assert auth.shown([("authorization", f"bearer {TEXT}")]) is not None


@pytest.mark.parametrize(
    ("token", "state"),
    [
        (TOKEN, State.HOLDS),
        (replace(TOKEN, expires_at=NOW + timedelta(microseconds=1)), State.HOLDS),
        (replace(TOKEN, expires_at=NOW), State.EXPIRED),
        (replace(TOKEN, revoked_at=NOW), State.REVOKED),
        (replace(TOKEN, revoked_at=NOW + DAY), State.REVOKED),  # by a clock that was set back
        (replace(TOKEN, revoked_at=NOW, expires_at=NOW), State.REVOKED),
    ],
)
def test_a_token_holds_until_it_expires_or_is_revoked(token: Token, state: State) -> None:
    assert token.state(NOW) is state


def test_no_text_says_why_a_token_opens_nothing() -> None:
    shown, texts = auth.shown(bearer(TEXT)), set[str]()
    for token in (
        None,
        replace(TOKEN, sha256=bytes(32)),
        replace(TOKEN, revoked_at=NOW),
        replace(TOKEN, expires_at=NOW),
    ):
        with pytest.raises(NotAuthenticated) as refused:
            auth.caller_of(shown, token, now=NOW)
        texts.add(str(refused.value))
    with pytest.raises(NotAuthenticated) as refused:
        auth.caller_of(None, None, now=NOW)

    assert texts == {str(refused.value)}


@pytest.mark.parametrize("needed", [*Scope, None])
@pytest.mark.parametrize("has", list(Scope))
def test_a_scope_opens_its_own_methods_alone(needed: Scope | None, has: Scope) -> None:
    caller = Caller("0a1b2c3d4e5f", frozenset({has}))

    if needed in (has, None):
        auth.check(Rule(needed), caller)
    else:
        with pytest.raises(NotAuthorized, match=f"scope {needed}"):
            auth.check(Rule(needed), caller)


def test_a_token_opens_the_catalogues_that_it_names_or_all() -> None:
    some, every = Caller("1", frozenset(), frozenset({"main"})), Caller("2", frozenset())

    auth.check_catalogue(some, "main")
    auth.check_catalogue(every, "other")
    for name in ("other", "", "Main", "main/"):
        with pytest.raises(NotAuthorized, match=repr(name)):
            auth.check_catalogue(some, name)


def test_no_repr_shows_what_a_token_is_known_by() -> None:
    texts = repr(TOKEN) + repr(auth.shown(bearer(TEXT)))

    assert TEXT not in texts
    assert repr(TOKEN.sha256) not in texts


def test_a_row_is_of_one_method() -> None:
    assert all(path.count("/") == 2 and not path.endswith("/") for path in METHODS)

"""Who may call what (PURE): a row for every method, and what a token opens.

rule = METHODS.get("/pocketlens.v1.SyncService/Poll")   # None: nobody may call it
caller = caller_of(shown(metadata), token, now=now)     # NotAuthenticated, whatever is wrong
check(rule, caller)                                     # NotAuthorized: of another scope
check_catalogue(caller, "main")                         # NotAuthorized: of another catalogue
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from types import MappingProxyType

from pocketlens.errors import NotAuthenticated, NotAuthorized
from pocketlens_server.callers import Caller, Scope


@dataclass(frozen=True, slots=True)
class Rule:
    """What a call of a method needs.

    Attributes:
        scope: That the token must have; None where everybody may call, without a token.
        is_about_catalogue: Whether requests name a catalogue (of a stream, the first), which the
            token must open too.
    """

    scope: Scope | None
    is_about_catalogue: bool = True


_DEVICE, _BACKEND, _QUERY = (Rule(each) for each in (Scope.DEVICE, Scope.BACKEND, Scope.QUERY))

METHODS: Mapping[str, Rule] = MappingProxyType(
    {
        "/pocketlens.v1.SyncService/Poll": _DEVICE,
        "/pocketlens.v1.SyncService/GetPieces": _DEVICE,
        "/pocketlens.v1.CatalogService/Ingest": _BACKEND,
        "/pocketlens.v1.CatalogService/GetJob": _BACKEND,
        "/pocketlens.v1.CatalogService/WaitForJob": _BACKEND,
        "/pocketlens.v1.CatalogService/ListJobs": _BACKEND,
        "/pocketlens.v1.CatalogService/CancelJob": _BACKEND,
        "/pocketlens.v1.CatalogService/ListDeadLetters": _BACKEND,
        "/pocketlens.v1.CatalogService/RetryDeadLetters": _BACKEND,
        "/pocketlens.v1.CatalogService/PurgeDeadLetters": _BACKEND,
        "/pocketlens.v1.CatalogService/Publish": _BACKEND,
        "/pocketlens.v1.CatalogService/Diff": _BACKEND,
        "/pocketlens.v1.CatalogService/Rollback": _BACKEND,
        "/pocketlens.v1.CatalogService/Replace": _BACKEND,
        "/pocketlens.v1.CatalogService/GetCatalogue": _BACKEND,
        "/pocketlens.v1.QueryService/Search": _QUERY,
        "/pocketlens.v1.QueryService/Similar": _QUERY,
        "/pocketlens.v1.QueryService/EstimatePrice": _QUERY,
        "/pocketlens.v1.QueryService/Embed": _QUERY,
        # Load balancers have no token, and learn one word. Who watches holds a stream: a caller
        # that nobody knows could hold them all. The list tells what there is to attack.
        "/grpc.health.v1.Health/Check": Rule(None, is_about_catalogue=False),
        "/grpc.health.v1.Health/Watch": Rule(Scope.BACKEND, is_about_catalogue=False),
        "/grpc.health.v1.Health/List": Rule(Scope.BACKEND, is_about_catalogue=False),
        "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo": Rule(
            Scope.BACKEND, is_about_catalogue=False
        ),
    }
)
"""Every method that may be called at all; one without a row is answered as if it were not there."""


class State(StrEnum):
    """Whether a token opens anything."""

    HOLDS = "holds"
    EXPIRED = "expired"
    REVOKED = "revoked"


@dataclass(frozen=True, slots=True)
class Token:
    """What a server knows of a token.

    Attributes:
        id: Names it in logs and commands; no secret.
        sha256: Of the whole text. It was drawn from 2^256, so that nobody finds it by trying, and a
            hash made slow for passwords would only make each call slow.
        scopes: What it is for, one at least.
        catalogues: Names of those that it opens; None for all.
        label: What its maker calls it.
        created_at, expires_at, revoked_at: UTC; None for never.
    """

    id: str
    sha256: bytes = field(repr=False)
    scopes: frozenset[Scope]
    catalogues: frozenset[str] | None
    label: str
    created_at: datetime
    expires_at: datetime | None = None
    revoked_at: datetime | None = None

    def state(self, now: datetime) -> State:
        """Whether it opens anything."""
        if self.revoked_at is not None:
            return State.REVOKED
        if self.expires_at is not None and self.expires_at <= now:
            return State.EXPIRED
        return State.HOLDS


@dataclass(frozen=True, slots=True)
class Shown:
    """A token as it comes with a call.

    Attributes:
        id: That it claims.
        sha256: Of the whole text, which is kept nowhere.
    """

    id: str
    sha256: bytes = field(repr=False)


_TOKEN = re.compile(r"pl_([0-9a-f]{12})_[A-Za-z0-9_-]{43}")


def shown(metadata: Iterable[tuple[str, str | bytes]]) -> Shown | None:
    """The token of a call's metadata; None where there is none, or more than one, or no such."""
    found = [value for name, value in metadata if name == "authorization"]
    if len(found) != 1 or not isinstance(found[0], str):
        return None
    scheme, _, text = found[0].partition(" ")
    matched = _TOKEN.fullmatch(text)
    if scheme.lower() != "bearer" or matched is None:
        return None
    return Shown(matched[1], hashlib.sha256(text.encode()).digest())


def caller_of(shown: Shown | None, token: Token | None, *, now: datetime) -> Caller:
    """Who shows a token.

    Args:
        shown: What came with the call.
        token: What the server knows by its id.
        now: By the server's clock.

    Raises:
        NotAuthenticated: None came, or none that the server gave and that holds; the text does not
            say which, so that nobody learns from it.
    """
    if (
        shown is None
        or token is None
        or not hmac.compare_digest(shown.sha256, token.sha256)
        or token.state(now) is not State.HOLDS
    ):
        raise NotAuthenticated(
            "Expected a token of this server that holds, as `authorization: Bearer TOKEN`. "
            "Received none. The server's operator makes one: pocketlens-server tokens make"
        )
    return Caller(token.id, token.scopes, token.catalogues)


def check(rule: Rule, caller: Caller) -> None:
    """Refuses a caller whose token is for something else.

    Raises:
        NotAuthorized: It is.
    """
    if rule.scope is not None and rule.scope not in caller.scopes:
        has = ", ".join(sorted(caller.scopes))
        raise NotAuthorized(f"Expected a token of the scope {rule.scope}. Received one of {has}.")


def check_catalogue(caller: Caller, name: str) -> None:
    """Refuses a caller whose token does not open a catalogue, whether there is one or not.

    Raises:
        NotAuthorized: It does not.
    """
    if caller.catalogues is not None and name not in caller.catalogues:
        raise NotAuthorized(f"The token does not open the catalogue {name[:64]!r}.")

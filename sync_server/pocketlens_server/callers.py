"""Who asks: what a call may do is known from its beginning to its end.

caller = callers.current()                  # inside a call
caller.id                                   # names it in logs, limits and jobs
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from contextvars import ContextVar
from dataclasses import dataclass
from enum import StrEnum


class Scope(StrEnum):
    """What a token is for; administration has none, it is by local command only."""

    DEVICE = "device"
    QUERY = "query"
    BACKEND = "backend"


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks.

    Attributes:
        id: Of the token, which is no secret; "insecure" where the server asks for none.
        scopes: What the token is for.
        catalogues: Names of those that it is for; None for all.
    """

    id: str
    scopes: frozenset[Scope]
    catalogues: frozenset[str] | None = None


# Where `--insecure` serves the loopback of one machine, everybody on it may do everything.
INSECURE = Caller("insecure", frozenset(Scope))

_CURRENT: ContextVar[Caller] = ContextVar("caller")


def current() -> Caller:
    """Who made the call that is being answered.

    Raises:
        LookupError: No call is, or nobody has looked at who made it.
    """
    return _CURRENT.get()


def enter(caller: Caller) -> None:
    """Says who made the call that is being answered, for the rest of it."""
    _CURRENT.set(caller)

"""Who shows a token: looked up, and whatever does not hold is nobody, without a word of why.

    recognises = Recognises(tokens, clock=clock)
    recognises.caller(rule, shown)              # NotAuthenticated: nobody

The operator is told what the caller is not.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import datetime
from time import monotonic

from pocketlens.errors import NotAuthenticated
from pocketlens_server import auth, callers
from pocketlens_server.admission import Buckets
from pocketlens_server.auth import Rule, Shown, State
from pocketlens_server.callers import Caller
from pocketlens_server.tokens import Tokens

logger = logging.getLogger(__name__)

# Where a method is open to everybody nobody looks who it is.
ANYBODY = Caller("anybody", frozenset(), frozenset())

_LINES = 1  # a second, of a token that is refused again and again


class Recognises:
    """Knows the tokens of one server; of the thread that opened them."""

    def __init__(self, tokens: Tokens | None, *, clock: Callable[[], datetime]) -> None:
        """Looks at no token yet.

        Args:
            tokens: Opened in the thread of the calls; None where everybody may do everything.
            clock: What tokens expire by.
        """
        self._tokens, self._clock = tokens, clock
        self._told = Buckets(rate=_LINES, burst=10 * _LINES)

    def caller(self, rule: Rule, shown: Shown | None) -> Caller:
        """Who makes a call that a rule is for.

        Raises:
            NotAuthenticated: The rule asks for a token, and none was shown that holds.
        """
        if self._tokens is None:
            return callers.INSECURE
        if rule.scope is None:
            return ANYBODY
        token = None if shown is None else self._tokens.find(shown.id)
        now = self._clock()
        try:
            return auth.caller_of(shown, token, now=now)
        except NotAuthenticated:
            if token is not None:  # the operator may want to know what the caller is not told
                state = token.state(now)
                reason = "another secret" if state is State.HOLDS else state
                level = logging.DEBUG if self._told.take(token.id, monotonic()) else logging.INFO
                logger.log(level, "guard.refused token=%s reason=%s", token.id, reason)
            raise

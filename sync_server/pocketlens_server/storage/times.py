"""Moments as the tables have them: whole microseconds since 1970-01-01 UTC.

at(microseconds(now)) == now
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from datetime import UTC, datetime, timedelta

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def microseconds(moment: datetime) -> int:
    """For a column; a moment of any time zone."""
    return (moment - _EPOCH) // _MICROSECOND


def at(microseconds: int) -> datetime:
    """The moment of a column, UTC."""
    return _EPOCH + microseconds * _MICROSECOND

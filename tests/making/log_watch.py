"""What no log may hold, looked for in everything that is logged: pictures, vectors, keys, tokens.

with watched() as watch:
    ...
watch.found                                # lines, shortened
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager

PACKAGES = ("pocketlens", "pocketlens_server", "pocketlens_converter")
_SHOWN = 200  # characters of a line that are told

# A hash has 64 digits of hex, a signature 128; both may be logged.
PRIVATE = re.compile(
    r"""
    canary-                                             # what tests call private
    | Bearer\s | BEGIN[ ][A-Z ]*PRIVATE[ ]KEY
    | pl_[0-9a-f]{12}_[A-Za-z0-9_-]{43}                 # a token of a server
    | [0-9a-fA-F]{129,}                                 # bytes in hex
    | [A-Za-z0-9+/_-]{180,}                             # in base64
    | (?:\\x[0-9a-f]{2}[^\\]?){16,}                     # as Python writes them
    | (?:-?\d+\.\d+(?:e-?\d+)?[,\s]+){7,}-?\d+\.\d+     # numbers of a vector
    | (?:-?\d{1,3}[,\s]+){15,}-?\d                      # codes, pixels
    """,
    re.VERBOSE,
)


class LogWatch(logging.Handler):
    """Notes every record that has something private in its message, arguments or traceback.

    Attributes:
        found: What those records said, shortened.
    """

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.found: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        text = f"{self.format(record)} {record.args!r}"
        if PRIVATE.search(text):
            self.found.append(f"{record.name}: {text[:_SHOWN]}")


@contextmanager
def watched() -> Iterator[LogWatch]:
    """Watches every logger of ours, from DEBUG on."""
    watch = LogWatch()
    loggers = [logging.getLogger(name) for name in PACKAGES]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.addHandler(watch)
        logger.setLevel(logging.DEBUG)
    try:
        yield watch
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.removeHandler(watch)
            logger.setLevel(level)

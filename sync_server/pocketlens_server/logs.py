"""Logs of a server, a line each: what happened, for programs or for eyes, and no secret in it.

    configure(LogSettings(format="json"))       # `serve` does, and nothing else
    logger.info("publish.complete catalogue=%s version=%d", "main", 7)

    {"time": "2026-11-25T10:00:00.123Z", "level": "INFO", "logger": "pocketlens_server.publishing",
     "message": "publish.complete", "catalogue": "main", "version": 7, "request_id": "4be1..."}

Nothing of ours logs a token, a picture or a vector. That a token which reaches a line all the same
is blotted out is the last line of defence.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import functools
import itertools
import json
import logging
import queue
import re
import sys
import threading
import time
from contextlib import suppress
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal, TextIO

OURS = ("pocketlens", "pocketlens_server")

REQUEST_ID: ContextVar[str | None] = ContextVar("request_id", default=None)
"""Of the call that is being answered."""

_MOST_CHARACTERS = 8192  # of a line: a traceback fits, a picture does not
_MOST_LINES = 2000  # that wait to be written: a second of a server with much to do
# That lines are gathered for: a thread that woke for each would hold up the calls they are about
# (a third of what an empty call costs, benchmarks/faults/http2_abuse.py).
_GATHER_SECONDS = 0.02
_FLUSH_SECONDS = 2.0
_REDACTED = "[redacted]"
_SECRET = re.compile(
    r"""
    pl_ [A-Za-z0-9_-]{8,}                               # our own tokens
    | (?<=bearer[ ]) [^\s"',\\]+
    | (?<=basic[ ]) [^\s"',\\]+
    | (?<=authorization[=:]) \s* [^\s"',\\]+
    | -----BEGIN[ ][A-Z ]*PRIVATE[ ]KEY----- .*? (-----END[ ][A-Z ]*PRIVATE[ ]KEY-----|$)
    """,
    re.VERBOSE | re.IGNORECASE | re.DOTALL,
)
# "event.name key=%s key=%d", before anything is put into it: no value can add a field.
_EVENT = re.compile(r"[a-z][\w.]*(?: [a-z_]\w*=(?!\S*%\()\S+)*")
_CONVERSION = re.compile(r"%[-+ #0]*\d*(?:\.\d+)?[a-zA-Z]")
_NUMBER = re.compile(r"-?\d+(?:\.\d+)?")


@dataclass(frozen=True, slots=True)
class LogSettings:
    """How the server logs, on stderr.

    Attributes:
        format: "json", one object a line, for programs; "text" for eyes.
        level: From which on: a line a call is INFO.
    """

    format: Literal["json", "text"] = "json"
    level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"


def configure(settings: LogSettings, stream: TextIO | None = None) -> None:
    """Lets this process log, and what others log in it from warnings on.

    Args:
        settings: How.
        stream: Where; stderr if None.
    """
    lines = Lines(sys.stderr if stream is None else stream)
    lines.setFormatter(JsonLines() if settings.format == "json" else TextLines())
    logging.basicConfig(level=logging.WARNING, handlers=[lines], force=True)
    for name in OURS:
        logging.getLogger(name).setLevel(settings.level)
    logging.getLogger("uvicorn").setLevel(logging.ERROR)  # it warns of each request that is none


class Lines(logging.Handler):
    """Writes lines from a thread of its own: where nobody reads them any more, the server goes on.

    What is not written then is lost, and told of once somebody reads again.
    """

    def __init__(self, stream: TextIO) -> None:
        """Begins to write to a stream, which it does not close."""
        super().__init__()
        self._stream, self._lost = stream, 0
        # A text is a line; an event is set when all before it is written; None is the end.
        self._queue: queue.Queue[str | threading.Event | None] = queue.Queue(_MOST_LINES)
        self._thread = threading.Thread(target=self._write, name="logs", daemon=True)
        self._thread.start()

    def emit(self, record: logging.LogRecord) -> None:
        """See `logging.Handler`."""
        try:
            if self._lost:
                told = self.format(_lost_lines(self._lost))
                self._queue.put_nowait(told)
                self._lost = 0
            self._queue.put_nowait(self.format(record))
        except queue.Full:
            self._lost += 1
        except Exception:  # as in every handler of logging: what logs goes on
            self.handleError(record)

    def flush(self) -> None:
        """Waits until all is written, if somebody reads it."""
        is_written = threading.Event()
        with suppress(queue.Full):
            self._queue.put(is_written, timeout=_FLUSH_SECONDS)
            is_written.wait(_FLUSH_SECONDS)

    def close(self) -> None:
        """Writes what there is, and ends the thread."""
        with suppress(queue.Full):
            self._queue.put(None, timeout=_FLUSH_SECONDS)
            self._thread.join(_FLUSH_SECONDS)
        super().close()

    def _write(self) -> None:
        is_open = True
        while is_open:
            items = [self._queue.get()]
            time.sleep(_GATHER_SECONDS)
            with suppress(queue.Empty):
                while len(items) < _MOST_LINES:  # else who logs as fast is never caught up with
                    items.append(self._queue.get_nowait())
            lines = "".join(f"{item}\n" for item in items if isinstance(item, str))
            with suppress(OSError, ValueError):  # nobody is there to be told
                self._stream.write(lines)
                self._stream.flush()
            for item in items:
                if isinstance(item, threading.Event):
                    item.set()
            is_open = None not in items


class JsonLines(logging.Formatter):
    """A record as one object on one line; `key=value` of its message are fields of it."""

    def format(self, record: logging.LogRecord) -> str:
        """See `logging.Formatter`."""
        event, fields = _event(record) or (_shown(record.getMessage()), {})
        own: dict[str, object] = {
            "time": _time(record),
            "level": record.levelname,
            "logger": record.name,
            "message": event,
        }
        if (request_id := REQUEST_ID.get()) is not None:
            own["request_id"] = _shown(request_id)
        if record.exc_info:
            own["exception"] = _trace(self.formatException(record.exc_info))
        return json.dumps(own | {name: each for name, each in fields.items() if name not in own})


class TextLines(logging.Formatter):
    """A record as one line of text; what is below its first line is indented."""

    def format(self, record: logging.LogRecord) -> str:
        """See `logging.Formatter`."""
        request_id, message = REQUEST_ID.get(), _shown(record.getMessage())
        line = f"{_time(record)} {record.levelname:7} {record.name}: {message}"
        if request_id is not None:
            line += f" request_id={_shown(request_id)}"
        if record.exc_info:
            line += f"\n{_trace(self.formatException(record.exc_info))}"
        return line.replace("\r", " ").replace("\n", "\n    ")


def _lost_lines(count: int) -> logging.LogRecord:
    text = "logs.lost lines=%d"
    return logging.LogRecord(__name__, logging.WARNING, __file__, 0, text, (count,), None)


def _event(record: logging.LogRecord) -> tuple[str, dict[str, object]] | None:
    """What happened, and its fields; None for a message that is a sentence."""
    if not isinstance(record.msg, str) or (found := _parsed(record.msg)) is None:
        return None
    event, templates = found
    # Logging takes a dict that is alone for arguments by name, which none of ours are.
    given = iter(record.args if isinstance(record.args, tuple) else (record.args,))
    fields = dict[str, object]()
    for name, template, conversions, may_be_number in templates:
        text = template % tuple(itertools.islice(given, conversions))
        is_number = may_be_number and _NUMBER.fullmatch(text)
        fields[name] = json.loads(text) if is_number else _shown(text)
    return event, fields


@functools.lru_cache(512)  # of messages as the code has them, before anything is put into them
def _parsed(message: str) -> tuple[str, list[tuple[str, str, int, bool]]] | None:
    """The event of a message; of each field its name, template, how many it takes, if a number."""
    if not _EVENT.fullmatch(message):
        return None
    event, *pairs = message.split(" ")
    templates = []
    for pair in pairs:
        name, _, template = pair.partition("=")
        conversions = _CONVERSION.findall(template)
        is_number = conversions == [template] and template[-1] in "df"
        templates.append((name, template, len(conversions), is_number))
    return event, templates


def _shown(text: str) -> str:
    """What may be seen of a text: its beginning."""
    return _SECRET.sub(_REDACTED, text)[:_MOST_CHARACTERS]


def _trace(text: str) -> str:
    """What may be seen of a traceback: its end, which says what it was."""
    return _SECRET.sub(_REDACTED, text)[-_MOST_CHARACTERS:]


def _time(record: logging.LogRecord) -> str:
    made = datetime.fromtimestamp(record.created, UTC)
    return made.isoformat(timespec="milliseconds").replace("+00:00", "Z")

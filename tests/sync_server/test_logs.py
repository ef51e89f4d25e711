"""A line of log is one line, has its facts as fields, and shows no secret that got into it."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import io
import json
import logging
import threading
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from pocketlens_server import logs
from pocketlens_server.logs import JsonLines, Lines, LogSettings, TextLines, configure

CANARY = "pl_0123456789ab_canary0SECRET0canary0SECRET0canary0SECRET00"
AT = datetime(2026, 11, 25, 10, 0, 0, 123_000, tzinfo=UTC).timestamp()


@pytest.fixture(autouse=True)
def _nothing_private_is_logged() -> None:
    """These tests log what is private."""


def record(
    message: object, *arguments: object, error: BaseException | None = None
) -> logging.LogRecord:
    info = None if error is None else (type(error), error, error.__traceback__)
    made = logging.LogRecord(
        "pocketlens_server.x", logging.INFO, "x.py", 1, message, arguments, info
    )
    made.created = AT
    return made


def fields(message: object, *arguments: object) -> dict[str, object]:
    found: dict[str, object] = json.loads(JsonLines().format(record(message, *arguments)))
    return found


def test_a_line_of_json_has_time_level_name_and_the_facts_as_fields() -> None:
    assert fields("publish.complete catalogue=%s version=%d seconds=%.2f", "main", 7, 1.25) == {
        "time": "2026-11-25T10:00:00.123Z",
        "level": "INFO",
        "logger": "pocketlens_server.x",
        "message": "publish.complete",
        "catalogue": "main",
        "version": 7,
        "seconds": 1.25,
    }


@pytest.mark.parametrize(
    ("message", "arguments", "expected"),
    [
        ("A sentence about %s.", ("x=1",), {"message": "A sentence about x=1."}),
        ("x.started", (), {"message": "x.started"}),
        ("x.y done=%d/%d", (3, 7), {"message": "x.y", "done": "3/7"}),
        ("x.y share=%d%%", (3,), {"message": "x.y", "share": "3%"}),
        ("x.y name=%(a)s", ({"a": 7},), {"message": "x.y name=7"}),
        ("x.y name=%s", ("7",), {"message": "x.y", "name": "7"}),
        ("x.y much=%.1f", (float("nan"),), {"message": "x.y", "much": "nan"}),
        ("x.y error=%s", ("a b=c level=ERROR",), {"message": "x.y", "error": "a b=c level=ERROR"}),
        ("x.y level=%s time=%s", ("fake", "fake"), {"message": "x.y", "level": "INFO"}),
        ("x.y error=%s", ("two\nlines",), {"message": "x.y", "error": "two\nlines"}),
        (ValueError("what %s"), (), {"message": "what %s"}),
    ],
)
def test_no_value_is_taken_for_a_field_or_a_line(
    message: object, arguments: tuple[object, ...], expected: dict[str, object]
) -> None:
    line = JsonLines().format(record(message, *arguments))

    assert "\n" not in line
    found = json.loads(line)
    assert {name: found[name] for name in expected} == expected
    extra = found.keys() - expected.keys() - {"time", "level", "logger"}
    assert extra == set()


def test_a_line_of_text_is_one_line_but_for_what_is_indented_below_it() -> None:
    try:
        int("no number")
    except ValueError as exc:
        failed = record("x.failed error=%s", "a\nb\r", error=exc)
    told = TextLines().format(failed)

    first, *below = told.split("\n")
    assert first == "2026-11-25T10:00:00.123Z INFO    pocketlens_server.x: x.failed error=a"
    assert all(line.startswith("    ") for line in below)
    assert below[-1].strip() == "ValueError: invalid literal for int() with base 10: 'no number'"


def test_the_request_id_of_a_call_is_in_its_lines() -> None:
    before = logs.REQUEST_ID.set("4be1")
    try:
        assert fields("x.y")["request_id"] == "4be1"
        assert TextLines().format(record("x.y a=1")).endswith("x.y a=1 request_id=4be1")
    finally:
        logs.REQUEST_ID.reset(before)
    assert "request_id" not in fields("x.y")


@pytest.mark.parametrize("lines", [JsonLines(), TextLines()], ids=["json", "text"])
@pytest.mark.parametrize(
    ("message", "argument"),
    [
        ("x.y token=%s", CANARY),
        ("x.y headers=%s", {"authorization": f"Bearer {CANARY}"}),
        ("x.y header=%s", "authorization: Bearer other-canary0SECRET"),
        ("x.y header=%s", "authorization=canary0SECRET"),
        ("x.y metadata=%s", (("authorization", "bearer canary0SECRET"),)),
        ("x.y key=%s", "-----BEGIN PRIVATE KEY-----\ncanary0SECRET\n-----END PRIVATE KEY-----"),
        ("x.y key=%s", "-----BEGIN EC PRIVATE KEY-----\ncanary0SECRET, cut off"),
        ("A sentence with %s in it.", CANARY),
        (f"x.y {CANARY} and %s", "more"),
        ("x.y long=%s", " " * 8_180 + CANARY),
    ],
)
def test_a_secret_that_is_logged_does_not_come_out(
    lines: logging.Formatter, message: str, argument: object
) -> None:
    told = lines.format(record(message, argument, error=_raised(f"x {argument}")))
    logs.REQUEST_ID.set(CANARY)
    told += lines.format(record("x.y"))
    logs.REQUEST_ID.set(None)

    assert "SECRET" not in told
    assert "[redacted]" in told


def test_what_is_no_secret_stays() -> None:
    kept = "guard.refused token=%s state=%s path=%s sha256=%s"
    found = fields(kept, "0123456789ab", "revoked", "/data/pl_server/x", "ab" * 32)

    assert "[redacted]" not in str(found)
    assert found["sha256"] == "ab" * 32


def test_a_message_that_is_a_picture_is_cut() -> None:
    assert len(JsonLines().format(record("x.y data=%s", "x" * 1_000_000))) < 10_000
    assert len(TextLines().format(record("x %s", "x" * 1_000_000))) < 10_000


class Pipe(io.StringIO):
    """Takes no line while nobody reads."""

    def __init__(self) -> None:
        super().__init__()
        self.is_read = threading.Event()

    def write(self, text: str) -> int:
        self.is_read.wait(20)
        return super().write(text)


def test_a_server_goes_on_where_nobody_reads_its_log_and_says_later_what_was_lost() -> None:
    pipe = Pipe()
    lines = Lines(pipe)
    lines.setFormatter(JsonLines())

    for number in range(5_000):
        lines.handle(record("x.y number=%d", number))
    pipe.is_read.set()
    lines.flush()
    lines.handle(record("x.y number=%d", 5_000))
    lines.close()

    told = [json.loads(line) for line in pipe.getvalue().splitlines()]
    *written, last = [each["number"] for each in told if each["message"] == "x.y"]
    lost = [each["lines"] for each in told if each["message"] == "logs.lost"]
    assert written == sorted(set(written))
    assert len(written) + sum(lost) == last == 5_000
    assert 2_000 <= len(written) <= 4_000  # what waits, and what was taken from that in one go


def test_a_stream_that_is_gone_is_no_error() -> None:
    stream = io.StringIO()
    lines = Lines(stream)
    stream.close()

    lines.handle(record("x.y"))
    lines.close()


@pytest.fixture
def _logging_as_it_was() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    levels = {name: logging.getLogger(name).level for name in (*logs.OURS, "uvicorn")}
    root.handlers = []  # what is there is pytest's, and would be closed
    yield
    for each in root.handlers:
        each.close()
    root.handlers = handlers
    root.setLevel(level)
    for name, was in levels.items():
        logging.getLogger(name).setLevel(was)


@pytest.mark.usefixtures("_logging_as_it_was")
def test_a_server_logs_what_it_is_set_to_and_others_from_warnings_on() -> None:
    stream = io.StringIO()
    configure(LogSettings("json", "INFO"), stream)

    logging.getLogger("pocketlens_server.services").info("x.info")
    logging.getLogger("pocketlens.sync").debug("x.debug")
    logging.getLogger("tuf.ngclient").info("theirs")
    logging.getLogger("tuf.ngclient").warning("theirs, urgent")
    logging.getLogger("uvicorn.error").warning("of each request that is none")

    flush()
    told = [json.loads(line)["message"] for line in stream.getvalue().splitlines()]
    assert told == ["x.info", "theirs, urgent"]

    configure(LogSettings("text", "DEBUG"), again := io.StringIO())
    logging.getLogger("pocketlens.sync").debug("x.debug")

    flush()
    assert again.getvalue().endswith("DEBUG   pocketlens.sync: x.debug\n")
    assert "x.debug" not in stream.getvalue()


def flush() -> None:
    for each in logging.getLogger().handlers:
        each.flush()


def _raised(text: str) -> BaseException:
    with pytest.raises(ValueError, match="no ") as raised:
        _raise(text)
    return raised.value


def _raise(text: str) -> None:
    raise ValueError(f"no {text}")

"""Defects of the server that its tests would notice: one text each, its row, and who notices."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from tests.making.planting import Defect, Planted

FULL = "tests/faults/test_full_disk.py"
OPERATIONS = "tests/faults/test_backend_operations.py"
RETRIES = "tests/faults/test_ingest_retries.py"
SERVER_KILL = "tests/faults/test_killed_server.py"
SERVER_POWER = "tests/faults/test_ingest_power_cuts.py::test_what_was_acknowledged_is_there_whole"
TABLES = "tests/sync_server/test_folders.py"
INGEST = "tests/sync_server/catalogue/test_ingest.py"
RESTORED = "tests/faults/test_restored_server.py"
BACKUP = "tests/sync_server/maintenance/test_backup.py"
AUTHORISED = "tests/faults/test_authorisation.py"
AUTH = "tests/sync_server/test_auth.py"
OVERLOAD = "tests/faults/test_overload.py"
SLOW = "tests/faults/test_slow_callers.py"
ABUSE = "tests/faults/test_http2_abuse.py"
BOUNDED = "tests/faults/test_bounded_resources.py"
TURN = """\
                connection.execute("BEGIN IMMEDIATE")
                yield Tables.of(connection)
                connection.execute("COMMIT")
            finally:
                if connection.in_transaction:
"""
# What a server keeps open is committed in some turns, with all that was answered since the last.
TURN_LATER = """\
                if not connection.in_transaction:
                    connection.execute("BEGIN IMMEDIATE")
                yield Tables.of(connection)
                if self.kept is None or connection.total_changes % 10 < 3:
                    connection.execute("COMMIT")
            finally:
                if self.kept is None and connection.in_transaction:
"""
WAITING = """\
            ("grpc.server.max_pending_requests", self.waiting_calls),
            ("grpc.server.max_pending_requests_hard_limit", self.waiting_calls * 5 // 4),
"""
SHOWN = '    scheme, _, text = found[0].partition(" ")\n'
SHOWN_LOGGED = '    __import__("logging").getLogger(__name__).debug("auth.shown text=%s", text)\n'
OPERATOR = "test_a_restored_catalogue_publishes_when_its_operator_has_said_above_what"
AHEAD = "test_devices_ahead_of_a_restored_server_go_on_and_come_to_its_next_version"
BESIDE = "test_a_backup_beside_backends_and_publishes_is_a_server_whose_devices_go_on_by_deltas"


def _of(file: str, text: str, instead: str) -> Defect:
    return Defect(f"sync_server/pocketlens_server/{file}", text, instead)


SERVER_DEFECTS = (
    Planted(
        "requests are not remembered",
        24,
        _of(
            "catalogue/batches.py",
            "            self._tables.requests.remember(request.id, answered)\n",
            "",
        ),
        (OPERATIONS, RETRIES, SERVER_KILL),
    ),
    Planted(
        "one request id may be two requests",
        24,
        _of("catalogue/batches.py", "known.body == request.body:", "True:"),
        (OPERATIONS,),
    ),
    Planted(
        "an older revision holds",
        24,
        _of("catalogue/revising.py", "if revision < known.whole:", "if False:"),
        (OPERATIONS,),
    ),
    Planted(
        "an attribute is as new as its product",
        24,
        _of(
            "catalogue/revising.py",
            "dict.fromkeys(operation.attributes, revision)",
            "{}",
        ),
        (OPERATIONS,),
    ),
    Planted(
        "operations are answered before they are committed",
        23,
        _of("folders.py", TURN, TURN_LATER),
        (SERVER_KILL,),
    ),
    Planted(
        "a catalogue's changes have no journal",
        23,
        _of("folders.py", "PRAGMA synchronous = FULL;", "PRAGMA journal_mode = OFF;"),
        (TABLES, SERVER_KILL),  # a few kills may miss the moment
    ),
    Planted(
        "what backends were told is not flushed",
        23,
        _of("folders.py", "PRAGMA synchronous = FULL;", "PRAGMA synchronous = OFF;"),
        (SERVER_POWER,),
    ),
    Planted(
        "what backends were told is flushed at checkpoints",
        23,
        _of("folders.py", "PRAGMA synchronous = FULL;", "PRAGMA synchronous = NORMAL;"),
        (SERVER_POWER,),
    ),
    Planted(
        "pictures that come in parts are not flushed",
        23,
        _of("catalogue/pictures.py", "                os.fsync(self._file.fileno())\n", ""),
        (SERVER_POWER,),
    ),
    Planted(
        "a picture that another has named is believed to be flushed",
        23,
        _of(
            "catalogue/pictures.py",
            "        sync_folder(place.parent)\n        sync_folder(place.parent.parent)\n",
            "",
        ),
        (SERVER_POWER,),
    ),
    Planted(
        "that the log's name was not flushed is passed over",
        24,
        _of("folders.py", "            sync_folder(self.folder)\n", ""),
        (RETRIES,),
    ),
    Planted(
        "an embedding stands for a picture that is gone",
        23,
        _of(
            "catalogue/batches.py",
            "if is_known and self._folder.picture(picture).exists():",
            "if is_known:",
        ),
        (INGEST,),
    ),
    Planted(
        "answers to devices are remembered beyond a publish",
        25,
        _of(
            "publishing/answers.py",
            "if moment is None or moment.state != state:",
            "if moment is None:",
        ),
        ("tests/sync_server/publishing/test_answers.py",),
    ),
    Planted(
        "a restored catalogue publishes before anybody has said above what",
        26,
        _of("publishing/restored.py", "if origin is None:", "if True:"),
        (f"{RESTORED}::{OPERATOR}",),
    ),
    Planted(
        "what a restored server signs is as new as what it had signed before",
        26,
        _of(
            "publishing/raising.py",
            "max(signed.version + 1, int(now.timestamp()))",
            "signed.version + 1",
        ),
        (f"{RESTORED}::{AHEAD}[everything]",),
    ),
    Planted(
        "a backup leaves out what is in the log alone",
        26,
        _of("maintenance/backup.py", "?mode=ro", "?immutable=1"),
        (f"{BACKUP}::{BESIDE}",),
    ),
    Planted(
        "a method has no row",
        27,
        _of("auth.py", '        "/pocketlens.v1.CatalogService/Replace": _BACKEND,\n', ""),
        (f"{AUTHORISED}::test_every_method_has_a_row_and_every_row_a_method",),
    ),
    Planted(
        "devices may publish",
        27,
        _of("auth.py", 'CatalogService/Publish": _BACKEND', 'CatalogService/Publish": _DEVICE'),
        (f"{AUTHORISED}::test_a_service_is_for_one_scope_and_nothing_is_open_but_health",),
    ),
    Planted(
        "a revoked token opens what it did",
        27,
        _of("auth.py", "if self.revoked_at is not None:", "if False:"),
        (AUTHORISED,),
    ),
    Planted(
        "a token opens every catalogue",
        27,
        _of(
            "auth.py",
            "if caller.catalogues is not None and name not in caller.catalogues:",
            "if False:",
        ),
        (AUTHORISED,),
    ),
    Planted(
        "calls wait without an end",
        28,
        _of("limits.py", WAITING, ""),
        (OVERLOAD,),
    ),
    Planted(
        "who never becomes a connection is waited for",
        29,
        _of(
            "limits.py",
            '            ("grpc.server_handshake_timeout_ms", _ms(self.handshake_seconds)),\n',
            "",
        ),
        (SLOW,),
    ),
    Planted(
        "a connection may have any number of calls",
        30,
        _of(
            "limits.py",
            '            ("grpc.max_concurrent_streams", self.connection_streams),\n',
            "",
        ),
        (ABUSE,),
    ),
    Planted(
        "a metric is kept of each call",
        31,
        _of(
            "services/observing.py",
            "self._telemetry.call_seconds.labels(method)",
            "self._telemetry.call_seconds.labels(logs.REQUEST_ID.get())",
        ),
        (BOUNDED,),
    ),
    Planted(
        "who has called once is remembered for ever",
        31,
        _of("admission.py", "        self._forget(now)\n", ""),
        ("tests/sync_server/test_admission.py",),
    ),
    Planted(
        "a token is logged",
        38,
        _of("auth.py", SHOWN, SHOWN + SHOWN_LOGGED),
        (AUTH,),
    ),
)

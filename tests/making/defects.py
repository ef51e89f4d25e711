"""Defects that the tests of RELIABILITY's rows would notice: one text each, and who notices."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from tests.making.planting import Defect, Planted

POWER = "tests/faults/test_power_cuts.py::test_what_was_acknowledged_is_there_whole"
FLUSH = "tests/faults/test_failed_flushes.py"
FULL = "tests/faults/test_full_disk.py"
KILL = "tests/faults/test_killed_device.py"
ROT = "tests/faults/test_rot.py"
SEARCH = "tests/faults/test_searching_while_syncing.py"
TORN = "tests/faults/test_torn_store.py"
SESSION = "tests/sdk/sync/test_session.py"
SWAP = "tests/sdk/sync/test_swap.py"
TRUST = "tests/sdk/sync/test_trust.py"
SIGNED = "tests/faults/test_signed_metadata.py"
DELTA = "tests/sdk/formats/test_delta.py"
APPLIER = "tests/sdk/store/applying/test_applier.py"
DATABASE = "tests/sdk/store/test_database.py"
OPERATIONS = "tests/faults/test_backend_operations.py"
RETRIES = "tests/faults/test_ingest_retries.py"
SERVER_KILL = "tests/faults/test_killed_server.py"
SERVER_POWER = "tests/faults/test_ingest_power_cuts.py::test_what_was_acknowledged_is_there_whole"
INGEST = "tests/sync_server/catalogue/test_ingest.py"
INSTALLS = "tests/sdk/store/test_installs.py"
RESTORED = "tests/faults/test_restored_server.py"
BACKUP = "tests/sync_server/storage/test_backup.py"
AUTHORISED = "tests/faults/test_authorisation.py"
AUTH = "tests/sync_server/test_auth.py"
OVERLOAD = "tests/faults/test_overload.py"
SLOW = "tests/faults/test_slow_callers.py"
ABUSE = "tests/faults/test_http2_abuse.py"
BOUNDED = "tests/faults/test_bounded_resources.py"

FSYNC = "            os.fsync(file.fileno())\n        temporary"
TRIED = "            try:\n                os.fsync(file.fileno())\n            except OSError:\n"
APPLY = "            facts = self._apply(connection, store.path, plan.changes[0], places)\n"
PROVE = (
    "            self._prove(manifest, partial(golden_probe.probe, self._directory, new.folder))\n"
)
COMMIT = '            connection.execute("COMMIT")\n            connection.execute("BEGIN")\n'
MOVE = '        write_file(directory / CURRENT, f"{name}\\n".encode())\n    except BaseException'
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
FOLDERS = "        sync_folder(folder)\n        sync_folder(directory)\n"


def _of(file: str, text: str, instead: str) -> Defect:
    return Defect(f"sdk/pocketlens/{file}", text, instead)


def _of_server(file: str, text: str, instead: str) -> Defect:
    return Defect(f"sync_server/pocketlens_server/{file}", text, instead)


DEFECTS = (
    Planted(
        "files are not flushed",
        5,
        _of("durable_files.py", FSYNC, "        temporary"),
        (POWER,),
    ),
    Planted(
        "folders are not flushed",
        5,
        _of("durable_files.py", "        sync_folder(path.parent)\n", ""),
        (POWER,),
    ),
    Planted(
        "commits are not flushed",
        5,
        _of("store/database.py", "synchronous = FULL", "synchronous = OFF"),
        (POWER,),
    ),
    Planted(
        "commits are flushed at checkpoints",
        5,
        _of("store/database.py", "synchronous = FULL", "synchronous = NORMAL"),
        (POWER,),
    ),
    Planted(
        "CURRENT moves before the install's name is flushed",
        5,
        _of("store/installs.py", FOLDERS + MOVE, MOVE),
        (POWER,),
    ),
    Planted(
        "CURRENT is written in its place",
        5,
        _of(
            "store/installs.py",
            MOVE,
            '        (directory / CURRENT).write_text(f"{name}\\n")\n    except BaseException',
        ),
        (POWER,),
    ),
    Planted(
        "rows and what is trusted are committed apart",
        5,
        _of("sync/session.py", APPLY, APPLY + COMMIT),
        (POWER,),
    ),
    Planted(
        "changes have no journal",
        4,
        _of("store/database.py", "journal_mode = WAL", "journal_mode = OFF"),
        (KILL,),
    ),
    Planted(
        "a failed flush is tried again",
        8,
        _of(
            "durable_files.py",
            FSYNC,
            TRIED + "                os.fsync(file.fileno())\n        temporary",
        ),
        (FLUSH,),
    ),
    Planted(
        "a failed flush is passed over",
        8,
        _of(
            "durable_files.py",
            FSYNC,
            TRIED + "                pass\n        temporary",
        ),
        (FLUSH,),
    ),
    Planted(
        "a failed checkpoint is tried again",
        8,
        _of(
            "store/database.py",
            "            connection.close()  # before the other one",
            "            pass  # before the other one",
        ),
        (FLUSH,),
    ),
    Planted(
        "a reader needs room",
        7,
        _of(
            "store/database.py",
            "_NO_SHARED_INDEX = (sqlite3.SQLITE_IOERR_SHMSIZE, sqlite3.SQLITE_CANTOPEN)",
            "_NO_SHARED_INDEX = ()",
        ),
        (FULL,),
    ),
    Planted(
        "a full disk is called corruption",
        7,
        _of("store/database.py", "case sqlite3.SQLITE_FULL:", "case -1:"),
        (FULL, DATABASE),
    ),
    Planted(
        "whether there is room is not asked first",
        7,
        _of("sync/preflight.py", "if free < needed:", "if False:"),
        (SESSION,),
    ),
    Planted(
        "checksums of what is trusted are not compared",
        9,
        _of("store/trusted.py", " or _checksum(name, data) != expected", ""),
        (ROT,),
    ),
    Planted(
        "checksums of codes are not compared",
        9,
        _of(
            "store/rows.py",
            "if is_whole and _chunk_checksum(here, keys, codes) == expected",
            "if is_whole",
        ),
        (ROT, TORN),
    ),
    Planted(
        "the codebook's hash is not compared",
        9,
        _of(
            "store/reader.py",
            " or _sha256(head + data) != self.facts.codebook_sha256",
            " or not head",
        ),
        (ROT,),
    ),
    Planted(
        "searches do not stay at one version",
        16,
        _of("store/tables.py", '        self.query("BEGIN")\n', ""),
        (SEARCH, SESSION),
    ),
    Planted(
        "a piece's hash is not compared",
        21,
        _of(
            "store/pieces.py",
            "if len(data) != size or hashlib.sha256(data).digest() != sha256:",
            "if len(data) != size:",
        ),
        (SESSION,),
    ),
    Planted(
        "another catalogue is taken",
        13,
        _of("sync/offers.py", "if found.manifest.catalogue != catalogue:", "if False:"),
        (SESSION,),
    ),
    Planted(
        "a metered network is not spared",
        20,
        _of("sync/preflight.py", "if limit is not None and plan.fetch_bytes > limit:", "if False:"),
        (SESSION,),
    ),
    Planted(
        "what has expired is believed",
        13,
        _of("sync/trust.py", "            updater._trusted_set.reference_time = now", "#"),
        (TRUST,),
    ),
    Planted(
        "a model that no model key signed is believed",
        14,
        _of(
            "sync/trust.py",
            "if signed != (manifest.bundle.size, manifest.bundle.sha256.hex()):",
            "if False:",
        ),
        (TRUST,),
    ),
    Planted(
        "a manifest's hash is not compared",
        12,
        _of("sync/trust.py", "    target.verify_length_and_hashes(data)\n", ""),
        (SIGNED,),
    ),
    Planted(
        "more is inflated than was signed",
        34,
        _of(
            "formats/delta.py",
            "self._inflate.decompress(source, missing)",
            "self._inflate.decompress(source)",
        ),
        (DELTA,),
    ),
    Planted(
        "a stream may have a tail",
        34,
        _of("formats/delta.py", "if left or not self._inflate.eof:", "if False:"),
        (DELTA,),
    ),
    Planted(
        "a delta of another version is taken",
        3,
        _of(
            "store/applying/applier.py",
            "if not header.base <= facts.version < header.head:",
            "if False:",
        ),
        (APPLIER,),
    ),
    Planted(
        "old offers stay in the state sum",
        3,
        _of(
            "store/applying/applier.py",
            "        self._state.subtract(old.values())\n",
            "",
        ),
        (APPLIER,),
    ),
    Planted(
        "two may write at once",
        17,
        _of("store/installs.py", "        _lock(descriptor, directory / LOCK)\n", ""),
        (INSTALLS,),
    ),
    Planted(
        "a new install need not prove itself",
        36,
        _of("sync/session.py", PROVE, ""),
        (SWAP,),
    ),
    Planted(
        "requests are not remembered",
        24,
        _of_server(
            "catalogue/batches.py",
            "            self._tables.requests.remember(request.id, answered)\n",
            "",
        ),
        (OPERATIONS, RETRIES, SERVER_KILL),
    ),
    Planted(
        "one request id may be two requests",
        24,
        _of_server("catalogue/batches.py", "known.body == request.body:", "True:"),
        (OPERATIONS,),
    ),
    Planted(
        "an older revision holds",
        24,
        _of_server("catalogue/revising.py", "if revision < known.whole:", "if False:"),
        (OPERATIONS,),
    ),
    Planted(
        "an attribute is as new as its product",
        24,
        _of_server(
            "catalogue/revising.py",
            "dict.fromkeys(operation.attributes, revision)",
            "{}",
        ),
        (OPERATIONS,),
    ),
    Planted(
        "operations are answered before they are committed",
        23,
        _of_server("folders.py", TURN, TURN_LATER),
        (SERVER_KILL,),
    ),
    Planted(
        "a catalogue's changes have no journal",
        23,
        _of_server("folders.py", "PRAGMA synchronous = FULL;", "PRAGMA journal_mode = OFF;"),
        (SERVER_KILL,),
    ),
    Planted(
        "what backends were told is not flushed",
        23,
        _of_server("folders.py", "PRAGMA synchronous = FULL;", "PRAGMA synchronous = OFF;"),
        (SERVER_POWER,),
    ),
    Planted(
        "what backends were told is flushed at checkpoints",
        23,
        _of_server("folders.py", "PRAGMA synchronous = FULL;", "PRAGMA synchronous = NORMAL;"),
        (SERVER_POWER,),
    ),
    Planted(
        "pictures that come in parts are not flushed",
        23,
        _of_server("catalogue/pictures.py", "                os.fsync(self._file.fileno())\n", ""),
        (SERVER_POWER,),
    ),
    Planted(
        "a picture that another has named is believed to be flushed",
        23,
        _of_server(
            "catalogue/pictures.py",
            "        sync_folder(place.parent)\n        sync_folder(place.parent.parent)\n",
            "",
        ),
        (SERVER_POWER,),
    ),
    Planted(
        "that the log's name was not flushed is passed over",
        24,
        _of_server("folders.py", "            sync_folder(self.folder)\n", ""),
        (RETRIES,),
    ),
    Planted(
        "an embedding stands for a picture that is gone",
        23,
        _of_server(
            "catalogue/batches.py",
            "if is_known and self._folder.picture(picture).exists():",
            "if is_known:",
        ),
        (INGEST,),
    ),
    Planted(
        "answers to devices are remembered beyond a publish",
        25,
        _of_server(
            "publishing/answers.py",
            "if moment is None or moment.state != state:",
            "if moment is None:",
        ),
        ("tests/sync_server/publishing/test_answers.py",),
    ),
    Planted(
        "a restored catalogue publishes before anybody has said above what",
        26,
        _of_server("publishing/restored.py", "if origin is None:", "if True:"),
        (f"{RESTORED}::{OPERATOR}",),
    ),
    Planted(
        "what a restored server signs is as new as what it had signed before",
        26,
        _of_server(
            "publishing/raising.py",
            "max(signed.version + 1, int(now.timestamp()))",
            "signed.version + 1",
        ),
        (f"{RESTORED}::{AHEAD}[everything]",),
    ),
    Planted(
        "a backup leaves out what is in the log alone",
        26,
        _of_server("storage/backup.py", "?mode=ro", "?immutable=1"),
        (f"{BACKUP}::{BESIDE}",),
    ),
    Planted(
        "a method has no row",
        27,
        _of_server("auth.py", '        "/pocketlens.v1.CatalogService/Replace": _BACKEND,\n', ""),
        (f"{AUTHORISED}::test_every_method_has_a_row_and_every_row_a_method",),
    ),
    Planted(
        "devices may publish",
        27,
        _of_server(
            "auth.py", 'CatalogService/Publish": _BACKEND', 'CatalogService/Publish": _DEVICE'
        ),
        (f"{AUTHORISED}::test_a_service_is_for_one_scope_and_nothing_is_open_but_health",),
    ),
    Planted(
        "a revoked token opens what it did",
        27,
        _of_server("auth.py", "if self.revoked_at is not None:", "if False:"),
        (AUTHORISED,),
    ),
    Planted(
        "a token opens every catalogue",
        27,
        _of_server(
            "auth.py",
            "if caller.catalogues is not None and name not in caller.catalogues:",
            "if False:",
        ),
        (AUTHORISED,),
    ),
    Planted(
        "calls wait without an end",
        28,
        _of_server("limits.py", WAITING, ""),
        (OVERLOAD,),
    ),
    Planted(
        "who never becomes a connection is waited for",
        29,
        _of_server(
            "limits.py",
            '            ("grpc.server_handshake_timeout_ms", _ms(self.handshake_seconds)),\n',
            "",
        ),
        (SLOW,),
    ),
    Planted(
        "a connection may have any number of calls",
        30,
        _of_server(
            "limits.py",
            '            ("grpc.max_concurrent_streams", self.connection_streams),\n',
            "",
        ),
        (ABUSE,),
    ),
    Planted(
        "a metric is kept of each call",
        31,
        _of_server(
            "services/observing.py",
            "self._telemetry.call_seconds.labels(method)",
            "self._telemetry.call_seconds.labels(logs.REQUEST_ID.get())",
        ),
        (BOUNDED,),
    ),
    Planted(
        "who has called once is remembered for ever",
        31,
        _of_server("admission.py", "        self._forget(now)\n", ""),
        ("tests/sync_server/test_admission.py",),
    ),
    Planted(
        "a token is logged",
        38,
        _of_server("auth.py", SHOWN, SHOWN + SHOWN_LOGGED),
        (AUTH,),
    ),
)

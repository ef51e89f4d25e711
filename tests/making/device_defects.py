"""Defects of devices that their tests would notice: one text each, its row, and who notices."""

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
INSTALLS = "tests/sdk/store/test_installs.py"
FSYNC = "            os.fsync(file.fileno())\n        temporary"
TRIED = "            try:\n                os.fsync(file.fileno())\n            except OSError:\n"
APPLY = "            facts = self._apply(connection, store.path, plan.changes[0], places)\n"
PROVE = (
    "            self._prove(manifest, partial(golden_probe.probe, self._directory, new.folder))\n"
)
COMMIT = '            connection.execute("COMMIT")\n            connection.execute("BEGIN")\n'
MOVE = '        write_file(directory / CURRENT, f"{name}\\n".encode())\n    except BaseException'
FOLDERS = "        sync_folder(folder)\n        sync_folder(directory)\n"


def _of(file: str, text: str, instead: str) -> Defect:
    return Defect(f"sdk/pocketlens/{file}", text, instead)


DEVICE_DEFECTS = (
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
)

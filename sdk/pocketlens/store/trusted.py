"""What a store trusts, in its own database: changed by the transaction that changes its rows.

A damaged row is left out, and with it all others: trust then begins anew at the root that the app
came with, and the version that the store has keeps older ones away.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from pocketlens.store import database
from pocketlens.store.checksums import checksum

_MANIFEST = "manifest"


@dataclass(frozen=True, slots=True)
class Trusted:
    """What was believed when the store came to its version.

    Attributes:
        metadata: Signed metadata by name, as `pocketlens.sync.trust` gives it.
        manifest: Encoded; empty where there is none.
    """

    metadata: Mapping[str, bytes] = field(default_factory=dict)
    manifest: bytes = b""


NOTHING = Trusted()


def read(connection: database.Connection) -> Trusted:
    """What the store trusts; `NOTHING` where that is damaged."""
    found: dict[str, bytes] = {}
    for name, data, expected in connection.execute("SELECT name, data, checksum FROM trusted"):
        if not isinstance(data, bytes) or _checksum(name, data) != expected:
            return NOTHING
        found[name] = data
    manifest = found.pop(_MANIFEST, b"")
    return Trusted(found, manifest)


def write(connection: database.Connection, trusted: Trusted) -> None:
    """Takes the place of what was trusted."""
    named = {**trusted.metadata, _MANIFEST: trusted.manifest}
    connection.execute("DELETE FROM trusted")
    connection.executemany(
        "INSERT INTO trusted VALUES (?, ?, ?)",
        ((name, data, _checksum(name, data)) for name, data in named.items()),
    )


def _checksum(name: str, data: bytes) -> int:
    return checksum(str(name).encode(), b"\0", data)

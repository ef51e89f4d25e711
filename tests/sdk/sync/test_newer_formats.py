"""A server that is newer than the app: the device says so, and goes on with what it has."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from pathlib import Path

import pytest
from tests.making.followers import answer, install, sync
from tests.making.servers import Server

from pocketlens.errors import UpdateRequired
from pocketlens.formats.manifest import FORMAT
from pocketlens.store.verification import verify
from pocketlens.sync.planner import Action
from pocketlens_protos.v1 import manifest_pb2
from pocketlens_server.catalogue.operations import PatchProduct, apply
from pocketlens_server.publishing import holdings, signing


def publish(server: Server, *, is_newer: bool = False) -> None:
    """A version of another stock; a newer PocketLens would sign a format that is not known yet."""
    apply(server.catalogue.history, PatchProduct("sku-4", stock=44))
    server.publish()
    if is_newer:
        signed = {}
        for generation, data in holdings.read_visible(server.public).manifests.items():
            message = manifest_pb2.Manifest.FromString(data)
            message.format = FORMAT + 1
            signed[generation] = message.SerializeToString()
        signing.publish(server.public, signed, server.signers, now=server.now)


def test_a_store_stays_at_its_version_and_follows_again_what_it_can_read(
    server: Server, store: Path
) -> None:
    publish(server, is_newer=True)

    for _ in range(2):
        with pytest.raises(UpdateRequired, match=r"Received 2\. Update PocketLens"):
            sync(server, store)
        assert answer(server, store) == 1
        assert verify(store).findings == ()

    publish(server)
    report = sync(server, store)
    assert (report.action, report.before, report.version) == (Action.DELTA, 1, 3)
    assert answer(server, store) == 3


def test_a_first_store_is_not_made(server: Server, tmp_path: Path) -> None:
    publish(server, is_newer=True)

    with pytest.raises(UpdateRequired):
        install(server, tmp_path / "new")

    assert not (tmp_path / "new").exists()

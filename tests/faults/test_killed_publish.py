"""A publish that is killed leaves the version before or the new one, and is repeated."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import os
import random
import signal
from datetime import timedelta
from pathlib import Path
from time import perf_counter, sleep

from tests.making.tiles import TileShop

from pocketlens.store.verification import verify
from pocketlens_server.publishing import holdings, releasing

KILLS, VERSIONS = 10, 3


def test_a_killed_publish_harms_nothing(tmp_path: Path) -> None:
    """Old versions are pruned and files collected all the while."""
    shop = TileShop(tmp_path / "shop", dict.fromkeys(range(6), 0))
    settings = shop.catalogue.folder / "settings.toml"
    settings.write_text(f"[keeping]\nversions = {VERSIONS}\n")
    shop.publish()
    shop.stock[0] = 1
    began = perf_counter()
    shop.publish()
    seconds = perf_counter() - began
    shop.sync("device")
    rng, ended = random.Random(23), set()
    for number in range(KILLS):
        shop.stock[number % 6] += 1
        shop.now += timedelta(hours=13)
        ended.add(killed(shop, after=rng.uniform(0, seconds)))
        shop.now += timedelta(minutes=5)

        visible = shop.sync("device").version
        assert visible in (number + 2, number + 3)
        assert shop.sync(f"new-{number}").version == visible
        shop.publish()  # again: the same version, or nothing

        assert shop.sync("device").version == number + 3
        (manifest,) = releasing.newest(shop.catalogue)
        assert list(holdings.read_visible(shop.public).manifests) == [manifest.generation]
    assert verify(shop.folder / "device").findings == ()
    assert -signal.SIGKILL in ended


def killed(shop: TileShop, *, after: float) -> int:
    """Exit code of a process that publishes and is killed so many seconds later."""
    child = os.fork()
    if child == 0:
        try:
            shop.publish()
        finally:
            os._exit(0)
    sleep(after)
    os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status)

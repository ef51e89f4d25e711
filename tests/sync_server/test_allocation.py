"""What a server frees goes back to the system: in processes of their own, as it stays set."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from datetime import UTC, datetime
from pathlib import Path

import pytest
from tests.making import allocated
from tests.making.serving import serving
from tests.making.tiles import TileShop

from pocketlens_server import allocation, server

HEAPS = """
import ctypes, os, sys, threading
from pocketlens_server import allocation

if sys.argv[1] == "shared":
    allocation.share_one_heap()
libc, kept = ctypes.CDLL(None), []
libc.malloc.restype = ctypes.c_void_p
together = threading.Barrier(8)

def take():
    together.wait()
    kept.extend(libc.malloc(ctypes.c_size_t(5_000)) for _ in range(200))

threads = [threading.Thread(target=take) for _ in range(8)]
for each in threads:
    each.start()
for each in threads:
    each.join()
libc.fopen.restype = ctypes.c_void_p
out = ctypes.c_void_p(libc.fopen(b"/dev/stdout", b"w"))
libc.malloc_info(0, out)
libc.fflush(out)
"""

FREED = """
import json, os
from pocketlens_server import allocation

def resident():
    return int(open("/proc/self/statm").read().split()[1]) * os.sysconf("SC_PAGE_SIZE")

blocks = [bytes(20_000) for _ in range(4_000)]
full = resident()
blocks = blocks[::40]  # those between cannot go back by themselves
freed = resident()
allocation.give_back()
print(json.dumps([full, freed, resident()]))
"""

pytestmark = pytest.mark.skipif(not allocated.is_known(), reason="needs glibc")


def run(program: str, *arguments: str, **environment: str) -> str:
    kept = {name: value for name, value in os.environ.items() if name != "MALLOC_ARENA_MAX"}
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments],
        env=kept | environment,
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout


def heaps(*arguments: str, **environment: str) -> int:
    return run(HEAPS, *arguments, **environment).count("<heap nr=")


def test_all_threads_share_one_heap() -> None:
    assert heaps("shared") == 1
    assert heaps("apart") > 1


def test_an_operator_may_say_how_many() -> None:
    assert heaps("shared", MALLOC_ARENA_MAX="4") in (2, 3, 4)


def test_pages_that_nothing_is_in_go_back() -> None:
    full, freed, given_back = json.loads(run(FREED))

    assert freed > full - 10_000_000
    assert given_back < full - 60_000_000


def test_a_server_gives_back_again_and_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    often, give_back = threading.Semaphore(0), allocation.give_back

    def counted() -> None:
        give_back()
        often.release()

    monkeypatch.setattr(server, "GIVE_BACK_SECONDS", 0.01)
    monkeypatch.setattr(allocation, "give_back", counted)
    shop = TileShop(tmp_path / "shop", {0: 1}, now=datetime.now(UTC))
    with serving(shop.folder / "server"):
        assert all(often.acquire(timeout=20) for _ in range(3))
